"""What the in-process agent found: native pools, and the limit variables as they are now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from corelens.probes.gaps import Gaps
from corelens.probes.probe import Moment
from corelens.probes.spool import BrokenLine, Spool
from corelens.vocabulary import KINDS, Line

DEFAULT_PERIOD_NS = 500_000_000
_TYPES: dict[str, type] = {"int": int, "str": str, "object": dict, "list": list}
_FIELDS = tuple(
    (field.name, _TYPES[field.type], field.absent is not None)
    for field in KINDS["pools"].fields
    if field.name != "t_ns"
)
_LOAD_FIELDS = (("module", str), ("monotonic_ns", int), ("inherited", bool), ("variables", dict))


class PoolsProbe:
    """Writes one `pools` line per report of the agent; look once more after the program ended."""

    name = "pools"

    def __init__(self, spool: Spool, t0_monotonic_ns: int, period_ns: int = DEFAULT_PERIOD_NS) -> None:
        self.period_ns = period_ns
        self._spool = spool
        self._t0_monotonic_ns = t0_monotonic_ns
        self._gaps = Gaps(self.name)

    def look(self, moment: Moment) -> Iterator[Line]:
        """Convert what the agents reported since the last look."""
        for line in self._spool.lines("agent"):
            if isinstance(line, BrokenLine):
                yield from self._gaps.say(moment.t_ns, None, line.file, "broken", line.detail)
                continue
            report = converted(line, self._t0_monotonic_ns)
            if report is not None:
                yield report
            else:
                detail = f"not a report of the agent: {str(line)[:80]}"
                yield from self._gaps.say(moment.t_ns, None, "report", "broken", detail)

    def close(self) -> None:
        """The spool belongs to the recorder."""


def converted(line: Line, t0_monotonic_ns: int) -> Line | None:
    """The `pools` line of a report, with the documented fields and no other; None if it is none."""
    at_ns = line.get("monotonic_ns")
    if type(at_ns) is not int:
        return None
    if not all(_fits(line.get(name), kind, nullable) for name, kind, nullable in _FIELDS):
        return None
    fields = {name: line.get(name) for name, _, _ in _FIELDS}
    loads = [_load(load, t0_monotonic_ns) for load in line["loads"]]
    if None in loads:
        return None
    fields["loads"] = loads
    return {"kind": "pools", "t_ns": at_ns - t0_monotonic_ns, **fields}


def _load(load: Any, t0_monotonic_ns: int) -> Line | None:
    if not isinstance(load, dict):
        return None
    told = cast(Line, load)
    if not all(_fits(told.get(name), kind, False) for name, kind in _LOAD_FIELDS):
        return None
    return {
        "module": told["module"],
        "t_ns": told["monotonic_ns"] - t0_monotonic_ns,
        "inherited": told["inherited"],
        "variables": told["variables"],
    }


def _fits(value: Any, kind: type, nullable: bool) -> bool:
    return nullable if value is None else type(value) is kind
