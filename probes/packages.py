"""Versions of the packages beside each interpreter of the tree, read from folder names, importing nothing.

/proc/PID/exe names the binary behind a virtual environment, not the environment: which one it is follows from
the command line, and failing that from the extension modules the process has mapped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from corelens.probes import procfs
from corelens.probes.probe import Moment, Process
from corelens.vocabulary import PACKAGES, Line

DEFAULT_PERIOD_NS = 1_000_000_000
_WANTED = frozenset(PACKAGES)
_PYTHON = re.compile(r"(?:python|pypy)(\d+\.\d+t?)?")
_MAPPED = re.compile(rb" (/\S*?/(?:site|dist)-packages)/")
_INFO = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(?:-.*)?\.(?:dist|egg)-info")


class PackagesProbe:
    """Writes one `packages` line per distinct interpreter."""

    name = "packages"

    def __init__(self, proc: Path = procfs.PROC, period_ns: int = DEFAULT_PERIOD_NS) -> None:
        self.period_ns = period_ns
        self._proc = proc
        self._programs: dict[tuple[int, int], bytes] = {}
        self._written: set[tuple[str, tuple[Path, ...]]] = set()

    def look(self, moment: Moment) -> Iterator[Line]:
        """Look at processes that are new or executed another program since."""
        living = {(process.pid, process.start_ticks) for process in moment.processes.values()}
        self._programs = {key: line for key, line in self._programs.items() if key in living}
        for process in moment.processes.values():
            if process.pid in moment.moved or (process.pid, process.start_ticks) not in self._programs:
                yield from self._examine(process, moment.t_ns)

    def close(self) -> None:
        """Nothing is kept open."""

    def _examine(self, process: Process, t_ns: int) -> Iterator[Line]:
        key = process.pid, process.start_ticks
        try:
            command = procfs.read_command_line(self._proc, process.pid)
            if command and self._programs.get(key) == command:
                return
            self._programs[key] = command
            exe = procfs.read_executable(self._proc, process.pid)
        except procfs.Unreadable:
            # The tree probe has already written that this process cannot be looked into.
            self._programs.setdefault(key, b"")
            return
        folders = tuple(site_folders(process.pid, exe, command, self._proc))
        if folders and (exe, folders) not in self._written:
            self._written.add((exe, folders))
            yield {"kind": "packages", "t_ns": t_ns, "exe": exe, "versions": versions(folders)}


def site_folders(pid: int, exe: str, command: bytes, proc: Path = procfs.PROC) -> list[Path]:
    """Folders in which the packages of a Python process lie; empty for another program."""
    named = _PYTHON.match(Path(exe).name)
    if named is None:
        return []
    invoked = _invoked(pid, command, proc)
    environment = invoked.parent.parent if invoked is not None else None
    if environment is not None and (environment / "pyvenv.cfg").is_file():
        folders = [*environment.glob("lib/python*/site-packages")]
        if "include-system-site-packages = true" not in _text(environment / "pyvenv.cfg").lower():
            return folders
        return [*folders, *_beside(Path(exe), named[1])]
    mapped = _mapped(pid, proc)
    if mapped or invoked is None:
        # One that wrote a title over its command may live in an environment that has mapped nothing yet.
        return mapped
    return _beside(Path(exe), named[1])


def versions(folders: tuple[Path, ...]) -> dict[str, str]:
    """Version by package, of those whose version changes how threads behave; the first folder wins."""
    found: dict[str, str] = {}
    for folder in folders:
        try:
            names = os.listdir(folder)  # noqa: PTH208
        except OSError:
            continue
        for match in filter(None, map(_INFO.fullmatch, sorted(names))):
            name = re.sub(r"[-_.]+", "-", match["name"]).lower()
            if name in _WANTED:
                found.setdefault(name, match["version"])
    return found


def _invoked(pid: int, command: bytes, proc: Path) -> Path | None:
    """Path by which the interpreter was called, links not followed; None when the command does not say."""
    name = command.partition(b"\0")[0].decode(errors="replace")
    if not _PYTHON.match(Path(name).name):
        return None
    if "/" in name:
        return Path(_link(f"{proc}/{pid}/cwd") or "/") / name
    return _on_path(pid, name, proc)


def _on_path(pid: int, name: str, proc: Path) -> Path | None:
    try:
        environ = procfs.read_bytes(f"{proc}/{pid}/environ").decode(errors="replace")
    except procfs.Unreadable:
        return None
    search = next((item[5:] for item in environ.split("\0") if item.startswith("PATH=")), "")
    candidates = (Path(folder) / name for folder in search.split(os.pathsep) if folder)
    return next((path for path in candidates if path.is_file()), None)


def _mapped(pid: int, proc: Path) -> list[Path]:
    try:
        maps = procfs.read_mappings(f"{proc}/{pid}")
    except procfs.Unreadable:
        return []
    return [*dict.fromkeys(Path(os.fsdecode(path)) for path in _MAPPED.findall(maps))]


def _beside(exe: Path, number: str | None) -> list[Path]:
    prefix = exe.parent.parent
    folders = [*prefix.glob(f"lib/python{number or '3*'}/site-packages")]
    return folders + [path for path in (prefix / "lib/python3/dist-packages",) if path.is_dir()]


def _link(path: str) -> str | None:
    try:
        return procfs.read_link(path)
    except procfs.Unreadable:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
