"""What of a crew's CPU was work, as far as can be told from outside, and how many messages it took."""

from __future__ import annotations

from corelens.reports.facts.crew import RAY, Crew
from corelens.reports.facts.handing import Handing, machinery_run_s

# What a worker spends on taking one task and answering it, at the least, per time that it stops for the next one.
# 36,000 trivial calls submitted one by one to a ProcessPoolExecutor cost its workers 34 us of CPU for each stop, 24,000
# through joblib 45 us, 25,000 Ray tasks 266 us in the thread that runs them (CPython 3.11, Ray 2.60, two cores).
_MESSAGE_S, _RAY_MESSAGE_S = 30e-6, 250e-6
# A worker that is a program of its own starts an interpreter first.
_START_S = {"loky-worker": 0.2, "pool-worker-spawn": 0.15, "ray-worker": 0.35}
# So much of it is work even where messages seem to explain all.
_LEAST_WORK = 0.05
# A task that costs less than this is dominated by what it costs to hand it out.
GOOD_TASK_S = 0.05
MOST_GAIN = 10.0


def work_s(known: Handing) -> float:
    """Most that the tasks themselves can have used: user time of the workers less what starting and messages cost."""
    crew = known.crew
    spent_s = known.worker_user_s if known.worker_user_s is not None else known.worker_run_s
    if crew.kind == RAY:
        spent_s -= machinery_run_s(crew)
    starting_s = sum(_START_S.get(worker.process.role, 0.0) for worker in crew.workers)
    messages_s = messages(known) * (_RAY_MESSAGE_S if crew.kind == RAY else _MESSAGE_S)
    return max(spent_s - starting_s - messages_s, _LEAST_WORK * known.worker_run_s)


def messages(known: Handing) -> int:
    """How many tasks were taken: at least as many as a worker stopped for, or as the boss was woken for."""
    stops = sum(worker.wakes for worker in known.crew.workers)
    if known.crew.kind == RAY:
        # Where a worker's counter was not read, the boss tells: it is woken about once for each answer.
        unread = [worker for worker in known.crew.workers if not worker.wakes]
        return max(stops, int(_boss_wakes(known.crew) / 2) if unread else 0)
    return stops


def calls(known: Handing) -> int:
    """About how many messages went to workers and back: a worker that never has to wait does not stop for each."""
    return max(messages(known), _boss_wakes(known.crew) // 2)


def wasted_s(known: Handing) -> float:
    """Capacity that handing out left idle or used up, while there were workers."""
    return known.time.idle_core_s + overhead_s(known)


def overhead_s(known: Handing) -> float:
    """CPU of boss and workers that was no work of the tasks."""
    return known.boss_run_s + max(known.worker_run_s - work_s(known), 0.0)


def even_s(known: Handing) -> float:
    """How long the tasks would take on all cores, the start of the workers included, if handing out cost nothing."""
    starting_s = max(_START_S.get(worker.process.role, 0.0) for worker in known.crew.workers)
    return starting_s + work_s(known) / known.time.room


def most_gain(known: Handing) -> float:
    """Time of the span over that; cut at ten, because what is left is a bound and not a measurement."""
    return min(known.time.span_s / max(even_s(known), 1e-3), MOST_GAIN)


def _boss_wakes(crew: Crew) -> int:
    return max((thread.voluntary or 0 for thread in crew.bosses), default=0)
