"""What is said of a deadlock: its cause with its place, and what to change, for each form."""

from __future__ import annotations

from corelens.reports.facts import deadlock_forms as forms
from corelens.reports.facts.deadlock_forms import Form
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.standstill import Still
from corelens.reports.facts.wait_chain import Place, movers, where
from corelens.reports.findings import Remedy

_CODE = "Python, where the workers are made"


def cause(facts: Facts, still: Still, found: Form) -> str:
    """One sentence: what waits for what, and where."""
    return f"Nothing has moved since {still.start_s:.1f} s: {_reason(facts, still, found)}."


def _reason(facts: Facts, still: Still, found: Form) -> str:
    first = found.culprits[0]
    pids = sorted({place.pid for place in found.culprits})
    code = _code(*found.culprits)
    match found.variant:
        case forms.FORK_AFTER_OPENMP:
            return (
                f"{_those(pids, 'forked child', 'forked children')}{code} for a thread team of"
                f" {found.library or 'its OpenMP library'} that stayed behind in process {_parent(facts, first)}, which"
                " had used it before the fork"
            )
        case forms.LOCK_HELD_AT_FORK:
            return (
                f"{_those(pids, 'forked child', 'forked children')}{code} for a lock that was held in process"
                f" {_parent(facts, first)} at the moment of the fork; whoever held it does not exist in the child"
            )
        case forms.JOIN_BEFORE_DRAIN:
            writer = found.culprits[1]
            return (
                f"process {first.pid} waits for the end of process {writer.pid}{_at(first)}, and that cannot end before"
                f" process {first.pid} reads the full {writer.what} it writes into{_at(writer)}"
            )
        case forms.BOTH_SIDES_WRITE:
            return (
                f"processes {pids[0]} and {pids[-1]} both write{code} into a connection whose buffers are full, and"
                " each waits for the other to read"
            )
        case forms.WORKER_KILLED:
            return _lost(facts, found)
        case forms.POOL_WAITS_FOR_ITSELF:
            return (
                f"all {len(found.culprits)} workers of a pool in {_process(pids)} wait inside their tasks{code} for"
                " other tasks, which only these workers could run"
            )
        case forms.LOCK_CYCLE:
            return f"{_threads(found.culprits)} take locks{code} that others of them hold, in different order"
        case forms.LOCK_NEVER_RELEASED:
            return (
                f"{_threads(found.culprits)} of {_process(pids)} wait{code} for a lock that nobody will open"
            )
        case forms.QUEUE_NEVER_FILLED:
            others = sorted((movers(first, still.scene) or frozenset()) - {first.pid})
            rest = (
                f"; {_process(others)}, who could write, wait too" if others else "; nobody else could write"
            )
            return f"process {first.pid} waits{_at(first)} for data that never comes{rest}"
        case _:
            return f"{_threads(found.culprits)} of {_process(pids)} wait{code} for each other"


def _lost(facts: Facts, found: Form) -> str:
    dead = found.dead
    assert dead is not None
    how = (
        f"was ended by signal {dead.signal}"
        if dead.signal is not None
        else f"ended with code {dead.exit_code}"
    )
    waiting = next((place for place in found.culprits if place.pid == dead.parent_pid), found.culprits[0])
    return (
        f"worker process {dead.pid} {how} at {dead.died_s or 0:.1f} s, its task was never given to another one, and"
        f" process {waiting.pid} still waits for the result{_at(waiting)}"
    )


def _parent(facts: Facts, place: Place) -> str:
    child = facts.process(place.pid)
    return "of its parent" if child is None or child.parent_pid is None else str(child.parent_pid)


def _those(pids: list[int], one: str, many: str) -> str:
    return f"{one} {pids[0]} waits" if len(pids) == 1 else f"{len(pids)} {many} wait"


def _threads(places: tuple[Place, ...]) -> str:
    return f"thread {places[0].tid}" if len(places) == 1 else f"{len(places)} threads"


def _process(pids: list[int]) -> str:
    return f"process {pids[0]}" if len(pids) == 1 else "processes " + ", ".join(map(str, pids[:4]))


def _code(*places: Place) -> str:
    """Where they wait, in brackets' stead: each place once, two at most."""
    known = list(dict.fromkeys(code for place in places if (code := where(place)) is not None))
    return f" in {' and '.join(known[:2])}" if known else ""


def _at(place: Place) -> str:
    return _code(place)


def remedy(facts: Facts, found: Form) -> Remedy:
    """What to change, and lines to paste."""
    return _REMEDIES[found.variant]


_REMEDIES: dict[str, Remedy] = {
    forms.FORK_AFTER_OPENMP: Remedy(
        "Start the workers without a fork of this process (spawn or forkserver), or let the parent use one native"
        " thread until it has forked.",
        (
            'context = multiprocessing.get_context("spawn")  # or "forkserver"',
            "# then context.Process, context.Pool, ProcessPoolExecutor(mp_context=context),",
            "# DataLoader(multiprocessing_context=context); or, to keep fork, before the first computation:",
            "# OMP_NUM_THREADS=1 in the environment of the parent (torch: torch.set_num_threads(1))",
        ),
        _CODE,
    ),
    forms.LOCK_HELD_AT_FORK: Remedy(
        "Start the workers with spawn or forkserver, which copy no lock; or fork before the first thread is started.",
        (
            'context = multiprocessing.get_context("spawn")  # or "forkserver"',
            "# then context.Process, context.Pool, ProcessPoolExecutor(mp_context=context)",
        ),
        _CODE,
    ),
    forms.JOIN_BEFORE_DRAIN: Remedy(
        "Read everything that the child sends before you join it.",
        ("results = queue.get()  # or connection.recv(); one for each that the child puts", "process.join()"),
        "Python, where the child is joined",
    ),
    forms.BOTH_SIDES_WRITE: Remedy(
        "Let one side read while the other writes: answer only after the request was read, or read in a thread.",
        ("threading.Thread(target=read_all, args=(connection,)).start()", "connection.send(request)"),
        "Python, on one of the two sides",
    ),
    forms.WORKER_KILLED: Remedy(
        "Use an executor that raises when a worker dies (BrokenProcessPool), and find out what ended the worker: for"
        " memory, `dmesg` tells, and fewer workers need less of it.",
        (
            "with concurrent.futures.ProcessPoolExecutor(workers) as executor:",
            "    results = list(executor.map(function, items))  # raises BrokenProcessPool",
            "# with own processes: multiprocessing.connection.wait([queue._reader, *(p.sentinel for p in processes)])",
        ),
        _CODE,
    ),
    forms.POOL_WAITS_FOR_ITSELF: Remedy(
        "Give the inner tasks a pool of their own, or run them directly in the task: a task may not wait for its"
        " own pool.",
        (
            "inner = ThreadPoolExecutor(workers)  # beside the outer one",
            "results = inner.map(function, items)",
        ),
        "Python, where the task submits tasks",
    ),
    forms.LOCK_CYCLE: Remedy(
        "Take the locks in one order everywhere, or hold one lock only.",
        (
            "for lock in sorted((first, second), key=id):  # processes: by a fixed number instead",
            "    lock.acquire()",
        ),
        "Python, where two locks are taken",
    ),
    forms.LOCK_NEVER_RELEASED: Remedy(
        "Release the lock on every way out (`with lock:`), and use an RLock where its holder takes it again.",
        ("lock = threading.RLock()  # or multiprocessing.RLock()", "with lock:", "    ..."),
        "Python, where the lock is made and taken",
    ),
    forms.QUEUE_NEVER_FILLED: Remedy(
        "Make sure that whoever fills the queue ends it too (one sentinel for each reader), and that readers notice"
        " when its writers have ended.",
        ("queue.put(None)  # by the writer, once for each reader", "item = queue.get(timeout=60)"),
        "Python, at both ends of the queue",
    ),
    forms.WAITS_FOR_NOBODY: Remedy(
        "Look at the chain of waits: one of these threads must go on without the others, or give up after a time.",
        ("done = event.wait(timeout=60)  # and say what was waited for when it was not",),
        "Python, where the chain begins",
    ),
}
