"""Idle time at the seams: no worker is there yet, none is left, or fewer were made than there are cores."""

from __future__ import annotations

from collections.abc import Mapping

from corelens.reports.core_time import Phases
from corelens.reports.facts import binned
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.idle_threads import STARTUP
from corelens.reports.facts.workforce import Hands, main_thread

TEARDOWN, NO_WORKER = "teardown", "no-worker"
# Workers that end have this long to do so; one that stays longer waits.
_LEAVING_S = 0.5


def add_seams(facts: Facts, hands: Hands, causes: dict[str, list[float]]) -> None:
    """Start-up and teardown, where no worker is there to be blocked; and cores that no worker exists for."""
    phases, widths, cores = facts.report.phases, binned.widths(facts), facts.report.timeline.capacity_cores
    if phases is None:
        return
    home = main_thread(hands.home)
    runs: Mapping[int, float] = {} if home is None else home.run_s_by_bin
    present = _present(facts, hands)
    gone_s = 0.0
    startup, teardown = [0.0] * len(widths), [0.0] * len(widths)
    for wave in phases.waves:
        _fill(facts, startup, (gone_s, wave.ready_s), {} if not gone_s else runs)
        gone_s = max(gone_s, wave.end_s)
    if not phases.waves:
        _fill(facts, startup, (0.0, phases.startup_until_s), {})
    else:
        _fill(facts, teardown, (_teardown_from_s(facts, hands, phases), phases.end_s), runs)
    causes[STARTUP] = binned.added(causes.get(STARTUP), startup)
    causes[TEARDOWN] = teardown
    causes[NO_WORKER] = [
        max(0.0, allowed * width - there)
        for allowed, width, there in zip(cores, widths, present, strict=True)
    ]


def _fill(facts: Facts, bins: list[float], span: tuple[float, float], runs: Mapping[int, float]) -> None:
    """All cores of a span, less the part in which the main thread works on alone: that is a serial part."""
    step_s, cores = facts.report.timeline.step_s, facts.report.timeline.capacity_cores
    for place in range(max(0, int(span[0] / step_s)), min(len(bins), int(span[1] / step_s) + 1)):
        time_s = max(0.0, min(span[1], (place + 1) * step_s) - max(span[0], place * step_s))
        serial = min(1.0, runs.get(place, 0.0) / step_s)
        bins[place] += time_s * cores[place] * (1.0 - serial)


def _present(facts: Facts, hands: Hands) -> list[float]:
    """Worker-seconds per bin for which a worker was there; without workers, of the main thread."""
    step_s, count = facts.report.timeline.step_s, len(facts.report.timeline.capacity_cores)
    bins = [0.0] * count
    home = main_thread(hands.home)
    threads = hands.threads or (() if home is None else (home,))
    for thread in threads:
        end_s = facts.wall_s if thread.died_s is None else thread.died_s
        for place in range(int(thread.born_s / step_s), min(count, int(end_s / step_s) + 1)):
            lived_s = min(end_s, (place + 1) * step_s) - max(thread.born_s, place * step_s)
            bins[place] += max(0.0, lived_s)
    return bins


def _teardown_from_s(facts: Facts, hands: Hands, phases: Phases) -> float:
    """The last work was done, and the workers had gone: as long as they stay, they wait for more."""
    ends = [facts.wall_s if worker.died_s is None else worker.died_s for worker in hands.said.workers]
    return max(phases.tail_until_s, max(ends) - _LEAVING_S)
