"""A file of counters that is read again and again: opened once, then `pread`.

Opening and closing costs six times the reading itself, so whatever is read several times a second is kept.
"""

from __future__ import annotations

import errno
import os

from corelens.probes import procfs

_SLACK_BYTES = 1024


class KeptFile:
    """One open file; `read` gives its present text, whole.

    The file is opened by the first `read`. A failed read closes it, so that the next one tries afresh.
    """

    __slots__ = ("_bytes", "_descriptor", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._bytes = 4096

    def read(self) -> bytes:
        """Return the text; raises `procfs.Unreadable`."""
        try:
            return self._read()
        except OSError as error:
            self.close()
            # A kept descriptor of a removed cgroup says ENODEV.
            reason = "gone" if error.errno == errno.ENODEV else procfs.reason_of(error)
            raise procfs.Unreadable(self.path, reason, error.strerror or "") from error

    def _read(self) -> bytes:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        data = os.pread(self._descriptor, self._bytes, 0)
        # The kernel makes such a text anew on every read: a second piece would belong to another moment.
        while len(data) == self._bytes:
            self._bytes = 2 * self._bytes + _SLACK_BYTES
            data = os.pread(self._descriptor, self._bytes, 0)
        return data

    def close(self) -> None:
        """Give the descriptor back; a later `read` opens the file again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
