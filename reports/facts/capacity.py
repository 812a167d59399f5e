"""The cores and the memory that the program was allowed to use."""

from __future__ import annotations

from typing import Any

from corelens.recording import Recording
from corelens.reports.facts.bins import Grid, time_mean, value_at
from corelens.reports.report import Capacity

NS_PER_S = 1_000_000_000


def levels(recording: Recording) -> list[tuple[int, float]]:
    """Capacity in cores as a step function; all logical cores of the host where no limits were read."""
    read = [(line["t_ns"], float(line["capacity_cores"])) for line in recording.lines("limits")]
    return read or [(0, float(recording.header["host"].get("logical_cores") or 1))]


def per_bin(recording: Recording, grid: Grid) -> tuple[float, ...]:
    """Capacity in the middle of each bin."""
    steps = levels(recording)
    return tuple(value_at(steps, index * grid.step_ns + grid.step_ns // 2) for index in range(grid.count))


def capacity(recording: Recording, wall_ns: int) -> Capacity:
    """Sum up the limits: the mean over time where they changed, and the last ones otherwise."""
    limits = recording.lines("limits")
    last: dict[str, Any] = limits[-1] if limits else {}
    affinity = last.get("affinity_cores")
    online = last.get("online_cores") or range(recording.header["host"].get("logical_cores") or 1)
    return Capacity(
        cores=time_mean(levels(recording), 0, wall_ns) or 1.0,
        because=_because(recording),
        online_cores=len(online),
        affinity_cores=None if affinity is None else len(affinity),
        quota_cores=last.get("quota_cores"),
        throttled_s=_throttled_s(recording),
        memory_limit_bytes=last.get("memory_limit_bytes"),
    )


def _because(recording: Recording) -> str:
    reasons = dict.fromkeys(line["capacity_because"] for line in recording.lines("limits"))
    return ", then ".join(reasons) or "logical cores; the limits were not read"


def _throttled_s(recording: Recording) -> float | None:
    """Longest throttling of any level: an inner group is stopped together with the outer one."""
    first: dict[str, int] = {}
    spent: dict[str, int] = {}
    for line in recording.lines("cgroup"):
        if line["throttled_ns"] is not None:
            base = first.setdefault(line["path"], line["throttled_ns"])
            spent[line["path"]] = max(0, line["throttled_ns"] - base)
    return max(spent.values()) / NS_PER_S if spent else None
