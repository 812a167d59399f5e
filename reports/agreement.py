"""Whether runs computed the same: the values of their trials, by number, bit for bit."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from corelens.reports.compared import Agreement, Disagreement
from corelens.reports.report import Report


def agreement(named: Sequence[tuple[str, Report]], went_through: frozenset[str]) -> Agreement:
    """Compare the trials' values of all runs that have any.

    A run that is not in `went_through` may lack trials without being reported; the values it found still
    have to agree.
    """
    found = {name: values for name, report in named if (values := _values(report))}
    numbers = sorted({number for values in found.values() for number in values})
    reason = _not_comparable(len(named), found)
    if reason is not None:
        return Agreement(len(found), len(numbers), None, reason, (), ())
    checked = [_disagreement(number, found) for number in numbers]
    disagreements = tuple(one for one in checked if one is not None)
    return Agreement(
        len(found),
        len(numbers),
        not disagreements,
        None,
        disagreements,
        _missing(numbers, found, went_through),
    )


def _not_comparable(runs: int, found: dict[str, dict[int, float]]) -> str | None:
    if runs < 2:
        return "there is one run only"
    if len(found) < 2:
        return "fewer than two runs marked trials with a number and a value"
    if not any(len([1 for values in found.values() if number in values]) > 1 for number in _all(found)):
        return "no trial number occurs in two runs"
    return None


def _all(found: dict[str, dict[int, float]]) -> set[int]:
    return {number for values in found.values() for number in values}


def _values(report: Report) -> dict[int, float]:
    trials = report.trials.trials if report.trials is not None else ()
    return {
        trial.number: trial.value for trial in trials if trial.number is not None and trial.value is not None
    }


def _disagreement(number: int, found: dict[str, dict[int, float]]) -> Disagreement | None:
    runs: dict[bytes, list[str]] = {}
    for name, values in found.items():
        if number in values:
            # By their bits: a NaN equals itself, 0.0 and -0.0 differ.
            runs.setdefault(struct.pack("<d", values[number]), []).append(name)
    if len(runs) < 2:
        return None
    return Disagreement(
        number, tuple((struct.unpack("<d", bits)[0], tuple(names)) for bits, names in runs.items())
    )


def _missing(
    numbers: Sequence[int], found: dict[str, dict[int, float]], went_through: frozenset[str]
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    lacking = (
        (name, tuple(number for number in numbers if number not in values))
        for name, values in found.items()
        if name in went_through
    )
    return tuple((name, absent) for name, absent in lacking if absent)
