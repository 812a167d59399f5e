"""One report as Markdown: numbers, pictures, tables, the process tree, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from corelens.reports.formatting import markdown_text, plain
from corelens.reports.pictures import TITLES
from corelens.reports.report import Report
from corelens.reports.sections import Section, headline, place, sections, title, troubles


def markdown(report: Report, links: Mapping[str, str]) -> str:
    """Lay out the whole report; `links` gives the address of each picture by its kind."""
    blocks = [
        f"# {markdown_text(title(report))}",
        markdown_text(place(report)),
        *(f"> **{markdown_text(text)}**" for text in troubles(report)),
        _table(("", "", ""), (False, True, False), headline(report)),
        *(f"![{TITLES[kind]}]({address})" for kind, address in links.items()),
        *(block for section in sections(report) for block in _section(section)),
    ]
    return "\n\n".join(blocks) + "\n"


def _section(section: Section) -> Iterable[str]:
    yield f"## {markdown_text(section.title)}"
    if section.rows:
        yield _table(section.columns, section.numeric, section.rows)
    if section.drawing:
        yield _drawing(section.drawing)
    if section.notes:
        yield "\n".join(f"- {markdown_text(note)}" for note in section.notes)


def _table(columns: Iterable[str], numeric: Iterable[bool], rows: Iterable[Iterable[str]]) -> str:
    lines = [_row(columns), _row("---:" if right else "---" for right in numeric)]
    return "\n".join([*lines, *(_row(map(markdown_text, row)) for row in rows)])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _drawing(lines: Iterable[str]) -> str:
    text = "\n".join(map(plain, lines))
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
