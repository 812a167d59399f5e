"""Marks that the recorded program made with `corelens.mark`, moved onto the clock of the recording."""

from __future__ import annotations

from collections.abc import Iterator

from corelens.probes.gaps import Gaps
from corelens.probes.probe import Moment
from corelens.probes.spool import BrokenLine, Spool
from corelens.vocabulary import Line

DEFAULT_PERIOD_NS = 200_000_000
_PHASES = ("begin", "end", "point")


class MarksProbe:
    """Writes one `mark` line per mark; look once more after the program ended to get its last ones."""

    name = "marks"

    def __init__(self, spool: Spool, t0_monotonic_ns: int, period_ns: int = DEFAULT_PERIOD_NS) -> None:
        self.period_ns = period_ns
        self._spool = spool
        self._t0_monotonic_ns = t0_monotonic_ns
        self._gaps = Gaps(self.name)

    def look(self, moment: Moment) -> Iterator[Line]:
        """Convert what was marked since the last look."""
        for line in self._spool.lines("marks"):
            broken = line if isinstance(line, BrokenLine) else None
            mark = None if isinstance(line, BrokenLine) else converted(line, self._t0_monotonic_ns)
            if mark is not None:
                yield mark
                continue
            detail = broken.detail if broken else f"not a mark: {str(line)[:80]}"
            yield from self._gaps.say(moment.t_ns, None, broken.file if broken else "mark", "broken", detail)

    def close(self) -> None:
        """The spool belongs to the recorder."""


def converted(line: Line, t0_monotonic_ns: int) -> Line | None:
    """The `mark` line of a spooled mark; None for anything else that was in the file."""
    numbers = [line.get(name) for name in ("monotonic_ns", "pid", "tid")]
    name, phase, span = line.get("name"), line.get("phase"), line.get("span")
    attributes = line.get("attributes")
    if not all(type(number) is int for number in numbers):
        return None
    if not isinstance(name, str) or phase not in _PHASES or not isinstance(attributes, dict):
        return None
    if not (span is None or isinstance(span, str)):
        return None
    return {
        "kind": "mark",
        "t_ns": line["monotonic_ns"] - t0_monotonic_ns,
        "pid": line["pid"],
        "tid": line["tid"],
        "name": name,
        "phase": phase,
        "span": span,
        "attributes": attributes,
    }
