"""The comparison as Markdown: what it shows, tables, pictures, process trees, and how to read the figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from corelens.reports.compared import Agreement, Comparison, Group, Row
from corelens.reports.comparison_figures import FIGURES
from corelens.reports.comparison_tables import (
    INSIDE,
    MACHINE,
    PICTURES,
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
    picture_key,
    refusals,
    verdict_lines,
    warnings,
    work_line,
)
from corelens.reports.formatting import markdown_text, plain, tree_lines


def markdown(comparison: Comparison, links: Mapping[str, str]) -> str:
    """Lay out the whole comparison; `links` gives the address of each picture by its `picture_key`."""
    runs = sum(len(row.runs) for group in comparison.groups for row in group.rows)
    blocks = [f"# Comparison of {runs} runs", *_unlike(comparison), markdown_text(machine_line(comparison))]
    blocks += [_note(f"Not the same everywhere: {text}") for text in warnings(comparison)]
    for place, group in enumerate(comparison.groups):
        blocks += _group(comparison, place, group, links)
    blocks += [_recordings(comparison), _meanings()]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _unlike(comparison: Comparison) -> list[str]:
    found = refusals(comparison)
    if not found:
        return []
    heading = "**These runs are not comparable; they were compared because `--anyway` was given:**"
    return ["\n".join(["> [!WARNING]", f"> {heading}", ">", *(f"> - {markdown_text(one)}" for one in found)])]


def _group(comparison: Comparison, place: int, group: Group, links: Mapping[str, str]) -> list[str]:
    work = work_line(group)
    blocks = [f"## {markdown_text(group.title)}" if group.title else "", markdown_text(work) if work else ""]
    blocks += ["### What this shows", _bullets(group.statements), *_agreement(group.agreement)]
    blocks += ["### Runs", _table(figure_table(group, SPEED + MACHINE), group.rows)]
    blocks += [_bullets([baseline_line(group), *absences(group, SPEED + MACHINE)])]
    blocks += _verdicts(group)
    blocks += _cost(comparison, group)
    blocks += [_picture(place, kind, links) for kind in PICTURES]
    blocks += ["### Inside the runs", _table(figure_table(group, INSIDE), group.rows)]
    blocks += [_bullets(absences(group, INSIDE)), "### Process trees at their peak", *_trees(group)]
    return blocks


def _agreement(agreement: Agreement) -> list[str]:
    first, *more = agreement_lines(agreement)
    if agreement.identical is False:
        lines = [f"> **{markdown_text(first)}**", ">", *(f"> - {markdown_text(line)}" for line in more)]
        return ["\n".join(["> [!CAUTION]", *lines])]
    return [f"**{markdown_text(first)}**", _bullets(more)]


def _verdicts(group: Group) -> list[str]:
    lines = verdict_lines(group)
    return ["### Verdicts", _bullets(lines)] if lines else []


def _cost(comparison: Comparison, group: Group) -> list[str]:
    if comparison.price_per_hour is None:
        return []
    return [f"### {cost_title(comparison.price_per_hour)}", _table(cost_table(group), group.rows)]


def _picture(place: int, kind: str, links: Mapping[str, str]) -> str:
    link = links.get(picture_key(place, kind))
    return f"![{PICTURES[kind]}]({link})" if link is not None else ""


def _trees(group: Group) -> list[str]:
    return [_tree(row) for row in group.rows if row.runs and row.runs[0].tree]


def _tree(row: Row) -> str:
    run = row.runs[0]
    threads = row.values["threads_peak"]
    count = "" if threads is None else f", {threads.median:.0f} threads"
    summary = f"{markdown_text(row.name)}: at {run.tree_at_s:.1f} s{count}"
    return _details(summary, "\n".join(["```text", *tree_lines(run.tree), "```"]))


def _recordings(comparison: Comparison) -> str:
    rows = [row for group in comparison.groups for row in group.rows]
    lines = [
        f"{markdown_text(row.name)}: {', '.join(_code(run.path) for run in row.runs)}"
        for row in rows
        if row.runs
    ]
    return _details("Recordings", _bullets(lines, escape=False))


def _meanings() -> str:
    lines = [f"**{figure.heading}**: {markdown_text(figure.meaning)}" for figure in FIGURES.values()]
    return _details("How to read the figures", _bullets(lines, escape=False))


def _table(table: Table, rows: Sequence[Row]) -> str:
    head = "| " + " | ".join(_heading(column) for column in table.columns) + " |"
    rule = "|" + "|".join(":---" if column.is_text else "---:" for column in table.columns) + "|"
    body = [_line(cells, row) for cells, row in zip(table.rows, rows, strict=True)]
    return "\n".join([head, rule, *body])


def _heading(column: Column) -> str:
    return f"{column.heading}, {column.unit}" if column.unit else column.heading


def _line(cells: Sequence[Cell], row: Row) -> str:
    first, *others = (_cell(cell) for cell in cells)
    if row.trouble is not None:
        first += f"<br>*{markdown_text(row.trouble)}*"
    return "| " + " | ".join([first, *others]) + " |"


def _cell(cell: Cell) -> str:
    text = markdown_text(cell.text)
    return text if cell.range is None else f"{text}<br><sub>{cell.range}</sub>"


def _bullets(lines: Iterable[str], escape: bool = True) -> str:
    return "\n".join(f"- {markdown_text(line) if escape else line}" for line in lines)


def _note(text: str) -> str:
    return f"> {markdown_text(text)}"


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def _code(text: str) -> str:
    return "`" + plain(text).replace("`", "'") + "`"
