"""The comparison on a terminal: the same information without colours, in 80 columns or more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from corelens.reports.compared import Agreement, Comparison, Group, Row
from corelens.reports.comparison_tables import (
    INSIDE,
    MACHINE,
    SPEED,
    Cell,
    Column,
    Table,
    absences,
    agreement_lines,
    baseline_line,
    cost_table,
    cost_title,
    figure_table,
    machine_line,
    refusals,
    troubles,
    verdict_lines,
    warnings,
    without_columns,
    without_constants,
    work_line,
)
from corelens.reports.formatting import plain, tree_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_HOISTED = ("limit", "runs", "trials")


def show(comparison: Comparison, console: Console) -> None:
    """Print the comparison; the console decides about colours and width."""
    for part in _parts(comparison):
        console.print(part)


def _parts(comparison: Comparison) -> Iterable[RenderableType]:
    for text in refusals(comparison):
        yield _text(f"NOT COMPARABLE (--anyway): {text}", "bold red")
    yield _text(machine_line(comparison))
    for text in warnings(comparison):
        yield _text(f"Not the same everywhere: {text}", "yellow")
    for group in comparison.groups:
        yield from _group(comparison, group)


def _group(comparison: Comparison, group: Group) -> Iterable[RenderableType]:
    yield _text("")
    yield _text(group.title or "Comparison", "bold underline")
    work = work_line(group)
    if work is not None:
        yield _text(work, "dim")
    yield from _agreement(group.agreement)
    yield from (_bullet(sentence) for sentence in group.statements)
    yield from _section("Speed", figure_table(group, SPEED), group.rows)
    yield from (_text(line, "red") for line in troubles(group))
    yield from (_text(line, "dim") for line in (baseline_line(group), *absences(group, SPEED)))
    yield from _verdicts(group)
    yield from _section("Use of the machine", figure_table(group, MACHINE), group.rows, repeated=True)
    yield from (_text(line, "dim") for line in absences(group, MACHINE))
    yield from _section("In the trials", figure_table(group, INSIDE), group.rows, repeated=True)
    yield from (_text(line, "dim") for line in absences(group, INSIDE))
    if comparison.price_per_hour is not None:
        yield from _section(cost_title(comparison.price_per_hour), cost_table(group), group.rows)
    yield from _trees(group)


def _agreement(agreement: Agreement) -> Iterable[RenderableType]:
    first, *more = agreement_lines(agreement)
    style = {True: "green", False: "bold red", None: ""}[agreement.identical]
    yield _text(first, style)
    yield from (_bullet(line) for line in more)


def _verdicts(group: Group) -> Iterable[RenderableType]:
    lines = verdict_lines(group)
    if lines:
        yield _text("")
        yield _text("Verdicts", "bold")
    yield from (_bullet(line) for line in lines)


def _section(
    title: str, table: Table, rows: Sequence[Row], repeated: bool = False
) -> Iterable[RenderableType]:
    """Yield a heading and a table. `repeated`: an earlier table already told configuration and repeats."""
    if repeated:
        table = _without(table, ("limit", "workers", "runs"))
    table, said = without_constants(table, _HOISTED)
    yield _text("")
    yield _text(title + (f" ({', '.join(said)})" if said else ""), "bold")
    yield _table(table, rows)


def _without(table: Table, headings: Sequence[str]) -> Table:
    places = [place for place, column in enumerate(table.columns) if column.heading in headings]
    return without_columns(table, places)


def _table(table: Table, rows: Sequence[Row]) -> RenderableType:
    from rich.table import Table as RichTable

    made = RichTable(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for column in table.columns:
        made.add_column(
            _heading(column),
            justify="left" if column.is_text else "right",
            no_wrap=not column.is_text,
            overflow="fold",
        )
    for cells, row in zip(table.rows, rows, strict=True):
        made.add_row(*map(_cell, cells), style="dim" if row.trouble is not None else "")
    return made


def _heading(column: Column) -> RenderableType:
    from rich.text import Text

    # Our own words, folded where they may be.
    lines = [*(column.short or column.heading).split("\n"), *([column.unit] if column.unit else [])]
    return Text("\n").join(map(_text, lines))


def _cell(cell: Cell) -> Text:
    made = _text(cell.text)
    if cell.range is not None:
        made.append(f"\n{cell.range}", "dim")
    return made


def _trees(group: Group) -> Iterable[RenderableType]:
    for row in group.rows:
        if row.runs and row.runs[0].tree:
            yield _text("")
            yield _text(f"Process tree at its peak: {row.name}, at {row.runs[0].tree_at_s:.1f} s", "bold")
            yield from (_text(line) for line in tree_lines(row.runs[0].tree))


def _bullet(text: str) -> RenderableType:
    from rich.padding import Padding

    return Padding(_text(text), (0, 0, 0, 2))


def _text(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(plain(text), style)
