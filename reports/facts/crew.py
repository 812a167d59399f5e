"""Crews: who hands work out, and the workers that take it; told by role, parent and behaviour.

A crew is a process with its worker processes, or a process with its Python threads. Idle pools count as crews
too: whether they should have work is for rules to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from corelens.reports.facts import owned, waits
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts

PROCESSES, THREADS, RAY = "processes", "threads", "ray"
_POOL_ROLES = frozenset(
    {"pool-worker-fork", "pool-worker-spawn", "pool-worker-forkserver", "loky-worker", "dataloader-worker"}
)
_RAY_ROLE, _FORKSERVER = "ray-worker", "forkserver"
# Starting a Ray worker costs 0.3 to 0.4 s of CPU: one that used no more only waited in reserve.
_RAY_START_S = 0.5
# Workers that came one after another, and not side by side: a pool is made again and again.
_CHURN = 1.5
_WORK = 0.1
_TASK_CALLS = frozenset({"poll", "ppoll", "select", "pselect6"})
_AWAY = frozenset(
    {waits.SLEEP, waits.SOCKET, waits.DISK, waits.CHILD, waits.SIGNAL, waits.TERMINAL, waits.OTHER}
)
LEAST_WORKERS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Worker:
    """One of a crew, and what it did."""

    process: ProcessFacts
    thread: ThreadFacts
    """That takes tasks: the worker itself, or the main thread of the process."""
    wanted_s_by_bin: Mapping[int, float]
    run_s: float
    wanted_s: float
    task_s: float
    """It waited for a task at the pipe or socket through which they come; the first in the queue does."""
    line_s: float
    """It waited for a lock: the rest of the queue does, and who waits for a lock of the program."""
    sending_s: float
    """It waited for room in a pipe to send a result."""
    away_s: float
    """It waited for something that is not a task: a socket, a disk, a clock, a child."""
    wakes: int
    """Times its task-taking thread blocked and went on; 0 where that was not read."""

    @property
    def starving_s(self) -> float:
        """It waited for tasks, or in the queue for them."""
        return self.task_s + self.line_s

    @property
    def at_work_s(self) -> float:
        """It had a task: ran or waited for a core, or waited for what the task waits for."""
        return self.wanted_s + self.away_s + self.sending_s

    @property
    def born_s(self) -> float:
        """When it came."""
        return self.thread.born_s

    @property
    def died_s(self) -> float | None:
        """When it went; None where it was there at the end."""
        return self.thread.died_s


@dataclass(frozen=True, slots=True, eq=False)
class Crew:
    """Who hands work out, and who takes it."""

    kind: str
    boss: ProcessFacts
    bosses: tuple[ThreadFacts, ...]
    """Threads of the boss that are no workers, and of no native pool."""
    workers: tuple[Worker, ...]
    from_s: float
    """When two workers were there."""
    until_s: float
    """When the last of them had done its last piece of work."""
    first_work_s: float
    """When the first of them began to work."""

    @property
    def span_s(self) -> float:
        """Time in which there was a crew."""
        return max(self.until_s - self.from_s, 1e-9)

    @property
    def busiest_boss(self) -> ThreadFacts:
        """Thread of the boss that wanted a core for longest."""
        return max(self.bosses, key=lambda thread: thread.wanted_s)

    @property
    def title(self) -> str:
        """What its workers are, for people."""
        return {PROCESSES: "worker processes", THREADS: "worker threads", RAY: "Ray workers"}[self.kind]


@lru_cache(maxsize=1)
def crews(facts: Facts) -> tuple[Crew, ...]:
    """All crews of two workers or more that stood side by side; pools that are made again and again are left out.

    Six rules ask for those of one recording in turn, which are therefore kept.
    """
    step_s = facts.report.timeline.step_s
    found = [crew for crew in _all(facts, step_s) if crew is not None]
    return tuple(sorted(found, key=lambda crew: -sum(worker.wanted_s for worker in crew.workers)))


def _all(facts: Facts, step_s: float) -> Iterator[Crew | None]:
    for boss, members in _families(facts):
        workers = [_process_worker(process) for process in members if not _serves(process)]
        yield _crew(facts, PROCESSES, boss, workers, step_s)
    yield _ray(facts, step_s)
    in_families = {id(boss) for boss, _ in _families(facts)}
    for process in facts.processes:
        # Beside worker processes, threads of the boss hand work out.
        if process.role != _RAY_ROLE and id(process) not in in_families:
            threads = [thread for thread in process.threads if thread.owner.kind == owned.PYTHON]
            workers = [_thread_worker(process, thread) for thread in threads]
            yield _crew(facts, THREADS, process, workers, step_s)


def _families(facts: Facts) -> Iterator[tuple[ProcessFacts, list[ProcessFacts]]]:
    members: dict[int, tuple[ProcessFacts, list[ProcessFacts]]] = {}
    for process in facts.processes:
        boss = _boss(facts, process) if process.role in _POOL_ROLES else None
        if boss is not None:
            members.setdefault(id(boss), (boss, []))[1].append(process)
    yield from members.values()


def _boss(facts: Facts, process: ProcessFacts) -> ProcessFacts | None:
    parent = None if process.parent_pid is None else facts.process(process.parent_pid)
    if parent is not None and parent.role == _FORKSERVER:
        return None if parent.parent_pid is None else facts.process(parent.parent_pid)
    return parent


def _serves(process: ProcessFacts) -> bool:
    """Whether it is a server with a thread for each client, such as a manager, and takes no tasks."""
    helpers = sum(thread.wanted_s for thread in process.threads if thread.owner.kind == owned.PYTHON)
    return not process.threads or helpers > _main(process).wanted_s


def _main(process: ProcessFacts) -> ThreadFacts:
    return next((thread for thread in process.threads if thread.tid == process.pid), process.threads[0])


def _ray(facts: Facts, step_s: float) -> Crew | None:
    members = [process for process in facts.processes if process.role == _RAY_ROLE and process.threads]
    used = [process for process in members if process.run_s >= _RAY_START_S]
    workers = [_process_worker(process, frozenset({"epoll_wait"})) for process in used]
    return _crew(facts, RAY, facts.root, workers, step_s)


def _process_worker(process: ProcessFacts, task_calls: frozenset[str] = _TASK_CALLS) -> Worker:
    main = _main(process)
    wanted: dict[int, float] = {}
    for thread in process.threads:
        for of_bin in (thread.run_s_by_bin, thread.queue_s_by_bin):
            for index, seconds in of_bin.items():
                wanted[index] = wanted.get(index, 0.0) + seconds
    task_s = sum(
        seconds
        for (call, file), seconds in main.calls.items()
        if call in task_calls or (call == "read" and file == "pipe")
    )
    return _worker(process, main, wanted, task_s)


def _thread_worker(process: ProcessFacts, thread: ThreadFacts) -> Worker:
    wanted = dict(thread.run_s_by_bin)
    for index, seconds in thread.queue_s_by_bin.items():
        wanted[index] = wanted.get(index, 0.0) + seconds
    return _worker(process, thread, wanted, 0.0)


def _worker(process: ProcessFacts, thread: ThreadFacts, wanted: dict[int, float], task_s: float) -> Worker:
    return Worker(
        process=process,
        thread=thread,
        wanted_s_by_bin=wanted,
        run_s=process.run_s if thread.tid == process.pid else thread.run_s,
        wanted_s=sum(wanted.values()),
        task_s=task_s,
        line_s=thread.doing.get(waits.LOCK, 0.0),
        sending_s=thread.calls.get(("write", "pipe"), 0.0),
        away_s=sum(seconds for what, seconds in thread.doing.items() if what in _AWAY),
        wakes=thread.voluntary or 0,
    )


def _crew(facts: Facts, kind: str, boss: ProcessFacts, workers: list[Worker], step_s: float) -> Crew | None:
    taken = {id(worker.thread) for worker in workers}
    bosses = tuple(
        thread
        for thread in boss.threads
        if id(thread) not in taken and thread.owner.kind not in owned.NATIVE_POOLS
    )
    if len(workers) < LEAST_WORKERS or not bosses or (kind != RAY and _churns(workers)):
        return None
    busy = _busy_bins(workers, step_s)
    if not busy:
        return None
    return Crew(
        kind=kind,
        boss=boss,
        bosses=bosses,
        workers=tuple(workers),
        from_s=sorted(worker.born_s for worker in workers)[1],
        until_s=min((busy[-1] + 1) * step_s, facts.wall_s),
        first_work_s=busy[0] * step_s,
    )


def _busy_bins(workers: list[Worker], step_s: float) -> list[int]:
    """Bins with work. Where all starve, what little they do is work; else it is tidying up and waking to look."""
    every = [item for worker in workers for item in worker.wanted_s_by_bin.items()]
    most = max((seconds for _, seconds in every), default=0.0)
    return sorted(index for index, seconds in every if seconds > min(_WORK * step_s, most / 4))


def _churns(workers: list[Worker]) -> bool:
    events = sorted(
        [(worker.born_s, 1) for worker in workers]
        + [(worker.died_s, -1) for worker in workers if worker.died_s is not None]
    )
    peak = alive = 0
    for _, change in events:
        alive += change
        peak = max(peak, alive)
    return len(workers) > _CHURN * peak
