"""The explosion on a terminal: the verdict and a line per run; everything else is in the Markdown report."""

from __future__ import annotations

from corelens.reports.exploded import Explosion, ExplosionRun
from corelens.reports.explosion_markdown import EMULATED, verdict
from corelens.reports.formatting import plain

_HEADINGS = ("run", "cores", "predicted", "observed", "", "")


def lines(found: Explosion) -> list[str]:
    """Give the lines to print."""
    table = [_HEADINGS, *(_cells(run) for run in found.everything)]
    widths = [max(len(row[place]) for row in table) for place in range(len(_HEADINGS))]
    laid_out = [_line(row, widths) for row in table]
    note = [EMULATED] if any(run.emulated for run in found.everything) else []
    return [verdict(found), "", *laid_out, *note]


def _cells(run: ExplosionRun) -> tuple[str, ...]:
    observed = "—" if run.observed is None else str(run.observed)
    return (
        run.name,
        str(run.cores),
        str(run.predicted),
        observed,
        "equal" if run.agrees else "NO",
        plain(run.what),
    )


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    name, *numbers, equal, what = row
    middle = [cell.rjust(width) for cell, width in zip(numbers, widths[1:4], strict=True)]
    return "  ".join([name.ljust(widths[0]), *middle, equal.ljust(widths[4]), what]).rstrip()
