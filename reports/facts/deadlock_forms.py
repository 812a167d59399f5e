"""Which form a deadlock has: what made the wait endless, told from who waits where and from what happened before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from signal import SIGTERM

from corelens.reports.facts import waits
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.owned import OPENMP_GNU, OPENMP_INTEL, OPENMP_LLVM, PYTHON_HELPER
from corelens.reports.facts.standstill import Still
from corelens.reports.facts.wait_chain import OUT, Place, begun_here, is_library, movers, own_frame

FORK_AFTER_OPENMP = "fork-after-openmp"
LOCK_HELD_AT_FORK = "lock-held-at-fork"
JOIN_BEFORE_DRAIN = "join-before-drain"
BOTH_SIDES_WRITE = "both-sides-write"
WORKER_KILLED = "worker-killed-task-lost"
POOL_WAITS_FOR_ITSELF = "pool-waits-for-itself"
LOCK_CYCLE = "lock-cycle"
LOCK_NEVER_RELEASED = "lock-never-released"
QUEUE_NEVER_FILLED = "queue-never-filled"
WAITS_FOR_NOBODY = "waits-for-nobody"

_OPENMP = frozenset({OPENMP_GNU, OPENMP_LLVM, OPENMP_INTEL})
_OPENMP_FILES = ("libgomp", "libomp", "libiomp")
# A child is seen at the round after its birth, and so are the threads that were made just before it.
_ROUND_S = 0.5
# Loops that hand tasks to the workers of a pool; a stack that goes on below them runs a task.
_LOOPS = (
    ("concurrent/futures/thread.py", "_worker"),
    ("concurrent/futures/process.py", "_process_worker"),
    ("multiprocessing/pool.py", "worker"),
)
_TAKES = frozenset({"__enter__", "acquire"})


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a deadlock, the waits that make it, and what else shows it."""

    variant: str
    culprits: tuple[Place, ...]
    """The waits that cannot end, the telling ones first."""
    dead: ProcessFacts | None = None
    """Worker whose end took its task away."""
    library: str | None = None
    """Native library whose threads a fork left behind."""
    direct: bool = True
    """Whether the reading itself shows this form; False: it is what is left when the others are ruled out."""


def form(facts: Facts, still: Still) -> Form:
    """The first form that the standstill shows, the most specific first."""
    return next(_forms(facts, still))


def _forms(facts: Facts, still: Still) -> Iterator[Form]:
    yield from _after_fork(facts, still)
    yield from _full_pipes(still)
    yield from _own_pool(still)
    yield from _cycle(still)
    yield from _lost_task(facts, still)
    yield from _never_released(still)
    yield _rest(still)


# forks


def _after_fork(facts: Facts, still: Still) -> Iterator[Form]:
    """Children that wait for a thread that the fork did not take along."""
    lonely = [
        (place, child, parent)
        for place in still.stuck
        for child, parent in [_family(facts, still, place.pid)]
        if child is not None and parent is not None and _waits_alone(still, place, child)
    ]
    if not lonely:
        return
    first, child, parent = lonely[0]
    left_behind = _team_of(parent, child)
    places = tuple(place for place, _, _ in lonely)
    if _is_openmp(first, left_behind):
        yield Form(FORK_AFTER_OPENMP, places, library=_library(first, left_behind))
    else:
        yield Form(LOCK_HELD_AT_FORK, places)


def _family(facts: Facts, still: Still, pid: int) -> tuple[ProcessFacts | None, ProcessFacts | None]:
    """A process that was forked without executing another program, and its parent."""
    child = next((process for process in facts.processes if process.life is still.lives.get(pid)), None)
    parent = None if child is None or child.parent_pid is None else facts.process(child.parent_pid)
    forked = child is not None and parent is not None and child.life.argv == parent.life.argv
    return (child, parent) if forked else (None, None)


def _waits_alone(still: Still, place: Place, child: ProcessFacts) -> bool:
    """Whether a thread waits for a lock in its own memory, and every other thread there is one of plumbing."""
    if place.what != waits.LOCK or place.address is None or place.shared or place.plumbing:
        return False
    others = {thread.tid: thread for thread in child.threads if thread.tid != place.tid}
    there = [one for one in still.scene.of(place.pid) if one.tid != place.tid]
    return not _waits_for_thread(place) and all(
        one.what == waits.POOL or one.plumbing or _is_helper(others.get(one.tid)) for one in there
    )


def _waits_for_thread(place: Place) -> bool:
    """Whether it joins a thread: that one is the reason then."""
    return any(
        frame.function in ("Thread.join", "join") and frame.file.endswith("threading.py")
        for frame in place.stack
    )


def _is_helper(thread: ThreadFacts | None) -> bool:
    return thread is not None and thread.owner.kind == PYTHON_HELPER


def _team_of(parent: ProcessFacts, child: ProcessFacts) -> ThreadFacts | None:
    """A thread of an OpenMP team of the parent that was there when it forked the child."""
    return next(
        (
            thread
            for thread in parent.threads
            if thread.owner.kind in _OPENMP
            and thread.born_s <= child.born_s + _ROUND_S
            and (thread.died_s is None or thread.died_s >= child.born_s)
        ),
        None,
    )


def _is_openmp(place: Place, left_behind: ThreadFacts | None) -> bool:
    """Whether it waits for an OpenMP team: its library made the call, or somebody did whose team was left behind."""
    if place.module is not None:
        # On x86 libgomp makes its calls itself. Where it has libc make them this is told as a held lock: the remedy is
        # the same.
        return place.module.rpartition("/")[2].startswith(_OPENMP_FILES)
    return left_behind is not None and not _takes_in_library(place)


def _takes_in_library(place: Place) -> bool:
    """Whether a lock of the standard library is taken, which no native team uses."""
    return bool(place.stack) and is_library(place.stack[-1].file)


def _library(place: Place, left_behind: ThreadFacts | None) -> str | None:
    name = (place.module or "").rpartition("/")[2]
    if left_behind is not None:
        return left_behind.owner.label
    return name if name.startswith(_OPENMP_FILES) else None


# pipes


def _full_pipes(still: Still) -> Iterator[Form]:
    """A process that waits for the end of one that waits for it to read; or two that write to each other."""
    writers = [place for place in still.stuck if _writes(place)]
    for writer in writers:
        readers = movers(writer, still.scene) or frozenset()
        for place in still.stuck:
            if place.pid != writer.pid and place.pid in readers and _waits_for_end(place, writer, still):
                yield Form(JOIN_BEFORE_DRAIN, (place, writer))
    for one in writers:
        for other in writers:
            if one.pid < other.pid and one.pid in _of(other, still) and other.pid in _of(one, still):
                yield Form(BOTH_SIDES_WRITE, (one, other))


def _writes(place: Place) -> bool:
    directions = {direction for direction, _ in place.waits_for or ()}
    return place.what in (waits.PIPE, waits.SOCKET) and (
        place.call.startswith(("write", "send", "pwrite")) or directions == {OUT}
    )


def _waits_for_end(place: Place, writer: Place, still: Still) -> bool:
    joins = place.what == waits.CHILD or any(
        frame.function.endswith(("Process.join", "Popen.wait")) for frame in place.stack
    )
    return joins and writer.pid in _of(place, still)


def _of(place: Place, still: Still) -> frozenset[int]:
    return movers(place, still.scene) or frozenset()


# workers


def _lost_task(facts: Facts, still: Still) -> Iterator[Form]:
    """A worker that was ended from outside, or failed, before everything stopped, while its parent waits."""
    killed = [
        process
        for process in facts.processes
        if process.died_s is not None
        and process.died_s <= still.start_s + _ROUND_S
        and process.parent_pid in still.lives
        and (process.signal is not None or process.exit_code not in (0, None))
    ]
    waiting = [place for place in still.stuck if not place.plumbing and place.what != waits.POOL]
    if not killed or not waiting:
        return
    # Somebody whom a signal ended had no chance to say so.
    dead = max(killed, key=lambda process: (process.signal is not None, process.died_s or 0.0))
    parent = [place for place in waiting if place.pid == dead.parent_pid]
    others = [place for place in waiting if place.pid != dead.parent_pid]
    if parent:
        # A SIGTERM is how programs end their own children.
        yield Form(WORKER_KILLED, (*parent, *others), dead=dead, direct=dead.signal not in (None, SIGTERM))


# locks


def _own_pool(still: Still) -> Iterator[Form]:
    """Workers of a pool that wait, inside their tasks, for what only a worker of the pool could do."""
    inside = [place for place in still.stuck if _task_frames(place) and not _takes_lock(place)]
    if inside and all(place.what in (waits.LOCK, waits.PIPE, waits.POLL) for place in inside):
        yield Form(POOL_WAITS_FOR_ITSELF, tuple(inside))


def _task_frames(place: Place) -> bool:
    """Whether the thread runs a task of a pool: its stack goes on in the program's code below the pool's loop."""
    for position, frame in enumerate(place.stack):
        if any(frame.file.endswith(file) and frame.function == name for file, name in _LOOPS):
            return own_frame(place.stack[position + 1 :]) is not None
    return False


def _takes_lock(place: Place) -> bool:
    """Whether the code of the program itself takes a lock: `with lock`, and not a wait inside a library."""
    if not place.stack:
        return False
    last, caller = place.stack[-1], place.stack[-2:-1]
    # The locks of multiprocessing and Condition are Python code; a queue that takes its own is not meant.
    through = last.function.rpartition(".")[2] in _TAKES and caller and not is_library(caller[0].file)
    return not is_library(last.file) or bool(through)


def _cycle(still: Still) -> Iterator[Form]:
    """Threads or processes that each take a lock which another holds."""
    taking = _taking(still)
    if len({_lock(place) for place in taking}) >= 2:
        yield Form(LOCK_CYCLE, taking)


def _never_released(still: Still) -> Iterator[Form]:
    """One lock, which its holder does not open: it has ended, or it is the one that waits."""
    taking = _taking(still)
    if taking:
        yield Form(LOCK_NEVER_RELEASED, taking)


def _taking(still: Still) -> tuple[Place, ...]:
    return tuple(place for place in still.stuck if place.what == waits.LOCK and _takes_lock(place))


def _lock(place: Place) -> object:
    """The lock as its memory tells it: in shared memory it has one name in all processes."""
    return place.waits_for if place.waits_for is not None else (place.pid, place.address)


def _rest(still: Still) -> Form:
    active = [place for place in still.stuck if not place.plumbing and place.what != waits.POOL]
    main = sorted(
        active or still.stuck, key=lambda place: (place.pid not in _roots(still), place.pid != place.tid)
    )
    reads = [place for place in main if place.what == waits.PIPE or _gets(place)]
    if reads:
        return Form(QUEUE_NEVER_FILLED, tuple(reads), direct=False)
    return Form(WAITS_FOR_NOBODY, tuple(main), direct=False)


def _roots(still: Still) -> frozenset[int]:
    return frozenset(pid for pid, parent in still.scene.parents.items() if parent is None)


def _gets(place: Place) -> bool:
    return any(frame.function in ("get", "Queue.get", "SimpleQueue.get") for frame in begun_here(place.stack))
