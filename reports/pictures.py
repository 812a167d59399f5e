"""Pictures of one report: busy cores against capacity, threads and processes, and each core's busy share.

Line charts are SVG, the heat map is PNG. The same report gives the same bytes: no date, no random names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from corelens.errors import MissingExtra
from corelens.reports.report import OwnerSeries, Report, Timeline

Figure = Any
"""A matplotlib.figure.Figure; its stubs are too incomplete to check against."""
Axes = Any
"""A matplotlib.axes.Axes, likewise."""

_WIDTH_IN, _HEIGHT_IN = 8.4, 2.6
_DOTS_PER_IN = 110
# Okabe and Ito's colours, told apart by every kind of colour vision.
_OWNERS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#9ca3af")
_BUSY, _WAITING, _INK, _GRID = "#0072b2", "#d55e00", "#111827", "#e5e7eb"
# A picture of these alone tells nothing of who made the threads.
_UNTOLD = frozenset({"main", "unknown", "short-lived"})
_SVG = {"svg.hashsalt": "corelens", "svg.fonttype": "none"}


def busy_cores(report: Report) -> Figure:
    """Draw busy cores as an area under the line of the capacity, waiting threads on top of them."""
    timeline, (figure, axis) = report.timeline, _chart("Busy cores against capacity", "cores")
    times = _edges(timeline, len(timeline.busy_cores))
    busy, waiting = _closed(timeline.busy_cores), _closed(timeline.waiting_threads)
    axis.fill_between(times, busy, step="post", color=_BUSY, alpha=0.45, linewidth=0, label="busy cores")
    axis.step(times, busy, where="post", color=_BUSY, linewidth=1)
    axis.step(times, waiting, where="post", color=_WAITING, linewidth=1, label="threads waiting for a core")
    axis.step(
        times, _closed(timeline.capacity_cores), where="post", color=_INK, linewidth=1,
        linestyle=(0, (4, 3)), label="capacity",
    )  # fmt: skip
    _finish(figure, axis, times)
    return figure


def threads(report: Report) -> Figure:
    """Draw the number of threads over time, and of processes on a scale of their own."""
    timeline, (figure, axis) = report.timeline, _chart("Threads and processes", "threads")
    times = _edges(timeline, len(timeline.threads))
    counted, processes = _closed(timeline.threads), _closed(timeline.processes)
    axis.fill_between(times, counted, step="post", color=_BUSY, alpha=0.25, linewidth=0)
    axis.step(times, counted, where="post", color=_BUSY, linewidth=1.2, label="threads")
    right = axis.twinx()
    right.step(times, processes, where="post", color=_WAITING, linewidth=1.2, label="processes (right)")
    _whole_numbers(axis, right)
    right.set_ylabel("processes", fontsize=8)
    right.set_ylim(0, _top(processes))
    _bare(right, ("top",))
    _finish(figure, axis, times)
    return figure


def owners(report: Report) -> Figure | None:
    """Draw threads over time stacked by their owner; None where no owner is known."""
    over_time = () if report.ledger is None else report.ledger.over_time
    if not {each.owner for each in over_time} - _UNTOLD:
        return None
    series = _largest_owners(over_time)
    timeline, (figure, axis) = report.timeline, _chart("Threads by owner", "threads")
    times = _edges(timeline, len(series[0][1]))
    below = [0.0] * len(times)
    for (owner, counts), colour in zip(series, _OWNERS, strict=False):
        above = [low + high for low, high in zip(below, _closed(counts), strict=True)]
        axis.fill_between(times, below, above, step="post", color=colour, linewidth=0, label=owner)
        below = above
    _whole_numbers(axis)
    _finish(figure, axis, times)
    return figure


def _largest_owners(series: Sequence[OwnerSeries]) -> list[tuple[str, Sequence[float | None]]]:
    """The kinds of owners with most threads in their usual order, the rest together, none below zero."""
    ordered = sorted(series, key=lambda each: -max((count or 0 for count in each.threads), default=0))
    shown = {each.owner for each in ordered[: len(_OWNERS) - 1]}
    drawn: list[tuple[str, Sequence[float | None]]] = [
        (each.owner, [None if count is None else max(count, 0) for count in each.threads])
        for each in series
        if each.owner in shown
    ]
    rest = [each.threads for each in series if each.owner not in shown]
    if rest:
        columns = zip(*rest, strict=True)
        sums = [None if None in column else sum(max(count or 0, 0) for count in column) for column in columns]
        drawn.append(("others", sums))
    return drawn


def cores(report: Report) -> Figure | None:
    """Draw each core's busy share over time, everybody's programs included; None without such readings."""
    timeline = report.timeline
    if not timeline.core_busy:
        return None
    figure, axis = _chart("Busy share of each core (all programs)", "core", rows=len(timeline.cores))
    grid = [[math.nan if share is None else share for share in row] for row in timeline.core_busy]
    end = len(timeline.core_busy[0]) * timeline.step_s
    image = axis.imshow(
        grid, aspect="auto", interpolation="nearest", cmap="viridis", vmin=0, vmax=1,
        extent=(0, end, len(grid) - 0.5, -0.5),
    )  # fmt: skip
    every = max(1, len(grid) // 16)
    axis.set_yticks(range(0, len(grid), every), [str(core) for core in timeline.cores[::every]])
    bar = figure.colorbar(image, ax=axis, pad=0.01)
    bar.set_label("busy share", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    axis.set_xlabel("seconds", fontsize=8)
    return figure


_KINDS: dict[str, tuple[Callable[[Report], Figure | None], str]] = {
    "busy-cores": (busy_cores, "svg"),
    "threads": (threads, "svg"),
    "owners": (owners, "svg"),
    "cores": (cores, "png"),
}

TITLES = {
    "busy-cores": "Busy cores, threads waiting for a core, and capacity over time",
    "threads": "Threads and processes over time",
    "owners": "Threads over time, stacked by what made them",
    "cores": "Busy share of each core over time, all programs",
}
"""Kinds of pictures in the order of the report, with the words for those who cannot see them."""


def drawn(report: Report) -> dict[str, tuple[str, bytes]]:
    """Draw all pictures: kind to (file ending, bytes). Raises MissingExtra without matplotlib."""
    pictures: dict[str, tuple[str, bytes]] = {}
    for kind, (draw, ending) in _KINDS.items():
        figure = draw(report)
        if figure is not None:
            pictures[kind] = (ending, _saved(figure, ending))
    return pictures


def _saved(figure: Figure, ending: str) -> bytes:
    import matplotlib

    context: Any = matplotlib.rc_context  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    data = BytesIO()
    metadata: dict[str, None] = {"Software": None} if ending == "png" else {"Date": None, "Creator": None}
    with context(_SVG):
        figure.savefig(data, format=ending, dpi=_DOTS_PER_IN, metadata=metadata)
    return data.getvalue()


def _chart(title: str, unit: str, rows: int = 0) -> tuple[Figure, Axes]:
    try:
        from matplotlib import figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "report") from error
    height = _HEIGHT_IN if not rows else min(1.1 + 0.22 * rows, 7.0)
    made: Figure = figure.Figure(figsize=(_WIDTH_IN, height), layout="constrained")
    axis: Axes = made.subplots()
    axis.set_title(title, fontsize=10, loc="left", fontweight="bold")
    axis.set_ylabel(unit, fontsize=8)
    _bare(axis, ("top", "right"))
    return made, axis


def _bare(axis: Axes, sides: Sequence[str]) -> None:
    axis.tick_params(labelsize=7, length=2, color="#9ca3af")
    for side in sides:
        axis.spines[side].set_visible(False)


def _finish(figure: Figure, axis: Axes, times: Sequence[float]) -> None:
    axis.set_xlim(0, max(times[-1], 1e-3))
    axis.set_ylim(0, max(axis.get_ylim()[1], 1e-3))
    axis.set_xlabel("seconds", fontsize=8)
    axis.grid(axis="y", color=_GRID, linewidth=0.6)
    axis.set_axisbelow(True)
    figure.legend(loc="outside upper right", ncols=3, fontsize=8, frameon=False)


def _whole_numbers(*axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    for axis in axes:
        axis.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def _edges(timeline: Timeline, bins: int) -> list[float]:
    return [index * timeline.step_s for index in range(bins + 1)]


def _closed(values: Sequence[float | None]) -> list[float]:
    """Values with the last one repeated, so that the last bin is drawn to its end."""
    numbers = [math.nan if value is None else float(value) for value in values]
    return [*numbers, numbers[-1] if numbers else math.nan]


def _top(values: Sequence[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=1.0) * 1.15 or 1.0
