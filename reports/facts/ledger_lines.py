"""The threads of one process put together by owner, and OpenMP teams by who opened them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from corelens.reports.facts import owned
from corelens.reports.facts.owned import Owned, Owner
from corelens.reports.facts.thread_model import EXECUTOR_THREADS, POOL_THREADS
from corelens.reports.facts.threads import Thread
from corelens.reports.report import LedgerTeams

# Reading order of a ledger: what the program made first, then the pools of libraries, then what is not known.
KINDS = (
    owned.MAIN, owned.PYTHON, owned.PYTHON_HELPER, owned.OPENMP_GNU, owned.OPENMP_LLVM, owned.OPENMP_INTEL,
    owned.OPENBLAS, owned.MKL, owned.BLIS, owned.TORCH_PTHREADPOOL, owned.TORCH_INTER_OP, owned.TORCH_AUTOGRAD,
    owned.TORCH_DISTRIBUTED, owned.TORCH_OTHER, owned.TBB, owned.NUMBA_WORKQUEUE, owned.ARROW, owned.DUCKDB,
    owned.POLARS, owned.GRPC, owned.RAY, owned.AGENT, owned.OTHER_LIBRARY, owned.UNKNOWN, owned.SHORT_LIVED,
)  # fmt: skip
OPENMP = frozenset({owned.OPENMP_GNU, owned.OPENMP_LLVM, owned.OPENMP_INTEL})
NOT_RECORDED = "owners were not recorded"
_DIGITS = re.compile(r"\d+")
_LAST_NUMBER = re.compile(r"(.*[-_])\d+$")
_COPY = re.compile(r"\(([^()]*)\)$")
_ONE_THREAD = "Python thread"
_PARTS_OF_A_POOL = "multiprocessing pool: "
_MANAGER, _FEEDER = "process pool manager", "multiprocessing queue feeder"
_ORDER = {kind: place for place, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Workers:
    """The Python threads that do the work of one process, and what to call one of them."""

    threads: frozenset[Thread] = frozenset()
    word: str = "Python worker"
    told: bool = False
    """The recording says who they are, so that other Python threads are none."""
    with_processes: bool = False
    """The process started worker processes too, whose tasks it feeds from a queue."""


@dataclass(frozen=True, slots=True)
class Group:
    """Threads of one owner in one process; Python threads whose names differ in numbers alone count as one."""

    owner: Owner
    label: str
    threads: tuple[Thread, ...]
    masters: tuple[Thread | None, ...]
    """Who opened the OpenMP team of each thread."""

    @property
    def copy(self) -> str:
        """Which copy of the library: `torch` of `libgomp (torch)`."""
        return copy_of(self.owner.label)


def copy_of(label: str) -> str:
    """What stands in brackets at the end of a label; the whole label where nothing does."""
    found = _COPY.search(label)
    return found[1] if found else label


def owner_of(thread: Thread, owned_by: Mapping[Thread, Owned]) -> Owner:
    """The owner of a thread; without any record of it, only the main thread is known, by its id."""
    known = owned_by.get(thread)
    if known is not None:
        return known.owner
    if thread.life is not None and thread.tid == thread.life.pid:
        return Owner(owned.MAIN, "main", None, None)
    return Owner(owned.UNKNOWN, "unknown", None, NOT_RECORDED)


def groups(threads: Iterable[Thread], owned_by: Mapping[Thread, Owned], workers: Workers) -> list[Group]:
    """Put threads together by owner, in reading order."""
    owners = {thread: owner_of(thread, owned_by) for thread in threads}
    managed = workers.with_processes or any(owner.label == _MANAGER for owner in owners.values())
    gathered: dict[tuple[str, str, str | None], list[Thread]] = {}
    for thread, owner in owners.items():
        pattern = f"{workers.word}s" if thread in workers.threads else _pattern(owner, managed)
        gathered.setdefault((owner.kind, pattern, owner.reason), []).append(thread)
    made = [_group(pattern, of, owned_by, workers) for (_, pattern, _), of in gathered.items()]
    return sorted(made, key=lambda group: (reading_order(group.owner.kind), group.label))


def reading_order(kind: str) -> tuple[int, str]:
    """Where a kind of owner stands in a ledger."""
    return _ORDER.get(kind, len(KINDS)), kind


def _pattern(owner: Owner, managed: bool) -> str:
    """What threads of one line have in common; the parts of one helper are one line."""
    if owner.kind == owned.PYTHON:
        return _DIGITS.sub("*", owner.label)
    if owner.kind == owned.PYTHON_HELPER:
        if owner.label.startswith(_PARTS_OF_A_POOL):
            return POOL_THREADS.name
        # A queue of the program's own has a feeder too, and neither manager nor worker processes.
        if owner.label in (_MANAGER, _FEEDER) and managed:
            return EXECUTOR_THREADS.name
    return owner.label


def pool_of(label: str) -> str | None:
    """What the threads of one pool share in their labels; None for a label without a number at its end."""
    found = _LAST_NUMBER.match(label)
    return found[1] if found else None


def _group(pattern: str, threads: list[Thread], owned_by: Mapping[Thread, Owned], workers: Workers) -> Group:
    owner = owner_of(threads[0], owned_by)
    found = [owned_by.get(thread) for thread in threads]
    masters = tuple(None if known is None else known.master for known in found)
    if threads[0] in workers.threads:
        label = pattern if len(threads) > 1 else workers.word
    elif owner.kind == owned.PYTHON:
        label = _common([owner_of(thread, owned_by).label for thread in threads])
    else:
        label = pattern
    return Group(owner, label, tuple(threads), masters)


def _common(labels: list[str]) -> str:
    """One label for several: the numbers in which they differ become stars."""
    if len(labels) == 1:
        return labels[0]
    places = zip(*(_DIGITS.findall(label) for label in labels), strict=True)
    numbers = iter(["*" if len(set(place)) > 1 else place[0] for place in places])
    return _DIGITS.sub(lambda _: next(numbers), labels[0]).replace(_ONE_THREAD, f"{_ONE_THREAD}s", 1)


def teams(group: Group, by_thread: Mapping[Thread, Group], workers: Workers) -> tuple[LedgerTeams, ...]:
    """Alike teams of an OpenMP group together, the most first; none for other owners."""
    if group.owner.kind not in OPENMP:
        return ()
    sizes = Counter(group.masters)
    lost = sizes.pop(None, 0)
    alike = Counter((size, _opener(master, by_thread, workers)) for master, size in sizes.items() if master)
    ordered = sorted(alike.items(), key=lambda item: (-item[1] * item[0][0], item[0]))
    made = [LedgerTeams(count, size, opener) for (size, opener), count in ordered]
    return (*made, LedgerTeams(None, lost, None)) if lost else tuple(made)


def _opener(master: Thread, by_thread: Mapping[Thread, Group], workers: Workers) -> str:
    if master in workers.threads:
        return workers.word
    group = by_thread.get(master)
    if group is None:
        return "thread that has ended"
    return (
        "main thread"
        if group.owner.kind == owned.MAIN
        else group.label.replace(f"{_ONE_THREAD}s", _ONE_THREAD)
    )
