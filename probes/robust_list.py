"""Where the robust list of a thread is: glibc keeps it at a fixed place in the thread's descriptor."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

_MACHINE = platform.machine()
_NUMBER = {"x86_64": 274, "aarch64": 100, "ppc64le": 299, "s390x": 305, "riscv64": 100}.get(_MACHINE)


class Refused(Exception):
    """get_robust_list gave no answer, for a reason that another try does not mend."""


class RobustList:
    """The system call get_robust_list, for any thread that the caller may inspect."""

    def __init__(self) -> None:
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._head = ctypes.c_uint64()
        self._length = ctypes.c_uint64()
        self._arguments = (ctypes.byref(self._head), ctypes.byref(self._length))

    def head(self, tid: int) -> int:
        """Address of the list's head; 0 where the thread has none (yet), or is gone. Raises Refused."""
        if _NUMBER is None:
            raise Refused(f"get_robust_list has no known number on {_MACHINE}")
        if self._syscall(_NUMBER, tid, *self._arguments) == 0:
            return self._head.value
        error = ctypes.get_errno()
        if error == errno.ESRCH:
            return 0
        raise Refused(f"get_robust_list: {os.strerror(error)}")
