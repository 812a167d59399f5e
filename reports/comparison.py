"""Compare recordings of the same work: who is faster, with what use of the machine, and is that fair.

Pure: reports in, one `Comparison` out. Speed-up is throughput over that of the sequential run of the same
group, throughput is complete trials per hour of *wall time*, start-up included, because that is what a user
waits and pays for; the same without start-up stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corelens.errors import NotComparable, UsageError
from corelens.reports.agreement import agreement
from corelens.reports.compared import Comparison, Difference, Group, Row, Skipped
from corelens.reports.comparison_rows import (
    Measured,
    bundles,
    choose_baseline,
    measured,
    row_of,
    skipped_row,
)
from corelens.reports.conditions import WORK_KEYS, describe, differences, group_of, setting
from corelens.reports.costs import check_price
from corelens.reports.report import Report
from corelens.reports.statements import is_spread_over_processes, statements

__all__ = ["check_comparable", "compare", "differences", "run_names"]


def compare(
    reports: Sequence[Report],
    price: float | None = None,
    baseline: str | None = None,
    group_by: str | None = None,
    skipped: Sequence[Skipped] = (),
) -> Comparison:
    """Compare reports, each group that the label `group_by` makes within itself.

    Differences are found, not judged: see `check_comparable`. `price` is $ per hour of the whole machine.
    `baseline` names a row, a backend or a file; otherwise it is the sequential run. Raises UsageError on a
    price that is none, on a `group_by` that a run lacks, and on a baseline that nothing is called.
    """
    if price is not None:
        check_price(price)
    if not reports:
        raise UsageError("there is no recording to compare", "give the files of two or more recordings")
    runs = [measured(name, report) for name, report in zip(run_names(reports), reports, strict=True)]
    groups = _groups(runs, group_by, baseline, price, skipped)
    if baseline is not None and all(group.baseline is None for group in groups):
        raise UsageError(
            f"--baseline {baseline}: {groups[0].baseline_absent}", f"choose one of: {_row_names(groups)}"
        )
    return Comparison(
        host=reports[0].host,
        capacity=reports[0].capacity,
        packages=reports[0].packages,
        group_by=group_by,
        groups=tuple(groups),
        differences=differences(reports, [run.name for run in runs], group_by),
        price_per_hour=price,
    )


def check_comparable(found: Sequence[Difference]) -> None:
    """Raise NotComparable, in one line that says what differs, where a difference makes runs incomparable."""
    refusing = [difference for difference in found if difference.refuses]
    if not refusing:
        return
    remedy = "add --anyway to compare them regardless"
    if len(refusing) == 1 and refusing[0].what in WORK_KEYS:
        remedy = f"compare within groups with --group-by {refusing[0].what}, or {remedy}"
    raise NotComparable("the runs differ in " + "; ".join(map(describe, refusing)), remedy)


def run_names(reports: Sequence[Report]) -> list[str]:
    """Name each run by its file without ending, or by its whole path where that is not unique."""
    stems = [Path(report.source.path).name.removesuffix(".corelens") for report in reports]
    paths = [report.source.path for report in reports]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise UsageError(f"{twice} is given twice", "name each recording once")
    return [path if stems.count(stem) > 1 else stem for stem, path in zip(stems, paths, strict=True)]


def _groups(
    runs: Sequence[Measured],
    group_by: str | None,
    baseline: str | None,
    price: float | None,
    skipped: Sequence[Skipped],
) -> list[Group]:
    values = list(dict.fromkeys(group_of(run.report.source.labels, group_by) for run in runs))
    if group_by is not None and None in values:
        lacking = next(run for run in runs if group_of(run.report.source.labels, group_by) is None)
        raise UsageError(
            f"--group-by {group_by}: {lacking.name} has no such label",
            f"its labels are: {', '.join(lacking.report.source.labels) or 'none'}",
        )
    return [
        _group(
            None if group_by is None else f"{group_by.replace('_', ' ')} {value}",
            [run for run in runs if group_of(run.report.source.labels, group_by) == value],
            [one for one in skipped if group_of(one.labels, group_by) in (value, None)],
            baseline,
            price,
        )
        for value in values
    ]


def _group(
    title: str | None,
    runs: Sequence[Measured],
    skipped: Sequence[Skipped],
    wanted: str | None,
    price: float | None,
) -> Group:
    folded = bundles(runs)
    baseline, reason = choose_baseline(folded, wanted)
    name = None if baseline is None else baseline.name
    made = [row_of(bundle, baseline, reason, price) for bundle in folded]
    made.sort(key=lambda row: _order(row, name))
    rows = (*made, *map(skipped_row, skipped))
    sound = frozenset(run.name for run in runs if run.trouble is None)
    return Group(
        title=title,
        work=_shared_work(runs),
        rows=rows,
        baseline=name,
        baseline_absent=reason,
        agreement=agreement([(run.name, run.report) for run in runs], sound),
        statements=statements(rows, name, runs[0].report.capacity.cores),
    )


def _order(row: Row, baseline: str | None) -> int:
    """Baseline first, then one process, then several, and last what has no result."""
    if row.trouble is not None:
        return 3
    return 0 if row.name == baseline else 1 + is_spread_over_processes(row)


def _shared_work(runs: Sequence[Measured]) -> dict[str, str]:
    settings = {key: {setting(run.report.source, key) for run in runs} for key in WORK_KEYS}
    return {key: value for key, found in settings.items() if len(found) == 1 and (value := next(iter(found)))}


def _row_names(groups: Sequence[Group]) -> str:
    return ", ".join(dict.fromkeys(row.name for group in groups for row in group.rows if row.trouble is None))
