"""The keys of the JSON report with their types, units and meanings, read off the report's own classes.

There is no second list to keep: types come from the annotations, meanings from the texts under the fields in
`report.py` and its neighbours, places from `json_report.py`, units from the endings of the names. The sources
are read, so an installation without them has no documentation to generate and nothing else to lose.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from corelens.reports.findings import Diagnosis
from corelens.reports.json_report import AT_THE_TOP
from corelens.reports.report import Report

JsonField = tuple[str, str, str, str]
"""Path of a key (`[]` for each element), its type, its unit, its meaning."""

UNITS: tuple[tuple[str, str], ...] = (
    ("_unix_ns", "ns since 1970-01-01 UTC"),
    ("_core_s", "core-seconds"),
    ("_core_s_spread", "core-seconds"),
    ("_at_s", "s since the recording began"),
    ("born_s", "s since the recording began"),
    ("died_s", "s since the recording began"),
    ("begin_s", "s since the recording began"),
    ("end_s", "s since the recording began"),
    ("from_s", "s since the recording began"),
    ("until_s", "s since the recording began"),
    ("peak_s", "s since the recording began"),
    ("_s", "s"),
    ("_bytes", "bytes"),
    ("_hz", "Hz"),
    ("_share", "ratio, 0 to 1"),
    ("utilisation", "ratio, 0 to 1"),
    ("confidence", "ratio, 0 to 1"),
    ("gain.factor", "ratio"),
    ("core_busy", "ratio, 0 to 1"),
    ("per_hour", "1/h"),
    ("_cores_mean", "cores"),
    ("_cores_peak", "cores"),
    ("_cores", "cores"),
    ("capacity.cores", "cores"),
    ("interval_us", "us"),
    ("thread_s", "thread-seconds"),
    ("handoffs_per_s", "1/s"),
    ("handoffs_per_s_peak", "1/s"),
    ("handoffs_per_s_by_bin", "1/s"),
    ("wakeups_per_s", "1/s"),
    ("held_share_by_bin", "ratio, 0 to 1"),
    ("threads_mean", "threads"),
    ("waiters_mean", "threads"),
    ("locks.blocked_s", "thread-seconds"),
    ("on_core.core_s", "core-seconds"),
    ("idle.core_s", "core-seconds"),
    ("cores_by_bin", "cores"),
    ("workers.ready_s", "s since the recording began"),
    ("workers.last_work_s", "s since the recording began"),
    ("phases.startup_until_s", "s since the recording began"),
    ("phases.parallel_until_s", "s since the recording began"),
    ("phases.tail_until_s", "s since the recording began"),
    ("waves.last_born_s", "s since the recording began"),
    ("waves.ready_s", "s since the recording began"),
    ("waves.tail_s", "s since the recording began"),
    ("parallel_efficiency", "ratio"),
    ("core_efficiency", "ratio"),
    ("load_balance", "ratio, 0 to 1"),
    ("serialisation_transfer", "ratio"),
)
"""Ending of a path to the unit of the number there; the first match that is longest counts."""

COUNTS = frozenset(
    {
        "born", "count", "complete", "cpu_count", "failed", "major_faults", "mean", "overlap_mean", "peak",
        "processes", "processes_peak", "processes_total", "threads", "threads_peak", "ticks", "ticks_missed",
        "times", "unfinished", "waiting_threads", "workers", "size", "teams", "threads_each", "busy", "idle",
        "predicted", "difference", "configured_threads", "observed_threads",
        "looks", "failed_looks", "samples", "active_samples", "gil_samples", "idle_samples", "unknown_samples",
        "dropped_samples", "left_out_samples", "held_looks", "handoffs", "waiters_peak",
        "made_on_machine", "seen_in_tree", "unseen_at_most", "per_process", "at_once", "members",
    }
)  # fmt: skip
"""Names of numbers that count things."""

PLAIN = frozenset(
    {
        "format", "schema", "exit_code", "signal", "pid", "ppid", "tid", "number", "value", "cores", "line",
        "address", "busiest_tid", "pids", "helpers",
    }
)  # fmt: skip
"""Names of numbers without a unit: identities, codes, and a trial's own value."""


def json_fields() -> list[JsonField]:
    """List every key of the JSON report in the order of the report."""
    names = [field.name for field in fields(Report)]
    top = {key: name for key, name in AT_THE_TOP.items() if name in names}
    rest = [name for name in names if name not in (*top.values(), "diagnosis")]
    last = ("recorder", "gaps")
    return [
        ("schema", "int", "", "Version of this layout."),
        *map(_or_null, _class_fields(Diagnosis, "")),
        *(one for key in top if key not in last for one in _part(key, top[key])),
        ("facts", "object", "", "Everything else that the recording tells."),
        *(one for name in rest for one in _part(f"facts.{name}", name)),
        *(one for key in last for one in _part(key, top[key])),
    ]


def _or_null(field: JsonField) -> JsonField:
    """The texts of a diagnosis are null where no rules were run; then there are no findings either."""
    path, form, unit, meaning = field
    return field if "[]" in path or "null" in form else (path, f"{form} or null", unit, meaning)


def _part(path: str, name: str) -> Iterator[JsonField]:
    """One part of the report under the path that it has in the JSON."""
    yield from _value(path, get_type_hints(Report)[name], _meaning(Report, name), Report)


def unit_of(path: str) -> str | None:
    """Unit of the number at a path; an empty text for counts and identities, None where nobody said."""
    spread, _, _ = path.rpartition(".")
    name = path.rpartition(".")[2].removesuffix("[]").removesuffix("[]")
    if name in {"minimum", "median", "maximum", "mean"} and spread != "facts.threads":
        return unit_of(spread)
    ends = [(ending, unit) for ending, unit in UNITS if path.replace("[]", "").endswith(ending)]
    if ends:
        return max(ends, key=lambda pair: len(pair[0]))[1]
    return "" if name in COUNTS | PLAIN else None


def _class_fields(cls: type[Any], prefix: str) -> Iterator[JsonField]:
    hints = get_type_hints(cls)
    for field in fields(cls):
        yield from _value(f"{prefix}{field.name}", hints[field.name], _meaning(cls, field.name), cls)


def _value(path: str, hint: Any, meaning: str, owner: type[Any]) -> Iterator[JsonField]:
    kind, optional = _without_none(hint)
    suffix = " or null" if optional else ""
    inner, depth = _element(kind)
    if depth:
        path += "[]" * depth
        suffix = ", each" + suffix
        element_optional = _without_none(inner)
        inner, suffix = element_optional[0], suffix + (" or null" if element_optional[1] else "")
    if isinstance(inner, type) and is_dataclass(inner):
        yield path, f"object{suffix}", "", meaning or _summary(inner)
        if inner is not owner:
            yield from _class_fields(inner, f"{path}.")
        return
    unit = (unit_of(path) or "") if inner in (int, float) else ""
    yield path, _name(inner) + suffix, unit, meaning


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) is types.UnionType:
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return kinds[0], True
    return hint, False


def _element(hint: Any) -> tuple[Any, int]:
    depth = 0
    while get_origin(hint) is tuple:
        hint, depth = get_args(hint)[0], depth + 1
    return hint, depth


def _name(kind: Any) -> str:
    return "object" if get_origin(kind) is dict else str(kind.__name__)


def _meaning(cls: type[Any], name: str) -> str:
    described: Any = cls
    return _texts(described).get(name, "")


def _summary(cls: Any) -> str:
    return (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")


@cache
def _texts(cls: Any) -> dict[str, str]:
    """Texts under the fields of a class, by the field's name."""
    body = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        text = (
            after.value.value
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            else None
        )
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(text, str)
        ):
            found[before.target.id] = " ".join(text.split())
    return found
