"""How near the program came to its memory limit, and whether memory went to swap: from the counters of its cgroups.

Counters are those of the level with the smallest limit. What was not read is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from corelens.recording import Recording

# Reclaim begins when a charge would pass the limit, so that a group under it hovers just below.
NEAR_LIMIT = 0.95
# The readings in which the group was at its limit, of those taken; others may lie before and after the work.
LEAST_NEAR_LIMIT = 0.3
# Swap of the machine grows by less than this for other reasons.
LEAST_SWAP_BYTES = 32 << 20
# The kernel begins to reclaim from everybody when about this part of memory is left.
LITTLE_AVAILABLE = 0.05


@dataclass(frozen=True, slots=True)
class MemoryStrain:
    """Memory of the tightest group, and swap of the machine."""

    limit_bytes: int | None = None
    """None: no group sets a limit."""
    path: str | None = None
    used_peak_bytes: int | None = None
    near_limit_share: float | None = None
    """Part of the readings that found it within a twentieth of the limit."""
    limit_hits: int | None = None
    """Times that a charge ran into the limit; None where the recording does not tell."""
    oom_kills: int | None = None
    swap_grown_bytes: int | None = None
    """What the swap of the machine grew by, everybody's programs included."""
    available_least_bytes: int | None = None
    """Least memory that the machine could have given."""

    def shortage(self, memory_bytes: int) -> str | None:
        """`swap` or `reclaim-thrash` where memory is short, on a machine with so much; None where it is not."""
        if self.swap_grown_bytes is not None and self.swap_grown_bytes >= LEAST_SWAP_BYTES:
            return "swap"
        near = self.near_limit_share is not None and self.near_limit_share >= LEAST_NEAR_LIMIT
        left = self.available_least_bytes
        return (
            "reclaim-thrash"
            if near or (left is not None and left < LITTLE_AVAILABLE * memory_bytes)
            else None
        )


def memory_strain(recording: Recording) -> MemoryStrain:
    """Read it from the limits and the counters of groups."""
    limit, path = _tightest(recording)
    rows = [line for line in recording.lines("cgroup") if line["path"] == path]
    used = [line["memory_bytes"] for line in rows if line.get("memory_bytes") is not None]
    swap = [line["swap_used_bytes"] for line in recording.lines("host")]
    available = [line["memory_available_bytes"] for line in recording.lines("host")]
    return MemoryStrain(
        limit_bytes=limit,
        path=path,
        used_peak_bytes=max(used, default=None),
        near_limit_share=_near(used, limit),
        limit_hits=_grown(rows, "memory_limit_hits"),
        oom_kills=_grown(rows, "oom_kills"),
        swap_grown_bytes=max(swap) - swap[0] if swap else None,
        available_least_bytes=min(available, default=None),
    )


def _tightest(recording: Recording) -> tuple[int | None, str | None]:
    """The smallest limit of any time and the group that sets it: a program may move itself into one."""
    groups = [group for line in recording.lines("limits") for group in line["cgroups"]]
    limited = [
        (group["memory_limit_bytes"], group["path"]) for group in groups if group["memory_limit_bytes"]
    ]
    return min(limited, default=(None, None))


def _near(used: list[int], limit: int | None) -> float | None:
    if limit is None or not used:
        return None
    return sum(amount >= NEAR_LIMIT * limit for amount in used) / len(used)


def _grown(rows: Iterable[dict[str, Any]], name: str) -> int | None:
    """What a counter gained from its first reading to its highest."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return max(values) - values[0] if values else None
