"""Trials: the marked pieces of work, their times and their rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from corelens.recording import Recording
from corelens.reports.facts.spread import spread
from corelens.reports.report import Trial, Trials
from corelens.vocabulary import Line

NAME = "trial"
UNFINISHED = "unfinished"
COMPLETE = "complete"
_FAILED = frozenset({"failed", "fail", "error"})
_NS_PER_S = 1_000_000_000
_S_PER_HOUR = 3600.0

Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Marked:
    """The trials, and how many ends came without a begin because that was lost."""

    trials: Trials | None
    lost: int


def marked(recording: Recording, wall_s: float) -> Marked:
    """Join begins and ends; a mark that is repeated counts once."""
    begins: dict[Key, Line] = {}
    ends: dict[Key, Line] = {}
    for line in recording.lines("mark"):
        if line["name"] == NAME and line["span"] is not None:
            of = {"begin": begins, "end": ends}.get(line["phase"])
            if of is not None:
                of.setdefault((line["pid"], line["span"]), line)
    found = sorted((_trial(line, ends.get(key)) for key, line in begins.items()), key=_order)
    return Marked(summed(found, wall_s) if found else None, len(ends.keys() - begins.keys()))


def summed(found: list[Trial], wall_s: float) -> Trials:
    """Count the trials and find their rate; an unfinished one counts as in flight until the end."""
    ended = [trial.end_s for trial in found if trial.end_s is not None]
    complete = sum(trial.state == COMPLETE for trial in found)
    span_s = max(ended) - found[0].begin_s if ended else None
    return Trials(
        trials=tuple(found),
        complete=complete,
        unfinished=sum(trial.end_s is None for trial in found),
        failed=sum(trial.state in _FAILED for trial in found),
        span_s=span_s,
        per_hour=complete * _S_PER_HOUR / span_s if span_s and complete else None,
        duration_s=spread(
            trial.end_s - trial.begin_s
            for trial in found
            if trial.end_s is not None and trial.state not in _FAILED
        ),
        overlap_mean=_overlap(found, max(ended), wall_s) if span_s and ended else None,
    )


def labels(recording: Recording) -> dict[str, str]:
    """What the program and the user say of the run; the user has the last word."""
    said: dict[str, Any] = {}
    for line in recording.lines("mark"):
        if line["name"] == "search" and line["phase"] == "point":
            said.update(line["attributes"])
    return {str(key): str(value) for key, value in {**said, **recording.header["labels"]}.items()}


def _trial(begin: Line, end: Line | None) -> Trial:
    attributes: dict[str, Any] = {**begin["attributes"], **(end["attributes"] if end else {})}
    number, params = attributes.get("number"), attributes.get("params")
    return Trial(
        number=number if isinstance(number, int) and not isinstance(number, bool) else None,
        pid=begin["pid"],
        tid=begin["tid"],
        begin_s=begin["t_ns"] / _NS_PER_S,
        end_s=None if end is None else max(end["t_ns"], begin["t_ns"]) / _NS_PER_S,
        value=_number(attributes.get("value")),
        state=str(attributes.get("state", COMPLETE)).lower() if end else UNFINISHED,
        parameters=dict(params) if isinstance(params, dict) else {},  # pyright: ignore[reportUnknownArgumentType]
    )


def _order(trial: Trial) -> tuple[float, int]:
    return trial.begin_s, trial.number if trial.number is not None else -1


def _number(value: object) -> float | None:
    """A finite number, or None; a truth value is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _overlap(found: Iterable[Trial], last_s: float, wall_s: float) -> float:
    spans = [
        (trial.begin_s, min(trial.end_s if trial.end_s is not None else wall_s, last_s)) for trial in found
    ]
    first_s = min(begin for begin, _ in spans)
    return sum(max(0.0, end - begin) for begin, end in spans) / (last_s - first_s)
