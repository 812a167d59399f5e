"""The caller waits for each piece of work before it sends the next, or runs the work itself.

What it sees: several workers of which one at a time has a task, while the others wait where tasks arrive and the
caller waits for a result; the task goes from worker to worker. Or an event loop whose thread sleeps in a blocking
call, or computes, inside of one of its own callbacks instead of waiting for its sockets.

Why it costs: a pool gives speed only while several tasks are in flight. With one in flight it is a plain loop with
messages added. An event loop that is blocked in one request serves no other request in that time.

What to do: send all tasks, then collect the results (`futures = [pool.submit(f, x) for x in xs]`, then
`[future.result() for future in futures]`; `pool.map`; one `ray.get` over a list). In an event loop, hand a blocking
call to threads (`await asyncio.to_thread(f, x)`, or `def` instead of `async def` for an endpoint of FastAPI), and a
computation to a `ProcessPoolExecutor` with `run_in_executor`.

When it is wrong: where each task needs the result of the one before, there is nothing to send ahead; run it without
a pool. An event loop with one client at a time gains nothing from threads.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts import waits
from corelens.reports.facts.code_places import caller, has_loop, is_program, loop_callback, place, work
from corelens.reports.facts.crew import RAY, THREADS, Crew, crews
from corelens.reports.facts.crew_time import CrewTime, crew_time, idle_core_s
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.stack_samples import StackSample
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

SLUG = "serial-dispatch"
# One task in flight means one worker at work. Below half the workers mostly wait for something else; above 1.25 two
# tasks overlap, where readings of two neighbouring tasks that fall into one reading are allowed for.
_LEAST_IN_FLIGHT, _MOST_IN_FLIGHT = 0.5, 1.25
_SINGLE_SHARE = 0.9
# A caller that is busier than this does something of its own: that is another cause.
_BOSS_CORES = 0.35
# One worker always waits at the head of the queue while a task is awaited.
_TASK_WAIT = 0.5
# So often a worker must get work again after another had it; a straggler never does.
_RETURNS = 2
_SECOND_SHARE = 0.15
# Blocked for half of the time, a loop does half of what it could.
_BLOCKED_SHARE, _POLL_SHARE = 0.5, 0.3
_BUSY_SHARE = 0.7
_MOST_GAIN = 5.0
# While others use the cores, a blocked loop is not what leaves them idle.
_OTHERS_CORES = 0.3
_BLOCKING = (waits.SLEEP, waits.SOCKET, waits.DISK, waits.CHILD, waits.LOCK, waits.PIPE)


def check(facts: Facts) -> Iterator[Finding]:
    """Look at each crew, and at each event loop."""
    for crew in crews(facts):
        time = crew_time(facts, crew)
        if _is_serial(facts, crew, time):
            yield _serial(facts, crew, time)
    for process in facts.processes:
        yield from _loops(facts, process)


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
    )


def _threads_are_parked(facts: Facts, crew: Crew) -> bool:
    """Threads wait for tasks and for locks in the same call, so their stacks must show that no task is under way."""
    tids = {worker.thread.tid for worker in crew.workers}
    idle = [one for one in facts.samples_of(crew.boss) if one.tid in tids and one.active is False]
    parked = sum(not any(is_program(frame) for frame in one.frames) for one in idle)
    return parked >= max(len(crew.workers) - 1, 1) and parked * 2 >= len(idle)


def _serial(facts: Facts, crew: Crew, time: CrewTime) -> Finding:
    waiting = _awaiting(facts, crew)
    where = f" in {waiting[0]}" if waiting else ""
    count = len(crew.workers)
    room = time.room if crew.kind != THREADS or time.workers_mean > time.in_flight / 2 else float(count)
    awaited = f"process {crew.boss.pid} ({crew.boss.role}) waits{where} for each result before it sends the next task"
    gain = _gain(facts.wall_s, time.span_s, time.in_flight / room)
    return Finding(
        slug=SLUG,
        variant="result-in-loop",
        cause=f"{awaited}, so that one of {count} {crew.title} works at a time.",
        lost_core_s=time.idle_core_s,
        lost_share=time.idle_core_s / facts.capacity_core_s,
        confidence=0.9 if waiting else 0.75,
        evidence=tuple(_serial_evidence(crew, time, waiting)),
        remedy=_send_all(crew),
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


def _awaiting(facts: Facts, crew: Crew) -> list[str]:
    """Places of the program where the main thread of the boss waited for a result."""
    return [
        place(where)
        for sample in facts.samples_of(crew.boss)
        if sample.tid == crew.boss.pid and sample.active is not True and work(sample) is None
        if (where := caller(sample)) is not None
    ]


def _gain(wall_s: float, span_s: float, left: float) -> float:
    return wall_s / max(wall_s - span_s + span_s * left, 1e-3)


def _send_all(crew: Crew) -> Remedy:
    if crew.kind == RAY:
        paste = ("references = [task.remote(x) for x in inputs]", "results = ray.get(references)")
    else:
        paste = (
            "futures = [pool.submit(task, x) for x in inputs]",
            "results = [future.result() for future in futures]",
        )
    return Remedy(
        f"Send all tasks first and collect the results afterwards, so that {len(crew.workers)} workers have one"
        " each (multiprocessing: `pool.map`, or `apply_async` for all and `get` afterwards).",
        paste,
        f"Python, where process {crew.boss.pid} hands work out",
    )


def _loops(facts: Facts, process: ProcessFacts) -> Iterator[Finding]:
    samples = [sample for sample in facts.samples_of(process) if has_loop(sample)]
    for thread in process.threads:
        seen = [sample for sample in samples if sample.tid == thread.tid]
        inside = [sample for sample in seen if loop_callback(sample) is not None]
        # Anything but a majority means that the loop does what it should: wait for its files.
        if not inside or _weight(inside) * 2 < _weight(seen):
            continue
        finding = _blocked(facts, process, thread, inside) or _computing(facts, process, thread, inside)
        if finding is not None:
            yield finding


def _weight(samples: list[StackSample]) -> int:
    return sum(sample.samples for sample in samples)


def _lived(facts: Facts, thread: ThreadFacts) -> tuple[float, float]:
    end_s = facts.wall_s if thread.died_s is None else min(thread.died_s, facts.wall_s)
    return thread.born_s, max(end_s, thread.born_s + 1e-9)


def _bins(facts: Facts, thread: ThreadFacts) -> range:
    (from_s, until_s), step_s = _lived(facts, thread), facts.report.timeline.step_s
    return range(int(from_s / step_s), max(int(until_s / step_s + 0.999), 1))


def _blocked(
    facts: Facts, process: ProcessFacts, thread: ThreadFacts, inside: list[StackSample]
) -> Finding | None:
    from_s, until_s = _lived(facts, thread)
    lived_s = until_s - from_s
    blocked_s = sum(thread.doing.get(what, 0.0) for what in _BLOCKING)
    polled_s = thread.doing.get(waits.POLL, 0.0)
    others = (facts.report.cpu.used_core_s - thread.run_s) / max(facts.wall_s, 1e-9)
    where = next((loop_callback(one) for one in inside if one.active is not True), None)
    if (
        where is None
        or blocked_s < _BLOCKED_SHARE * lived_s
        or polled_s > _POLL_SHARE * lived_s
        or others > _OTHERS_CORES
    ):
        return None
    kind = max(_BLOCKING, key=lambda what: thread.doing.get(what, 0.0))
    left = max(1 - blocked_s / facts.wall_s, 1 / _MOST_GAIN)
    lost = idle_core_s(facts, _bins(facts, thread)) * blocked_s / lived_s
    return Finding(
        slug=SLUG,
        variant="blocking-call-in-event-loop",
        cause=f"A blocking call in {place(where)} holds up the event loop of process {process.pid} ({process.role}),"
        f" so that requests are served one after another.",
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=0.85,
        evidence=(
            Evidence(
                f"the thread of the event loop (thread {thread.tid}) was blocked for {blocked_s:.1f} of"
                f" {lived_s:.1f} s, mostly on {waits.LABELS[kind]}",
                blocked_s, "s", process.pid, thread.tid, from_s, until_s,
            ),
            Evidence(
                f"it waited for its sockets, as an idle loop does, for {polled_s:.1f} s",
                polled_s, "s", process.pid, thread.tid,
            ),
            Evidence(
                f"its stack showed {place(where)} beneath the loop's _run_once, blocked",
                float(_weight(inside)), "samples", process.pid, thread.tid,
            ),
        ),
        remedy=_off_the_loop(where.function),
        gain=Gain(
            1 / left,
            f"blocked {blocked_s / lived_s:.0%} of its time, the loop could serve as many requests at once as are"
            f" pending, and threads to wait in: {1 / left:.1f} times or more, if as many are",
            at_least=True,
        ),
        excluded=("an idle service: its loop would wait in epoll, not in a call of its own",),
        explains=("io-bound", "lock-contention"),
    )  # fmt: skip


def _off_the_loop(function: str) -> Remedy:
    name = function.rpartition(".")[2]
    return Remedy(
        f"Take `{name}` off the event loop: run it in a thread, or declare the endpoint `def` so that the framework"
        " does; give the executor as many threads as requests may be pending (the default has cores + 4, at most 32),"
        " or use a client that awaits.",
        (f"result = await asyncio.to_thread({name}, ...)",),
        "Python, in the coroutine",
    )


def _computing(
    facts: Facts, process: ProcessFacts, thread: ThreadFacts, inside: list[StackSample]
) -> Finding | None:
    from_s, until_s = _lived(facts, thread)
    lived_s = until_s - from_s
    room = facts.report.capacity.cores
    where = next((loop_callback(one) for one in inside if one.active is not False), None)
    others = (facts.report.cpu.used_core_s - thread.run_s) / max(facts.wall_s, 1e-9)
    if (
        where is None
        or room < 1.5
        or thread.run_s < _BUSY_SHARE * lived_s
        or thread.doing.get(waits.POLL, 0.0) > _POLL_SHARE * lived_s
        or others > _OTHERS_CORES
    ):
        return None
    lost = idle_core_s(facts, _bins(facts, thread))
    gain = _gain(facts.wall_s, thread.run_s, 1 / room)
    return Finding(
        slug=SLUG,
        variant="cpu-bound-handler",
        cause=f"{place(where)} computes on the event loop of process {process.pid} ({process.role}), which serves"
        " nothing else meanwhile.",
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=0.7 if _weight(inside) < 3 else 0.8,
        evidence=(
            Evidence(
                f"the thread of the event loop (thread {thread.tid}) was on a core for {thread.run_s:.1f} of"
                f" {lived_s:.1f} s and waited for its sockets for {thread.doing.get(waits.POLL, 0.0):.1f} s",
                thread.run_s, "s", process.pid, thread.tid, from_s, until_s,
            ),
            Evidence(
                f"its stack showed {place(where)} beneath the loop's _run_once in {_weight(inside)} samples",
                float(_weight(inside)), "samples", process.pid, thread.tid,
            ),
            Evidence(
                f"{lost:.1f} core-s of capacity were idle at that time", lost, "core-s", None, None, from_s, until_s
            ),
        ),
        remedy=Remedy(
            f"Hand the computation to {room:.0f} processes; threads would not do, they would share one interpreter.",
            (
                f"executor = ProcessPoolExecutor({room:.0f})  # once, beside the loop",
                f"result = await loop.run_in_executor(executor, {where.function.rpartition('.')[2]}, ...)",
            ),
            "Python, in the coroutine",
        ),
        gain=Gain(
            gain,
            f"{thread.run_s:.1f} core-s of work on {room:.0f} cores instead of one, if as many requests are pending",
        ),
        explains=("capped-native-threads",),
    )  # fmt: skip
