"""The cores of the machine, from /proc/stat: how busy each was, and who else used them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts.bins import Amounts, Grid
from corelens.reports.facts.processes import DEFAULT_TICKS_PER_S
from corelens.vocabulary import Line

_BUSY = ("user_ticks", "nice_ticks", "system_ticks", "irq_ticks")
_ALL = (*_BUSY, "idle_ticks", "iowait_ticks", "steal_ticks")


@dataclass(frozen=True, slots=True)
class Cores:
    """Use of the whole machine between the first and the last reading of its cores."""

    first_ns: int
    last_ns: int
    busy_ns: float
    steal_ns: float
    numbers: tuple[int, ...]
    busy: tuple[tuple[float | None, ...], ...]
    """Busy share per core and bin."""

    @property
    def span_ns(self) -> int:
        """Time between the first and the last reading."""
        return self.last_ns - self.first_ns

    @property
    def steal_cores(self) -> float:
        """Cores that the hypervisor took away, on average."""
        return self.steal_ns / self.span_ns


@dataclass(frozen=True, slots=True)
class Step:
    """What one core did between two readings, in ticks."""

    core: int
    start_ns: int
    end_ns: int
    busy: int
    steal: int
    total: int


def cores(recording: Recording, grid: Grid) -> Cores | None:
    """Add the steps up; None with fewer than two readings."""
    steps = list(core_steps(recording.lines("cores")))
    if not steps:
        return None
    tick_ns = 1_000_000_000 / (recording.header["host"].get("clock_ticks_per_s") or DEFAULT_TICKS_PER_S)
    numbers = tuple(sorted({step.core for step in steps}))
    return Cores(
        first_ns=min(step.start_ns for step in steps),
        last_ns=max(step.end_ns for step in steps),
        busy_ns=sum(step.busy for step in steps) * tick_ns,
        steal_ns=sum(step.steal for step in steps) * tick_ns,
        numbers=numbers,
        busy=tuple(_shares([step for step in steps if step.core == number], grid) for number in numbers),
    )


def core_steps(lines: list[Line]) -> Iterator[Step]:
    """What each core did from one reading to the next."""
    before: dict[int, tuple[int, tuple[int, ...]]] = {}
    for line in lines:
        for core, *ticks in zip(line["core"], *(line[name] for name in _ALL), strict=False):
            start = before.get(core)
            before[core] = (line["t_ns"], tuple(ticks))
            if start is None or line["t_ns"] <= start[0]:
                continue
            # Idle and iowait may go backwards by a tick, which is no rate but no trouble either.
            spent = [max(0, now - then) for now, then in zip(ticks, start[1], strict=True)]
            yield Step(core, start[0], line["t_ns"], sum(spent[: len(_BUSY)]), spent[-1], sum(spent))


def _shares(steps: list[Step], grid: Grid) -> tuple[float | None, ...]:
    """Busy share of one core per bin; None where no step reaches into the bin."""
    busy, read = Amounts(grid), Amounts(grid)
    for step in steps:
        if step.total:
            length = step.end_ns - step.start_ns
            busy.add(step.start_ns, step.end_ns, length * step.busy / step.total)
            read.add(step.start_ns, step.end_ns, length)
    return tuple(
        min(1.0, share / length) if length > 0 else None
        for share, length in zip(busy.bins, read.bins, strict=True)
    )
