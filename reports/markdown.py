"""One report as Markdown: numbers, pictures, tables, the process tree, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from corelens.reports.diagnosis_rows import Passage, cause_of, first_screen, verdict
from corelens.reports.findings import Diagnosis
from corelens.reports.formatting import markdown_text, plain
from corelens.reports.pictures import TITLES
from corelens.reports.report import Report
from corelens.reports.sections import (
    Section,
    first_sections,
    headline,
    other_sections,
    place,
    title,
    troubles,
)


def markdown(report: Report, links: Mapping[str, str]) -> str:
    """Lay out the whole report; `links` gives the address of each picture by its kind."""
    proven = report.diagnosis is not None and cause_of(report.diagnosis) is not None
    numbers = [
        _table(("", "", ""), (False, True, False), headline(report)),
        *(f"![{TITLES[kind]}]({address})" for kind, address in links.items()),
    ]
    ledgers = [block for section in first_sections(report) for block in _section(section)]
    blocks = [
        f"# {markdown_text(title(report))}",
        markdown_text(place(report)),
        *(f"> **{markdown_text(text)}**" for text in troubles(report)),
        *(() if report.diagnosis is None else _diagnosis(report.diagnosis)),
        *((*ledgers, *numbers) if proven else (*numbers, *ledgers)),
        *(block for section in other_sections(report) for block in _section(section)),
    ]
    return "\n\n".join(blocks) + "\n"


def _diagnosis(diagnosis: Diagnosis) -> Iterable[str]:
    sentence, called = verdict(diagnosis)
    yield f"**{markdown_text(sentence)}**"
    yield markdown_text(called)
    for passage in first_screen(diagnosis):
        yield from _passage(passage)


def _passage(passage: Passage) -> Iterable[str]:
    yield f"**{markdown_text(passage.heading)}**"
    if passage.sentences:
        yield _bullets(passage.sentences)
    if passage.paste:
        yield _drawing(line.expandtabs(4) for line in passage.paste)


def _section(section: Section) -> Iterable[str]:
    yield f"## {markdown_text(section.title)}"
    if section.rows:
        yield _table(section.columns, section.numeric, section.rows)
    if section.drawing:
        yield _drawing(section.drawing)
    for passage in section.passages:
        yield from _passage(passage)
    if section.notes:
        yield _bullets(section.notes)


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {markdown_text(sentence)}" for sentence in sentences)


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
