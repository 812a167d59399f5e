"""What keeps threads from running although there are cores: the GIL, locks, and everything else they wait for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts import gil, locks, waits
from corelens.reports.facts.actors import Doings
from corelens.reports.facts.bins import Grid
from corelens.reports.facts.owned import NATIVE_POOLS, Owned
from corelens.reports.facts.processes import Life, Lives
from corelens.reports.facts.stack_samples import StackSample
from corelens.reports.facts.stack_waits import WaitedStacks
from corelens.reports.facts.threads import Thread
from corelens.reports.python_stacks import PythonFunction
from corelens.reports.report import Gil, Lock, ProcessWait, Wait


@dataclass(frozen=True, slots=True)
class Interlock:
    """The facts that come from the same pass over what threads waited for."""

    gil: tuple[Gil, ...]
    waits: tuple[Wait, ...]
    process_waits: tuple[ProcessWait, ...]
    locks: tuple[Lock, ...]
    gil_waiters: tuple[PythonFunction, ...]
    lock_waiters: tuple[PythonFunction, ...]
    doings: Doings
    """What each thread did, added up."""


def interlock(
    recording: Recording,
    lives: Lives,
    grid: Grid,
    threads: Iterable[Thread],
    owned_by: Mapping[Thread, Owned],
    samples: Iterable[StackSample],
    more: Iterable[waits.Sink] = (),
) -> Interlock:
    """Go through all waits once and sum them up; all empty in a recording that has none.

    `samples` are the Python stacks of the recording; `more` takes the same spells in the same pass.
    """
    totals, waiting, groups = waits.Totals(), gil.Waiting(grid), locks.Groups(recording, lives)
    code, doings = WaitedStacks(samples), Doings()
    sinks: tuple[waits.Sink, ...] = (totals, waiting, groups, code, doings, *more)
    waits.collect(recording, lives, waits.Ranges(recording, lives), grid.end_ns, sinks, _in_pools(owned_by))
    names = {(thread.life, thread.tid): thread.comm for thread in threads if thread.life is not None}
    return Interlock(
        gil=gil.gils(recording, lives, grid, gil.Doing(waiting, totals), names),
        waits=waits.waits(totals),
        process_waits=waits.process_waits(totals),
        locks=locks.locks(recording, groups),
        gil_waiters=code.wanted(waits.GIL),
        lock_waiters=code.wanted(waits.LOCK),
        doings=doings,
    )


def _in_pools(owned_by: Mapping[Thread, Owned]) -> frozenset[tuple[Life, int]]:
    return frozenset(
        (thread.life, thread.tid)
        for thread, owned in owned_by.items()
        if thread.life is not None and owned.owner.kind in NATIVE_POOLS
    )
