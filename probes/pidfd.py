"""Process descriptors: told by the kernel when a process ends, and with which wait status.

A pidfd names one process for good: it never comes to mean another that got the same number.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time

# struct pidfd_info of <linux/pidfd.h>, first published size: mask, cgroupid, pid, tgid, ppid, eight user and
# group ids, exit code.
_INFO = struct.Struct("<QQ11Ii")
_INFO_EXIT = 1 << 3
_GET_INFO = 0xC0000000 | (_INFO.size << 16) | (0xFF << 8) | 11


def open_pidfd(pid: int) -> int | None:
    """Descriptor of a process; None when it is gone, is a mere thread, or the kernel is older than 5.3."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def is_process(pid: int) -> bool:
    """Tell a process from a thread id and from nobody, without reading /proc."""
    descriptor = open_pidfd(pid)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def wait_status(descriptor: int) -> int | None:
    """Wait status of an ended process, as from `os.waitpid`.

    Works also after its parent has reaped it (Linux 6.15 and later). None before that version, or while the
    process lives.
    """
    info = bytearray(_INFO.size)
    struct.pack_into("<Q", info, 0, _INFO_EXIT)
    try:
        fcntl.ioctl(descriptor, _GET_INFO, info)
    except OSError:
        return None
    fields = _INFO.unpack(info)
    return int(fields[-1]) if fields[0] & _INFO_EXIT else None


def cpu_clock(pid: int) -> int:
    """Clock id of a process's CPU time for `time.clock_gettime_ns`: all its threads, dead ones included.

    The kernel forms it as the bitwise complement of the pid, shifted, with 2 for scheduler precision
    (clock_getcpuclockid(3)). Reading raises EINVAL once the process has been reaped.
    """
    return (~pid << 3) | 2


def cpu_ns(pid: int) -> int:
    """CPU clock of a process; raises OSError when it is gone."""
    return time.clock_gettime_ns(cpu_clock(pid))
