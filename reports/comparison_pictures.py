"""Pictures of a comparison, side by side: busy cores and threads over time, trials per hour, speed-up.

All runs of a group share one time axis and one scale, so that a shorter picture is a faster run. The colour
says where trials ran, the same in every picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from corelens.errors import MissingExtra
from corelens.reports.compared import Comparison, Group, Row, Run
from corelens.reports.comparison_figures import FIGURES
from corelens.reports.comparison_tables import number, picture_key, title_of
from corelens.reports.formatting import plain
from corelens.reports.report import Spread
from corelens.reports.statements import is_spread_over_processes, is_threaded

Figure = Any
"""A matplotlib.figure.Figure; its stubs are too incomplete to check against."""
Axes = Any
"""A matplotlib.axes.Axes, likewise."""

_COLUMNS = 4
_WIDTH_IN = 10.0
_PANEL_HEIGHT_IN = 1.75
_BAR_HEIGHT_IN = 0.34
_DOTS_PER_IN = 110
_LONGEST_LABEL = 40
_IN_SIGHT = 2.0
"""The axis of speed-ups is stretched by this at most to show where an efficiency of 1 would be."""
# Okabe and Ito's colours, told apart by every kind of colour vision.
_ONE_THREAD, _THREADS, _PROCESSES = "#6b7280", "#d55e00", "#0072b2"
_PLACES = {
    _ONE_THREAD: "trials in one thread",
    _THREADS: "in threads of one process",
    _PROCESSES: "in several processes",
}
_CAPACITY: dict[str, Any] = {"color": "#111827", "linewidth": 0.8, "linestyle": (0, (4, 3))}
_FIRST_TRIAL: dict[str, Any] = {"color": "#111827", "linewidth": 0.8, "linestyle": (0, (1, 2))}

Series = Callable[[Run], Sequence[float | None]]


def busy_cores(group: Group) -> Figure | None:
    """Draw busy cores against the capacity over time, one panel per configuration; None without runs."""
    top = max((max(_filled(run.timeline.busy_cores), default=0) for run in _runs(group)), default=0)
    limit = max((run.capacity_cores for run in _runs(group)), default=0)
    return _panels(
        group,
        lambda run: run.timeline.busy_cores,
        "cores",
        max(top, limit) * 1.12,
        "Busy cores over time",
        True,
    )


def threads(group: Group) -> Figure | None:
    """Draw the number of threads of the process tree over time, one panel per configuration."""
    top = max((max(_filled(run.timeline.threads), default=0) for run in _runs(group)), default=0)
    return _panels(group, lambda run: run.timeline.threads, "threads", top * 1.12, "Threads over time", False)


def speeds(group: Group) -> Figure | None:
    """Draw trials per hour and speed-up as bars with the range of the repeats; None without any rate."""
    rows = [row for row in group.rows if row.trouble is None and row.values["trials_per_hour"]][::-1]
    if not rows:
        return None
    figure = _figure(1.15 + _BAR_HEIGHT_IN * len(rows))
    left, right = figure.subplots(1, 2, sharey=True)
    _bars(left, group, rows, "trials_per_hour", "trials per hour of wall time")
    _bars(right, group, rows, "speed_up", _speed_up_label(group))
    _ideal(right, rows)
    _legend(figure, rows, ())
    return figure


def _figure(height_in: float) -> Figure:
    try:
        from matplotlib import figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "report") from error
    return figure.Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")


def _runs(group: Group) -> list[Run]:
    return [run for row in group.rows for run in row.runs]


def _filled(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _panels(
    group: Group, series: Series, unit: str, top: float, title: str, with_capacity: bool
) -> Figure | None:
    rows = [row for row in group.rows if row.runs]
    if not rows:
        return None
    columns = min(_COLUMNS, len(rows))
    stacked = math.ceil(len(rows) / columns)
    figure = _figure(0.9 + _PANEL_HEIGHT_IN * stacked)
    axes: list[Axes] = list(figure.subplots(stacked, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axis, row in zip(axes, rows, strict=False):
        _panel(axis, row, series, with_capacity)
        axis.set_title(
            _label(group, row),
            parse_math=False,
            fontsize=9,
            loc="left",
            color="#111827" if row.trouble is None else "#b91c1c",
        )
    _scale(axes, rows, columns, unit, top)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", fontweight="bold")
    _legend(figure, rows, _explained(rows, with_capacity))
    return figure


def _panel(axis: Axes, row: Row, series: Series, with_capacity: bool) -> None:
    first, *others = _by_wall(row)
    colour = _colour(row)
    times, values = _steps(first, series)
    axis.fill_between(times, values, step="post", color=colour, alpha=0.3, linewidth=0)
    axis.step(times, values, where="post", color=colour, linewidth=1)
    for run in others:
        axis.step(*_steps(run, series), where="post", color=colour, linewidth=0.5, alpha=0.6)
    if with_capacity:
        axis.axhline(first.capacity_cores, **_CAPACITY)
    startup_s = first.values["startup_s"]
    if startup_s is not None:
        axis.axvline(startup_s, **_FIRST_TRIAL)
    _style(axis)


def _explained(rows: Sequence[Row], with_capacity: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], **_CAPACITY, label="capacity")] if with_capacity else []
    if any(run.values["startup_s"] is not None for row in rows for run in row.runs):
        lines.append(Line2D([], [], **_FIRST_TRIAL, label="first trial begins"))
    return lines


def _by_wall(row: Row) -> list[Run]:
    """Put the run of median wall time first: it stands for its repeats."""
    runs = sorted(row.runs, key=lambda run: run.values["wall_s"] or 0.0)
    middle = (len(runs) - 1) // 2
    return [runs[middle], *runs[:middle], *runs[middle + 1 :]]


def _steps(run: Run, series: Series) -> tuple[list[float], list[float]]:
    values = [math.nan if value is None else float(value) for value in series(run)]
    times = [index * run.timeline.step_s for index in range(len(values) + 1)]
    return times, [*values, values[-1] if values else math.nan]


def _scale(axes: Sequence[Axes], rows: Sequence[Row], columns: int, unit: str, top: float) -> None:
    longest = max(len(run.timeline.busy_cores) * run.timeline.step_s for row in rows for run in row.runs)
    axes[0].set_xlim(0, max(longest, 1e-3))
    axes[0].set_ylim(0, max(top, 1e-3))
    for axis in axes[::columns]:
        axis.set_ylabel(unit, fontsize=8)
    for axis in axes[len(rows) :]:
        axis.set_visible(False)
    for axis in axes[max(len(rows) - columns, 0) : len(rows)]:
        axis.set_xlabel("seconds", fontsize=8)
        axis.tick_params(labelbottom=True)


def _style(axis: Axes) -> None:
    axis.tick_params(labelsize=7, length=2, color="#9ca3af")
    axis.grid(axis="y", color="#e5e7eb", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color("#9ca3af")


def _colour(row: Row) -> str:
    if is_spread_over_processes(row):
        return _PROCESSES
    return _THREADS if is_threaded(row) else _ONE_THREAD


def _legend(figure: Figure, rows: Sequence[Row], lines: Sequence[Any]) -> None:
    from matplotlib.patches import Patch

    colours = [colour for colour in _PLACES if any(_colour(row) == colour for row in rows)]
    handles: list[Any] = [Patch(color=colour, label=_PLACES[colour]) for colour in colours]
    handles += lines
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), fontsize=8, frameon=False)


def _bars(axis: Axes, group: Group, rows: Sequence[Row], key: str, label: str) -> None:
    spreads = [row.values[key] for row in rows]
    for place, (row, spread) in enumerate(zip(rows, spreads, strict=True)):
        if spread is not None:
            _bar(axis, place, row, spread, key)
    axis.set_yticks(range(len(rows)), [_label(group, row) for row in rows], fontsize=8, parse_math=False)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlim(0, max((spread.maximum for spread in spreads if spread), default=1.0) * 1.18)
    axis.set_xlabel(label, fontsize=8, parse_math=False)
    _style(axis)
    axis.grid(axis="y", visible=False)
    axis.grid(axis="x", color="#e5e7eb", linewidth=0.6)


def _label(group: Group, row: Row) -> str:
    name = plain(title_of(group, row))
    return name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"


def _speed_up_label(group: Group) -> str:
    if group.baseline is None:
        return "no speed-up: there is nothing to refer to"
    return f"speed-up over {plain(group.baseline)[:_LONGEST_LABEL]} (×; upright mark: number of workers)"


def _bar(axis: Axes, place: int, row: Row, spread: Spread, key: str) -> None:
    whiskers: Any = None
    if spread.count > 1:
        whiskers = [[spread.median - spread.minimum], [spread.maximum - spread.median]]
    axis.barh(
        place, spread.median, height=0.62, color=_colour(row), alpha=0.75, xerr=whiskers,
        error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#111827"},
    )  # fmt: skip
    axis.annotate(
        number(FIGURES[key], spread.median), (spread.maximum, place), xytext=(4, 0),
        textcoords="offset points", va="center", fontsize=8, zorder=4,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
    )  # fmt: skip


def _ideal(axis: Axes, rows: Sequence[Row]) -> None:
    """Mark a speed-up of 1 and, where it is in sight, the number of workers: an efficiency of 1."""
    axis.axvline(1, **_CAPACITY)
    right = axis.get_xlim()[1]
    most = max((row.workers or 1 for row in rows), default=1)
    if most <= _IN_SIGHT * right:
        right = max(right, most * 1.05)
        axis.set_xlim(0, right)
    for place, row in enumerate(rows):
        if row.workers is not None and 1 < row.workers <= right and row.values["speed_up"] is not None:
            axis.vlines(row.workers, place - 0.31, place + 0.31, color="#111827", linewidth=1.2)


_KINDS: dict[str, Callable[[Group], Figure | None]] = {
    "trials-per-hour": speeds,
    "busy-cores": busy_cores,
    "threads": threads,
}


def drawn(comparison: Comparison) -> dict[str, tuple[str, bytes]]:
    """Draw all pictures: `picture_key` to file ending and bytes. Raises MissingExtra without matplotlib."""
    pictures: dict[str, tuple[str, bytes]] = {}
    for place, group in enumerate(comparison.groups):
        for kind, draw in _KINDS.items():
            figure = draw(group)
            if figure is not None:
                pictures[picture_key(place, kind)] = ("png", _png(figure))
    return pictures


def _png(figure: Figure) -> bytes:
    data = BytesIO()
    # Without the version of matplotlib in it the same numbers give the same bytes.
    figure.savefig(data, format="png", dpi=_DOTS_PER_IN, metadata={"Software": None})
    return data.getvalue()
