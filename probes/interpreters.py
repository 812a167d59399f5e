"""Telling Python interpreters from other programs: by the name of the executable, else by a mapped libpython."""

from __future__ import annotations

import re
from pathlib import Path

from corelens.probes import procfs

_NAMED = re.compile(r"python(?:\d+(?:\.\d+)*)?[td]*(?: \(deleted\))?")
_LIBRARY = re.compile(rb"/libpython\d[^/\n]*\.so")
# A program may execute another; asking again costs a readlink.
_ASK_AGAIN_NS = 5_000_000_000


def is_named_python(path: str) -> bool:
    """Whether an executable is called as CPython is; the kernel may say of it that it was deleted."""
    return _NAMED.fullmatch(path.rpartition("/")[2]) is not None


class Interpreters:
    """Answers whether a process is a Python interpreter, and remembers it."""

    def __init__(self, proc: Path = procfs.PROC) -> None:
        self._proc = proc
        self._embedded: dict[str, bool] = {}
        self._yes: set[tuple[int, int]] = set()
        self._no_until_ns: dict[tuple[int, int], int] = {}

    def is_python(self, pid: int, start_ticks: int, t_ns: int) -> bool:
        """Whether it runs CPython as far as can be read; what is no interpreter may become one."""
        key = pid, start_ticks
        if key in self._yes:
            return True
        if t_ns < self._no_until_ns.get(key, 0):
            return False
        if self._examine(pid):
            self._yes.add(key)
            self._no_until_ns.pop(key, None)
            return True
        self._no_until_ns[key] = t_ns + _ASK_AGAIN_NS
        return False

    def forget(self, living: set[tuple[int, int]]) -> None:
        """Drop the processes that ended."""
        self._yes &= living
        for key in self._no_until_ns.keys() - living:
            del self._no_until_ns[key]

    def _examine(self, pid: int) -> bool:
        try:
            exe = procfs.read_executable(self._proc, pid)
        except procfs.Unreadable as error:
            # What the kernel hides shall be told of where it looks like an interpreter.
            return error.reason == "forbidden" and self._calls_itself_python(pid)
        if is_named_python(exe):
            return True
        if exe not in self._embedded:
            # A library of this name may be loaded later than we look; such a host is rare and stays unseen.
            try:
                maps = procfs.read_mappings(f"{self._proc}/{pid}")
            except procfs.Unreadable:
                return False
            self._embedded[exe] = _LIBRARY.search(maps) is not None
        return self._embedded[exe]

    def _calls_itself_python(self, pid: int) -> bool:
        try:
            command = procfs.read_command_line(self._proc, pid)
        except procfs.Unreadable:
            return False
        return is_named_python(command.partition(b"\0")[0].decode(errors="replace"))
