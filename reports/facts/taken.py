"""Core time that the program could not have: throttled by a quota, stolen, or used by other programs."""

from __future__ import annotations

from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts.bins import Amounts, Grid
from corelens.reports.facts.cores import core_steps
from corelens.vocabulary import Line

# Default of cpu.cfs_period_us and of cpu.max.
PERIOD_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Taken:
    """ns per bin, all zero where it was not read."""

    throttled: tuple[float, ...]
    """Time for which the cgroup with the longest throttling was stopped, added up over its cores."""
    busy: tuple[float, ...]
    """Of the whole machine, everybody's programs included."""
    stolen: tuple[float, ...]
    read: bool
    """Whether the cores were read; else nobody knows what others used."""


def taken(recording: Recording, grid: Grid) -> Taken:
    """Spread the machine's counters over the bins."""
    busy, stolen, any_read = Amounts(grid), Amounts(grid), False
    tick_ns = 1_000_000_000 / (recording.header["host"].get("clock_ticks_per_s") or 100)
    for step in core_steps(recording.lines("cores")):
        any_read = True
        busy.add(step.start_ns, step.end_ns, step.busy * tick_ns)
        stolen.add(step.start_ns, step.end_ns, step.steal * tick_ns)
    return Taken(tuple(_throttled(recording, grid)), tuple(busy.bins), tuple(stolen.bins), any_read)


def _throttled(recording: Recording, grid: Grid) -> list[float]:
    """Throttling per bin of the level that was throttled longest: an inner group stops with the outer one."""
    by_path: dict[str, Amounts] = {}
    before: dict[str, tuple[int, int]] = {}
    for line in recording.lines("cgroup"):
        path, t_ns, throttled_ns = line["path"], line["t_ns"], line["throttled_ns"]
        if throttled_ns is None:
            continue
        then = before[path] if path in before else _beginning(recording, line)
        before[path] = (t_ns, throttled_ns)
        if throttled_ns > then[1]:
            by_path.setdefault(path, Amounts(grid)).add(then[0], t_ns, throttled_ns - then[1])
    most = max(by_path.values(), key=lambda amounts: sum(amounts.bins), default=None)
    return [0.0] * grid.count if most is None else most.bins


def _beginning(recording: Recording, line: Line) -> tuple[int, int]:
    """What to count the first reading of a group from: zero where it was made since the limits were read before.

    It was if its periods fit into that time; else it throttled others before this program came.
    """
    t_ns = line["t_ns"]
    earlier = [said["t_ns"] for said in recording.lines("limits") if said["t_ns"] < t_ns]
    since_ns = max(earlier, default=None)
    if since_ns is not None and (line["periods"] or 0) * PERIOD_NS <= t_ns - since_ns:
        return since_ns, 0
    return t_ns, line["throttled_ns"]
