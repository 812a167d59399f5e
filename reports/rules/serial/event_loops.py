"""An event loop that is blocked, or computes, inside of one of its own callbacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from corelens.reports.facts import waits
from corelens.reports.facts.code_places import has_loop, loop_callback, place
from corelens.reports.facts.crew_time import idle_core_s
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.stack_samples import StackSample
from corelens.reports.findings import Evidence, Finding, Gain, Remedy
from corelens.reports.rules.serial.crews import faster

# Blocked for half of the time, a loop does half of what it could.
_BLOCKED_SHARE, _POLL_SHARE = 0.5, 0.3
_BUSY_SHARE = 0.7
_MOST_GAIN = 5.0
# While others use the cores, a blocked loop is not what leaves them idle.
_OTHERS_CORES = 0.3
_BLOCKING = (waits.SLEEP, waits.SOCKET, waits.DISK, waits.CHILD, waits.LOCK, waits.PIPE)


def findings(facts: Facts, slug: str) -> Iterator[Finding]:
    """Every event loop that does not wait for its files."""
    for process in facts.processes:
        for finding in _loops(facts, process):
            yield replace(finding, slug=slug)


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
    left = max(1 - blocked_s / facts.wall_s, 1 / _MOST_GAIN)
    lost = idle_core_s(facts, _bins(facts, thread)) * blocked_s / lived_s
    return Finding(
        slug="",
        variant="blocking-call-in-event-loop",
        cause=f"A blocking call in {place(where)} holds up the event loop of process {process.pid} ({process.role}),"
        f" so that requests are served one after another.",
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=0.85,
        evidence=tuple(_blocked_evidence(thread, (from_s, until_s), place(where), _weight(inside))),
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


def _blocked_evidence(
    thread: ThreadFacts, lived: tuple[float, float], where: str, seen: int
) -> Iterator[Evidence]:
    blocked_s = sum(thread.doing.get(what, 0.0) for what in _BLOCKING)
    polled_s = thread.doing.get(waits.POLL, 0.0)
    kind = max(_BLOCKING, key=lambda what: thread.doing.get(what, 0.0))
    yield Evidence(
        f"the thread of the event loop (thread {thread.tid}) was blocked for {blocked_s:.1f} of"
        f" {lived[1] - lived[0]:.1f} s, mostly on {waits.LABELS[kind]}",
        blocked_s, "s", thread.pid, thread.tid, *lived,
    )  # fmt: skip
    yield Evidence(
        f"it waited for its sockets, as an idle loop does, for {polled_s:.1f} s",
        polled_s, "s", thread.pid, thread.tid,
    )  # fmt: skip
    yield Evidence(
        f"its stack showed {where}, blocked, as a callback of the loop",
        float(seen),
        "samples",
        thread.pid,
        thread.tid,
    )


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
    gain = faster(facts.wall_s, thread.run_s, 1 / room)
    return Finding(
        slug="",
        variant="cpu-bound-handler",
        cause=f"{place(where)} computes on the event loop of process {process.pid} ({process.role}), which serves"
        " nothing else meanwhile.",
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=0.7 if _weight(inside) < 3 else 0.8,
        evidence=tuple(_computing_evidence(thread, (from_s, until_s), place(where), _weight(inside), lost)),
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


def _computing_evidence(
    thread: ThreadFacts, lived: tuple[float, float], where: str, seen: int, lost: float
) -> Iterator[Evidence]:
    yield Evidence(
        f"the thread of the event loop (thread {thread.tid}) was on a core for {thread.run_s:.1f} of"
        f" {lived[1] - lived[0]:.1f} s and waited for its sockets for {thread.doing.get(waits.POLL, 0.0):.1f} s",
        thread.run_s, "s", thread.pid, thread.tid, *lived,
    )  # fmt: skip
    yield Evidence(
        f"its stack showed {where} as a callback of the loop in {seen} samples",
        float(seen), "samples", thread.pid, thread.tid,
    )  # fmt: skip
    yield Evidence(
        f"{lost:.1f} core-s of capacity were idle at that time", lost, "core-s", None, None, *lived
    )
