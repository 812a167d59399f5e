"""Whether the kernel lets us open event counters: told by opening one and closing it again."""

from __future__ import annotations

import os
import platform
import struct

_SYSTEM_CALLS = {"x86_64": 298, "aarch64": 241, "ppc64le": 319, "s390x": 331, "riscv64": 241}
# First published size of struct perf_event_attr: type, size, config, period, sample type, read format,
# flags, wake-up, breakpoint type, breakpoint address.
_ATTRIBUTES = struct.Struct("<IIQQQQQIIQ")
_SOFTWARE, _TASK_CLOCK = 1, 1
_DISABLED, _EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR = 1 << 0, 1 << 5, 1 << 6
_CLOSE_ON_EXEC = 1 << 3


def trouble() -> str | None:
    """None when a counter of our own process can be opened, otherwise what the kernel said."""
    import ctypes

    number = _SYSTEM_CALLS.get(platform.machine())
    if number is None:
        return f"not known how to on {platform.machine()}"
    flags = _DISABLED | _EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR
    attributes = _ATTRIBUTES.pack(_SOFTWARE, _ATTRIBUTES.size, _TASK_CLOCK, 0, 0, 0, flags, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.syscall(number, attributes, 0, -1, -1, _CLOSE_ON_EXEC))
    if descriptor < 0:
        return os.strerror(ctypes.get_errno())
    os.close(descriptor)
    return None
