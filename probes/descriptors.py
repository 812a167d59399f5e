"""Open files: a schedstat file per thread is kept open as far as the limit allows.

Reading through an open descriptor costs a twelfth of opening, reading and closing. With more threads than
descriptors the threads that move keep theirs.
"""

from __future__ import annotations

import os
import resource
from typing import Protocol

SCHEDSTAT_BYTES = 64
CLOSED = -1
"""In place of a descriptor: reading it fails as reading a closed one does."""


class Holder(Protocol):
    """Whoever may hold a descriptor, or CLOSED."""

    descriptor: int


class Descriptors:
    """Counts the descriptors that are kept, and refuses more than `limit`.

    Without a limit seven eighths of the soft one are used; processes, probes and the recording need the rest.
    """

    def __init__(self, limit: int | None = None) -> None:
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.limit = limit if limit is not None else soft - max(64, soft // 8)
        self.kept = 0
        self.short = False

    def open_and_read(self, holder: Holder, path: str, size: int = SCHEDSTAT_BYTES) -> bytes:
        """Read a file for the first time, and keep it open for `holder` if there is room. Raises OSError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = os.pread(descriptor, size, 0)
        except OSError:
            os.close(descriptor)
            raise
        if self.kept < self.limit:
            holder.descriptor = descriptor
            self.kept += 1
        else:
            os.close(descriptor)
            self.short = True
        return raw

    def give_back(self, holder: Holder) -> None:
        """Close what a holder keeps."""
        if holder.descriptor != CLOSED:
            os.close(holder.descriptor)
            holder.descriptor = CLOSED
            self.kept -= 1


def raise_limit() -> tuple[int, int]:
    """Raise the soft limit of open files to the hard one; returns the limits as they were.

    A program that is started afterwards must be given the old ones back, see `corelens.probes.launcher`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard
