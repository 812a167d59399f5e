"""The GIL probe: whether the interpreter lock of each Python process is held, by whom, and how often it changed hands.

The interpreter keeps all three in its own memory; they are read from outside and nothing is stopped. Whether the
lock is held is a sample, so it is looked at far more often than the rounds come: at one random moment in each
stretch of 5 ms where a lock changes hands, of 10 ms once there are 2,500 looks, of 50 ms where a single thread uses
it, and not at all while the process does not run. The hand-offs are a counter, and exact.

Its cost is measured by `python benchmarks/sampling.py`, its truth by `python benchmarks/gil.py`.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from corelens.probes import gil_layout, procfs
from corelens.probes.gaps import Gaps
from corelens.probes.gil_interpreter import CONTENDED_NS, Finder, Interpreter, how
from corelens.probes.probe import Moment
from corelens.vocabulary import Line, columnar_line

CONTENDED_STRATUM_NS = 5_000_000
SETTLED_STRATUM_NS = 10_000_000
# Nobody waits there, so that the share tells less, and each waking costs up to 140 us beside a program with much data.
LONELY_STRATUM_NS = 50_000_000
# The standard error of a share is then 0.01 at most.
ENOUGH_LOOKS = 2_500
KEYFRAME_PERIOD_NS = 30_000_000_000
# So many locks are read at one wake-up, those that change hands first: a microsecond each.
MOST_AT_ONCE = 8
_STATE = struct.Struct("<Qi4xQ")

Draw = Callable[[], float]


class GilProbe:
    """Follows the interpreter lock of every Python process of the tree.

    `draw` gives a number from 0 up to 1, which places each look within its stretch of time. Between the rounds
    the recorder asks `next_glance_ns` and calls `glance`.
    """

    name = "gil"

    def __init__(
        self, proc: Path = procfs.PROC, period_ns: int = 100_000_000, *, draw: Draw | None = None
    ) -> None:
        self.period_ns = period_ns
        self._draw = draw or random.Random(0).random
        self._interpreters: dict[int, Interpreter] = {}
        self._active: list[Interpreter] = []
        self._base_ns: int | None = None
        self._stratum_ns = 0
        self._begin_ns = 0
        self._glance_ns: int | None = None
        self._next_keyframe_ns = KEYFRAME_PERIOD_NS
        self._finder = Finder(proc, Gaps(self.name))

    def look(self, moment: Moment) -> Iterator[Line]:
        """Look for interpreters that are new, and at the locks of those that ran."""
        t_ns = moment.t_ns
        self._base_ns = self._base_ns or self.period_ns
        self._forget_the_dead(moment)
        fresh: list[Interpreter] = []
        active: list[Interpreter] = []
        for pid in sorted(moment.moved & moment.processes.keys()):
            one = self._interpreters.get(pid)
            if one is None:
                one = self._interpreters[pid] = Interpreter(pid, moment.processes[pid].start_ticks)
            yield from self._finder.examine_if_due(one, t_ns, fresh)
            if one.gil is not None and one.status == ("yes", how(one.gil)) and self._count(one, t_ns):
                active.append(one)
        yield from self._tell(fresh, active, t_ns)
        self._schedule(active, t_ns)

    def close(self) -> None:
        """Give the descriptors back."""
        for one in self._interpreters.values():
            one.close()
        self._interpreters.clear()
        self._active.clear()
        self._glance_ns = None

    # between the rounds

    @property
    def next_glance_ns(self) -> int | None:
        """When to glance next; None while no Python process runs."""
        return self._glance_ns

    def glance(self, t_ns: int) -> None:
        """Look at the locks of the processes that ran in the last round."""
        for one in self._active[:MOST_AT_ONCE]:
            if not self._count(one, t_ns):
                self._active.remove(one)
        self._draw_next(t_ns)

    def _schedule(self, active: list[Interpreter], t_ns: int) -> None:
        """Decide who is glanced at until the next round, and how often."""
        horizon_ns = t_ns - CONTENDED_NS
        active.sort(key=lambda one: one.contended_ns <= horizon_ns)
        if len(active) > MOST_AT_ONCE:
            # Those that found no room come first in turn.
            turn = (t_ns // self.period_ns) % len(active)
            active = active[turn:] + active[:turn]
            active.sort(key=lambda one: one.contended_ns <= horizon_ns)
        stratum_ns = min((_stratum_ns(one, horizon_ns) for one in active[:MOST_AT_ONCE]), default=0)
        # The governor lengthens our period; the glances are what costs, so they follow.
        self._stratum_ns = stratum_ns * max(1, self.period_ns // (self._base_ns or self.period_ns))
        self._active = active
        if not active:
            self._glance_ns = None
        elif self._glance_ns is None or self._glance_ns > t_ns + self._stratum_ns:
            self._begin_ns = t_ns
            self._glance_ns = t_ns + int(self._draw() * self._stratum_ns)

    def _draw_next(self, t_ns: int) -> None:
        """Place the next glance at a random moment of the next stretch."""
        self._begin_ns += self._stratum_ns
        if self._begin_ns < t_ns - self._stratum_ns:
            self._begin_ns = t_ns
        self._glance_ns = self._begin_ns + int(self._draw() * self._stratum_ns) if self._active else None

    def _count(self, one: Interpreter, t_ns: int) -> bool:
        """Take one look; False when the lock can no longer be read there."""
        raw = one.read(one.address, _STATE.size)
        if len(raw) != _STATE.size:
            # Ended, or another program took its place.
            self._lose(one, t_ns)
            return False
        holder, locked, switches = _STATE.unpack(raw)
        if locked not in gil_layout.LOCKED_VALUES or switches < one.switches:
            self._lose(one, t_ns)
            return False
        if switches != one.switches:
            if one.looks:
                one.contended_ns = t_ns
            one.switches = switches
        one.looks += 1
        one.locked, one.holder = locked == 1, holder
        if locked:
            one.held += 1
            one.held_by[holder] = one.held_by.get(holder, 0) + 1
        return True

    def _lose(self, one: Interpreter, t_ns: int) -> None:
        """Forget where the lock was, and examine the process anew in the next round."""
        one.close()
        fresh = Interpreter(one.pid, one.start_ticks)
        fresh.next_try_ns = t_ns
        # The counters go on, so that a reader sees neither a fall nor looks that never were.
        fresh.looks, fresh.held, fresh.said_held = one.looks, one.held, one.said_held
        if self._interpreters.get(one.pid) is one:
            self._interpreters[one.pid] = fresh

    def _forget_the_dead(self, moment: Moment) -> None:
        for pid, one in list(self._interpreters.items()):
            process = moment.processes.get(pid)
            if process is None or process.start_ticks != one.start_ticks:
                one.close()
                del self._interpreters[pid]

    # what is written

    def _tell(self, fresh: list[Interpreter], active: list[Interpreter], t_ns: int) -> Iterator[Line]:
        if t_ns >= self._next_keyframe_ns:
            self._next_keyframe_ns = t_ns + KEYFRAME_PERIOD_NS
            fresh = [one for one in self._interpreters.values() if one.status is not None]
        if fresh:
            yield columnar_line("gil.found", t_ns, [one.found for one in fresh])
        if not active:
            return
        rows = [
            (one.pid, one.looks, one.held, one.switches, one.locked, self._finder.tid_of(one, one.holder))
            for one in active
        ]
        yield columnar_line("gil", t_ns, rows)
        held = [row for one in active for row in self._held(one)]
        if held:
            yield columnar_line("gil.held", t_ns, held)

    def _held(self, one: Interpreter) -> Iterator[tuple[int, int, int]]:
        """Rows of the threads that were found holding the lock since the last round."""
        for state, looks in one.held_by.items():
            tid = self._finder.tid_of(one, state)
            if tid is not None:
                one.said_held[tid] = one.said_held.get(tid, 0) + looks
                yield one.pid, tid, one.said_held[tid]
        one.held_by.clear()


def _stratum_ns(one: Interpreter, horizon_ns: int) -> int:
    if one.contended_ns <= horizon_ns:
        return LONELY_STRATUM_NS
    return CONTENDED_STRATUM_NS if one.looks < ENOUGH_LOOKS else SETTLED_STRATUM_NS
