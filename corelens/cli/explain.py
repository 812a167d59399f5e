"""`corelens explain`: what a verdict means, why it costs, what to do, and when it is wrong."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from corelens.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from corelens.reports.explanations import Explanation


def add_parser(subparsers: Any) -> None:
    """Declare the arguments of `explain`."""
    parser = subparsers.add_parser(
        "explain",
        help="say what a verdict means and what to do about it",
        description="Say what a verdict of `corelens report` means: what it sees, why it costs, what to do, and when"
        " it is wrong. Without a verdict, list them all. The same is in docs/rules.",
    )
    parser.add_argument(
        "verdict",
        nargs="?",
        metavar="VERDICT",
        help="a word such as gil-contention; all are listed without one",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Explain one verdict or list all; raises UsageError for a word that is none."""
    from corelens.cli.report_options import show_or_write
    from corelens.reports.explanation_writers import show, show_list
    from corelens.reports.explanations import explanations

    every = explanations()
    if args.verdict is None:
        show_or_write(lambda console: show_list(every, console), None)
        return 0
    one = named(args.verdict, every)
    show_or_write(lambda console: show(one, console), None)
    return 0


def named(word: str, every: Sequence[Explanation]) -> Explanation:
    """The explanation of a word; raises UsageError with those that look alike."""
    slugs = {one.slug: one for one in every}
    if word in slugs:
        return slugs[word]
    alike = get_close_matches(word.lower().replace("_", "-").replace(" ", "-"), slugs)
    remedy = f"did you mean {' or '.join(alike)}?" if alike else "list them with: corelens explain"
    raise UsageError(f"there is no verdict {word!r}", remedy)
