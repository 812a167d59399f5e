"""The interpreter lock of each Python process: how much of the time it was held, how often it changed hands, who
waited, and which of the two ways of suffering from it that is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from corelens.recording import Recording
from corelens.reports.facts.bins import Amounts, Grid
from corelens.reports.facts.pace import Pace
from corelens.reports.facts.processes import NS_PER_S, Life, Lives
from corelens.reports.facts.waits import GIL, RUNNING, Spell, Totals
from corelens.reports.report import Gil, GilThread
from corelens.vocabulary import Line

CONVOY = "convoy"
SATURATION = "saturation"
NONE = "none"

# Measured on two cores, 4 threads each: tiny torch operations 21,000 to 97,000 hand-offs a second, pure Python 170
# (the switch interval forces 200 at most), hashing without the lock 1,100, sleepers 800, a threading.Lock 200.
CONVOY_HANDOFFS_PER_S = 5_000
# Two threads of tiny operations were found waiting in 7 % of the time that they ran or waited, four in half of it, on
# a machine that other programs use as well in less; threads that let go often and find the lock free stay under 2 %.
CONVOY_WAIT_SHARE = 0.02
# Four pure-Python threads held it for 0.99 of the time.
SATURATED_HELD_SHARE = 0.9
# With one thread alone the lock is held as much, and nobody is kept from running. Where the others lack a core as
# well, they are seldom found waiting for the lock; that they too hold it for a tenth of the time tells.
SATURATED_WAITERS = 0.5
SATURATED_OTHERS_SHARE = 0.1
# What lasts for less of the time is an episode, as an import is.
PATTERN_TIME_SHARE = 0.2
MOST_THREADS = 20


@dataclass(slots=True)
class _Reading:
    """One row of a `gil` line."""

    t_ns: int
    looks: int
    held: int
    switches: int
    locked: bool


@dataclass(slots=True)
class _Use:
    """What is known of one process, growing line by line."""

    life: Life
    held: Amounts
    seen: Amounts
    handoffs: Amounts
    version: str | None = None
    gil: str = "unknown"
    how: str = "nothing"
    reason: str | None = None
    interval_us: int | None = None
    last: _Reading | None = None
    looks: int = 0
    switched: int = 0
    by_thread: dict[int, int] = field(default_factory=dict[int, int])


class Waiting:
    """Time that threads waited for the lock, over time and by process; a sink of spells."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self.by_life: dict[Life, Amounts] = {}

    def add(self, spell: Spell) -> None:
        """Take one spell."""
        if spell.what == GIL:
            amounts = self.by_life.get(spell.life)
            if amounts is None:
                amounts = self.by_life[spell.life] = Amounts(self._grid)
            amounts.add(spell.start_ns, spell.end_ns, spell.end_ns - spell.start_ns)


@dataclass(frozen=True, slots=True)
class Doing:
    """What threads were found doing, over time and in all."""

    waiting: Waiting
    totals: Totals


Names = Mapping[tuple[Life, int], str | None]
"""Names of threads."""


def gils(recording: Recording, lives: Lives, grid: Grid, doing: Doing, names: Names) -> tuple[Gil, ...]:
    """Every process that is known to run Python, in the order of birth."""
    uses = _uses(recording, lives, grid)
    return tuple(_summed_up(uses[life], doing, names) for life in lives.all if life in uses)


class _Uses:
    """The processes met so far."""

    def __init__(self, lives: Lives, grid: Grid) -> None:
        self._lives = lives
        self._grid = grid
        self.by_life: dict[Life, _Use] = {}

    def of(self, pid: int, t_ns: int) -> _Use | None:
        """The use of one process at that time; None when it was never introduced."""
        life = self._lives.at(pid, t_ns)
        if life is None:
            return None
        if life not in self.by_life:
            self.by_life[life] = _Use(
                life, held=Amounts(self._grid), seen=Amounts(self._grid), handoffs=Amounts(self._grid)
            )
        return self.by_life[life]


def _uses(recording: Recording, lives: Lives, grid: Grid) -> dict[Life, _Use]:
    uses = _Uses(lives, grid)
    pace = Pace(recording, "gil")
    for line in recording.lines("gil.found"):
        _introduce(line, uses)
    for line in recording.lines("gil"):
        for pid, reading in _readings(line):
            if (one := uses.of(pid, reading.t_ns)) is not None:
                _read(one, reading, pace)
    for line in recording.lines("gil.held"):
        for pid, tid, held in zip(line["pid"], line["tid"], line["held"], strict=False):
            if (one := uses.of(pid, line["t_ns"])) is not None:
                one.by_thread[tid] = held
    for one in uses.by_life.values():
        _let_stand(one, grid.end_ns if one.life.died_ns is None else one.life.died_ns)
    return uses.by_life


def _introduce(line: Line, uses: _Uses) -> None:
    names = ("pid", "version", "gil", "how", "interval_us", "reason")
    for pid, version, gil, how, interval_us, reason in zip(*(line[name] for name in names), strict=False):
        one = uses.of(pid, line["t_ns"])
        if one is not None:
            one.version, one.gil, one.how = version, gil, how
            one.interval_us, one.reason = interval_us, reason


def _readings(line: Line) -> Iterator[tuple[int, _Reading]]:
    names = ("pid", "looks", "held", "switches", "locked")
    for pid, looks, held, switches, locked in zip(*(line[name] for name in names), strict=False):
        yield pid, _Reading(line["t_ns"], looks, held, switches, locked)


def _read(one: _Use, now: _Reading, pace: Pace) -> None:
    """Take one row. What the looks showed holds since the round before; until then the process stood still."""
    then, one.last = one.last, now
    if then is None:
        return
    since_ns = pace.since(then.t_ns, now.t_ns, 0)
    _stand_still(one, then, since_ns)
    looks, held = now.looks - then.looks, now.held - then.held
    if looks > 0 and held >= 0:
        one.looks += looks
        one.seen.add(since_ns, now.t_ns, now.t_ns - since_ns)
        one.held.add(since_ns, now.t_ns, (now.t_ns - since_ns) * held / looks)
    if now.switches >= then.switches:
        one.switched += now.switches - then.switches
        one.handoffs.add(since_ns, now.t_ns, now.switches - then.switches)


def _stand_still(one: _Use, then: _Reading, until_ns: int) -> None:
    still_ns = until_ns - then.t_ns
    if still_ns > 0:
        one.seen.add(then.t_ns, until_ns, still_ns)
        one.held.add(then.t_ns, until_ns, still_ns if then.locked else 0)


def _let_stand(one: _Use, end_ns: int) -> None:
    """The lock stayed after its last row as it was then."""
    if one.last is not None:
        _stand_still(one, one.last, end_ns)


# summing up


def _summed_up(one: _Use, doing: Doing, names: Names) -> Gil:
    totals = doing.totals
    seen_ns, held_ns = sum(one.seen.bins), sum(one.held.bins)
    rates = tuple(_handoffs_per_s(one))
    threads = _threads(one, totals, names)
    waited_ns = totals.time_ns(one.life, GIL)
    busiest = max(threads, key=lambda thread: thread.held_looks, default=None)
    known = seen_ns > 0
    return Gil(
        pid=one.life.pid,
        role=one.life.role,
        version=one.version,
        gil=one.gil,
        how=one.how,
        reason=one.reason,
        interval_us=one.interval_us,
        looks=one.looks,
        held_share=held_ns / seen_ns if known else None,
        handoffs=one.switched if known else None,
        handoffs_per_s=one.switched * NS_PER_S / seen_ns if known else None,
        handoffs_per_s_peak=max((rate for rate in rates if rate is not None), default=None),
        waited_thread_s=waited_ns / NS_PER_S,
        waiting_threads_mean=waited_ns / seen_ns if known else None,
        wait_share=_wait_share(one.life, threads, totals),
        busiest_tid=busiest.tid if busiest is not None and busiest.held_looks else None,
        busiest_share=busiest.held_share if busiest is not None and busiest.held_looks else None,
        pattern=_pattern(one, doing) if known else None,
        threads=tuple(sorted(threads, key=lambda thread: -thread.held_looks)[:MOST_THREADS]),
        held_share_by_bin=tuple(_shares(one)),
        handoffs_per_s_by_bin=rates,
    )


def _handoffs_per_s(one: _Use) -> Iterator[float | None]:
    for amount, seen_ns in zip(one.handoffs.bins, one.seen.bins, strict=True):
        yield amount * NS_PER_S / seen_ns if seen_ns > 0 else None


def _shares(one: _Use) -> Iterator[float | None]:
    for amount, seen_ns in zip(one.held.bins, one.seen.bins, strict=True):
        yield min(amount / seen_ns, 1.0) if seen_ns > 0 else None


def _threads(one: _Use, totals: Totals, names: Names) -> list[GilThread]:
    """Threads that were seen holding the lock or waiting for it."""
    held = sum(one.by_thread.values())
    looked_at = totals.by_thread.get(one.life, {})
    waiters = {tid for tid, of_thread in looked_at.items() if of_thread.get(GIL)}
    return [
        GilThread(
            tid=tid,
            comm=names.get((one.life, tid)),
            held_looks=one.by_thread.get(tid, 0),
            held_share=one.by_thread.get(tid, 0) / held if held else None,
            wait_share=_share_of_thread(looked_at.get(tid, {})),
        )
        for tid in sorted(waiters | one.by_thread.keys())
    ]


def _share_of_thread(of_thread: Mapping[str, int]) -> float | None:
    whole = sum(of_thread.values())
    return of_thread.get(GIL, 0) / whole if whole else None


def _wait_share(life: Life, threads: list[GilThread], totals: Totals) -> float | None:
    """Part of the time of the threads that use the lock which they spent waiting for it.

    Where none was ever met with it, nobody waited: that is 0 of the time of all that were looked at.
    """
    looked_at = totals.by_thread.get(life, {})
    users = [looked_at[thread.tid] for thread in threads if thread.tid in looked_at]
    together: Counter[str] = Counter()
    for of_thread in users or looked_at.values():
        together.update(of_thread)
    whole = together.total()
    return together[GIL] / whole if whole else None


def _pattern(one: _Use, doing: Doing) -> str:
    """How the process suffers from its lock, if it does for a fifth of the time."""
    seen_ns = sum(one.seen.bins)
    waited, totals = doing.waiting.by_life.get(one.life), doing.totals
    shared = _others_share(one) >= SATURATED_OTHERS_SHARE
    convoy_ns = saturated_ns = 0.0
    for index, in_bin_ns in enumerate(one.seen.bins):
        if in_bin_ns <= 0:
            continue
        waiters = waited.bins[index] / in_bin_ns if waited is not None else 0.0
        if one.handoffs.bins[index] * NS_PER_S / in_bin_ns >= CONVOY_HANDOFFS_PER_S:
            convoy_ns += in_bin_ns
        elif one.held.bins[index] / in_bin_ns >= SATURATED_HELD_SHARE:
            saturated_ns += in_bin_ns if shared or waiters >= SATURATED_WAITERS else 0
    waited_ns = totals.time_ns(one.life, GIL)
    wanted_ns = waited_ns + totals.time_ns(one.life, RUNNING)
    waits = wanted_ns > 0 and waited_ns / wanted_ns >= CONVOY_WAIT_SHARE
    # The same threads can be in a convoy while they have two cores and take turns on one in between: the convoy is
    # what costs more.
    if convoy_ns >= PATTERN_TIME_SHARE * seen_ns and waits:
        return CONVOY
    return SATURATION if saturated_ns >= PATTERN_TIME_SHARE * seen_ns else NONE


def _others_share(one: _Use) -> float:
    """Part of the looks that found the lock held by another thread than the busiest."""
    held = sum(one.by_thread.values())
    return (held - max(one.by_thread.values())) / held if held else 0.0
