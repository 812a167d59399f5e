"""Minimum, median, maximum and mean of some values."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from corelens.reports.report import Spread


def spread(values: Iterable[float]) -> Spread | None:
    """Sum some values up; None when there are none."""
    known = sorted(values)
    if not known:
        return None
    return Spread(len(known), known[0], statistics.median(known), known[-1], statistics.fmean(known))
