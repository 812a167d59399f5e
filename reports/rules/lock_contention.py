"""Workers queue for one lock, one database, one server process or one actor.

What it sees: several workers that want to go on and may not. Threads or processes are found waiting on one futex of
the program (a `threading.Lock`, or one in memory that processes share); they wait in `flock` or `fcntl`; they sleep
and try again while exactly one of them works, which is how SQLite waits for its write lock; they are blocked in
reading the answers of one server process, such as that of `multiprocessing.Manager`; or all calls go to one Ray
actor. Meanwhile cores are idle, or busy with passing messages.

Why it costs: what is done under the lock is done by one at a time, so that its share of the work bounds the speed-up,
however many workers there are. An access to a manager is two messages, two switches and a turn of the manager's own
interpreter lock: tens of microseconds for what a dict does in a tenth of one.

What to do: keep results local and merge them at the end; do the work before the lock is taken and hold it for
the write alone; give each worker its own file, table or shard; use a store that is made for concurrent writers.

When it is wrong: workers of a pool that have nothing to do queue for the lock of its task queue, which is no
contention and is left out where one of them reads the queue, or where their stacks end in it. A lock that is
waited for rarely is left out as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.blocking import blocked_in
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.lock_waits import (
    ActorQueue,
    Queueing,
    Served,
    actor_queue,
    behind_busy_handler,
    behind_file_lock,
    behind_lock,
    crowded_share,
    served,
    waiting_stacks,
)
from corelens.reports.facts.places import passes_through, samples_of, top_place
from corelens.reports.facts.stretches import Stretch, capacity_core_s, idle_core_s
from corelens.reports.facts.waits import DISK
from corelens.reports.findings import Evidence, Finding, Gain, Remedy
from corelens.reports.report import Lock

SLUG = "lock-contention"
BIG_GAIN = 5.0
# Locks that cost less than a fiftieth are not worth a line.
LEAST_LOST_SHARE = 0.02
_EXPLAINS = (
    "gil-contention", "io-bound", "serial-dispatch", "load-imbalance", "fine-grained-tasks", "slow-producer",
    "process-oversubscription", "slot-starvation", "data-transfer",
)  # fmt: skip


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding per kind of queue."""
    found = served(facts)
    if found is not None:
        yield _of_server(facts, found)
    yield from _of_files(facts)
    for lock in facts.report.locks:
        queue = None if lock.pattern == "team" else behind_lock(facts, lock)
        finding = None if queue is None else _of_lock(facts, lock, queue)
        if finding is not None and finding.lost_share >= LEAST_LOST_SHARE:
            yield finding
            break
    calls = actor_queue(facts)
    if calls is not None:
        yield _of_actor(facts, calls)


def _of_files(facts: Facts) -> Iterator[Finding]:
    queue = behind_file_lock(facts)
    if queue is not None:
        yield _queued(facts, queue, "file-lock", _file_words(queue), _FILE_REMEDY, 0.9)
        return
    queue = behind_busy_handler(facts)
    if queue is not None:
        yield _queued(facts, queue, "sqlite-write-lock", _busy_words(queue), _busy_remedy(facts, queue), 0.75)


def _file_words(queue: Queueing) -> tuple[str, str]:
    return (
        f"{len(queue.threads)} workers queue for a lock on a file (flock or fcntl), so that one works at a time.",
        f"{len(queue.threads)} threads in {len(queue.pids)} processes waited {queue.waited_s:.1f} s in flock or fcntl",
    )


def _busy_words(queue: Queueing) -> tuple[str, str]:
    return (
        f"{len(queue.threads)} workers take turns at one write lock: who does not have it sleeps and tries again, as"
        " SQLite's busy handler does.",
        f"{len(queue.threads)} threads in {len(queue.pids)} processes slept {queue.waited_s:.1f} s between attempts",
    )


_FILE_REMEDY = Remedy(
    "Hold the file lock for the write alone, or let every worker write to a file of its own and join them at the end.",
    (
        "result = compute(item)  # without the lock",
        "with open(f'results.{os.getpid()}.jsonl', 'a') as own:  # one file per worker needs no lock",
        "    own.write(json.dumps(result) + '\\n')",
    ),
    "Python, in the worker",
)


def _busy_remedy(facts: Facts, queue: Queueing) -> Remedy:
    processes = [process for process in facts.processes if process.pid in queue.pids]
    if passes_through(samples_of(facts, processes), "/optuna/"):
        return Remedy(
            f"Give the {len(queue.pids)} workers a storage that is made for several writers: JournalStorage on one"
            " machine, PostgreSQL or MySQL across machines.",
            (
                "from optuna.storages import JournalStorage",
                "from optuna.storages.journal import JournalFileBackend",
                "storage = JournalStorage(JournalFileBackend('study.log'))",
            ),
            "Python, in place of storage='sqlite:///…'",
        )
    return Remedy(
        "Compute before the transaction begins and keep it as short as the write; in WAL mode readers no longer wait"
        " for the writer, and a commit costs one sync instead of two or three.",
        (
            "db.execute('PRAGMA journal_mode=WAL'); db.execute('PRAGMA synchronous=NORMAL')",
            "value = compute(item)             # before BEGIN",
            "db.execute('BEGIN IMMEDIATE'); db.execute('INSERT …', value); db.execute('COMMIT')",
        ),
        "Python, in the worker",
    )


def _of_lock(facts: Facts, lock: Lock, queue: Queueing) -> Finding | None:
    stacks = waiting_stacks(facts, queue)
    if stacks.for_work > stacks.in_program:
        return None
    across = lock.shared and len(lock.pids) > 1
    processes = [process for process in facts.processes if process.pid in lock.pids]
    place = top_place(s for s in samples_of(facts, processes) if s.active is False and s.life is not None)
    where = f"; they are met in {place}" if place and stacks.in_program else ""
    who = f"{len(queue.threads)} {'processes' if across else 'threads'}"
    words = (
        f"{who} queue for one lock at {lock.address:#x} in process {next(iter(lock.pids), '?')}{where}.",
        f"{lock.waiters_mean:.1f} threads waited for it while anybody did, {queue.waited_s:.1f} s in all",
    )
    confidence = 0.85 if stacks.in_program else 0.6 if across else 0.5
    remedy = Remedy(
        f"Do the work without the lock and take it for the shared update alone, or give each of the {who} its own part"
        " and merge the parts at the end.",
        ("part = compute(item)        # outside", "with lock:", "    shared.update(part)     # short"),
        "Python, where the lock is taken",
    )
    return _queued(
        facts, queue, "shared-memory-lock" if across else "threading-lock", words, remedy, confidence
    )


def _queued(
    facts: Facts, queue: Queueing, variant: str, words: tuple[str, str], remedy: Remedy, confidence: float
) -> Finding:
    crowded = crowded_share(facts, queue)
    against = tuple(_turns_against(queue, crowded))
    lost = min(idle_core_s(facts, queue.stretch), queue.waited_s)
    return Finding(
        slug=SLUG,
        variant=variant,
        cause=words[0],
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=max(0.1, confidence + (0.1 if crowded < 0.05 else 0.0) - 0.15 * len(against)),
        evidence=tuple(_queue_evidence(facts, queue, words[1], crowded)),
        remedy=remedy,
        gain=_queue_gain(facts, queue),
        against=against,
        excluded=(
            "waiting for work: no worker was reading its task queue while the others waited",
            f"lack of cores: {sum(thread.queue_s for thread in queue.threads):.1f} s of run-queue wait in all",
        ),
        explains=_EXPLAINS,
    )


def _queue_evidence(facts: Facts, queue: Queueing, waited: str, crowded: float) -> Iterator[Evidence]:
    span = queue.stretch
    when = span.when
    yield Evidence(waited, queue.waited_s, "s", **when)
    yield Evidence(
        f"the {len(queue.threads)} of them used {queue.busy_cores:.2f} cores together",
        queue.busy_cores, "cores", **when,
    )  # fmt: skip
    idle = idle_core_s(facts, span) / span.length_s
    yield Evidence(f"{idle:.2f} cores were idle meanwhile", idle, "cores", **when)
    yield Evidence(
        f"more than one of them was on a core in {crowded:.0%} of that time", crowded, "share", **when
    )


def _turns_against(queue: Queueing, crowded: float) -> Iterator[Evidence]:
    if crowded > 0.5:
        yield Evidence(
            f"more than one of them ran in {crowded:.0%} of the time: the lock is held for a part of the work",
            crowded, "share",
        )  # fmt: skip


def _queue_gain(facts: Facts, queue: Queueing) -> Gain:
    """What they computed on all cores that they could use; the disk stays as it is."""
    span = queue.stretch
    usable = min(capacity_core_s(facts, span) / span.length_s, float(len(queue.threads)))
    disk_s = sum(blocked_in(thread, facts.wall_s).get(DISK, 0.0) for thread in queue.threads)
    then_s = max(queue.run_s / usable, min(disk_s, span.length_s) if disk_s > queue.run_s else 0.0, 0.01)
    return _capped(
        span.length_s / then_s,
        f"the {queue.run_s:.1f} core-s of work that took {span.length_s:.1f} s one after the other, on {usable:.1f}"
        f" cores",
    )


def _capped(factor: float, reasoning: str) -> Gain:
    if factor > BIG_GAIN:
        return Gain(BIG_GAIN, f"{reasoning}; more than {BIG_GAIN:.0f} times", at_least=True)
    return Gain(max(1.0, factor), reasoning)


def _of_server(facts: Facts, found: Served) -> Finding:
    span, clients, server = found.stretch, found.clients, found.server
    useful_s = sum(client.user_s if client.user_s is not None else client.run_s for client in clients)
    lost = max(0.0, capacity_core_s(facts, span) - useful_s)
    manager = passes_through(samples_of(facts, [server, *clients]), "/multiprocessing/managers.py")
    what = "the manager process" if manager else "one server process"
    return Finding(
        slug=SLUG,
        variant="manager-process",
        cause=f"{len(clients)} workers wait for {what} {server.pid} at every access: it answers one request at a time.",
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=0.9 if manager else 0.6,
        evidence=tuple(_server_evidence(facts, found)),
        remedy=_SERVER_REMEDY,
        gain=_server_gain(facts, found, useful_s),
        excluded=("the workers' own work: they used little user time of their own",),
        explains=_EXPLAINS,
    )


_SERVER_REMEDY = Remedy(
    "Let each worker keep its results in a local dict and return it; merge them once in the parent.",
    (
        "def task(chunk):",
        "    own = collections.Counter()  # local: no message per access",
        "    for item in chunk: own[key(item)] += value(item)",
        "    return own",
        "total = sum(pool.imap_unordered(task, chunks), collections.Counter())",
    ),
    "Python, in the worker function, in place of the proxy",
)


def _server_evidence(facts: Facts, found: Served) -> Iterator[Evidence]:
    span, server = found.stretch, found.server
    when = span.when
    yield Evidence(
        f"process {server.pid} used {found.busy:.2f} cores in answering",
        found.busy,
        "cores",
        server.pid,
        **when,
    )
    yield Evidence(
        f"{len(found.clients)} workers were blocked {found.waited_s:.1f} s in reading its answers",
        found.waited_s, "s", **when,
    )  # fmt: skip
    switches = sum(thread.voluntary or 0 for client in found.clients for thread in client.threads)
    rate = switches / span.length_s
    yield Evidence(f"they blocked {rate:,.0f} times a second", rate, "1/s", **when)
    user = sum(client.user_s or 0.0 for client in found.clients)
    yield Evidence(f"their own user time was {user:.1f} s of {span.length_s:.1f} s", user, "core-s", **when)


def _server_gain(facts: Facts, found: Served, useful_s: float) -> Gain:
    span = found.stretch
    usable = min(capacity_core_s(facts, span) / span.length_s, float(len(found.clients)))
    then_s = max(useful_s / usable, 0.01)
    return _capped(
        span.length_s / then_s,
        f"the workers' own {useful_s:.1f} core-s of user time (what sending messages costs in it counted as work)"
        f" on {usable:.1f} cores, in place of {span.length_s:.1f} s",
    )


def _of_actor(facts: Facts, calls: ActorQueue) -> Finding:
    span = calls.stretch
    lost = idle_core_s(facts, span)
    cores = max(2, round(capacity_core_s(facts, span) / span.length_s))
    waiting = len(calls.blocked_workers)
    return Finding(
        slug=SLUG,
        variant="ray-actor",
        cause=f"Every call goes to the one Ray actor {calls.name} (process {calls.actor.pid}): one runs at a time.",
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=0.85 if waiting >= 2 else 0.65,
        evidence=tuple(_actor_evidence(facts, calls, span)),
        remedy=Remedy(
            f"Keep {cores} actors, one for each core, and spread the calls; or make the state an argument, and the"
            " method a task.",
            (
                f"actors = [{calls.name}.remote() for _ in range({cores})]",
                "pool = ray.util.ActorPool(actors)",
                "results = list(pool.map_unordered(lambda actor, item: actor.method.remote(item), items))",
            ),
            "Python, in the driver",
        ),
        gain=_capped(
            min(cores, capacity_core_s(facts, span) / span.length_s) / calls.busy,
            f"{cores} actors on {cores} cores do what {calls.busy:.2f} cores of one do now",
        ),
        explains=_EXPLAINS,
    )


def _actor_evidence(facts: Facts, calls: ActorQueue, span: Stretch) -> Iterator[Evidence]:
    when = span.when
    yield Evidence(
        f"actor {calls.name} was busy on {calls.busy:.2f} cores", calls.busy, "cores", calls.actor.pid, **when
    )
    waiting = len(calls.blocked_workers)
    yield Evidence(f"{waiting} other Ray workers were blocked in ray.get", float(waiting), None, **when)
    idle = idle_core_s(facts, span) / span.length_s
    yield Evidence(f"{idle:.2f} cores were idle meanwhile", idle, "cores", **when)
