"""A made-up /proc, /sys and control group tree: folders of plain files that say what a test wants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STAT = """\
cpu  30 3 20 400 7 0 3 2 0 0
cpu0 10 1 5 100 3 0 1 2 0 0
cpu1 20 2 15 300 4 2 1 0 5 0
intr 12345 0 9 0
ctxt 987654
btime 1700000000
processes 4321
procs_running 3
procs_blocked 0
softirq 100 1 2 3
"""
MEMINFO = """\
MemTotal:       16000000 kB
MemFree:         1000000 kB
MemAvailable:    8000000 kB
SwapTotal:       2000000 kB
SwapFree:        1500000 kB
HugePages_Total:       0
"""


@dataclass(frozen=True, slots=True)
class FakeMachine:
    """Folders that stand for /proc, /sys and the mount point of the control groups."""

    proc: Path
    sys: Path
    cgroup: Path

    def write(self, path: str, text: str | bytes) -> Path:
        """Write a file below /proc, making its folders."""
        return _write(self.proc / path, text)

    def write_sys(self, path: str, text: str) -> Path:
        """Write a file below /sys."""
        return _write(self.sys / path, text)

    def group(self, path: str, **files: str) -> Path:
        """Make a control group below the mount point; `cpu__max="…"` writes the file cpu.max."""
        folder = self.cgroup / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            _write(folder / name.replace("__", "."), text + "\n")
        return folder

    def mount(self, *lines: str) -> None:
        """Write the mountinfo of the reader; `{}` in a line stands for the control group folder."""
        self.write("self/mountinfo", "".join(line.format(self.cgroup) + "\n" for line in lines))


def machine(root: Path) -> FakeMachine:
    """A machine of two cores whose /proc holds what the host probe reads, and no process."""
    made = FakeMachine(root / "proc", root / "sys", root / "cgroup")
    made.write("stat", STAT)
    made.write("loadavg", "0.50 0.40 0.30 3/456 7890\n")
    made.write("meminfo", MEMINFO)
    made.write_sys("devices/system/cpu/online", "0-1\n")
    return made


def unified(fake: FakeMachine, pid: int, path: str, *, root: str = "/") -> None:
    """Mount version 2 alone and put a process into a group."""
    fake.mount(f"30 23 0:26 {root} {{}} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate")
    fake.write(f"{pid}/cgroup", f"0::{path}\n")


def _write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path
