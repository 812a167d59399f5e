"""`corelens compare`: one report on several recordings of the same work."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corelens.cli.output import picture_links
from corelens.cli.report import summarised
from corelens.cli.report_options import Delivery, add_report_options, delivery, print_or_write, show_or_write
from corelens.errors import NothingMeasured, UnreadableRecording, UsageError

if TYPE_CHECKING:
    from corelens.reports.compared import Comparison, Skipped
    from corelens.reports.report import Report


def add_parser(subparsers: Any) -> None:
    """Declare the flags of `compare`."""
    parser = subparsers.add_parser(
        "compare",
        help="compare recordings of the same work",
        description="Compare recordings of the same work on the same machine: speed, speed-up over the"
        " sequential run, use of the machine, cost. Repeats of one configuration become one row with their"
        " range.",
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="two recordings or more")
    add_report_options(parser)
    parser.add_argument(
        "--price", type=float, metavar="USD", help="$ per hour of the machine: adds the costs"
    )
    parser.add_argument(
        "--baseline", metavar="NAME", help="row or file that speed-ups refer to (default: the sequential run)"
    )
    parser.add_argument(
        "--group-by", metavar="LABEL", help="compare within the groups of a label, such as evaluation"
    )
    parser.add_argument(
        "--anyway", action="store_true", help="compare runs of different work or machines, and say so on top"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare the files and print or write the report."""
    from corelens.reports.comparison import check_comparable, compare
    from corelens.reports.costs import check_price

    _check_files(args.files)
    if args.price is not None:
        check_price(args.price)
    to = delivery(args, args.files)
    reports = [summarised(path) for path in args.files]
    comparison = compare(reports, price=args.price, baseline=args.baseline, group_by=args.group_by)
    if not args.anyway:
        check_comparable(comparison.differences)
    _deliver(comparison, to)
    return 0


def write_comparison(
    recordings: Sequence[Path],
    *,
    output: Path | None = None,
    skipped: Sequence[Skipped] = (),
    price: float | None = None,
    images: str = "files",
    group_by: str | None = None,
) -> Comparison:
    """Print the comparison of a study on the terminal and, given `output`, write it there as Markdown.

    Nothing is refused: a recording that holds nothing becomes a row with its reason, differences stand on
    top, and an existing report is replaced. Raises NothingMeasured when no recording is left.
    """
    from corelens.reports.comparison import compare

    reports, empty = _usable(recordings)
    lost = (*skipped, *empty)
    if not reports:
        reasons = "; ".join(f"{one.backend}: {one.reason}" for one in lost)
        raise NothingMeasured(f"no run left anything to compare ({reasons})" if lost else "there are no runs")
    comparison = compare(reports, price=price, group_by=group_by, skipped=lost)
    _deliver(comparison, Delivery("terminal", "none", None))
    if output is not None:
        _deliver(comparison, Delivery("markdown", images, output))
    return comparison


def _check_files(files: Sequence[Path]) -> None:
    if len(files) < 2:
        what = f"only {files[0]}" if files else "no recording"
        raise UsageError(f"compare got {what}", "name two recordings or more: corelens compare FILE FILE")


def _usable(recordings: Sequence[Path]) -> tuple[list[Report], list[Skipped]]:
    from corelens.reports.compared import Skipped

    reports: list[Report] = []
    empty: list[Skipped] = []
    for path in recordings:
        try:
            reports.append(summarised(path))
        except (NothingMeasured, UnreadableRecording) as error:
            empty.append(Skipped(path.name.removesuffix(".corelens"), error.seen, {}))
    return reports, empty


def _deliver(comparison: Comparison, to: Delivery) -> None:
    if to.form == "terminal":
        from corelens.reports.comparison_terminal import show

        show_or_write(lambda console: show(comparison, console), to.output)
    elif to.form == "json":
        from corelens.reports.comparison_json import comparison_json

        print_or_write(comparison_json(comparison), to.output)
    else:
        print_or_write(_markdown(comparison, to), to.output)


def _markdown(comparison: Comparison, to: Delivery) -> str:
    from corelens.reports.comparison_markdown import markdown

    if to.images == "none":
        return markdown(comparison, {})
    from corelens.reports.comparison_pictures import drawn

    return markdown(comparison, picture_links(drawn(comparison), to.output if to.images == "files" else None))
