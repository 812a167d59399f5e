"""Python threads that compute take turns on one interpreter lock.

What it sees: one process in which two threads or more want to run Python code at once. The lock is held nearly all
of the time, or it is handed over thousands of times a second; threads are found waiting on its own futex; and cores
stay idle meanwhile. One thread that keeps the lock while threads that talk to files or sockets wait for it is the
third form: the reply is there, and nobody may read it.

Why it costs: only the thread that holds the lock advances. More threads add waiting and switches, never speed: the
process stays at about one core however many there are. A thread in short native calls lets go of the lock at each of
them and has to queue to get it back, which can make several threads slower than one.

What to do: move the computing to processes (`ProcessPoolExecutor`, joblib with loky, several processes that share a
storage), or into native code that lets go of the lock for long. Threads are right for waiting. On a free-threaded
build of Python there is no such lock.

When it is wrong: a process that waits for its lock rarely, or whose cores are all busy, gains nothing. A server
process whose clients are the workers of the same program shows the same convoy, and there the server is the cause.
Waits shorter than the sampling period are seen by chance only, so short recordings say less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from corelens.reports.facts.blocking import alive_s, blocked_in, blocked_together
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.owned import MAIN, PYTHON
from corelens.reports.facts.places import passes_through, samples_of, top_place
from corelens.reports.facts.stretches import (
    Stretch,
    bins,
    busy_core_s,
    capacity_core_s,
    idle_core_s,
    mean,
    shared,
)
from corelens.reports.facts.waits import DISK, PIPE, POLL, SLEEP, SOCKET
from corelens.reports.findings import Evidence, Finding, Gain, Remedy
from corelens.reports.report import Gil

SLUG = "gil-contention"

# A thread that waits less than a tenth of its life for the lock loses less than that by it.
LEAST_WAIT_SHARE = 0.10
# A thread that wants to run for less of its life than this mostly waits for others, as a main thread does.
LEAST_DEMAND_SHARE = 0.25
# With fewer threads waiting on average a third of the time nobody waits, and one core is not the limit.
LEAST_WAITING_THREADS = 0.3
# Threads that let go of the lock half of the time run native code beside each other.
LEAST_HELD_SHARE = 0.5
# One thread that had this part of the held time computes alone; the others only need the lock in passing.
ALONE_SHARE = 0.7
# Contention that lasted shorter than this was met in a few samples only.
LEAST_STRETCH_S = 1.0
BIG_GAIN = 5.0
_IO = (SOCKET, POLL, PIPE, DISK, SLEEP)


@dataclass(frozen=True, slots=True)
class _Seen:
    """One process whose threads fight for the lock."""

    process: ProcessFacts
    gil: Gil
    contenders: tuple[ThreadFacts, ...]
    stretch: Stretch
    variant: str
    held: float
    waited_s: float
    busy_cores: float
    cores: float
    idle_s: float

    @property
    def waiting(self) -> float:
        """Mean number of threads that waited for the lock."""
        return self.waited_s / self.stretch.length_s


def check(facts: Facts) -> Iterator[Finding]:
    """One finding per process whose threads wait for its lock while cores are idle."""
    for gil in facts.report.gil:
        process = facts.process(gil.pid)
        seen = None if process is None or gil.gil == "no" else _seen(facts, process, gil)
        if seen is not None:
            yield _finding(facts, seen)


def _seen(facts: Facts, process: ProcessFacts, gil: Gil) -> _Seen | None:
    wall_s = facts.wall_s
    candidates = [thread for thread in process.threads if thread.owner.kind in (MAIN, PYTHON)]
    holder = _holder(gil, candidates)
    waited_by = {thread: _waited_s(gil, thread, wall_s) for thread in candidates}
    waiting = [thread for thread in candidates if _waits(thread, waited_by[thread], wall_s)]
    if holder is None:
        waiting = [thread for thread in waiting if _computes(thread, waited_by[thread], wall_s)]
    contenders = [*waiting, *([holder] if holder is not None and holder not in waiting else [])]
    spans = [(thread.born_s, thread.born_s + alive_s(thread, wall_s)) for thread in contenders]
    stretch = shared(spans) if waiting else None
    if stretch is None or stretch.length_s < LEAST_STRETCH_S:
        return None
    held = mean(_at(gil.held_share_by_bin, index) for index, _ in bins(facts, stretch)) or 0.0
    variant = _variant(gil, holder, waiting, held, wall_s)
    waited_s = sum(waited_by[thread] for thread in waiting)
    if variant is None or waited_s / stretch.length_s < LEAST_WAITING_THREADS:
        return None
    return _Seen(
        process, gil, tuple(contenders), stretch, variant, held, waited_s,
        busy_cores=busy_core_s(facts, stretch) / stretch.length_s,
        cores=capacity_core_s(facts, stretch) / stretch.length_s,
        idle_s=idle_core_s(facts, stretch),
    )  # fmt: skip


def _at(values: tuple[float | None, ...], index: int) -> float | None:
    return values[index] if index < len(values) else None


def _waited_s(gil: Gil, thread: ThreadFacts, wall_s: float) -> float:
    """Time that a thread waited for the lock; in a convoy its waits are too short for all of them to be met."""
    met_s = thread.doing.get("gil", 0.0)
    return max(met_s, blocked_in(thread, wall_s).get("gil", 0.0)) if gil.pattern == "convoy" else met_s


def _waits(thread: ThreadFacts, waited_s: float, wall_s: float) -> bool:
    return waited_s >= LEAST_WAIT_SHARE * max(alive_s(thread, wall_s), LEAST_STRETCH_S)


def _computes(thread: ThreadFacts, waited_s: float, wall_s: float) -> bool:
    wants_s = thread.wanted_s + waited_s
    return wants_s >= LEAST_DEMAND_SHARE * alive_s(thread, wall_s)


def _holder(gil: Gil, candidates: list[ThreadFacts]) -> ThreadFacts | None:
    """The thread that computes alone under the lock."""
    if gil.busiest_share is None or gil.busiest_share < ALONE_SHARE:
        return None
    return next((thread for thread in candidates if thread.tid == gil.busiest_tid), None)


def _variant(
    gil: Gil, holder: ThreadFacts | None, waiting: list[ThreadFacts], held: float, wall_s: float
) -> str | None:
    if holder is not None:
        starved = [thread for thread in waiting if thread is not holder]
        return "compute-starves-io" if held >= LEAST_HELD_SHARE and _does_io(starved, wall_s) else None
    if len(waiting) < 2:
        return None
    if gil.pattern == "convoy":
        return "native-call-convoy"
    return "pure-python-threads" if held >= LEAST_HELD_SHARE else None


def _does_io(threads: list[ThreadFacts], wall_s: float) -> bool:
    blocked = blocked_together(threads, wall_s)
    return bool(threads) and sum(blocked.get(what, 0.0) for what in _IO) > 0


def _finding(facts: Facts, seen: _Seen) -> Finding:
    lost = _lost(seen)
    return Finding(
        slug=SLUG,
        variant=seen.variant,
        cause=_cause(facts, seen),
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=_confidence(seen),
        evidence=tuple(_evidence(seen)),
        remedy=_remedy(facts, seen),
        gain=_gain(seen),
        against=tuple(_against(seen)),
        excluded=(
            f"native pools: the process used {seen.busy_cores:.2f} cores, so no pool computed beside the lock",
            f"lack of cores: {seen.idle_s:.1f} core-s were idle while threads waited",
        ),
        explains=("serial-dispatch", "load-imbalance", "fine-grained-tasks", "slot-starvation"),
    )


def _lost(seen: _Seen) -> float:
    """Idle cores that a waiting thread could have used; in a convoy the hand-overs themselves too."""
    idle = min(seen.waited_s, seen.idle_s)
    wasted = seen.process.system_s or 0.0
    return idle + (wasted if seen.variant == "native-call-convoy" else 0.0)


def _cause(facts: Facts, seen: _Seen) -> str:
    pid, role = seen.process.pid, seen.process.role
    tids = {thread.tid for thread in seen.contenders}
    place = top_place(samples_of(facts, [seen.process]), tids)
    where = f" in {place}" if place else ""
    count = len(seen.contenders)
    if seen.variant == "compute-starves-io":
        holder = next((t for t in seen.contenders if t.tid == seen.gil.busiest_tid), seen.contenders[0])
        return (
            f"Thread {holder.name or holder.tid} of process {pid} ({role}) computes under the GIL and starves"
            f" {count - 1} threads that do I/O."
        )
    if seen.variant == "native-call-convoy":
        return (
            f"{count} threads of process {pid} ({role}) hand the GIL to each other at every short native call{where}:"
            f" {seen.gil.handoffs_per_s or 0:,.0f} times a second."
        )
    return f"{count} threads of process {pid} ({role}) run Python code{where} and take turns on its GIL."


def _evidence(seen: _Seen) -> Iterator[Evidence]:
    pid, span = seen.process.pid, seen.stretch
    when = span.when
    yield Evidence(
        f"the GIL of process {pid} was held {seen.held:.0%} of the time", seen.held, "share", pid, **when
    )
    yield Evidence(
        f"{seen.waiting:.1f} threads waited for it on average", seen.waiting, "threads", pid, **when
    )
    yield Evidence(
        f"{seen.busy_cores:.2f} of {seen.cores:.1f} cores were busy with {len(seen.contenders)} threads that want one",
        seen.busy_cores, "cores", pid, **when,
    )  # fmt: skip
    if seen.gil.handoffs_per_s is not None:
        rate = seen.gil.handoffs_per_s
        yield Evidence(f"it changed hands {rate:,.0f} times a second", rate, "1/s", pid)


def _confidence(seen: _Seen) -> float:
    """The lock's own reading is proof; only its waiters leave the holder to be guessed."""
    direct = 0.9 if seen.gil.how in ("offsets", "published") else 0.7
    return max(0.1, direct - 0.3 * len(list(_against(seen))))


def _against(seen: _Seen) -> Iterator[Evidence]:
    """Threads short of cores wait for the lock because its holder has none; servers wait for their clients."""
    pid = seen.process.pid
    queue_s = sum(thread.queue_s for thread in seen.contenders)
    if queue_s > seen.waited_s:
        yield Evidence(
            f"the threads waited {queue_s:.1f} s for a core and only {seen.waited_s:.1f} s for the GIL",
            queue_s, "s", pid,
        )  # fmt: skip
    if seen.variant == "native-call-convoy":
        alive = sum(alive_s(thread, seen.stretch.until_s) for thread in seen.contenders)
        served = sum(thread.doing.get(SOCKET, 0.0) for thread in seen.contenders)
        if served > alive / 4:
            yield Evidence(
                f"its threads spent {served:.1f} s in reading sockets: it serves others", served, "s", pid
            )


def _gain(seen: _Seen) -> Gain:
    if seen.variant == "compute-starves-io":
        return _io_gain(seen)
    usable = min(seen.cores, float(len(seen.contenders)))
    share = seen.process.user_share if seen.variant == "native-call-convoy" else 1.0
    useful = max(seen.busy_cores * share, 0.05)
    factor = max(1.0, usable / useful)
    reasoning = (
        f"{usable:.1f} cores can work on what {useful:.2f} cores do now: {len(seen.contenders)} processes on"
        f" {seen.cores:.1f} cores, the work per task as it is"
    )
    if seen.variant == "native-call-convoy":
        reasoning += "; what the hand-overs cost in user time is counted as work, so that it can be more"
    return _capped(factor, reasoning, seen.variant == "native-call-convoy")


def _io_gain(seen: _Seen) -> Gain:
    starved = [thread for thread in seen.contenders if thread.tid != seen.gil.busiest_tid]
    waited = sum(thread.doing.get("gil", 0.0) for thread in starved) / len(starved)
    left = max(seen.stretch.length_s - waited, 0.02 * seen.stretch.length_s)
    return _capped(
        seen.stretch.length_s / left,
        f"each starved thread waited {waited:.1f} of {seen.stretch.length_s:.1f} s for the GIL and can do its I/O then;"
        " the computing takes as long as before, beside it",
        False,
    )


def _capped(factor: float, reasoning: str, at_least: bool) -> Gain:
    if factor > BIG_GAIN:
        return Gain(BIG_GAIN, f"{reasoning}; more than {BIG_GAIN:.0f} times", at_least=True)
    return Gain(factor, reasoning, at_least)


def _remedy(facts: Facts, seen: _Seen) -> Remedy:
    cores = max(2, round(seen.cores))
    if passes_through(samples_of(facts, [seen.process]), "/optuna/"):
        return _optuna(cores, len(seen.contenders))
    if seen.variant == "compute-starves-io":
        return Remedy(
            "Move the computing of that thread to a process, so that the others can have the lock when their I/O is"
            " ready.",
            (
                "from concurrent.futures import ProcessPoolExecutor",
                "pool = ProcessPoolExecutor(max_workers=1)  # once, before the threads start",
                "result = pool.submit(compute, argument).result()",
                "# in a coroutine: await asyncio.get_running_loop().run_in_executor(pool, compute, argument)",
            ),
            "Python, where the computing thread is started",
        )
    return Remedy(
        f"Use {cores} processes instead of {len(seen.contenders)} threads: one for each of the {seen.cores:.0f} cores.",
        (
            "from concurrent.futures import ProcessPoolExecutor",
            f"with ProcessPoolExecutor(max_workers={cores}) as pool:",
            "    results = list(pool.map(task, inputs))",
            f"# with joblib: Parallel(n_jobs={cores}, backend='loky') instead of 'threading'",
        ),
        "Python, in place of the thread pool",
    )


def _optuna(cores: int, jobs: int) -> Remedy:
    return Remedy(
        f"Leave `n_jobs` at 1 and run {cores} processes on one study with a shared storage, each with its part of the"
        f" trials: `n_jobs` starts threads, and {jobs} of them share one GIL.",
        (
            "from optuna.storages import JournalStorage",
            "from optuna.storages.journal import JournalFileBackend",
            "storage = JournalStorage(JournalFileBackend('study.log'))",
            "study = optuna.create_study(study_name='search', storage=storage, load_if_exists=True)",
            f"study.optimize(objective, n_trials=N // {cores})  # the same program, started {cores} times",
        ),
        "Python, in place of study.optimize(..., n_jobs=...)",
    )
