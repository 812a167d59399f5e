"""Signals as readable events: who was sent what, and whether the terminal sent it.

A signal from the terminal (Ctrl-C) reached the recorded program too, since it shares our process group; one
that was sent to us alone must be passed on. The sender shows only in a signalfd.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# struct signalfd_siginfo of <sys/signalfd.h>: number, errno, code, sender; 128 bytes in all.
_SIGINFO = struct.Struct("<IiiI112x")
_SIGSET_BYTES = 128
_SI_KERNEL = 0x80

ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
PASSED_ON = frozenset({signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH})


@dataclass(frozen=True, slots=True)
class Received:
    """One signal that was delivered to this process."""

    number: signal.Signals
    from_terminal: bool


class SignalReader:
    """Blocks some signals of this process and makes them readable on `descriptor` until `close`.

    Signals that are ignored stay so, as under `nohup`. A child must call `restore` before it executes a
    program, or the program would start with them blocked.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        wanted = {number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN}
        # First what may fail: it must not leave them blocked.
        self.descriptor = _signalfd(wanted)
        self._former = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)

    def read(self) -> Iterator[Received]:
        """Yield what arrived since the last call; never waits."""
        while True:
            try:
                data = os.read(self.descriptor, _SIGINFO.size)
            except BlockingIOError:
                return
            number, _, code, _ = _SIGINFO.unpack(data)
            yield Received(signal.Signals(number), code == _SI_KERNEL)

    def restore(self) -> None:
        """Let the signals through again."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._former)

    def close(self) -> None:
        """Give the descriptor back and let the signals through, but for those that wait to be read."""
        for _ in self.read():
            pass
        os.close(self.descriptor)
        self.restore()


def _signalfd(numbers: set[signal.Signals]) -> int:
    bits = sum(1 << (number - 1) for number in numbers)
    mask = ctypes.create_string_buffer(bits.to_bytes(_SIGSET_BYTES, "little"), _SIGSET_BYTES)
    library = ctypes.CDLL(None, use_errno=True)
    # SFD_NONBLOCK and SFD_CLOEXEC are O_NONBLOCK and O_CLOEXEC.
    descriptor = int(library.signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC))
    if descriptor < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), "signalfd")
    return descriptor
