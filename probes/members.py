"""One followed process: what is known of it, and the lines that say so."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from corelens.probes import environment, pidfd, procfs, roles
from corelens.probes.masking import masked
from corelens.probes.probe import Process
from corelens.vocabulary import Line

Masking = Callable[[list[str]], list[str]]
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a process says it is; another program after an exec, so it may change."""

    comm: str
    command: bytes | None
    exe: str | None
    affinity: list[int] | None
    variables: dict[str, str] | None

    @property
    def argv(self) -> tuple[str, ...] | None:
        """Unmasked arguments; empty for a zombie."""
        return None if self.command is None else tuple(procfs.split_command_line(self.command))


def read_identity(proc: Path, pid: int, comm: str) -> Identity:
    """Read what can be read; the rest is None."""
    return Identity(
        comm=comm,
        command=_or_none(lambda: procfs.read_command_line(proc, pid)),
        exe=_or_none(lambda: procfs.read_executable(proc, pid)),
        affinity=environment.affinity(pid, proc),
        variables=environment.limit_variables(pid, proc),
    )


def reread_identity(proc: Path, pid: int, comm: str, before: Identity) -> Identity:
    """The identity now; what only an exec changes is read again only when the command line changed.

    A process that is ending has lost its command line already: it keeps the identity it had.
    """
    command = _or_none(lambda: procfs.read_command_line(proc, pid))
    if not command:
        return before
    if command == before.command:
        return replace(before, comm=comm, affinity=environment.affinity(pid, proc) or before.affinity)
    return read_identity(proc, pid, comm)


@dataclass(slots=True)
class Member:
    """A process of the recorded tree; `threads` and `cpu_ns` are as last read."""

    process: Process
    joined_by: str
    born_ns: int
    identity: Identity
    uid: int | None
    pidfd: int | None
    folder: str
    """Path of its task folder."""
    tasks: int | None
    """Descriptor of that folder; None where none was left to open it."""
    clock: int
    first_cpu_ns: int | None
    cpu_ns: int | None
    threads: int
    group: int
    drives_ray: bool = False

    @property
    def pid(self) -> int:
        """Its id as the recorder sees it."""
        return self.process.pid

    def read_cpu_ns(self) -> int | None:
        """CPU clock of all its threads; None once it was reaped, or where the kernel refuses."""
        try:
            return time.clock_gettime_ns(self.clock)
        except OSError:
            return None

    def read_threads(self) -> int | None:
        """Number of threads alive; None once it ended. A folder's links are its subfolders and two more."""
        try:
            status = os.stat(self.folder) if self.tasks is None else os.fstat(self.tasks)  # noqa: PTH116
            return status.st_nlink - 2
        except OSError:
            return None

    def close(self) -> None:
        """Give the descriptors back."""
        for descriptor in (self.pidfd, self.tasks):
            if descriptor is not None:
                os.close(descriptor)
        self.pidfd = self.tasks = None


def follow(proc: Path, stat: procfs.Stat, joined_by: str, t_ns: int) -> Member:
    """Begin to follow the process that `stat` was read from.

    Its role is still unknown: that takes its parent. The descriptors opened first keep its number from
    coming to mean another process unnoticed.
    """
    handle = pidfd.open_pidfd(stat.pid) if proc == procfs.PROC else None
    member = Member(
        process=Process(stat.pid, stat.ppid or None, stat.start_ticks, roles.UNKNOWN),
        joined_by=joined_by,
        born_ns=t_ns,
        identity=read_identity(proc, stat.pid, stat.comm),
        uid=_or_none(lambda: procfs.owner(proc, stat.pid)),
        pidfd=handle,
        folder=f"{proc}/{stat.pid}/task",
        tasks=_open_folder(f"{proc}/{stat.pid}/task"),
        clock=pidfd.cpu_clock(stat.pid),
        first_cpu_ns=None,
        cpu_ns=None,
        threads=stat.threads,
        group=stat.group,
    )
    member.first_cpu_ns = member.cpu_ns = member.read_cpu_ns()
    return member


def born_line(member: Member, t_ns: int, masking: Masking = masked, *, again: bool = False) -> Line:
    """The `process.born` line of a member."""
    return {
        "kind": "process.born",
        "t_ns": t_ns,
        "pid": member.pid,
        "ppid": member.process.ppid,
        "start_ticks": member.process.start_ticks,
        **_identity_fields(member, masking),
        "joined_by": member.joined_by,
        "uid": member.uid,
        "cpu_ns": member.first_cpu_ns,
        "again": again,
    }


def changed_line(member: Member, t_ns: int, masking: Masking = masked) -> Line:
    """The `process.changed` line of a member."""
    return {"kind": "process.changed", "t_ns": t_ns, "pid": member.pid, **_identity_fields(member, masking)}


def _identity_fields(member: Member, masking: Masking) -> Line:
    identity = member.identity
    return {
        "comm": identity.comm,
        "argv": None if identity.argv is None else masking(list(identity.argv)),
        "exe": identity.exe,
        "role": member.process.role,
        "affinity": identity.affinity,
        "variables": identity.variables,
    }


def died_line(member: Member, t_ns: int, status: int | None, how: str) -> Line:
    """The `process.died` line; `status` is a wait status, None where nobody could tell."""
    exited = status is not None and os.WIFEXITED(status)
    killed = status is not None and os.WIFSIGNALED(status)
    return {
        "kind": "process.died",
        "t_ns": t_ns,
        "pid": member.pid,
        "exit_code": os.WEXITSTATUS(status) if status is not None and exited else None,
        "signal": os.WTERMSIG(status) if status is not None and killed else None,
        "cpu_ns": member.cpu_ns,
        "how": how,
    }


def detail_row(proc: Path, stat: procfs.Stat) -> tuple[Any, ...]:
    """One row of a `process.detail` line."""
    moved = _or_none(lambda: procfs.read_io(proc, stat.pid)) or (None,) * 6
    return (
        stat.pid,
        stat.user_ticks * procfs.NS_PER_TICK,
        stat.system_ticks * procfs.NS_PER_TICK,
        stat.reaped_user_ticks * procfs.NS_PER_TICK,
        stat.reaped_system_ticks * procfs.NS_PER_TICK,
        stat.minor_faults,
        stat.major_faults,
        None if stat.state == "Z" else stat.rss_pages * procfs.PAGE_BYTES,
        stat.state,
        *moved,
    )


def _open_folder(path: str) -> int | None:
    with contextlib.suppress(OSError):
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return None


def _or_none(read: Callable[[], _Value]) -> _Value | None:
    try:
        return read()
    except procfs.Unreadable:
        return None
