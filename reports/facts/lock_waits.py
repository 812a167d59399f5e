"""Who queues for what: threads behind one lock, file lock, busy handler, server process or actor.

Waiting for work looks like waiting for a lock: the workers of a pool queue for the lock of its task queue. Two things
tell them apart: in a pool one of them reads the pipe of the queue meanwhile, and the stack of the others ends in
the queue and not in the program.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from corelens.reports.facts.blocking import alive_s, blocked_in
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.owned import MAIN, PYTHON
from corelens.reports.facts.stack_samples import DUMP, StackSample
from corelens.reports.facts.stretches import Stretch, bins, shared
from corelens.reports.facts.waits import DISK, LOCK, PIPE, POLL, SLEEP, SOCKET
from corelens.reports.report import Lock

# Who waits for less than a fifth of its life loses less than that by it.
LEAST_SHARE = 0.20
# Where the contenders together read for half of the time, one of them always waits for work: a queue.
QUEUE_READS = 0.5
LEAST_STRETCH_S = 1.0
# A busy handler sleeps while somebody else works: together they use one core, and hardly ever more than one.
ONE_AT_A_TIME = (0.6, 1.25)
MORE_THAN_ONE = 1.25
RARELY = 0.20
# A client of a server process that answers in microseconds blocks at least so often.
CLIENT_SWITCHES_PER_S = 200.0
SERVER_BUSY = 0.5

_FILE_LOCKS = ("flock", "fcntl")
_WAITS_FOR_WORK = (
    "/queue.py", "/threading.py", "/selectors.py", "/multiprocessing/queues.py", "/multiprocessing/connection.py",
    "/multiprocessing/pool.py", "/concurrent/futures/thread.py", "/concurrent/futures/process.py",
    "/concurrent/futures/_base.py",
)  # fmt: skip
_LOCK_FRAMES = ("/multiprocessing/synchronize.py",)


@dataclass(frozen=True, slots=True)
class Queueing:
    """Threads that queue for one thing."""

    threads: tuple[ThreadFacts, ...]
    stretch: Stretch
    waited_s: float
    """Time that they queued, added up."""
    run_s: float
    """Time that they were on a core, within the stretch."""

    @property
    def pids(self) -> tuple[int, ...]:
        """Their processes."""
        return tuple(sorted({thread.pid for thread in self.threads}))

    @property
    def busy_cores(self) -> float:
        """How many of them ran at a time."""
        return self.run_s / self.stretch.length_s


def python_threads(facts: Facts) -> tuple[ThreadFacts, ...]:
    """Threads that run the program's own Python code, those of services left out."""
    return tuple(
        thread
        for thread in facts.threads
        if thread.owner.kind in (MAIN, PYTHON) and thread.role not in ("resource-tracker", "ray-service")
    )


def behind_lock(facts: Facts, lock: Lock) -> Queueing | None:
    """Threads that queue for a place in memory; None where they wait for work, or do not fit what waited there."""
    threads = [
        thread
        for thread in python_threads(facts)
        if thread.pid in lock.pids and _mostly(thread, facts.wall_s, thread.doing.get(LOCK, 0.0))
    ]
    found = _queueing(facts, [thread for thread in threads if _works(thread, facts.wall_s)], (LOCK,))
    if found is None or lock.blocked_s < found.waited_s / 2:
        return None
    return None if _reads_together_s(facts, found) >= QUEUE_READS * found.stretch.length_s else found


def _reads_together_s(facts: Facts, found: Queueing) -> float:
    """Time that they, or workers like them, were reading: of the workers of a pool one holds the lock and reads."""
    roles = {thread.role for thread in found.threads} if len(found.pids) > 1 else set[str]()
    alike = [
        t for t in python_threads(facts) if t.tid == t.pid and t.role in roles and t not in found.threads
    ]
    return sum(t.doing.get(what, 0.0) for t in (*found.threads, *alike) for what in (PIPE, SOCKET, POLL))


def behind_file_lock(facts: Facts) -> Queueing | None:
    """Threads that wait in flock or fcntl."""
    threads = [
        thread for thread in python_threads(facts) if _mostly(thread, facts.wall_s, in_file_lock_s(thread))
    ]
    found = _queueing(facts, threads, ())
    if found is None:
        return None
    waited_s = sum(in_file_lock_s(thread) for thread in found.threads)
    return Queueing(found.threads, found.stretch, waited_s, found.run_s)


def in_file_lock_s(thread: ThreadFacts) -> float:
    """Time that it was blocked in a call that locks a file."""
    return sum(spent for (call, _), spent in thread.calls.items() if call in _FILE_LOCKS)


def behind_busy_handler(facts: Facts) -> Queueing | None:
    """Threads that sleep and try again while one of them has what they want, and that write to disk.

    SQLite's busy handler and lock files are waited for in that way: nothing in the kernel says so, but of all of them
    one works at a time.
    """
    writers = [
        thread
        for thread in python_threads(facts)
        if _writes(facts, thread) and thread.wanted_s >= 0.02 * alive_s(thread, facts.wall_s)
    ]
    sleepers = [t for t in writers if _mostly(t, facts.wall_s, t.doing.get(SLEEP, 0.0))]
    if len(sleepers) < 2:
        return None
    found = _queueing(facts, [thread for thread in writers if _alike(thread, sleepers)], (SLEEP,))
    return found if found is not None and takes_turns(facts, found) else None


def takes_turns(facts: Facts, found: Queueing) -> bool:
    """Whether one of the threads worked at a time, on a core or in the disk."""
    disk_s = sum(blocked_in(thread, facts.wall_s).get(DISK, 0.0) for thread in found.threads)
    working = (found.run_s + disk_s) / found.stretch.length_s
    return ONE_AT_A_TIME[0] <= working <= ONE_AT_A_TIME[1] and crowded_share(facts, found) <= RARELY


def crowded_share(facts: Facts, found: Queueing) -> float:
    """Part of the stretch in which clearly more than one of them was on a core."""
    step_s = facts.report.timeline.step_s
    inside = [index for index, _ in bins(facts, found.stretch)]
    crowded = sum(
        sum(thread.run_s_by_bin.get(index, 0.0) for thread in found.threads) > MORE_THAN_ONE * step_s
        for index in inside
    )
    return crowded / len(inside) if inside else 0.0


def _alike(thread: ThreadFacts, sleepers: Iterable[ThreadFacts]) -> bool:
    """Whoever never had to sleep belongs to them: it always got what the others wanted."""
    return any(
        thread is other or (thread.role == other.role and thread.pid != other.pid) or thread.pid == other.pid
        for other in sleepers
    )


def _writes(facts: Facts, thread: ThreadFacts) -> bool:
    process = facts.process(thread.pid)
    synced = any(call in ("fsync", "fdatasync") for call, _ in thread.calls)
    return synced or (process is not None and bool(process.write_bytes) and thread.tid == thread.pid)


def _mostly(thread: ThreadFacts, wall_s: float, spent_s: float) -> bool:
    return spent_s >= LEAST_SHARE * max(alive_s(thread, wall_s), LEAST_STRETCH_S)


def _works(thread: ThreadFacts, wall_s: float) -> bool:
    """A main thread that waits for the others in a join wants no core."""
    return thread.wanted_s >= 0.05 * alive_s(thread, wall_s)


def _queueing(facts: Facts, threads: list[ThreadFacts], waits: tuple[str, ...]) -> Queueing | None:
    spans = [(thread.born_s, thread.born_s + alive_s(thread, facts.wall_s)) for thread in threads]
    stretch = shared(spans)
    if stretch is None or stretch.length_s < LEAST_STRETCH_S:
        return None
    waited_s = sum(thread.doing.get(what, 0.0) for thread in threads for what in waits)
    step_s = facts.report.timeline.step_s
    inside = {index: part / step_s for index, part in bins(facts, stretch)}
    run_s = sum(t.run_s_by_bin.get(index, 0.0) * part for t in threads for index, part in inside.items())
    return Queueing(tuple(threads), stretch, waited_s, run_s)


@dataclass(frozen=True, slots=True)
class Stacks:
    """What stacks of waiting threads say: that they wait for work, or that they want something in the program."""

    for_work: int
    in_program: int


def waiting_stacks(facts: Facts, found: Queueing) -> Stacks:
    """Stacks of threads that were idle when py-spy looked."""
    members = {(thread.pid, thread.tid) for thread in found.threads}
    idle = [
        sample
        for sample in facts.samples
        if sample.how == DUMP
        and sample.active is False
        and sample.life is not None
        and (sample.life.pid, sample.tid) in members
    ]
    for_work = sum(waits_for_work(sample) for sample in idle)
    return Stacks(for_work, len(idle) - for_work)


def waits_for_work(sample: StackSample) -> bool:
    """Whether its stack ends where threads wait for work or for each other, and not for a lock of the program."""
    frames = [frame for frame in sample.frames if not frame.file.endswith(_LOCK_FRAMES)]
    if any(frame.function.startswith(("Semaphore.", "BoundedSemaphore.")) for frame in frames[-2:]):
        return False
    return bool(frames) and frames[-1].file.endswith(_WAITS_FOR_WORK)


@dataclass(frozen=True, slots=True)
class Served:
    """A process that answers others, which can do nothing until it does."""

    server: ProcessFacts
    clients: tuple[ProcessFacts, ...]
    stretch: Stretch
    waited_s: float
    """Time that clients were blocked in reading its answers, added up."""
    busy: float
    """Cores that it used."""


def served(facts: Facts) -> Served | None:
    """The process that the others wait for at every step, where there is one."""
    for server in facts.processes:
        found = _served(facts, server)
        if found is not None:
            return found
    return None


def _served(facts: Facts, server: ProcessFacts) -> Served | None:
    readers = [
        thread for thread in server.threads if thread.owner.kind in (MAIN, PYTHON) and _reads_s(thread) > 0
    ]
    if len(readers) < 2:
        return None
    clients = [other for other in facts.processes if other is not server and _is_client(facts, other)]
    spans = [(c.born_s, facts.wall_s if c.died_s is None else c.died_s) for c in clients]
    stretch = shared(spans)
    if stretch is None or stretch.length_s < LEAST_STRETCH_S or len(readers) < len(clients):
        return None
    waited_s = sum(_reads_s(thread) for client in clients for thread in client.threads)
    busy = server.run_s / stretch.length_s
    wanted = (server.run_s + server.queue_s) / stretch.length_s
    return Served(server, tuple(clients), stretch, waited_s, busy) if wanted >= SERVER_BUSY else None


def _reads_s(thread: ThreadFacts) -> float:
    return sum(
        spent
        for (call, file), spent in thread.calls.items()
        if file in ("socket", "pipe") and call in ("read", "recvfrom", "recvmsg", "readv")
    )


def _is_client(facts: Facts, process: ProcessFacts) -> bool:
    for thread in process.threads:
        alive = alive_s(thread, facts.wall_s)
        if alive < LEAST_STRETCH_S or thread.owner.kind not in (MAIN, PYTHON):
            continue
        often = (thread.voluntary or 0) / alive >= CLIENT_SWITCHES_PER_S
        if often and _mostly(thread, facts.wall_s, _reads_s(thread)):
            return True
    return False


@dataclass(frozen=True, slots=True)
class ActorQueue:
    """A Ray actor through which everything goes, one call after the other."""

    actor: ProcessFacts
    name: str
    stretch: Stretch
    busy: float
    blocked_workers: tuple[ProcessFacts, ...]
    """Ray workers that wait for its answers."""


def actor_queue(facts: Facts) -> ActorQueue | None:
    """The Ray actor that works for others which wait, where one does."""
    workers = [process for process in facts.processes if process.role == "ray-worker"]
    for actor in workers:
        name = _actor_name(actor)
        span = busy_span(facts, actor)
        if name is None or span is None or span.length_s < LEAST_STRETCH_S:
            continue
        busy = min(1.0, actor.run_s / span.length_s)
        if busy >= SERVER_BUSY:
            waiting = tuple(other for other in workers if other is not actor and _blocked(facts, other))
            return ActorQueue(actor, name, span, busy, waiting)
    return None


def busy_span(facts: Facts, process: ProcessFacts) -> Stretch | None:
    """From the first to the last bin in which it used most of a core."""
    step_s = facts.report.timeline.step_s
    used: dict[int, float] = {}
    for thread in process.threads:
        for index, spent in thread.run_s_by_bin.items():
            used[index] = used.get(index, 0.0) + spent
    busy = [index for index, spent in used.items() if spent >= 0.5 * step_s]
    return Stretch(min(busy) * step_s, min((max(busy) + 1) * step_s, facts.wall_s)) if busy else None


def _actor_name(process: ProcessFacts) -> str | None:
    """Ray writes the class and the method of an actor into the title of its process."""
    for title in sorted(process.life.titles):
        if title.startswith("ray::") and "." in title:
            return title.removeprefix("ray::").partition(".")[0]
    return None


def _blocked(facts: Facts, process: ProcessFacts) -> bool:
    main = next((thread for thread in process.threads if thread.tid == process.pid), None)
    return main is not None and _mostly(main, facts.wall_s, main.doing.get(LOCK, 0.0))
