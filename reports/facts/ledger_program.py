"""What a recording says of the whole program, for the model of its threads: machine, labels, agents, trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts import owned, source
from corelens.reports.facts.ledger_lines import Workers, owner_of, pool_of
from corelens.reports.facts.owned import Owned
from corelens.reports.facts.processes import Life, Lives
from corelens.reports.facts.thread_model import WORKERS_ARE_PROCESSES, WORKERS_ARE_THREADS
from corelens.reports.facts.thread_work import JOBLIB_WORKER, OPTUNA_WORKER, Sightings, at_work
from corelens.reports.facts.threads import Thread
from corelens.reports.report import Trial
from corelens.vocabulary import Line

_WORDS = {"optuna-threads": OPTUNA_WORKER, "joblib-threads": JOBLIB_WORKER}
_WORKER_ROLES = ("pool-worker-", "loky-worker")
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Program:
    """What a recording says of the whole program: the machine, the labels, the agents, the trials."""

    root: Life
    machine: str
    logical: int | None
    physical: int | None
    labels: dict[str, str]
    optuna: str | None
    pools: dict[Life, list[Line]]
    """Lines of the agent in each process, in the order of time."""
    trial_tids: dict[Life, set[int]]
    """Threads that ran a marked trial."""
    sightings: Sightings
    """Threads that the stacks show at work."""
    forkers: dict[Life, int]
    """Processes that forked a worker without exec, and when first."""
    owners_of_pools: frozenset[Life]
    """Processes that started worker processes."""


def program(recording: Recording, lives: Lives, trials: Iterable[Trial]) -> Program:
    """Gather it once for all processes."""
    host = recording.header["host"]
    pools: dict[Life, list[Line]] = {}
    for line in sorted(recording.lines("pools"), key=lambda line: line["t_ns"]):
        life = lives.at(line["pid"], line["t_ns"])
        if life is not None:
            pools.setdefault(life, []).append(line)
    ran: dict[Life, set[int]] = {}
    for trial in trials:
        life = lives.at(trial.pid, int(trial.begin_s * _NS_PER_S))
        if life is not None:
            ran.setdefault(life, set()).add(trial.tid)
    return Program(
        root=lives.root,
        machine=host.get("machine") or "x86_64",
        logical=host.get("logical_cores"),
        physical=host.get("physical_cores"),
        labels=source.source(recording, lives.root).labels,
        optuna=source.packages(recording).get("optuna"),
        pools=pools,
        trial_tids=ran,
        sightings=at_work(recording),
        forkers=_forkers(lives),
        owners_of_pools=_owners_of_pools(lives),
    )


def _forkers(lives: Lives) -> dict[Life, int]:
    found: dict[Life, int] = {}
    for life in lives.all:
        parent = lives.parent(life)
        if parent is not None and life.role.endswith("-fork"):
            found.setdefault(parent, life.born_ns)
    return found


def _owners_of_pools(lives: Lives) -> frozenset[Life]:
    found = (lives.parent(life) for life in lives.all if life.role.startswith(_WORKER_ROLES))
    return frozenset(parent for parent in found if parent is not None)


def workers(
    known: Program, life: Life, threads: Iterable[Thread], owned_by: Mapping[Thread, Owned]
) -> Workers:
    """The Python threads that ran marked trials or were seen at work.

    Of a replay whose workers are threads, all are; where nothing tells, none.
    """
    backend = known.labels.get("backend", "")
    python = [thread for thread in threads if owner_of(thread, owned_by).kind == owned.PYTHON]
    ran = known.trial_tids.get(life, set())
    working = {thread: _WORDS.get(backend) for thread in python if thread.tid in ran}
    working.update((thread, word) for thread in python if (word := _seen_working(known, thread)))
    working.update(_of_the_same_pools(working, python, owned_by))
    if not working and life is known.root and backend in WORKERS_ARE_THREADS:
        working = dict.fromkeys(python, _WORDS.get(backend))
    words = {word for word in working.values() if word is not None}
    word = words.pop() if len(words) == 1 else "Python worker"
    told = bool(working) or (life is known.root and backend in WORKERS_ARE_PROCESSES)
    return Workers(frozenset(working), word, told, life in known.owners_of_pools)


def _of_the_same_pools(
    working: Mapping[Thread, str | None], python: Iterable[Thread], owned_by: Mapping[Thread, Owned]
) -> dict[Thread, str | None]:
    """Threads that were not seen at work and differ from one that was in the number of their name alone."""
    pools = {pool_of(owner_of(thread, owned_by).label): word for thread, word in working.items()}
    alike = {thread: pool_of(owner_of(thread, owned_by).label) for thread in python if thread not in working}
    return {thread: pools[pool] for thread, pool in alike.items() if pool is not None and pool in pools}


def _seen_working(known: Program, thread: Thread) -> str | None:
    for t_ns, word in known.sightings.get(thread.tid, ()):
        if thread.born_ns <= t_ns and (thread.died_ns is None or t_ns <= thread.died_ns):
            return word
    return None
