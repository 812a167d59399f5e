"""Everything that changes with time, in equal bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from corelens.recording import Recording
from corelens.reports.facts import capacity
from corelens.reports.facts.bins import Amounts, Grid, largest, unseen_bins
from corelens.reports.facts.cores import Cores
from corelens.reports.facts.memory import Sizes
from corelens.reports.facts.population import Population
from corelens.reports.report import Timeline

_NS_PER_S = 1_000_000_000
# Lines that prove a look at the processes; marks and pools carry the program's own times.
_LOOKS = ("processes", "threads", "cores", "self", "process.detail", "process.born")
_Value = TypeVar("_Value", int, float)


def timeline(
    recording: Recording,
    grid: Grid,
    busy: Amounts,
    waiting: Amounts,
    population: Population,
    sizes: Sizes,
    cores: Cores | None,
) -> Timeline:
    """Put the series side by side; None where nobody looked."""
    blind = unseen_bins((line["t_ns"] for kind in _LOOKS for line in recording.lines(kind)), grid)
    rss = largest(sizes.tree, grid) if sizes.tree else []
    return Timeline(
        step_s=grid.step_ns / _NS_PER_S,
        busy_cores=_blinded(busy.rates(), blind),
        capacity_cores=capacity.per_bin(recording, grid),
        waiting_threads=_blinded(waiting.rates(), blind),
        threads=_blinded(largest(population.threads, grid), blind),
        processes=_blinded(largest(population.processes, grid), blind),
        rss_bytes=_blinded(rss, blind) if rss else (None,) * grid.count,
        cores=cores.numbers if cores else (),
        core_busy=cores.busy if cores else (),
    )


def _blinded(values: Sequence[_Value], blind: set[int]) -> tuple[_Value | None, ...]:
    return tuple(None if index in blind else value for index, value in enumerate(values))
