"""When a worker was ready: how long its start-up and its imports took, as far as a recording can tell."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.stack_samples import StackSample

_IMPORTING = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
# Until a pool's loop or a target runs, these are all that a fresh worker's stack shows.
_BOOTSTRAP = ("spawn.py", "forkserver.py", "popen_loky_posix.py", "default_worker.py", "site.py", "runpy.py")
_NS_PER_S = 1_000_000_000
# A started interpreter that imports the program's modules again; a fork has them already.
FRESH = ("pool-worker-spawn", "loky-worker", "ray-worker")
# One look at the stacks is no more exact than this.
_DOUBT_S = 0.05


def is_importing(sample: StackSample) -> bool:
    """Whether a stack stands inside an import."""
    return any(frame.file in _IMPORTING for frame in sample.frames)


def is_starting(sample: StackSample) -> bool:
    """Whether a stack stands inside an import, or in what prepares a fresh process."""
    return is_importing(sample) or (
        bool(sample.frames) and sample.frames[-1].file.rpartition("/")[2] in _BOOTSTRAP
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """Ages of one kind of worker, in seconds, that stacks showed at start-up and at work."""

    starting_s: float | None
    """Oldest that was still starting."""
    working_s: float | None
    """Youngest that was past it."""


def seen_ages(facts: Facts, processes: Iterable[ProcessFacts]) -> Seen:
    """What samples say of the start-up of alike processes: what one imports, its siblings import too."""
    by_life = {process.life: process for process in processes}
    starting: list[float] = []
    working: list[float] = []
    for sample in facts.samples:
        process = None if sample.life is None else by_life.get(sample.life)
        if process is None or sample.tid != process.pid:
            continue
        age_s = sample.from_ns / _NS_PER_S - process.born_s
        (starting if is_starting(sample) else working).append(max(age_s, 0.0))
    return Seen(max(starting, default=None), min(working, default=None))


def program_ready_s(facts: Facts, first_worker_s: float | None) -> float:
    """End of the program's own start-up: its first worker is born, or its imports were seen to end.

    Without either, its first native pool tells of the import that brought it.
    """
    root = facts.root
    seen = seen_ages(facts, [root])
    pools = [
        thread.born_s
        for thread in root.threads
        if thread.owner.library is not None and thread.owner.kind != "main"
    ]
    first_pool_s = min(pools, default=0.0)
    told = [time for time in (seen.starting_s, first_pool_s) if time is not None]
    ready_s = root.born_s + max(told, default=0.0)
    if seen.working_s is not None and seen.working_s > (seen.starting_s or 0.0):
        ready_s = min(ready_s, root.born_s + seen.working_s)
    return ready_s if first_worker_s is None else max(first_worker_s, 0.0)


def ready_times(
    facts: Facts, processes: Iterable[ProcessFacts], waits_from_s: Mapping[int, float]
) -> dict[ProcessFacts, float]:
    """When each worker process was ready for its first task.

    A fork is ready when it is born. One that starts an interpreter imports what the program imported before it
    started its first worker, and so takes about as long on a core; stacks of its siblings correct that, and the first
    time that it waits for a task ends it. `waits_from_s` holds that time by pid.
    """
    everyone, step_s = list(processes), facts.report.timeline.step_s
    ready: dict[ProcessFacts, float] = {}
    for role in dict.fromkeys(process.role for process in everyone):
        alike = [process for process in everyone if process.role == role]
        need_s = _need_s(facts, alike) if role in FRESH else 0.0
        for process in alike:
            at_s = _reached_s(process, need_s, step_s) if need_s else process.born_s
            waits_s = waits_from_s.get(process.pid, at_s)
            ready[process] = max(process.born_s, min(at_s, waits_s))
    return ready


def _need_s(facts: Facts, alike: list[ProcessFacts]) -> float:
    """Core-seconds that the start-up of one of these takes."""
    first_s = min(process.born_s for process in alike)
    of_program = run_until(facts.root.threads, first_s, facts.report.timeline.step_s)
    used = [run_s for process in alike if (run_s := used_s(process)) > 0]
    seen = seen_ages(facts, alike)
    need_s = min(of_program, statistics.median(used)) if used else 0.0
    if seen.starting_s is not None:
        need_s = max(need_s, min(seen.starting_s, statistics.median(used or [seen.starting_s])))
    if seen.working_s is not None and seen.working_s > (seen.starting_s or 0.0):
        need_s = min(need_s, seen.working_s + _DOUBT_S)
    return need_s


def used_s(process: ProcessFacts) -> float:
    """On a core: by its own clock, which counts threads that nobody saw, or by its threads where that is not readable."""
    return max(process.run_s, sum(thread.run_s for thread in process.threads))


def run_until(threads: Iterable[ThreadFacts], until_s: float, step_s: float) -> float:
    """On a core before a moment; of the bin in which it lies, the part before it."""
    before_s = 0.0
    for thread in threads:
        for place, run_s in thread.run_s_by_bin.items() if thread.born_s < until_s else ():
            start_s = max(place * step_s, min(thread.born_s, (place + 1) * step_s))
            width_s = (place + 1) * step_s - start_s
            part = (until_s - start_s) / width_s if width_s > 0 else float(until_s >= start_s)
            before_s += run_s * min(1.0, max(0.0, part))
    return before_s


def _reached_s(process: ProcessFacts, need_s: float, step_s: float) -> float:
    """When a process had been on a core for so long; its end where it never was."""
    bins: dict[int, float] = {}
    for thread in process.threads:
        for place, run_s in thread.run_s_by_bin.items():
            bins[place] = bins.get(place, 0.0) + run_s
    so_far_s = 0.0
    for place in sorted(bins):
        so_far_s += bins[place]
        if so_far_s >= need_s:
            start_s = max(place * step_s, process.born_s)
            width_s = (place + 1) * step_s - start_s
            return start_s + max(0.0, width_s) * (1 - (so_far_s - need_s) / bins[place])
    return process.born_s + need_s if process.died_s is None else process.died_s
