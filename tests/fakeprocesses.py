"""Made-up processes in a made-up /proc, with clocks of their own, whose open files die when they end.

Plain files cannot do three things that the probes rely on, so these are put in place of the system's: the CPU
clock of a process, the end of an open file with its thread, and the refusal to open one.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from corelens.probes.probe import Moment, Process
from corelens.vocabulary import Line
from tests.fakeproc import FakeMachine, machine

IO = "rchar: 5\nwchar: 6\nsyscr: 7\nsyscw: 8\nread_bytes: 4096\nwrite_bytes: 8192\n"
MS = 1_000_000
SECOND = 1000 * MS


def stat_line(
    pid: int,
    comm: str,
    ppid: int,
    start: int,
    *,
    state: str = "S",
    group: int | None = None,
    core: int = 0,
    status: int = 0,
    user: int = 0,
) -> str:
    """A line as in /proc/PID/stat; `status` is a wait status, `user` in clock ticks."""
    numbers = [0] * 49
    numbers[0], numbers[1] = ppid, pid if group is None else group
    numbers[10], numbers[16], numbers[18], numbers[20] = user, 1, start, 7
    numbers[35], numbers[48] = core, status
    return f"{pid} ({comm}) {state} {' '.join(map(str, numbers))}\n"


@dataclass(slots=True)
class FakeProcesses:
    """A machine on which processes and threads begin, run and end as a test says."""

    machine: FakeMachine
    clocks: dict[int, int] = field(default_factory=dict[int, int])
    """CPU clock of each process in nanoseconds."""
    forbidden: set[str] = field(default_factory=set[str])
    """Paths below /proc that are shown to others only."""
    full: set[str] = field(default_factory=set[str])
    """Ends of paths for which there is no descriptor left."""

    @property
    def proc(self) -> Path:
        """The root of its /proc."""
        return self.machine.proc

    def start(
        self,
        pid: int,
        ppid: int = 1,
        *,
        comm: str = "program",
        argv: tuple[str, ...] | None = ("program",),
        exe: str | None = "/bin/program",
        environ: Iterable[str] = (),
        start: int = 100,
        group: int | None = None,
        last: bool = True,
    ) -> None:
        """Begin a process with its first thread; `last` lets the kernel say that it gave this id out."""
        self.machine.write(f"{pid}/stat", stat_line(pid, comm, ppid, start, group=group))
        self.machine.write(f"{pid}/status", f"Name:\t{comm}\nCpus_allowed_list:\t0-1\n")
        self.machine.write(f"{pid}/environ", "".join(f"{item}\0" for item in environ))
        self.machine.write(f"{pid}/io", IO)
        if argv is not None:
            self.machine.write(f"{pid}/cmdline", "".join(f"{word}\0" for word in argv))
        if exe is not None:
            (self.proc / str(pid) / "exe").symlink_to(exe)
        self.clocks[pid] = 0
        self.thread(pid, pid, comm=comm, start=start, ppid=ppid)
        if last:
            self.gave_out(pid)

    def gave_out(self, last: int) -> None:
        """Say in loadavg which id was given out last; nothing else there means anything."""
        path = self.proc / "loadavg"
        # In place: a kept descriptor reads the new text, as of the real one.
        with path.open("r+b") as file:
            file.write(f"0.50 0.40 0.30 3/456 {last}\n".encode())
            file.truncate()

    def thread(
        self, pid: int, tid: int, *, comm: str = "program", start: int = 100, run_ns: int = 0, ppid: int = 1
    ) -> None:
        """Begin a thread, which has run for a while already."""
        path = f"{pid}/task/{tid}"
        self.machine.write(f"{path}/stat", stat_line(tid, comm, ppid, start, core=1))
        self.name_thread(pid, tid, comm)
        self.machine.write(f"{path}/schedstat", f"{run_ns} 0 1\n")
        self.clocks[pid] += run_ns

    def name_thread(self, pid: int, tid: int, comm: str) -> None:
        """Give a thread a name."""
        self.machine.write(
            f"{pid}/task/{tid}/status",
            f"Name:\t{comm}\nState:\tS (sleeping)\nCpus_allowed_list:\t0-1\n"
            "voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6\n",
        )

    def run(self, pid: int, tid: int, ns: int, *, wait_ns: int = 0) -> None:
        """Let a thread have a core for a while, which also ends its wait for one."""
        path = self.proc / f"{pid}/task/{tid}/schedstat"
        run, wait, slices = map(int, path.read_text().split())
        path.write_text(f"{run + ns} {wait + wait_ns} {slices + 1}\n")
        self.clocks[pid] += ns

    def counters(self, pid: int) -> dict[int, tuple[int, int, int]]:
        """What the kernel says now of each thread."""
        found: dict[int, tuple[int, int, int]] = {}
        for folder in (self.proc / f"{pid}/task").iterdir():
            run, wait, slices = map(int, (folder / "schedstat").read_text().split())
            found[int(folder.name)] = (run, wait, slices)
        return found

    def end_thread(self, pid: int, tid: int) -> None:
        """End a thread."""
        shutil.rmtree(self.proc / f"{pid}/task/{tid}")

    def end(self, pid: int) -> None:
        """End a process and have it reaped."""
        shutil.rmtree(self.proc / str(pid))
        del self.clocks[pid]

    def zombie(self, pid: int, ppid: int = 1, *, start: int = 100, status: int = 0, user: int = 0) -> None:
        """End a process that nobody has reaped; the kernel has taken its memory and its command line."""
        line = stat_line(pid, "program", ppid, start, state="Z", status=status, user=user)
        self.machine.write(f"{pid}/stat", line)
        self.machine.write(f"{pid}/cmdline", "")
        self.machine.write(f"{pid}/environ", "")
        (self.proc / str(pid) / "exe").unlink(missing_ok=True)

    def refuse(self, path: object) -> None:
        """Raise what opening a path that is forbidden, or for which there is no descriptor, raises."""
        text = str(path)
        if text.removeprefix(f"{self.proc}/") in self.forbidden:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if text.endswith(tuple(self.full)):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def moment(self, t_ns: int, *pids: int, moved: Iterable[int] | None = None, start: int = 100) -> Moment:
        """A round in which these processes live, and by default have moved."""
        processes = {pid: Process(pid, 1, start, "main") for pid in pids}
        return Moment(t_ns, processes, frozenset(processes if moved is None else moved))


def fake_processes(root: Path, patch: pytest.MonkeyPatch) -> FakeProcesses:
    """A machine without processes; `patch` puts the system's own calls back."""
    fake = FakeProcesses(machine(root))
    if fake.proc.stat().st_nlink < 2:
        pytest.skip("needs the kernel to count subfolders as links in the temporary folder")
    real_open, real_link = os.open, os.readlink

    def open_or_refuse(path: Any, *arguments: Any, **options: Any) -> int:
        fake.refuse(path)
        return real_open(path, *arguments, **options)

    def link_or_refuse(path: Any, **options: Any) -> Any:
        fake.refuse(path)
        return real_link(path, **options)

    patch.setattr(time, "clock_gettime_ns", _clocks_of(fake, time.clock_gettime_ns))
    patch.setattr(os, "open", open_or_refuse)
    patch.setattr(os, "readlink", link_or_refuse)
    patch.setattr(os, "pread", _ending_with_its_file(os.pread))
    return fake


def _clocks_of(fake: FakeProcesses, real: Callable[[int], int]) -> Callable[[int], int]:
    def clock(number: int) -> int:
        if number >= 0:
            return real(number)
        pid = ~(number >> 3)
        if pid not in fake.clocks:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return fake.clocks[pid]

    return clock


def _ending_with_its_file(real: Callable[[int, int, int], bytes]) -> Callable[[int, int, int], bytes]:
    def pread(descriptor: int, size: int, offset: int) -> bytes:
        if descriptor >= 0 and os.fstat(descriptor).st_nlink == 0:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return real(descriptor, size, offset)

    return pread


def table(lines: Iterable[Line], kind: str) -> list[dict[str, Any]]:
    """The rows of columnar lines of a kind."""
    found: list[dict[str, Any]] = []
    for line in lines:
        if line["kind"] == kind:
            names = [name for name, value in line.items() if isinstance(value, list)]
            found += [
                dict(zip(names, row, strict=True))
                for row in zip(*(line[name] for name in names), strict=True)
            ]
    return found
