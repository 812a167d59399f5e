"""CPU quotas of the control groups that the program ran in, and how often each stopped it."""

from __future__ import annotations

from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts.processes import NS_PER_S
from corelens.vocabulary import Line


@dataclass(frozen=True, slots=True)
class Quota:
    """One level that sets a quota, from when the recorder met it until it was last read."""

    path: str
    quota_cores: float
    nested: bool
    """It stands above the program's own group, where who looks at that one alone misses it."""
    periods: int
    """Enforcement periods that were counted."""
    throttled_periods: int
    """Those in which the group had used up its quota and was stopped."""
    from_s: float

    @property
    def throttled_share(self) -> float:
        """Part of the periods that ended with a stop."""
        return self.throttled_periods / self.periods if self.periods else 0.0


def quotas(recording: Recording) -> tuple[Quota, ...]:
    """Every level that set a quota and whose periods were counted."""
    found: dict[str, Quota] = {}
    for line in recording.lines("limits"):
        way: list[Line] = line["cgroups"] or []
        for level in way:
            path = str(level["path"])
            if level.get("quota_cores") is None or path in found:
                continue
            counted = _counted(recording, path)
            if counted is not None:
                cores = float(level["quota_cores"])
                found[path] = Quota(path, cores, _is_above(way, level), *counted, line["t_ns"] / NS_PER_S)
    return tuple(found.values())


def _counted(recording: Recording, path: str) -> tuple[int, int] | None:
    read = [
        (line["periods"], line["throttled_periods"])
        for line in recording.lines("cgroup")
        if line["path"] == path and line["periods"] is not None and line["throttled_periods"] is not None
    ]
    if not read:
        return None
    first, last = read[0], read[-1]
    # A group that was met only at the end tells of its whole life; better than nothing.
    grown = (last[0] - first[0], last[1] - first[1])
    return grown if grown[0] > 0 else last


def _is_above(way: list[Line], level: Line) -> bool:
    """Whether the program's own group of that hierarchy lies deeper."""
    beneath = str(level["path"]).rstrip("/") + "/"
    return any(other["version"] == level["version"] and other["path"].startswith(beneath) for other in way)
