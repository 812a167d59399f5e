"""An explanation of a verdict on a terminal and as a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from corelens.reports.explanations import Block, Explanation

if TYPE_CHECKING:
    from rich.console import Console


def show(one: Explanation, console: Console) -> None:
    """Print one explanation; the console decides about colours and width."""
    from rich.padding import Padding
    from rich.text import Text

    console.print(Text.assemble((one.slug, "bold"), ": ", one.summary))
    for heading, blocks in one.parts:
        console.print(Text(f"\n{heading}", "bold"))
        for place, block in enumerate(blocks):
            if place:
                console.print()
            for line in block.lines:
                shown = Text(line, "cyan" if block.verbatim else "")
                console.print(Padding(shown, (0, 0, 0, 4 if block.verbatim else 2)))


def show_list(every: Iterable[Explanation], console: Console) -> None:
    """Print every slug with its sentence."""
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for one in every:
        table.add_row(one.slug, one.summary)
    console.print(table)


def page(one: Explanation) -> Iterator[str]:
    """One explanation as Markdown, line by line."""
    yield from (f"# {one.slug}", "", one.summary, "")
    for heading, blocks in one.parts:
        yield from (f"## {heading}", "")
        for block in blocks:
            yield from (*_markdown(block), "")


def _markdown(block: Block) -> Iterator[str]:
    yield from ("```", *block.lines, "```") if block.verbatim else block.lines


def index(every: Iterable[Explanation]) -> Iterator[str]:
    """The list of all explanations as Markdown, line by line."""
    yield from ("| verdict | what it is |", "|---|---|")
    yield from (
        f"| [{one.slug}]({one.slug}.md) | {one.summary.replace('|', chr(92) + '|')} |" for one in every
    )
