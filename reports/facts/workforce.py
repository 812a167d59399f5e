"""Who did the work: workers by what they are for and by what they do, who hands out the tasks, who only helps."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from corelens.reports.core_time import (
    NOBODY,
    PROCESSES,
    THREADS,
    Coordinator,
    IdlePool,
    Worker,
    Workforce,
)
from corelens.reports.facts import owned, startup
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.spread import spread

_WORKER_ROLES = ("pool-worker-", "loky-worker", "dataloader-worker", "ray-worker", "child")
_HELPER_ROLES = frozenset(("resource-tracker", "forkserver", "raylet", "gcs-server", "ray-service"))
_RAY_WORKER, _RAY_IDLE = "ray-worker", "ray::IDLE"
# Threads count as the workers where they did more than this part of what worker processes and threads did together;
# pools of processes leave a few threads in the parent that feed them.
_MOST_THREADS_SHARE = 0.5
# A pool of threads shares its work; one thread that does much more than those beside it feeds a pool of processes.
_ALIKE_SHARE = 0.2
# The main thread does the work by itself where Python threads beside it did less than this part of it.
_LEAST_THREADS_SHARE = 0.1
# Threads that are blocked are at work too when they wait for something outside the program.
_OUTSIDE = ("socket", "disk", "sleep", "poll", "paging", "gil", "pipe", "child")
# A server waits for its clients in these calls; pools wait for tasks in others.
_SERVES = frozenset(("epoll_wait", "epoll_pwait", "accept", "accept4"))
_SERVES_SHARE = 0.5
# A pool thread that ran less than this part of its life, and less than so long, only started.
_IDLE_SHARE, _IDLE_S = 0.02, 0.3
# A bin in which a worker ran for less than this part of its best bin holds its end and not its work.
_LEAST_BIN_SHARE = 0.05
# Work that fills so much of a bin went on from the bin before.
_FULL_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Hands:
    """The workforce with the tables behind it, for the facts that are made of both."""

    said: Workforce
    processes: tuple[ProcessFacts, ...]
    """Worker processes; none where workers are threads."""
    threads: tuple[ThreadFacts, ...]
    """Threads that take the tasks, one per worker, in the same order as `said.workers`."""
    home: ProcessFacts
    """Process that hands out the tasks."""
    helpers: frozenset[ProcessFacts]


def workforce(facts: Facts) -> Workforce:
    """Recognise the workers; see `hands`."""
    return hands(facts).said


def hands(facts: Facts, waits_from_s: Mapping[int, float] | None = None) -> Hands:
    """Recognise the workers, and keep the tables of those who are.

    `waits_from_s` says by pid when a process first waited for a task, which ends its start-up.
    """
    helpers = _helpers(facts)
    processes = tuple(_worker_processes(facts, helpers))
    group = _thread_group(facts, helpers, processes)
    if processes and not _threads_win(group, processes):
        return _of_processes(facts, helpers, processes, waits_from_s or {})
    if group:
        return _of_threads(facts, helpers, group)
    home = facts.root
    said = Workforce(
        form=NOBODY,
        workers=(),
        at_once=0,
        coordinator=_coordinator(home, whole=True),
        helpers=tuple(process.pid for process in facts.processes if process in helpers),
        idle_pools=_idle_pools(facts, ()),
        run_s=None,
        why="no process and no Python thread beside the main thread took on work",
    )
    return Hands(said, (), (), home, helpers)


def main_thread(process: ProcessFacts) -> ThreadFacts | None:
    """The first thread of a process; None when nobody saw it."""
    return next((thread for thread in process.threads if thread.tid == process.pid), None)


def _helpers(facts: Facts) -> frozenset[ProcessFacts]:
    """Services by their role, and of a process's children the only one that answers others.

    Where several children do so alike, as the processes of a web server, each is a worker.
    """
    services = {process for process in facts.processes if process.role in _HELPER_ROLES}
    answering: dict[int | None, list[ProcessFacts]] = {}
    for process in facts.processes:
        made = process.role.startswith(_WORKER_ROLES) and process.role != _RAY_WORKER
        if made and process is not facts.root and _answers(process):
            answering.setdefault(process.parent_pid, []).append(process)
    return frozenset(services | {alike[0] for alike in answering.values() if len(alike) == 1})


def _answers(process: ProcessFacts) -> bool:
    main = main_thread(process)
    if main is None:
        return False
    for thread in (main, *_python_threads(process)):
        blocked_s = sum(time for (call, _), time in thread.calls.items() if call != "running")
        in_loop_s = sum(time for (call, _), time in thread.calls.items() if call in _SERVES)
        if in_loop_s > _SERVES_SHARE * blocked_s:
            return True
    clients = [thread for thread in _python_threads(process) if thread.calls.get(("read", "socket"), 0.0) > 0]
    return len(clients) > 1 and sum(thread.run_s for thread in clients) > main.run_s


def _worker_processes(facts: Facts, helpers: frozenset[ProcessFacts]) -> Iterator[ProcessFacts]:
    """Those made to work, less the ones that have workers of their own which do it."""
    made = [
        process
        for process in facts.processes
        if process is not facts.root
        and process not in helpers
        and process.role.startswith(_WORKER_ROLES)
        and (process.role != _RAY_WORKER or _took_tasks(process))
    ]
    below: dict[int, float] = {}
    for process in made:
        if process.parent_pid is not None:
            below[process.parent_pid] = below.get(process.parent_pid, 0.0) + startup.used_s(process)
    yield from (process for process in made if below.get(process.pid, 0.0) <= startup.used_s(process))


def _took_tasks(process: ProcessFacts) -> bool:
    return any(title.startswith("ray::") and title != _RAY_IDLE for title in process.life.titles)


def _python_threads(process: ProcessFacts) -> list[ThreadFacts]:
    return [thread for thread in process.threads if thread.owner.kind == owned.PYTHON]


def _thread_group(
    facts: Facts, helpers: frozenset[ProcessFacts], workers: tuple[ProcessFacts, ...]
) -> tuple[ThreadFacts, ...]:
    """Python threads of the one process whose threads were at work most; empty where its main thread did it all."""
    best: tuple[ThreadFacts, ...] = ()
    taken = helpers.union(workers)
    for process in facts.processes:
        if process in taken:
            continue
        group = tuple(thread for thread in _python_threads(process) if _at_work_s(thread) > 0)
        main = main_thread(process)
        own_s = 0.0 if main is None else main.wanted_s
        at_work_s = sum(map(_at_work_s, group))
        if at_work_s > _LEAST_THREADS_SHARE * own_s and at_work_s > sum(map(_at_work_s, best)):
            best = group
    return best


def _at_work_s(thread: ThreadFacts) -> float:
    return thread.wanted_s + sum(thread.doing.get(what, 0.0) for what in _OUTSIDE)


def _threads_win(group: tuple[ThreadFacts, ...], processes: tuple[ProcessFacts, ...]) -> bool:
    """Whether threads did what processes did not; threads that feed a pool of processes do not count."""
    by_threads = sum(thread.wanted_s for thread in group)
    by_processes = sum(startup.used_s(process) + process.queue_s for process in processes)
    largest = max((thread.wanted_s for thread in group), default=0.0)
    alike = [thread for thread in group if thread.wanted_s > _ALIKE_SHARE * largest]
    return len(alike) > 1 and by_threads > _MOST_THREADS_SHARE * (by_threads + by_processes)


def _of_processes(
    facts: Facts,
    helpers: frozenset[ProcessFacts],
    processes: tuple[ProcessFacts, ...],
    waits_from_s: Mapping[int, float],
) -> Hands:
    ready = startup.ready_times(facts, processes, waits_from_s)
    seen = [(process, main) for process in processes if (main := main_thread(process)) is not None]
    workers = tuple(_worker_process(facts, process, main, ready[process]) for process, main in seen)
    home = _home(facts, processes)
    roles = ", ".join(dict.fromkeys(process.role for process in processes))
    said = Workforce(
        form=PROCESSES,
        workers=workers,
        at_once=_most_at_once(workers),
        coordinator=_coordinator(home, whole=True),
        helpers=tuple(process.pid for process in facts.processes if process in helpers),
        idle_pools=_idle_pools(facts, processes),
        run_s=spread(worker.run_s for worker in workers),
        why=f"processes that were started to work ({roles})",
    )
    return Hands(said, tuple(each for each, _ in seen), tuple(main for _, main in seen), home, helpers)


def _of_threads(facts: Facts, helpers: frozenset[ProcessFacts], group: tuple[ThreadFacts, ...]) -> Hands:
    home = facts.process(group[0].pid) or facts.root
    workers = tuple(_worker_thread(facts, thread) for thread in group)
    said = Workforce(
        form=THREADS,
        workers=workers,
        at_once=_most_at_once(workers),
        coordinator=_coordinator(home, whole=False),
        helpers=tuple(process.pid for process in facts.processes if process in helpers),
        idle_pools=_idle_pools(facts, ()),
        run_s=spread(worker.run_s for worker in workers),
        why=f"Python threads of process {home.pid} that worked, or waited for something outside it",
    )
    return Hands(said, (), group, home, helpers)


def _home(facts: Facts, processes: tuple[ProcessFacts, ...]) -> ProcessFacts:
    """The process that hands out the tasks: the parent of most; of Ray's workers, the driver."""
    if any(process.role == _RAY_WORKER for process in processes):
        drivers = [process for process in facts.processes if process.role == "ray-driver"]
        return facts.root if facts.root in drivers or not drivers else drivers[0]
    parents = Counter(process.parent_pid for process in processes if process.parent_pid is not None)
    most = parents.most_common(1)
    return (facts.process(most[0][0]) if most else None) or facts.root


def _coordinator(home: ProcessFacts, *, whole: bool) -> Coordinator:
    main = main_thread(home)
    run_s = startup.used_s(home) if whole or main is None else main.run_s
    return Coordinator(pid=home.pid, tid=home.pid, role=home.role, run_s=run_s)


def _worker_process(facts: Facts, process: ProcessFacts, main: ThreadFacts, ready_s: float) -> Worker:
    step_s = facts.report.timeline.step_s
    return Worker(
        pid=process.pid,
        tid=main.tid,
        role=process.role,
        name=main.name,
        born_s=process.born_s,
        died_s=process.died_s,
        ready_s=ready_s,
        last_work_s=_last_work_s(process.threads, ready_s, process.died_s, step_s),
        run_s=startup.used_s(process),
        queue_s=process.queue_s,
        startup_run_s=min(startup.used_s(process), startup.run_until(process.threads, ready_s, step_s)),
    )


def _worker_thread(facts: Facts, thread: ThreadFacts) -> Worker:
    step_s = facts.report.timeline.step_s
    return Worker(
        pid=thread.pid,
        tid=thread.tid,
        role=thread.role,
        name=thread.name,
        born_s=thread.born_s,
        died_s=thread.died_s,
        ready_s=thread.born_s,
        last_work_s=_last_work_s((thread,), thread.born_s, thread.died_s, step_s),
        run_s=thread.run_s,
        queue_s=thread.queue_s,
        startup_run_s=0.0,
    )


def _last_work_s(
    threads: Iterable[ThreadFacts], ready_s: float, died_s: float | None, step_s: float
) -> float:
    """End of the last bin in which it ran for more than a moment: what it does to end is no work."""
    bins: dict[int, float] = {}
    for thread in threads:
        for amounts in (thread.run_s_by_bin, thread.queue_s_by_bin):
            for place, time_s in amounts.items():
                bins[place] = bins.get(place, 0.0) + time_s
    least_s = _LEAST_BIN_SHARE * min(step_s, max(bins.values(), default=0.0))
    last = max((place for place, time_s in bins.items() if time_s > least_s), default=None)
    if last is None:
        return ready_s
    went_on = bins.get(last - 1, 0.0) > _FULL_SHARE * step_s
    end_s = last * step_s + (min(step_s, bins[last]) if went_on else step_s)
    return max(ready_s, end_s if died_s is None else min(end_s, died_s))


def _most_at_once(workers: Iterable[Worker]) -> int:
    steps = sorted(
        itertools.chain.from_iterable(
            ((worker.born_s, 1), (float("inf") if worker.died_s is None else worker.died_s, -1))
            for worker in workers
        )
    )
    return max(itertools.accumulate(change for _, change in steps), default=0)


def _idle_pools(facts: Facts, workers: Iterable[ProcessFacts]) -> tuple[IdlePool, ...]:
    """Native pools that lie parked, and warm processes of Ray that never got a task: nobody's problem."""
    known = set(workers)
    pools: list[IdlePool] = []
    for process in facts.processes:
        if process.role == _RAY_WORKER and process not in known:
            pools.append(IdlePool(process.pid, "Ray worker without a task", 1, process.run_s))
        native = [thread for thread in process.threads if thread.owner.kind in owned.NATIVE_POOLS]
        for label in dict.fromkeys(thread.owner.label for thread in native):
            members = [thread for thread in native if thread.owner.label == label]
            if all(only_started(facts, thread) for thread in members):
                run_s = sum(thread.run_s for thread in members)
                pools.append(IdlePool(process.pid, label, len(members), run_s))
    return tuple(pools)


def only_started(facts: Facts, thread: ThreadFacts) -> bool:
    """Whether a thread of a native pool has done nothing but start."""
    lived_s = (facts.wall_s if thread.died_s is None else thread.died_s) - thread.born_s
    return thread.wanted_s < max(_IDLE_S, _IDLE_SHARE * lived_s)
