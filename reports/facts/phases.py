"""The recording cut at its seams: start-up, parallel part, tail, teardown; and waves of workers that come and go."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

from corelens.reports.core_time import Phases, Wave, Worker, Workforce
from corelens.reports.facts import startup
from corelens.reports.facts.facts import Facts


def phases(facts: Facts, workforce: Workforce) -> Phases:
    """Cut the timeline by what the workers did.

    Without workers there is no tail, and the program is in its parallel part as soon as it left its imports, as far
    as stacks and the births of its native pools show that.
    """
    if not workforce.workers:
        ready_s = min(startup.program_ready_s(facts, None), facts.wall_s)
        used_s = startup.run_until(facts.root.threads, ready_s, facts.report.timeline.step_s)
        return Phases(ready_s, facts.wall_s, facts.wall_s, facts.wall_s, (), None, used_s)
    cut = waves(workforce.workers, facts.report.capacity.cores)
    begins = [wave.begin_s for wave in cut]
    periods = [after - before for before, after in itertools.pairwise(begins)]
    end_s = min(max(wave.end_s for wave in cut), facts.wall_s)
    begin_s = min(cut[0].ready_s, end_s)
    return Phases(
        startup_until_s=begin_s,
        parallel_until_s=max(begin_s, min(cut[-1].tail_s, end_s)),
        tail_until_s=end_s,
        end_s=max(facts.wall_s, end_s),
        waves=cut,
        wave_period_s=statistics.median(periods) if periods else None,
        startup_core_s=_startup_core_s(facts, workforce, cut[0].begin_s),
    )


def waves(workers: Sequence[Worker], cores: float) -> tuple[Wave, ...]:
    """Workers that were there together; one that comes when all before it have gone begins another wave."""
    groups: list[list[Worker]] = []
    gone_s = -math.inf
    for worker in sorted(workers, key=lambda each: each.born_s):
        if not groups or worker.born_s >= gone_s:
            groups.append([])
            gone_s = -math.inf
        groups[-1].append(worker)
        gone_s = max(gone_s, math.inf if worker.died_s is None else worker.died_s)
    return tuple(_wave(group, cores) for group in groups)


def _wave(group: Sequence[Worker], cores: float) -> Wave:
    ready_s = min(worker.ready_s for worker in group)
    ends = sorted(worker.last_work_s for worker in group)
    needed = max(1, min(len(group), math.floor(cores)))
    return Wave(
        begin_s=min(worker.born_s for worker in group),
        last_born_s=max(worker.born_s for worker in group),
        ready_s=ready_s,
        # As long as `needed` workers have work left, every core can have one.
        tail_s=max(ready_s, ends[len(group) - needed]),
        end_s=max(ready_s, ends[-1]),
        workers=len(group),
    )


def _startup_core_s(facts: Facts, workforce: Workforce, first_born_s: float) -> float:
    """What the program used until its first worker was born, and each worker until it was ready."""
    step_s = facts.report.timeline.step_s
    before = sum(startup.run_until(process.threads, first_born_s, step_s) for process in facts.processes)
    return before + sum(worker.startup_run_s for worker in workforce.workers)
