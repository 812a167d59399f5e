"""Control groups, version 1, version 2 and both at once: the way from a process's own group to the root.

A limit holds for everything below it, so the smallest one on that way is what counts. Looking at the
process's own group alone misses the limit of a container, a batch job or a systemd slice around it.

Paths in /proc/PID/cgroup and the roots in mountinfo are both written as the *reader* sees them (its cgroup
namespace), so the mounts to look through are our own. A group outside our namespace begins with `/..`; it can
be reached only when a mount shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from corelens.probes import procfs
from corelens.probes.environment import parse_core_list

# Version 1 says "no limit" with the largest page-aligned number, which depends on the page size.
_NO_MEMORY_LIMIT = 1 << 60
_CONTROLLERS = ("cpu", "memory", "cpuset")


@dataclass(frozen=True, slots=True)
class Level:
    """One group on the way to the root; a folder is None where that controller has no group of this path.

    With version 1 every controller has a tree of its own; groups of equal path are taken as one level.
    """

    version: int
    path: str
    cpu: Path | None
    memory: Path | None
    cpuset: Path | None


@dataclass(frozen=True, slots=True)
class LevelLimits:
    """What one level sets; None where it sets nothing."""

    quota_cores: float | None
    memory_limit_bytes: int | None
    cpuset: list[int] | None


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel counts at one level since the group was made; None where it does not."""

    periods: int | None = None
    throttled_periods: int | None = None
    throttled_ns: int | None = None
    memory_bytes: int | None = None
    oom_kills: int | None = None
    memory_limit_hits: int | None = None
    major_faults: int | None = None
    file_refaults: int | None = None
    swap_refaults: int | None = None


@dataclass(frozen=True, slots=True)
class CounterTexts:
    """The text of the counter files of one level; None where there is no such file."""

    cpu_stat: bytes | None = None
    memory: bytes | None = None
    """memory.current, version 1: memory.usage_in_bytes."""
    events: bytes | None = None
    """memory.events, version 1: memory.oom_control."""
    memory_stat: bytes | None = None
    failures: bytes | None = None
    """Version 1 only: memory.failcnt."""


@dataclass(frozen=True, slots=True)
class _Mount:
    version: int
    controllers: frozenset[str]
    root: str
    point: Path


def levels(pid: int, proc: Path = procfs.PROC) -> list[Level]:
    """Levels from the group of a process to the root, deepest first, version 2 before version 1.

    Groups that no mount shows are left out, so the list may be empty. Raises Unreadable.
    """
    mounts = _mounts(procfs.read_bytes(f"{proc}/self/mountinfo"))
    memberships = _memberships(procfs.read_bytes(f"{proc}/{pid}/cgroup"))
    ways: dict[tuple[int, str], dict[str, Path]] = {}
    for mount in mounts:
        own = _own_path(mount, memberships)
        if own is not None:
            for path, folder in _way_up(mount, own):
                # A hierarchy can be mounted twice, and the first mount is as good as the second.
                known = ways.setdefault((mount.version, path), {})
                for controller in mount.controllers:
                    known.setdefault(controller, folder)
    return [_level(*key, folders) for key, folders in sorted(ways.items(), key=_deepest_first)]


def read_limits(level: Level) -> LevelLimits:
    """What a level sets; a file that is not there or not readable sets nothing."""
    two = level.version == 2
    return LevelLimits(
        quota_cores=_quota_two(level.cpu) if two else _quota_one(level.cpu),
        memory_limit_bytes=_memory_limit(level.memory, "memory.max" if two else "memory.limit_in_bytes"),
        cpuset=_cpuset(level),
    )


def parse_counters(texts: CounterTexts) -> Counters:
    """Counters of either version."""
    stat, events, memory_stat = _table(texts.cpu_stat), _table(texts.events), _table(texts.memory_stat)
    throttled_us = stat.get("throttled_usec")
    return Counters(
        periods=stat.get("nr_periods"),
        throttled_periods=stat.get("nr_throttled"),
        throttled_ns=stat.get("throttled_time") if throttled_us is None else throttled_us * 1000,
        memory_bytes=_number(texts.memory),
        oom_kills=events.get("oom_kill"),
        memory_limit_hits=events.get("max", _number(texts.failures)),
        major_faults=_with_those_below(memory_stat, "pgmajfault"),
        # Kernels before 5.9 keep one counter, and count files alone.
        file_refaults=_with_those_below(memory_stat, "workingset_refault_file", "workingset_refault"),
        swap_refaults=_with_those_below(memory_stat, "workingset_refault_anon"),
    )


def _with_those_below(memory_stat: dict[str, int], *names: str) -> int | None:
    """The first of these counters that is there; what version 1 calls `total_` is what version 2 counts."""
    found = (memory_stat.get(f"total_{name}", memory_stat.get(name)) for name in names)
    return next((value for value in found if value is not None), None)


def version(proc: Path = procfs.PROC) -> str:
    """`1`, `2`, `hybrid` (both, limits by version 1) or `none`, by what is mounted; raises Unreadable."""
    mounts = _mounts(procfs.read_bytes(f"{proc}/self/mountinfo"))
    limiting = any(mount.version == 1 and "cpu" in mount.controllers for mount in mounts)
    unified = any(mount.version == 2 for mount in mounts)
    if limiting:
        return "hybrid" if unified else "1"
    return "2" if unified else "none"


def _deepest_first(item: tuple[tuple[int, str], dict[str, Path]]) -> tuple[int, int, str]:
    (number, path), _ = item
    return -number, -len(PurePosixPath(path).parts), path


def _level(number: int, path: str, folders: dict[str, Path]) -> Level:
    cpu, memory, cpuset = (folders.get(controller) for controller in _CONTROLLERS)
    return Level(number, path, cpu, memory, cpuset)


def _mounts(mountinfo: bytes) -> list[_Mount]:
    """Mounts of control groups that can limit; a line that cannot be understood is passed over."""
    found: list[_Mount] = []
    for line in mountinfo.decode(errors="replace").splitlines():
        left, separator, right = line.partition(" - ")
        places, kinds = left.split(), right.split()
        if not separator or len(places) < 5 or len(kinds) < 3:
            continue
        root, point = _unescaped(places[3]), Path(_unescaped(places[4]))
        if kinds[0] == "cgroup2":
            found.append(_Mount(2, frozenset(_CONTROLLERS), root, point))
        elif kinds[0] == "cgroup" and (named := frozenset(kinds[2].split(",")) & frozenset(_CONTROLLERS)):
            found.append(_Mount(1, named, root, point))
    return found


def _unescaped(text: str) -> str:
    """Undo the octal escapes of mountinfo."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _memberships(text: bytes) -> dict[str, str]:
    """Path by controller; version 2 has the empty name."""
    table: dict[str, str] = {}
    for line in text.decode(errors="replace").splitlines():
        _, _, rest = line.partition(":")
        names, separator, path = rest.partition(":")
        if separator:
            table.update(dict.fromkeys(names.split(","), path.removesuffix(" (deleted)")))
    return table


def _own_path(mount: _Mount, memberships: dict[str, str]) -> str | None:
    names = [""] if mount.version == 2 else sorted(mount.controllers)
    return next((memberships[name] for name in names if name in memberships), None)


def _way_up(mount: _Mount, own: str) -> Iterator[tuple[str, Path]]:
    """Yield (path, folder) from the process's own group up to the root of the mount."""
    top = PurePosixPath(mount.root)
    path = PurePosixPath(own)
    if path != top and (top not in path.parents or ".." in path.relative_to(top).parts):
        return
    while True:
        folder = mount.point / path.relative_to(top)
        if folder.is_dir():
            yield str(path), folder
        if path == top:
            return
        path = path.parent


def _quota_two(folder: Path | None) -> float | None:
    quota, *period = (_text(folder, "cpu.max") or b"max").split() or [b"max"]
    return _cores(_number(quota), _number(period[0]) if period else 100_000)


def _quota_one(folder: Path | None) -> float | None:
    quota = _number(_text(folder, "cpu.cfs_quota_us"))
    return _cores(quota, _number(_text(folder, "cpu.cfs_period_us")))


def _cores(quota_us: int | None, period_us: int | None) -> float | None:
    if quota_us is None or not period_us or quota_us <= 0:
        return None
    return quota_us / period_us


def _memory_limit(folder: Path | None, name: str) -> int | None:
    limit = _number(_text(folder, name))
    return limit if limit is not None and limit < _NO_MEMORY_LIMIT else None


def _cpuset(level: Level) -> list[int] | None:
    if level.version == 2:
        return parse_core_list(_text(level.cpuset, "cpuset.cpus.effective") or b"")
    effective = _text(level.cpuset, "cpuset.effective_cpus")
    return parse_core_list(effective or _text(level.cpuset, "cpuset.cpus") or b"")


def _text(folder: Path | None, name: str) -> bytes | None:
    if folder is None:
        return None
    try:
        return procfs.read_bytes(f"{folder}/{name}")
    except procfs.Unreadable:
        return None


def _number(text: bytes | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def _table(text: bytes | None) -> dict[str, int]:
    rows = (line.split() for line in (text or b"").splitlines())
    return {row[0].decode(): int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
