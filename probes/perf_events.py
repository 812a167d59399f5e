"""Whether the kernel lets us open event counters: told by opening one and closing it again."""

from __future__ import annotations

import errno
import os
import platform
import struct

_SYSTEM_CALLS = {"x86_64": 298, "aarch64": 241, "ppc64le": 319, "s390x": 331, "riscv64": 241}
# First published size of struct perf_event_attr: type, size, config, period, sample type, read format,
# flags, wake-up, breakpoint type, breakpoint address.
ATTRIBUTES = struct.Struct("<IIQQQQQIIQ")
_SOFTWARE, _TASK_CLOCK = 1, 1
_DISABLED, EXCLUDE_KERNEL, EXCLUDE_HYPERVISOR = 1 << 0, 1 << 5, 1 << 6
_CLOSE_ON_EXEC = 1 << 3


def system_call(attributes: bytes, pid: int, core: int, flags: int) -> int:
    """The descriptor of a new event counter; raises OSError."""
    import ctypes

    number = _SYSTEM_CALLS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"not known how to on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.syscall(number, attributes, pid, core, -1, flags))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def trouble() -> str | None:
    """None when a counter of our own process can be opened, otherwise what the kernel said."""
    flags = _DISABLED | EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR
    attributes = ATTRIBUTES.pack(_SOFTWARE, ATTRIBUTES.size, _TASK_CLOCK, 0, 0, 0, flags, 0, 0, 0)
    try:
        os.close(system_call(attributes, 0, -1, _CLOSE_ON_EXEC))
    except OSError as error:
        return error.strerror
    return None
