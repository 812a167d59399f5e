"""The tables of a comparison as text, shared by the writers that lay them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from corelens.reports.compared import Agreement, Comparison, Group, Row
from corelens.reports.comparison_figures import FIGURES, Figure
from corelens.reports.conditions import describe
from corelens.reports.diagnosis_rows import named_by
from corelens.reports.report import Spread

ABSENT = "—"
SPEED = ("trials_complete", "wall_s", "trials_per_hour", "speed_up", "parallel_efficiency")
MACHINE = (
    "busy_cores_mean",
    "utilisation",
    "run_queue_wait_share",
    "threads_peak",
    "processes_peak",
    "worker_rss_bytes",
    "recorder_own_cores",
)
INSIDE = (
    "startup_s",
    "trials_per_hour_in_trials",
    "speed_up_in_trials",
    "trials_at_once",
    "trial_processes",
    "trial_threads",
    "core_s_per_trial",
    "worker_pss_bytes",
    "others_cores_mean",
)


PICTURES = {
    "trials-per-hour": "Trials per hour and speed-up of every run",
    "busy-cores": "Busy cores against capacity over time, every run on one scale",
    "threads": "Threads over time, every run on one scale",
}
"""Kinds of pictures in the order of the report, with the words for those who cannot see them."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry; `range` is minimum to maximum over the repeats, None where they are one or alike."""

    text: str
    range: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `unit` is empty for counts and ratios."""

    heading: str
    unit: str
    is_text: bool = False
    short: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of equal length."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def figure_table(group: Group, keys: Sequence[str]) -> Table:
    """Lay out the chosen figures, one row per configuration."""
    named = (Column("run", "", is_text=True), Column("limit", "", is_text=True), Column("workers", ""))
    repeated = any(len(row.runs) > 1 for row in group.rows)
    counted = (Column("runs", ""),) if repeated else ()
    figures = tuple(Column(FIGURES[key].heading, FIGURES[key].unit, short=FIGURES[key].short) for key in keys)
    return Table(
        (*named, *counted, *figures),
        tuple(
            (*_named(group, row), *((Cell(str(len(row.runs))),) if repeated else ()), *_figures(row, keys))
            for row in group.rows
        ),
    )


def without_constants(table: Table, names: Sequence[str]) -> tuple[Table, list[str]]:
    """Take columns out whose rows say the same, and say it once: `limit none`.

    Those named go when all rows that say anything agree, any other when no row says anything.
    """
    said: dict[int, str] = {}
    for place, column in enumerate(table.columns):
        found = {row[place] for row in table.rows if row[place].text != ABSENT}
        if not found or (column.heading in names and len(table.rows) > 1 and len(found) == 1):
            said[place] = f"{column.heading} {next(iter(found)).text if found else ABSENT}"
    return without_columns(table, said), list(said.values())


def without_columns(table: Table, places: Collection[int]) -> Table:
    """Leave columns out by their places."""
    kept = [place for place in range(len(table.columns)) if place not in places]
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    return Table(tuple(table.columns[place] for place in kept), rows)


def cost_table(group: Group) -> Table:
    """Lay out what each run costs: time, $, $ per trial, and the share of the paid cores that it used."""
    columns = (
        Column("run", "", is_text=True),
        Column("time", "s"),
        Column("cost", "$"),
        Column("cost per trial", "$"),
        Column("utilisation", "%"),
    )
    return Table(columns, tuple(_cost(group, row) for row in group.rows))


def _cost(group: Group, row: Row) -> tuple[Cell, ...]:
    total = None if row.cost is None else row.cost.dollars
    each = None if row.cost is None else row.cost.dollars_per_trial
    money = tuple(Cell(ABSENT if value is None else dollars(value)) for value in (total, each))
    return (Cell(title_of(group, row)), *_figures(row, ("wall_s",)), *money, *_figures(row, ("utilisation",)))


def dollars(value: float) -> str:
    """Show an amount with cents, or with three significant digits where cents would hide it."""
    return f"{value:.2f}" if value >= 1 else f"{value:#.3g}"


def title_of(group: Group, row: Row) -> str:
    """Give the short name where limit and workers in their own columns already tell the rows apart."""
    alike = [
        one
        for one in group.rows
        if (one.backend, one.limit, one.workers) == (row.backend, row.limit, row.workers)
    ]
    return row.backend if len(alike) == 1 and row.name.startswith(row.backend) else row.name


def _named(group: Group, row: Row) -> tuple[Cell, ...]:
    workers = ABSENT if row.workers is None else str(row.workers)
    return Cell(title_of(group, row)), Cell(row.limit or ABSENT), Cell(workers)


def _figures(row: Row, keys: Iterable[str]) -> tuple[Cell, ...]:
    return tuple(cell(FIGURES[key], row.values[key]) for key in keys)


def cell(figure: Figure, spread: Spread | None) -> Cell:
    """Show the median in the figure's unit, and the range of several runs where it can be seen."""
    if spread is None:
        return Cell(ABSENT)
    low, middle, high = (number(figure, value) for value in (spread.minimum, spread.median, spread.maximum))
    return Cell(middle, f"{low}–{high}" if low != high else None)


def number(figure: Figure, value: float) -> str:
    """Show one value in the figure's unit and precision."""
    return f"{value * figure.scale:,.{figure.digits}f}"


def absences(group: Group, keys: Sequence[str]) -> list[str]:
    """Say why dashes are dashes: `speed-up, efficiency: there is no sequential run here`."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for row in group.rows:
        for key in keys:
            if row.trouble is None and key in row.absent:
                reasons.setdefault(row.absent[key], {}).setdefault(row.name, []).append(FIGURES[key].heading)
    return [_absence(reason, rows) for reason, rows in reasons.items()]


def _absence(reason: str, rows: dict[str, list[str]]) -> str:
    headings = ", ".join(dict.fromkeys(heading for found in rows.values() for heading in found))
    return f"{ABSENT} {headings}: {reason} ({', '.join(rows)})"


def troubles(group: Group) -> list[str]:
    """Say why rows are no result."""
    return [f"{row.name}: {row.trouble}" for row in group.rows if row.trouble is not None]


def verdict_lines(group: Group) -> list[str]:
    """Say of every row what its runs were diagnosed with; rows without a diagnosis say nothing."""
    return [f"{row.name}: {said}" for row in group.rows if (said := _verdict(row)) is not None]


def _verdict(row: Row) -> str | None:
    found = [run.diagnosis for run in row.runs if run.diagnosis is not None]
    counted = Counter(named_by(one.verdict, one.variant) for one in found)
    if len(counted) == 1:
        return f"{named_by(found[0].verdict, found[0].variant)}: {found[0].headline}"
    parts = [f"{name} in {count} of {len(found)} runs" for name, count in counted.most_common()]
    return ", ".join(parts) if parts else None


def cost_title(price_per_hour: float) -> str:
    """Head the cost table with the price that was given."""
    return f"Cost at ${dollars(price_per_hour)} per hour of the machine"


def machine_line(comparison: Comparison) -> str:
    """Say where everything was measured."""
    host, capacity = comparison.host, comparison.capacity
    physical = "" if host.physical_cores is None else f", {host.physical_cores} physical"
    packages = ", ".join(f"{name} {version}" for name, version in comparison.packages.items())
    return (
        f"Measured on {host.hostname}: {host.cpu_model}, {host.logical_cores} logical cores{physical};"
        f" {capacity.cores:g} cores to use ({capacity.because}); Linux {host.kernel}, Python {host.python}"
        + (f"; {packages}." if packages else ".")
    )


def refusals(comparison: Comparison) -> list[str]:
    """Describe the differences that make the comparison unfair."""
    return [describe(difference) for difference in comparison.differences if difference.refuses]


def warnings(comparison: Comparison) -> list[str]:
    """Describe the differences that a reader should know of."""
    return [describe(difference) for difference in comparison.differences if not difference.refuses]


def baseline_line(group: Group) -> str:
    """Say what speed-ups refer to."""
    if group.baseline is None:
        return f"No speed-up: {group.baseline_absent}; name a run with --baseline."
    return (
        f"Speed-up is trials per hour of wall time, start-up included, over {group.baseline};"
        " efficiency is speed-up per worker."
    )


def work_line(group: Group) -> str | None:
    """Say which work all runs of the group did; None where they do not say."""
    parts = [f"{key.replace('_', ' ')} {value}" for key, value in group.work.items()]
    return f"Work: {', '.join(parts)}." if parts else None


def agreement_lines(agreement: Agreement) -> list[str]:
    """Say whether the runs found the same values, and which they did not."""
    if agreement.identical is None:
        return [f"Identical trial values: not known, {agreement.reason}."]
    counts = f"{agreement.trials} trials × {agreement.runs} runs"
    missing = [f"{name} lacks trials {', '.join(map(str, numbers))}." for name, numbers in agreement.missing]
    if agreement.identical:
        return [f"Identical trial values in every run: yes ({counts}, bit for bit).", *missing]
    found = [
        f"trial {one.number}: " + " or ".join(f"{value!r} ({', '.join(runs)})" for value, runs in one.values)
        for one in agreement.disagreements
    ]
    return [f"IDENTICAL TRIAL VALUES: NO ({counts})", *found, *missing]


def picture_key(group: int, kind: str) -> str:
    """Name one picture of the comparison: `busy-cores` of the first group, `2-busy-cores` of the second."""
    return kind if group == 0 else f"{group + 1}-{kind}"
