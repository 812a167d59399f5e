"""What a program needs of this machine, and what a killed one may have left on it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from corelens.errors import CorelensError, MissingExtra, NotPermitted
from corelens.scenarios.pathologies.program import Control, Program
from corelens.scenarios.pathologies.programs.limited_group import MOUNT, PREFIX

_REMOVAL_S = 5.0


def obstacle(
    program: Program,
    mount: Path = MOUNT,
    is_installed: Callable[[str], bool] = lambda module: find_spec(module) is not None,
    user: int | None = None,
) -> CorelensError | None:
    """Say why a program cannot run here, or None when it can."""
    for module in program.libraries:
        if not is_installed(module):
            return MissingExtra(module, "ray" if module == "ray" else "lab")
    if program.control is None:
        return None
    if (os.geteuid() if user is None else user) != 0:
        return NotPermitted(f"{program.name} sets a limit of a control group", "run it as root")
    if _offers(mount, program.control):
        return None
    return NotPermitted(
        f"no control group with a {program.control} limit can be made under {mount}",
        f"mount the {program.control} controller writable, v1 or v2",
    )


def remove_left_groups(mount: Path = MOUNT) -> list[Path]:
    """Remove the control groups of programs that are gone, with what still runs in them; gives what it removed."""
    removed: list[Path] = []
    for group in _left_groups(mount):
        for folder in (*(path for path in group.iterdir() if path.is_dir()), group):
            _remove(folder)
        removed.append(group)
    return removed


def _offers(mount: Path, control: Control) -> bool:
    v1 = mount / control
    if v1.is_dir():
        return os.access(v1, os.W_OK)
    try:
        handed_down = (mount / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False
    return control in handed_down and os.access(mount, os.W_OK)


def _left_groups(mount: Path) -> Iterator[Path]:
    for pattern in (f"{PREFIX}*", f"*/{PREFIX}*"):
        for group in mount.glob(pattern):
            pid = group.name.removeprefix(PREFIX)
            if pid.isdecimal() and not Path("/proc", pid).exists():
                yield group


def _remove(folder: Path) -> None:
    """Kill what is left in a group, all of it started by the program that made the group, and remove it."""
    until = time.monotonic() + _REMOVAL_S
    while folder.is_dir() and time.monotonic() < until:
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.05)
