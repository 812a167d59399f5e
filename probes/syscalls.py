"""Names of the system calls that threads block in, by number, and which of them begin with a file's descriptor."""

from __future__ import annotations

import platform
from collections.abc import Mapping

_X86_64 = {
    0: "read", 1: "write", 7: "poll", 17: "pread64", 18: "pwrite64", 19: "readv", 20: "writev", 23: "select",
    34: "pause", 35: "nanosleep", 42: "connect", 43: "accept", 44: "sendto", 45: "recvfrom", 46: "sendmsg",
    47: "recvmsg", 61: "wait4", 65: "semop", 70: "msgrcv", 72: "fcntl", 73: "flock", 74: "fsync",
    75: "fdatasync", 128: "rt_sigtimedwait", 130: "rt_sigsuspend", 202: "futex", 208: "io_getevents",
    220: "semtimedop", 230: "clock_nanosleep", 232: "epoll_wait", 243: "mq_timedreceive", 247: "waitid",
    270: "pselect6", 271: "ppoll", 277: "sync_file_range", 281: "epoll_pwait", 288: "accept4",
    295: "preadv", 296: "pwritev", 299: "recvmmsg", 307: "sendmmsg", 426: "io_uring_enter",
    441: "epoll_pwait2", 449: "futex_waitv",
}  # fmt: skip
# The generic table, which aarch64 and riscv64 share.
_GENERIC = {
    4: "io_getevents", 22: "epoll_pwait", 25: "fcntl", 32: "flock", 63: "read", 64: "write", 65: "readv",
    66: "writev", 67: "pread64", 68: "pwrite64", 69: "preadv", 70: "pwritev", 72: "pselect6", 73: "ppoll",
    82: "fsync", 83: "fdatasync", 84: "sync_file_range", 95: "waitid", 98: "futex", 101: "nanosleep",
    115: "clock_nanosleep", 133: "rt_sigsuspend", 137: "rt_sigtimedwait", 183: "mq_timedreceive",
    188: "msgrcv", 192: "semtimedop", 193: "semop", 202: "accept", 203: "connect", 206: "sendto",
    207: "recvfrom", 211: "sendmsg", 212: "recvmsg", 242: "accept4", 243: "recvmmsg", 260: "wait4",
    269: "sendmmsg", 426: "io_uring_enter", 441: "epoll_pwait2", 449: "futex_waitv",
}  # fmt: skip
_TABLES: Mapping[str, Mapping[int, str]] = {"x86_64": _X86_64, "aarch64": _GENERIC, "riscv64": _GENERIC}

FUTEX = "futex"
RUNNING = "running"
FAULT = "fault"

WITH_FILE = frozenset(
    {
        "read", "write", "pread64", "pwrite64", "readv", "writev", "connect", "accept", "accept4", "sendto",
        "recvfrom", "sendmsg", "recvmsg", "recvmmsg", "sendmmsg", "fcntl", "flock", "fsync", "fdatasync",
        "sync_file_range", "preadv", "pwritev",
    }
)  # fmt: skip
"""Calls whose first argument is the descriptor of the file they wait for."""

POLLING = frozenset({"poll", "ppoll"})
"""Calls whose first two arguments are a list of files and its length."""


def names_by_number(machine: str | None = None) -> dict[bytes, str]:
    """Name of each call by its number as the kernel prints it; empty for an architecture that is not known.

    The recorded program's calls are taken to be those of the machine: a 32-bit program has others.
    """
    table = _TABLES.get(machine or platform.machine(), {})
    return {str(number).encode(): name for number, name in table.items()}
