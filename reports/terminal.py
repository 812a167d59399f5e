"""One report on a terminal: the first screen holds the verdict, the rest follows. Piped, it is plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from corelens.reports.diagnosis_rows import Passage, cause_of, colour_of, first_screen, verdict
from corelens.reports.findings import Diagnosis
from corelens.reports.formatting import plain
from corelens.reports.report import Report
from corelens.reports.sections import (
    Section,
    first_sections,
    headline,
    ledger_section,
    other_sections,
    place,
    title,
    troubles,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_BLOCKS = " ▁▂▃▄▅▆▇█"
_UNSEEN = "·"
_CURVE_WIDTH = 60


@dataclass(frozen=True, slots=True)
class _Verbatim:
    """Lines that are neither folded nor cut nor indented, so that they can be copied as they are."""

    lines: tuple[str, ...]


def show(report: Report, console: Console) -> None:
    """Print the report; the console decides about colours and width."""
    _print(_parts(report), console)


def show_verdict_and_ledger(report: Report, console: Console) -> None:
    """Print the verdict, and the thread ledger alone."""
    if report.diagnosis is not None:
        _print(_verdict(report.diagnosis), console)
    _print(_section(ledger_section(report)), console)


def _print(parts: Iterable[RenderableType | _Verbatim], console: Console) -> None:
    for part in parts:
        if isinstance(part, _Verbatim):
            for line in part.lines:
                console.print(_text(line.expandtabs(4), "cyan"), soft_wrap=True)
        else:
            console.print(part)


def _parts(report: Report) -> Iterable[RenderableType | _Verbatim]:
    yield _text(title(report), "bold")
    yield _text(place(report), "dim")
    yield from (_text(text, "bold yellow") for text in troubles(report))
    if report.diagnosis is not None:
        yield _text("")
        yield from _diagnosis(report.diagnosis)
    # Where nothing is wrong, these numbers are the proof; otherwise the proof is with the verdict.
    proven = report.diagnosis is not None and cause_of(report.diagnosis) is not None
    ledgers = [part for section in first_sections(report) for part in _section(section)]
    numbers = [*([] if report.diagnosis is None else [_text("")]), *_numbers(report)]
    yield from (*ledgers, *numbers) if proven else (*numbers, *ledgers)
    for section in other_sections(report):
        yield from _section(section)


def _diagnosis(diagnosis: Diagnosis) -> Iterable[RenderableType | _Verbatim]:
    yield from _verdict(diagnosis)
    for passage in first_screen(diagnosis):
        yield from _passage(passage)


def _verdict(diagnosis: Diagnosis) -> Iterable[RenderableType]:
    sentence, called = verdict(diagnosis)
    yield _text(sentence, f"bold {colour_of(diagnosis)}")
    yield _text(called, "dim")


def _passage(passage: Passage) -> Iterable[RenderableType | _Verbatim]:
    yield _text("")
    yield _text(passage.heading, "bold")
    if passage.sentences:
        yield _bullets(passage.sentences)
    if passage.paste:
        yield _text("")
        yield _Verbatim(passage.paste)


def _bullets(sentences: Iterable[str]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for sentence in sentences:
        table.add_row("-", _text(sentence))
    return table


def _numbers(report: Report) -> Iterable[RenderableType]:
    yield _headline(report)
    yield _curve(report)


def _headline(report: Report) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for style in ("dim", "bold", ""):
        table.add_column(style=style, overflow="fold")
    for row in headline(report):
        table.add_row(*map(_text, row))
    return table


def _curve(report: Report) -> Text:
    """Busy cores over time as a line of blocks, a full block being the capacity."""
    made = _text("busy cores over time, full height = capacity", "dim").append("\n")
    capacity = max(report.timeline.capacity_cores, default=0.0)
    made.append(sparkline(report.timeline.busy_cores, capacity, _CURVE_WIDTH), "cyan")
    made.append(f" {report.wall_s:.0f} s", "dim")
    return made


def sparkline(values: Sequence[float | None], top: float, width: int) -> str:
    """Draw values as blocks, means of neighbours where there are more than `width`; a dot was not seen."""
    groups = _grouped(values, width)
    return "".join(_block([value for value in group if value is not None], top) for group in groups)


def _grouped(values: Sequence[float | None], width: int) -> list[Sequence[float | None]]:
    count = min(width, len(values))
    edges = [round(index * len(values) / count) for index in range(count + 1)] if count else [0]
    return [values[start:end] for start, end in pairwise(edges)]


def _block(values: Sequence[float], top: float) -> str:
    if not values or top <= 0:
        return _UNSEEN
    share = sum(values) / len(values) / top
    return _BLOCKS[max(0, min(len(_BLOCKS) - 1, round(share * (len(_BLOCKS) - 1))))]


def _section(section: Section) -> Iterable[RenderableType | _Verbatim]:
    yield _text("")
    yield _text(section.title, "bold")
    if section.rows:
        yield _table(section)
    yield from (_text(line) for line in section.drawing)
    for passage in section.passages:
        yield from _passage(passage)
    yield from (_text(note) for note in section.notes)


def _table(section: Section) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column, right in zip(section.columns, section.numeric, strict=True):
        table.add_column(_text(column), justify="right" if right else "left", overflow="fold")
    for row in section.rows:
        table.add_row(*map(_text, row))
    return table


def _text(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(plain(text), style)
