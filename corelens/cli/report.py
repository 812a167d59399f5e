"""`corelens report`: what one recording shows, on a terminal, as Markdown or as JSON."""

from __future__ import annotations

import argparse
import contextlib
import gc
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corelens.cli.output import picture_links
from corelens.cli.report_options import Delivery, add_report_options, delivery, print_or_write, show_or_write
from corelens.errors import UsageError

if TYPE_CHECKING:
    from corelens.reports.report import Report


def add_parser(subparsers: Any) -> None:
    """Declare the flags of `report`."""
    parser = subparsers.add_parser(
        "report",
        help="say what one recording shows",
        description="Say what one recording shows: capacity and busy cores, run-queue wait, threads and"
        " processes, pools, memory, trials, what recording cost and what could not be seen.",
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a recording, whole or cut")
    add_report_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Report on one recording; raises CorelensError for what cannot be read or written."""
    if args.file is None:
        raise UsageError("report got no recording", "name one: corelens report FILE")
    to = delivery(args, [args.file])
    report = summarised(args.file)
    if to.form == "terminal":
        _to_terminal(report, to.output)
    else:
        print_or_write(_json(report) if to.form == "json" else _markdown(report, to), to.output)
    return 0


def summarised(path: Path) -> Report:
    """Read, sum up and diagnose a recording, with the names that the libraries on this machine add."""
    from corelens.recording import read
    from corelens.reports.diagnosis import diagnosed
    from corelens.reports.elf import SymbolsOnDisk
    from corelens.reports.elf_places import PlacesOnDisk

    with _uncollected():
        return diagnosed(read(path), SymbolsOnDisk(), PlacesOnDisk())


@contextlib.contextmanager
def _uncollected() -> Generator[None]:
    """Keep the cyclic collector from walking a large recording again and again: it holds no cycles.

    A sixth of the time of a recording of 10 minutes, see benchmarks/verdict.py.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _to_terminal(report: Report, output: Path | None) -> None:
    from corelens.reports.terminal import show

    show_or_write(lambda console: show(report, console), output)


def _json(report: Report) -> str:
    from corelens.reports.json_report import json_report

    return json_report(report)


def _markdown(report: Report, to: Delivery) -> str:
    from corelens.reports.markdown import markdown

    if to.images == "none":
        return markdown(report, {})
    from corelens.reports.pictures import drawn

    return markdown(report, picture_links(drawn(report), to.output if to.images == "files" else None))
