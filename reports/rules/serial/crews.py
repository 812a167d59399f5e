"""A crew of which one worker at a time has a task, because the caller waits for each result."""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.code_places import caller, is_program, place, work
from corelens.reports.facts.crew import RAY, THREADS, Crew, crews
from corelens.reports.facts.crew_ends import ends
from corelens.reports.facts.crew_time import CrewTime, crew_time
from corelens.reports.facts.facts import Facts, ProcessFacts
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

# One task in flight means one worker at work. Below half the workers mostly wait for something else; above 1.25 two
# tasks overlap, where readings of two neighbouring tasks that fall into one reading are allowed for.
_LEAST_IN_FLIGHT, _MOST_IN_FLIGHT = 0.5, 1.25
# Readings smear over neighbouring bins when other programs take cores as well.
_SINGLE_SHARE = 0.8
# A caller that is busier than this does something of its own: that is another cause.
_BOSS_CORES = 0.35
# One worker always waits at the head of the queue while a task is awaited.
_TASK_WAIT = 0.5
# So often a worker must get work again after another had it; a straggler never does.
_RETURNS = 2
_SECOND_SHARE = 0.15
# Work that one worker does to the end while the others have none is a straggler's.
_ONE_WORKER_PART = 0.4


def findings(facts: Facts, slug: str) -> Iterator[Finding]:
    """Every crew with one task in flight."""
    for crew in crews(facts):
        time = crew_time(facts, crew)
        if _is_serial(facts, crew, time):
            yield _serial(facts, crew, time, slug)


def _is_serial(facts: Facts, crew: Crew, time: CrewTime) -> bool:
    if crew.kind == THREADS and not _threads_are_parked(facts, crew):
        return False
    waiting = time.task_wait if crew.kind != THREADS else time.starving / max(len(crew.workers) - 1, 1)
    return (
        _LEAST_IN_FLIGHT <= time.in_flight <= _MOST_IN_FLIGHT
        and time.single_share >= _SINGLE_SHARE
        and time.boss_cores <= _BOSS_CORES
        and waiting >= _TASK_WAIT
        and time.returns >= _RETURNS
        and time.second_share >= _SECOND_SHARE
        and not _ends_with_one(facts, crew)
    )


def _ends_with_one(facts: Facts, crew: Crew) -> bool:
    tail = ends(facts, crew)
    return tail is not None and tail.length_s >= _ONE_WORKER_PART * crew.span_s


def _threads_are_parked(facts: Facts, crew: Crew) -> bool:
    """Threads wait for tasks and for locks in the same call, so their stacks must show that no task is under way."""
    tids = {worker.thread.tid for worker in crew.workers}
    idle = [one for one in facts.samples_of(crew.boss) if one.tid in tids and one.active is False]
    parked = sum(not any(is_program(frame) for frame in one.frames) for one in idle)
    return parked >= max(len(crew.workers) - 1, 1) and parked * 2 >= len(idle)


def _serial(facts: Facts, crew: Crew, time: CrewTime, slug: str) -> Finding:
    waiting = awaiting(facts, crew.boss)
    where = f" in {waiting[0]}" if waiting else ""
    count = len(crew.workers)
    room = time.room if crew.kind != THREADS or time.workers_mean > time.in_flight / 2 else float(count)
    awaited = f"process {crew.boss.pid} ({crew.boss.role}) waits{where} for each result before it sends the next task"
    gain = faster(facts.wall_s, time.span_s, time.in_flight / room)
    return Finding(
        slug=slug,
        variant="result-in-loop",
        cause=f"{awaited}, so that one of {count} {crew.title} works at a time.",
        lost_core_s=time.idle_core_s,
        lost_share=time.idle_core_s / facts.capacity_core_s,
        confidence=0.9 if waiting else 0.75,
        evidence=tuple(_serial_evidence(crew, time, waiting)),
        remedy=send_all(crew.kind == RAY, len(crew.workers), crew.boss.pid),
        gain=Gain(
            gain,
            f"{time.span_s:.1f} of {facts.wall_s:.1f} s pass with {time.in_flight:.2f} tasks in flight, and"
            f" {room:.0f} can be at once: {facts.wall_s:.1f} s become {facts.wall_s / gain:.1f} s",
        ),
        excluded=(
            f"load-imbalance: work came back to a worker that had been idle {time.returns} times",
            f"slow-producer: the process that hands work out used {time.boss_cores:.2f} cores",
            "lock-contention: a worker waited for its next task, not for a lock, nearly all the time",
        ),
        explains=("load-imbalance",),
    )


def _serial_evidence(crew: Crew, time: CrewTime, waiting: list[str]) -> Iterator[Evidence]:
    count = len(crew.workers)
    yield Evidence(
        f"{time.in_flight:.2f} of {count} {crew.title} had a task on average, and in {time.single_share:.0%} of the"
        " time no two wanted a core",
        time.in_flight, "workers", crew.boss.pid, None, crew.from_s, crew.until_s,
    )  # fmt: skip
    yield Evidence(
        f"the task went from worker to worker: the busiest had {1 / max(count, 1):.0%} to"
        f" {max(worker.wanted_s for worker in crew.workers) / _sum(crew):.0%} of the work, and it came back to an"
        f" earlier one {time.returns} times or more",
        float(time.returns), "times",
    )  # fmt: skip
    yield Evidence(
        f"{time.starving:.2f} workers waited for a task on average, while the process that sends tasks used"
        f" {time.boss_cores:.2f} cores",
        time.starving, "workers", crew.boss.pid,
    )  # fmt: skip
    if waiting:
        yield Evidence(f"process {crew.boss.pid} was seen waiting in {waiting[0]}", None, None, crew.boss.pid)


def _sum(crew: Crew) -> float:
    return sum(worker.wanted_s for worker in crew.workers) or 1.0


def awaiting(facts: Facts, boss: ProcessFacts) -> list[str]:
    """Places of the program where the main thread of a boss waited for a result."""
    return [
        place(where)
        for sample in facts.samples_of(boss)
        if sample.tid == boss.pid and sample.active is not True and work(sample) is None
        if (where := caller(sample)) is not None
    ]


def faster(wall_s: float, span_s: float, left: float) -> float:
    """How many times faster a run is of which a span shrinks to a part of itself."""
    return wall_s / max(wall_s - span_s + span_s * left, 1e-3)


def send_all(ray: bool, workers: int, pid: int) -> Remedy:
    """Send everything, then collect."""
    if ray:
        paste = ("references = [task.remote(x) for x in inputs]", "results = ray.get(references)")
    else:
        paste = (
            "futures = [pool.submit(task, x) for x in inputs]",
            "results = [future.result() for future in futures]",
        )
    return Remedy(
        f"Send all tasks first and collect the results afterwards, so that {workers} workers have one"
        " each (multiprocessing: `pool.map`, or `apply_async` for all and `get` afterwards).",
        paste,
        f"Python, where process {pid} hands work out",
    )
