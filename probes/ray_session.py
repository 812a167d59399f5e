"""Ray workers of a cluster that was started elsewhere: not children of the driver, yet working for it.

Told from outside, as looked at on Ray 2.60: the driver keeps `SESSION/logs/python-core-driver-JOB….log` open;
the raylet of the session names its socket below SESSION on its command line; each worker is a child of the
raylet and was executed with `RAY_JOB_ID`. A worker that was started before any job (`ffffffff`) may serve
several drivers in turn and is followed too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from corelens.probes import procfs, roles

_DRIVER_LOG = re.compile(r"^(?P<session>/.*/session_[^/]+)/logs/python-core-driver-(?P<job>[0-9a-f]{8})")
_RAYLET_SOCKET = re.compile(r"--raylet_socket_name=(?P<session>/.*/session_[^/]+)/sockets/")
_NO_JOB = "ffffffff"
_MOST_DESCRIPTORS = 4096


@dataclass(frozen=True, slots=True)
class Driver:
    """The session that a process drives, and its job in it."""

    session: str
    job: str


def driver_of(proc: Path, pid: int) -> Driver | None:
    """Tell whether a process drives a Ray session; None when not, or when its descriptors are hidden."""
    folder = f"{proc}/{pid}/fd"
    try:
        names = os.listdir(folder)[:_MOST_DESCRIPTORS]  # noqa: PTH208
    except OSError:
        return None
    for name in names:
        try:
            found = _DRIVER_LOG.match(procfs.read_link(f"{folder}/{name}"))
        except procfs.Unreadable:
            continue
        if found:
            return Driver(found["session"], found["job"])
    return None


def session_of_raylet(proc: Path, pid: int) -> str | None:
    """Folder of the session that a raylet serves; None when it is no raylet or is hidden."""
    try:
        arguments = procfs.split_command_line(procfs.read_command_line(proc, pid))
    except procfs.Unreadable:
        return None
    found = (_RAYLET_SOCKET.match(argument) for argument in arguments)
    return next((match["session"] for match in found if match), None)


def job_of_worker(proc: Path, pid: int) -> str | None:
    """Job that a worker was executed for; None when it is hidden or not yet executed."""
    try:
        environ = procfs.read_bytes(f"{proc}/{pid}/environ")
    except procfs.Unreadable:
        return None
    values = (item[11:] for item in environ.split(b"\0") if item.startswith(b"RAY_JOB_ID="))
    return next((value.decode(errors="replace") for value in values), None)


class RaySessions:
    """Remembers raylets and their children, and says which of these work for the followed drivers."""

    def __init__(self, proc: Path = procfs.PROC) -> None:
        self._proc = proc
        self._raylets: dict[int, str] = {}
        self._children: dict[int, int] = {}
        self._drivers: dict[int, Driver] = {}

    @property
    def any_raylet(self) -> bool:
        """Whether it is worth asking processes if they drive a session."""
        return bool(self._raylets)

    def notice(self, stat: procfs.Stat) -> None:
        """Remember a process if it is a raylet or the child of one."""
        if stat.ppid in self._raylets:
            self._children[stat.pid] = stat.ppid
        elif stat.comm == "raylet":
            session = session_of_raylet(self._proc, stat.pid)
            if session is not None:
                self._raylets[stat.pid] = session

    def drives(self, pid: int) -> bool:
        """Whether a process drives a session, as far as can be seen now."""
        if pid not in self._drivers:
            driver = driver_of(self._proc, pid)
            if driver is None:
                return False
            self._drivers[pid] = driver
        return True

    def workers(self) -> list[int]:
        """Children of raylets that work for a followed driver; each is named once."""
        jobs = {(driver.session, driver.job) for driver in self._drivers.values()}
        sessions = {driver.session for driver in self._drivers.values()}
        ready: list[int] = []
        for pid, raylet in list(self._children.items()):
            session = self._raylets.get(raylet)
            if session in sessions and self._works_for(pid, session, jobs):
                ready.append(pid)
        return ready

    def raylets(self, followed: Container[int]) -> dict[int, str]:
        """Raylets that are followed themselves or serve a followed driver, with the folder of their session."""
        sessions = {driver.session for driver in self._drivers.values()}
        return {
            pid: session for pid, session in self._raylets.items() if pid in followed or session in sessions
        }

    def joined(self, pid: int) -> None:
        """Stop offering a process that is followed now."""
        self._children.pop(pid, None)

    def forget(self, pid: int) -> None:
        """Drop what is known of a process that ended."""
        self._raylets.pop(pid, None)
        self._children.pop(pid, None)
        self._drivers.pop(pid, None)

    def _works_for(self, pid: int, session: str, jobs: set[tuple[str, str]]) -> bool:
        job = job_of_worker(self._proc, pid)
        if job is None:
            self._forget_if_gone(pid)
            return False
        if job != _NO_JOB and (session, job) not in jobs:
            return False
        return self._is_worker(pid)

    def _is_worker(self, pid: int) -> bool:
        try:
            stat = procfs.read_stat(self._proc, pid)
            argv = procfs.split_command_line(procfs.read_command_line(self._proc, pid))
        except procfs.Unreadable:
            return False
        return roles.role_of(roles.Traits(stat.comm, tuple(argv))) == roles.RAY_WORKER

    def _forget_if_gone(self, pid: int) -> None:
        if not os.path.exists(f"{self._proc}/{pid}"):  # noqa: PTH110
            self.forget(pid)
