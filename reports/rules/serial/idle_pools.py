"""A pool that is never given anything, while the process that made it does the work itself."""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.code_places import is_program, is_startup, place, tally, work
from corelens.reports.facts.crew import PROCESSES, Crew, crews
from corelens.reports.facts.crew_time import idle_core_s
from corelens.reports.facts.facts import Facts, ThreadFacts
from corelens.reports.findings import Evidence, Finding, Gain, Remedy
from corelens.reports.rules.serial.crews import faster

# Starting up stops a worker once or twice, and the first wait for a task once.
_MOST_WAKES = 3
_LEAST_BOSS_S, _BOSS_SHARE = 1.0, 0.7
# A worker that only started used this part of what its parent did, at most.
_MOST_WORK = 0.1
_LEAST_PART, _FEW, _WORK_SHARE = 0.5, 3, 0.6
_LOADER = "dataloader-worker"


def findings(facts: Facts, slug: str) -> Iterator[Finding]:
    """Every crew of processes that got no task, beside a parent that computes in the program's own code."""
    for crew in crews(facts):
        if crew.kind == PROCESSES and crew.workers[0].process.role != _LOADER:
            thread = crew.busiest_boss
            from_s, until_s = _there(facts, crew)
            if _gets_nothing(crew, thread, until_s - from_s, facts.wall_s) and _at_work(facts, crew, thread):
                yield _finding(facts, crew, thread, (from_s, until_s), slug)


def _there(facts: Facts, crew: Crew) -> tuple[float, float]:
    """From when to when there were workers."""
    return crew.from_s, min(worker.died_s or facts.wall_s for worker in crew.workers)


def _gets_nothing(crew: Crew, thread: ThreadFacts, lived_s: float, wall_s: float) -> bool:
    return (
        lived_s >= _LEAST_PART * wall_s
        and all(0 < worker.wakes <= _MOST_WAKES for worker in crew.workers)
        and sum(worker.run_s for worker in crew.workers) <= _MOST_WORK * thread.run_s
        and thread.run_s >= max(_LEAST_BOSS_S, _BOSS_SHARE * lived_s)
    )


def _at_work(facts: Facts, crew: Crew, thread: ThreadFacts) -> bool:
    code = tally(one for one in facts.samples_of(crew.boss) if one.tid == thread.tid)
    return (
        code.seen >= _FEW and code.work >= _WORK_SHARE * code.seen and _code(facts, crew, thread) is not None
    )


def _code(facts: Facts, crew: Crew, thread: ThreadFacts) -> str | None:
    seen = [
        frame
        for one in facts.samples_of(crew.boss)
        if one.tid == thread.tid and one.active is not False and not is_startup(one)
        if (frame := work(one)) is not None and is_program(frame)
    ]
    return place(seen[-1]) if seen else None


def _finding(facts: Facts, crew: Crew, thread: ThreadFacts, there: tuple[float, float], slug: str) -> Finding:
    step_s = facts.report.timeline.step_s
    bins = range(int(there[0] / step_s), max(int(there[1] / step_s), 1))
    lost, room = idle_core_s(facts, bins), min(float(len(crew.workers)), facts.report.capacity.cores)
    where = _code(facts, crew, thread)
    return Finding(
        slug=slug,
        variant="runs-it-itself",
        cause=f"Process {crew.boss.pid} ({crew.boss.role}) runs {where} itself, while its {len(crew.workers)}"
        f" {crew.title} never get a task.",
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=0.65,
        evidence=(
            Evidence(
                f"{len(crew.workers)} workers used {sum(worker.run_s for worker in crew.workers):.2f} core-s together"
                f" and stopped {max(worker.wakes for worker in crew.workers)} times at most: no task reached them",
                sum(worker.run_s for worker in crew.workers), "core-s", crew.boss.pid, None, *there,
            ),
            Evidence(
                f"thread {thread.tid} of process {thread.pid} used {thread.run_s:.1f} core-s, as in {where}",
                thread.run_s, "core-s", thread.pid, thread.tid,
            ),
            Evidence(f"{lost:.1f} core-s of capacity were idle meanwhile", lost, "core-s"),
        ),
        remedy=Remedy(
            "Give the work to the pool: `pool.map(f, xs)` instead of `map(f, xs)`, and the function and its arguments"
            " apart, because `submit(f(x))` calls `f` at once, in the caller.",
            ("futures = [pool.submit(f, x) for x in xs]", "results = [future.result() for future in futures]"),
            f"Python, in process {crew.boss.pid}",
        ),
        gain=Gain(
            faster(facts.wall_s, thread.run_s, 1 / room),
            f"{thread.run_s:.1f} core-s of work on {room:.0f} cores instead of one, if it can be cut into tasks",
        ),
        explains=("slow-producer", "load-imbalance", "capped-native-threads"),
    )  # fmt: skip
