"""Made recordings whose threads have owners: the search of five Optuna threads, with one team each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from corelens.recording import Recording
from corelens.reports.facts import ledger, owned
from corelens.reports.facts.bins import grid_for
from corelens.reports.facts.owned import Owned, Owner
from corelens.reports.facts.population import population
from corelens.reports.facts.processes import lives
from corelens.reports.facts.threads import Thread, threads
from corelens.reports.facts.trials import marked
from corelens.reports.report import ThreadLedger
from corelens.vocabulary import Line
from tests.made_threads import MS, SECOND, born, counted, listed, recording

TORCH = "/site-packages/torch/lib/libgomp.so.1"
BLAS = "/site-packages/numpy.libs/libscipy_openblas64_.so"
PYTHON_WORKER = Owner(owned.PYTHON, "Python thread ThreadPoolExecutor-0_0", None, None)
GOMP = Owner(owned.OPENMP_GNU, "libgomp (torch)", TORCH, None)
OPENBLAS = Owner(owned.OPENBLAS, "OpenBLAS (numpy)", BLAS, None)
TQDM = Owner(owned.PYTHON_HELPER, "tqdm monitor", None, None)
PTHREADPOOL = Owner(owned.TORCH_PTHREADPOOL, "torch pthreadpool", "libtorch_cpu.so", None)
UNKNOWN = Owner(owned.UNKNOWN, "unknown", None, "its memory may not be read")

Owners = Mapping[int, tuple[Owner, int | None]]
"""Thread id to its owner and the thread that opened its team."""


def worker(number: int) -> Owner:
    """The owner of one thread of a pool of Python threads."""
    return Owner(owned.PYTHON, f"Python thread ThreadPoolExecutor-0_{number}", None, None)


def search(
    pid: int = 100,
    workers: int = 5,
    team: int = 63,
    blas: int = 63,
    more: Sequence[tuple[Owner, int | None]] = ((TQDM, None),),
) -> dict[int, tuple[Owner, int | None]]:
    """Owners of the threads of one search, by thread ids from its pid on."""
    tids = count(pid + 1)
    made: dict[int, tuple[Owner, int | None]] = {}
    masters = [next(tids) for _ in range(workers)]
    made.update({tid: (worker(number), None) for number, tid in enumerate(masters)})
    made.update({next(tids): (OPENBLAS, None) for _ in range(blas)})
    made.update({next(tids): (GOMP, master) for master in masters for _ in range(team)})
    made.update({next(tids): each for each in more})
    return made


def running(owners: Owners, pid: int = 100, t_ns: int = SECOND, **more: Any) -> list[Line]:
    """Lines of one process that has these threads from `t_ns` on."""
    tids = [pid, *owners]
    return [
        born(0, pid, **more),
        listed(0, [pid], pid),
        counted(0, (pid, 1)),
        listed(t_ns, tids[1:], pid),
        counted(t_ns, (pid, len(tids))),
    ]


def owned_by(everyone: Iterable[Thread], owners: Owners) -> dict[Thread, Owned]:
    """Give every thread its made owner; the main thread its own, a stranger none that is known."""
    everyone = list(everyone)
    by_tid = {thread.tid: thread for thread in everyone}
    found: dict[Thread, Owned] = {}
    for thread in everyone:
        owner, master = owners.get(thread.tid, (UNKNOWN, None))
        if thread.life is not None and thread.tid == thread.life.pid:
            owner = Owner(owned.MAIN, "main", None, None)
        found[thread] = Owned(thread, owner, None if master is None else by_tid.get(master))
    return found


def accounted(made: Recording, owners: Owners) -> ThreadLedger:
    """Work the ledger of a made recording out, as a report does."""
    alive = lives(made)
    grid = grid_for(10 * SECOND, 100 * MS)
    found = threads(made, alive, grid)
    people = population(made, alive, found.all)
    trials = marked(made, 10.0).trials
    return ledger.ledger(
        made, alive, people, found.all, owned_by(found.all, owners), grid,
        trials=trials.trials if trials else (),
    )  # fmt: skip


def of_search(owners: Owners, *lines: Line, head: Line | None = None, **more: Any) -> ThreadLedger:
    """The ledger of one process with these threads, and of what else is recorded."""
    return accounted(recording([*running(owners, **more), *lines], head), owners)
