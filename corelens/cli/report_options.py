"""The flags by which `report` and `compare` are told what to write and where, and how it gets there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from corelens.cli.output import IMAGES, refuse_existing, write_whole
from corelens.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

FORMATS = ("terminal", "markdown", "json")
_BY_ENDING = {".json": "json", ".md": "markdown", ".txt": "terminal"}
# A terminal that is not there has no width; this one fits a page and a mail.
_PLAIN_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Delivery:
    """What to write and where: one of FORMATS, one of IMAGES, and a file or None for stdout."""

    form: str
    images: str
    output: Path | None


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Declare --format, --json, -o, --images and --force."""
    parser.add_argument(
        "--format", choices=FORMATS, help="default: terminal; with -o by its ending: .md, .json or .txt"
    )
    parser.add_argument("--json", action="store_true", help="short for --format json")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="write here instead of to stdout")
    parser.add_argument(
        "--images",
        choices=IMAGES,
        help="pictures in Markdown: inside it, in files beside it, or none (default: files with -o, otherwise"
        " none); GitHub does not show inline ones",
    )
    parser.add_argument("--force", action="store_true", help="replace existing output")


def delivery(args: argparse.Namespace, recordings: Sequence[Path]) -> Delivery:
    """Read these flags; raises UsageError on a contradiction and OutputExists on what would be lost.

    The output is never one of the recordings that are read, whatever --force says.
    """
    form = _form(args)
    if args.images is not None and form != "markdown":
        raise UsageError(f"--images {args.images} needs Markdown", "add --format markdown")
    if args.images == "files" and args.output is None:
        raise UsageError("--images files has no place for the files", "add -o OUT.md")
    images = args.images or ("none" if args.output is None else "files")
    if args.output is not None:
        if any(_is_same(args.output, recording) for recording in recordings):
            raise UsageError(f"-o {args.output} is a recording to be read", "choose another name with -o")
        with_images = form == "markdown" and images == "files"
        refuse_existing(args.output, with_images=with_images, force=args.force)
    return Delivery(form, images, args.output)


def print_or_write(text: str, output: Path | None) -> None:
    """Write the whole text to the file, or to stdout without one."""
    if output is None:
        _show_what_it_can()
        sys.stdout.write(text)
    else:
        write_whole(output, text.encode())


def show_or_write(show: Callable[[Console], None], output: Path | None) -> None:
    """Show in colour where a terminal reads stdout, as plain text everywhere else."""
    from rich.console import Console

    if output is None and sys.stdout.isatty():
        _show_what_it_can()
        show(Console(highlight=False, markup=False, emoji=False))
        return
    buffer = StringIO()
    show(Console(file=buffer, width=_PLAIN_WIDTH, highlight=False, markup=False, emoji=False))
    print_or_write("\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n", output)


def _show_what_it_can() -> None:
    """Let a stdout of few letters, such as that of a Latin-1 locale, show question marks for the others."""
    stdout: object = sys.stdout
    if isinstance(stdout, TextIOWrapper):
        stdout.reconfigure(errors="replace")


def _form(args: argparse.Namespace) -> str:
    if args.json and args.format not in (None, "json"):
        raise UsageError(f"--json and --format {args.format} contradict each other", "keep one of them")
    if args.json:
        return "json"
    by_ending = "terminal" if args.output is None else _BY_ENDING.get(args.output.suffix, "markdown")
    return str(args.format or by_ending)


def _is_same(one: Path, other: Path) -> bool:
    return one == other or (one.exists() and other.exists() and one.samefile(other))
