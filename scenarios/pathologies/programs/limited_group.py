"""A control group with a limit, around a part of a program, on cgroup v1 and v2 alike. Needs root.

The group is gone when the part ends, however it ends short of SIGKILL. Its name begins with `PREFIX` and ends with
the process id, so that whoever started a program that was killed can find and remove it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator
from pathlib import Path

PREFIX = "corelens-zoo-"
MOUNT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


@contextlib.contextmanager
def cpu_quota(cores: float, *, nested: bool = False) -> Generator[None]:
    """Run the block with a quota; `nested` puts it one group below the quota, where no limit can be read."""
    quota_us = round(cores * PERIOD_US)
    v1 = {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota_us)}
    with _group("cpu", v1, {"cpu.max": f"{quota_us} {PERIOD_US}"}, nested=nested):
        yield


@contextlib.contextmanager
def memory_limit(limit_bytes: int) -> Generator[None]:
    """Run the block with a limit on memory, page cache included."""
    with _group("memory", {"memory.limit_in_bytes": str(limit_bytes)}, {"memory.max": str(limit_bytes)}):
        yield


@contextlib.contextmanager
def _group(
    controller: str, v1: dict[str, str], v2: dict[str, str], *, nested: bool = False
) -> Generator[None]:
    root, settings = (MOUNT / controller, v1) if (MOUNT / controller).is_dir() else (MOUNT, v2)
    outer = root / f"{PREFIX}{os.getpid()}"
    inner = outer / "job" if nested else outer
    before = root / _current(controller).lstrip("/")
    try:
        inner.mkdir(parents=True)
        for name, value in settings.items():
            (outer / name).write_text(value)
        (inner / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        for folder in dict.fromkeys((inner, outer)):
            _emptied(folder, before)


def _current(controller: str) -> str:
    """Give the group of this process, to go back to."""
    found = "/"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
        if number == "0":
            found = path
    return found


def _emptied(folder: Path, into: Path) -> None:
    """Move what is left in a group, such as workers that wait for more work, and remove it."""
    until = time.monotonic() + 5
    while folder.is_dir():
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (into / "cgroup.procs").write_text(pid)
        try:
            folder.rmdir()
        except OSError:
            # A process that has ended leaves its group a little later.
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
