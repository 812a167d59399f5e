"""What kind of file a descriptor of another process stands for, asked once and remembered for a while."""

from __future__ import annotations

from pathlib import Path

from corelens.probes import procfs

# A number is given to another file when the first was closed, so what was found is believed for so long.
_BELIEVED_NS = 5_000_000_000
_PREFIXES = (
    ("pipe:", "pipe"),
    ("socket:", "socket"),
    ("anon_inode:[eventfd", "eventfd"),
    ("anon_inode:[eventpoll", "epoll"),
    ("anon_inode:[timerfd", "timerfd"),
    ("/dev/pts/", "terminal"),
    ("/dev/tty", "terminal"),
    ("/dev/", "device"),
    ("/", "file"),
)


def kind_of(target: str) -> str:
    """Kind of a file by what the link to it says."""
    return next((kind for prefix, kind in _PREFIXES if target.startswith(prefix)), "other")


class Files:
    """Kinds of open files by process and descriptor."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._known: dict[int, dict[int, tuple[int, str | None]]] = {}

    def kind(self, pid: int, descriptor: int, t_ns: int) -> str | None:
        """Kind of one file; None when it is closed or may not be asked."""
        files = self._known.setdefault(pid, {})
        known = files.get(descriptor)
        if known is None or t_ns - known[0] >= _BELIEVED_NS:
            known = files[descriptor] = (t_ns, self._asked(pid, descriptor))
        return known[1]

    def forget(self, pid: int) -> None:
        """Drop what is known of a process."""
        self._known.pop(pid, None)

    def _asked(self, pid: int, descriptor: int) -> str | None:
        try:
            return kind_of(procfs.read_link(f"{self._proc}/{pid}/fd/{descriptor}"))
        except procfs.Unreadable:
            return None
