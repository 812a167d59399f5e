"""The report as one JSON object: the diagnosis first, the values as they are, with the units in the keys."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, cast

from corelens.reports.report import Report

SCHEMA = 2
DIAGNOSIS = ("verdict", "variant", "headline", "findings")
"""Keys of the diagnosis; they stand at the top, because they are what most programs read."""
AT_THE_TOP = {
    "core_time_ledger": "core_time_ledger",
    "thread_ledger": "ledger",
    "recorder": "recorder",
    "gaps": "unseen",
}
"""Key to the part of the report that it holds; every other part is one of `facts`."""


def json_report(report: Report) -> str:
    """Give the report as JSON; what was not measured is null, and `gaps` says why."""
    return "".join(_pieces(laid_out(report))) + "\n"


def laid_out(report: Report) -> dict[str, object]:
    """The report under the keys of its JSON; without a diagnosis its keys are null, and there are no findings."""
    parts: dict[str, object] = {field.name: getattr(report, field.name) for field in fields(report)}
    parts.pop("diagnosis")
    said = report.diagnosis
    first = {key: None if said is None else getattr(said, key) for key in DIAGNOSIS}
    top = {key: parts.pop(name) for key, name in AT_THE_TOP.items() if name in parts}
    last = {key: top.pop(key) for key in ("recorder", "gaps")}
    return {"schema": SCHEMA, **first, "findings": first["findings"] or (), **top, "facts": parts, **last}


def finite(value: Any) -> Any:
    """Replace what JSON cannot say, such as a trial's value of infinity, by null; tuples become lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(inner) for key, inner in cast(dict[object, object], value).items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in cast(list[object], value)]
    return value


def _pieces(whole: object) -> Iterator[str]:
    """The text in pieces. A stack instead of recursion: a chain of processes can be deeper than calls can nest."""
    waiting: list[str | tuple[object, str]] = [(whole, "\n")]
    while waiting:
        piece = waiting.pop()
        if isinstance(piece, str):
            yield piece
            continue
        value, line = piece
        if not _holds_others(value):
            yield json.dumps(finite(value))
            continue
        members = list(_members(value))
        opening, closing = "[]" if isinstance(value, list | tuple) else "{}"
        inner = line + "  "
        waiting.append(line + closing if members else closing)
        for place, (key, member) in reversed(list(enumerate(members))):
            waiting += [(member, inner), ("," if place else opening) + inner + key]
        if not members:
            waiting.append(opening)


def _holds_others(value: object) -> bool:
    return isinstance(value, dict | list | tuple) or is_dataclass(value)


def _members(value: Any) -> Iterator[tuple[str, object]]:
    """What an object or a list holds, each with the text of its key."""
    if isinstance(value, list | tuple):
        yield from (("", member) for member in cast(list[object], value))
    elif isinstance(value, dict):
        for key, member in cast(dict[object, object], value).items():
            yield f"{json.dumps(str(key))}: ", member
    else:
        yield from ((f"{json.dumps(one.name)}: ", getattr(value, one.name)) for one in fields(value))
