"""What the program may use: online cores, affinity, cpuset, the smallest quota around it; and throttling.

The limits of the root process stand for the whole tree. A process may be moved to another group while it runs
(a batch system, a container runtime, itself), so its groups are looked at each time, and the way to the root is
walked again when they differ. What a group sets may change too: that is read again every few seconds.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from corelens.probes import cgroups, procfs
from corelens.probes.cgroups import CounterTexts, Level, LevelLimits
from corelens.probes.environment import affinity, parse_core_list
from corelens.probes.gaps import Gaps
from corelens.probes.host import SYS, parse_cores
from corelens.probes.keptfile import KeptFile
from corelens.probes.probe import Moment
from corelens.vocabulary import Line

DEFAULT_PERIOD_NS = 500_000_000
_WALK_AGAIN_NS = 3_000_000_000


class LimitsProbe:
    """Writes `limits` at the start and when they change, and `cgroup` counters on every look."""

    name = "limits"

    def __init__(
        self,
        root_pid: int,
        proc: Path = procfs.PROC,
        period_ns: int = DEFAULT_PERIOD_NS,
        *,
        sys: Path = SYS,
    ) -> None:
        self.period_ns = period_ns
        self._root_pid = root_pid
        self._proc = proc
        self._sys = sys
        self._gaps = Gaps(self.name)
        self._written: Line | None = None
        self._walk_at_ns = 0
        self._memberships = KeptFile(f"{proc}/{root_pid}/cgroup")
        self._groups: bytes | None = None
        self._meters: list[Meter] = []

    def look(self, moment: Moment) -> Iterator[Line]:
        """Walk the groups if it is time or the process was moved, then read the counters of the limiting ones."""
        if self._was_moved() or moment.t_ns >= self._walk_at_ns:
            self._walk_at_ns = moment.t_ns + _WALK_AGAIN_NS
            yield from self._walk(moment.t_ns)
        for meter in self._meters:
            yield {"kind": "cgroup", "t_ns": moment.t_ns, **meter.read()}

    def close(self) -> None:
        """Give descriptors back."""
        self._memberships.close()
        self._meter([])

    def _was_moved(self) -> bool:
        """Whether the process is in other groups than at the last look; reading that costs 15 us."""
        try:
            groups = self._memberships.read()
        except procfs.Unreadable:
            return False
        before, self._groups = self._groups, groups
        return groups != before

    def _has_ended(self) -> bool:
        """Whether what the process might use is written and no more to be had: version 1 shows a zombie at the root."""
        try:
            return self._written is not None and procfs.read_stat(self._proc, self._root_pid).state in "ZX"
        except procfs.Unreadable as error:
            return error.reason == "gone"

    def _walk(self, t_ns: int) -> Iterator[Line]:
        if self._has_ended():
            return
        try:
            way = [
                (level, cgroups.read_limits(level)) for level in cgroups.levels(self._root_pid, self._proc)
            ]
        except procfs.Unreadable as error:
            yield from self._gaps.once(t_ns, self._root_pid, error)
            way = []
        else:
            yield from self._unseen(t_ns, way)
        limits = self._limits(way)
        if limits != self._written:
            self._written = limits
            yield {"kind": "limits", "t_ns": t_ns, **limits}
        self._meter([level for level, sets in way if _limits_something(sets)])

    def _unseen(self, t_ns: int, way: list[tuple[Level, LevelLimits]]) -> Iterator[Line]:
        if not way:
            detail = "no mount shows the control group of the process, so its quota is unknown"
            yield from self._gaps.say(t_ns, self._root_pid, "cgroup", "unsupported", detail)

    def _meter(self, limiting: list[Level]) -> None:
        if [meter.level for meter in self._meters] != limiting:
            for meter in self._meters:
                meter.close()
            self._meters = [Meter(level) for level in limiting]

    def _limits(self, way: list[tuple[Level, LevelLimits]]) -> Line:
        online = online_cores(self._proc, self._sys)
        allowed = affinity(self._root_pid, self._proc)
        quota = min((sets.quota_cores for _, sets in way if sets.quota_cores is not None), default=None)
        cpusets = [sets.cpuset for _, sets in way if sets.cpuset is not None]
        capacity, because = capacity_cores(online, allowed, cpusets, quota)
        return {
            "online_cores": online,
            "affinity_cores": allowed,
            "cgroups": [_described(level, sets, online) for level, sets in way],
            "quota_cores": quota,
            "memory_limit_bytes": min(
                (sets.memory_limit_bytes for _, sets in way if sets.memory_limit_bytes is not None),
                default=None,
            ),
            "capacity_cores": capacity,
            "capacity_because": because,
            "soft_open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        }


class Meter:
    """The counters of one level, its files kept open."""

    def __init__(self, level: Level) -> None:
        two = level.version == 2
        self.level = level
        self._files = {
            "cpu_stat": _file(level.cpu, "cpu.stat"),
            "memory": _file(level.memory, "memory.current" if two else "memory.usage_in_bytes"),
            "events": _file(level.memory, "memory.events" if two else "memory.oom_control"),
            "memory_stat": _file(level.memory, "memory.stat"),
            "failures": None if two else _file(level.memory, "memory.failcnt"),
        }

    def read(self) -> Line:
        """Path and counters; a file that is gone leaves its counters null."""
        texts = CounterTexts(**{name: _text(file) for name, file in self._files.items()})
        return {"path": self.level.path, **asdict(cgroups.parse_counters(texts))}

    def close(self) -> None:
        """Give descriptors back."""
        for file in self._files.values():
            if file is not None:
                file.close()


def present_limits(pid: int, proc: Path = procfs.PROC, sys: Path = SYS) -> Line:
    """What a process may use now: the fields of a `limits` line but its time."""
    probe = LimitsProbe(pid, proc, sys=sys)
    try:
        lines = [*probe.look(Moment(0, {}, frozenset()))]
    finally:
        probe.close()
    found = next(line for line in lines if line["kind"] == "limits")
    return {name: value for name, value in found.items() if name not in ("kind", "t_ns")}


def capacity_cores(
    online: list[int], allowed: list[int] | None, cpusets: list[list[int]], quota: float | None
) -> tuple[float, str]:
    """Cores the program may use and which bound is the smallest; at a tie the outermost bound is named.

    The kernel has already cut the affinity down to the cpuset, so an affinity that equals the cpuset is one
    that nobody asked for.
    """
    bounds: list[tuple[float, str]] = [(len(online), "online")]
    bounds += [(len(cpuset), "cpuset") for cpuset in cpusets]
    if allowed is not None:
        bounds.append((len(set(allowed) & set(online)) or len(allowed), "affinity"))
    if quota is not None:
        bounds.append((quota, "quota"))
    smallest = min(bounds, key=lambda bound: bound[0])
    return float(smallest[0]), smallest[1]


def online_cores(proc: Path = procfs.PROC, sys: Path = SYS) -> list[int]:
    """Cores that are online, from /sys, or from /proc/stat where /sys is not mounted."""
    with contextlib.suppress(procfs.Unreadable):
        listed = parse_core_list(procfs.read_bytes(f"{sys}/devices/system/cpu/online"))
        if listed is not None:
            return listed
    with contextlib.suppress(procfs.Unreadable):
        return [row[0] for row in parse_cores(procfs.read_bytes(f"{proc}/stat"))]
    return [*range(os.cpu_count() or 1)]


def _limits_something(sets: LevelLimits) -> bool:
    return sets.quota_cores is not None or sets.memory_limit_bytes is not None


def _described(level: Level, sets: LevelLimits, online: list[int]) -> Line:
    return {
        "version": level.version,
        "path": level.path,
        "quota_cores": sets.quota_cores,
        "memory_limit_bytes": sets.memory_limit_bytes,
        # A group without a cpuset of its own shows its parent's, and the root shows every core.
        "cpuset": None if sets.cpuset == online else sets.cpuset,
    }


def _file(folder: Path | None, name: str) -> KeptFile | None:
    return KeptFile(f"{folder}/{name}") if folder is not None else None


def _text(file: KeptFile | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read()
    except procfs.Unreadable:
        return None
