"""The threads of one process put together by owner, and OpenMP teams by who opened them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from corelens.reports.facts import owned
from corelens.reports.facts.owned import Owned, Owner
from corelens.reports.facts.thread_model import EXECUTOR_THREADS, LOKY_THREADS, POOL_THREADS, TQDM_MONITOR
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
_COPY = re.compile(r"\(([^()]*)\)$")
# More telling words come first: joblib's and loky's threads are pools and executors too.
_HELPER_WORDS = (
    ("tqdm", TQDM_MONITOR),
    ("loky", LOKY_THREADS),
    ("executor", EXECUTOR_THREADS),
    ("pool", POOL_THREADS),
)
_ORDER = {kind: place for place, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Workers:
    """The Python threads that do the work of one process, and what to call one of them."""

    threads: frozenset[Thread] = frozenset()
    word: str = "Python worker"


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
    gathered: dict[tuple[str, str, str | None], list[Thread]] = {}
    for thread in threads:
        owner = owner_of(thread, owned_by)
        key = (owner.kind, _pattern(thread, owner, workers), owner.reason)
        gathered.setdefault(key, []).append(thread)
    made = [_group(pattern, of, owned_by, workers) for (_, pattern, _), of in gathered.items()]
    return sorted(made, key=lambda group: (_ORDER.get(group.owner.kind, len(KINDS)), group.label))


def _pattern(thread: Thread, owner: Owner, workers: Workers) -> str:
    if thread in workers.threads:
        return f"{workers.word}s"
    if owner.kind == owned.PYTHON_HELPER:
        return helper_name(owner.label) or owner.label
    return _DIGITS.sub("*", owner.label) if owner.kind == owned.PYTHON else owner.label


def helper_name(label: str) -> str | None:
    """Which helper of the model a thread belongs to, by its label; several threads can form one helper."""
    words = label.lower()
    return next((helper.name for word, helper in _HELPER_WORDS if word in words), None)


def _group(pattern: str, threads: list[Thread], owned_by: Mapping[Thread, Owned], workers: Workers) -> Group:
    owner = owner_of(threads[0], owned_by)
    found = [owned_by.get(thread) for thread in threads]
    masters = tuple(None if known is None else known.master for known in found)
    alone = owner.label if owner.kind == owned.PYTHON else pattern
    alone = workers.word if threads[0] in workers.threads else alone
    return Group(owner, pattern if len(threads) > 1 else alone, tuple(threads), masters)


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
    return "main thread" if group.owner.kind == owned.MAIN else group.label
