"""Core-seconds in the bins of the timeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from corelens.reports.facts.facts import Facts


def widths(facts: Facts) -> list[float]:
    """Seconds of each bin that were recorded: the last one ends with the recording."""
    timeline = facts.report.timeline
    count, step_s = len(timeline.capacity_cores), timeline.step_s
    return [min(step_s, max(facts.wall_s - place * step_s, 0.0)) for place in range(count)]


def gathered(facts: Facts, sparse: Iterable[Mapping[int, float]]) -> list[float]:
    """Add sparse bins up."""
    bins = [0.0] * len(facts.report.timeline.capacity_cores)
    for amounts in sparse:
        for place, time_s in amounts.items():
            bins[place] += time_s
    return bins


def added(one: list[float] | None, other: list[float]) -> list[float]:
    """Both together; None has nothing."""
    return other if one is None else [first + second for first, second in zip(one, other, strict=True)]


def smoothed(values: list[float], reach: int) -> list[float]:
    """Mean of each bin with so many neighbours on either side."""
    if reach < 1:
        return values
    total = [0.0]
    for value in values:
        total.append(total[-1] + value)
    means: list[float] = []
    for place in range(len(values)):
        low, high = max(0, place - reach), min(len(values), place + reach + 1)
        means.append((total[high] - total[low]) / (high - low))
    return means
