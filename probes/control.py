"""What ends a recording: the target, a deadline, or a signal; and which signals the target gets to see."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

from corelens.probes import pidfd, procfs
from corelens.probes.signals import ENDING, Received, SignalReader

# After a second Ctrl-C the target has so long to end before the recording ends without it.
GRACE_NS = 1_000_000_000

Send = Callable[[int, int], None]


class ChildControl:
    """Controls the recording of a program that we started.

    The first ending signal (SIGINT, SIGTERM, SIGHUP, SIGQUIT) is passed on and the program is waited for, as
    it may want to clean up. A second one is passed on too, and a second later the recording ends, whether or
    not the program does. What the terminal sent is not passed on: the program got it already.
    """

    def __init__(
        self, pid: int, signals: SignalReader, duration_s: float | None, send: Send = os.kill
    ) -> None:
        self.descriptor = signals.descriptor
        self.gave_up = False
        self._pid = pid
        self._signals = signals
        self._duration_ns = None if duration_s is None else round(duration_s * 1e9)
        self._send = send
        self._ending_signals = 0
        self._give_up_at_ns: int | None = None

    def handle(self) -> None:
        """Pass on what was sent to us alone."""
        for received in self._signals.read():
            self.take(received)

    def take(self, received: Received) -> None:
        """Act on one signal."""
        if received.number is signal.SIGTSTP:
            self._stop(received)
            return
        if not received.from_terminal and self._wants(received.number):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                self._send(self._pid, received.number)
        if received.number in ENDING:
            self._ending_signals += 1
            if self._ending_signals == 2:
                self._give_up_at_ns = time.monotonic_ns() + GRACE_NS

    def reason_to_end(self, t_ns: int, *, root_ended: bool) -> str | None:
        """The target's end comes before anything else."""
        if root_ended:
            return "target-ended"
        if self._give_up_at_ns is not None and time.monotonic_ns() >= self._give_up_at_ns:
            self.gave_up = True
            return "interrupted"
        if self._duration_ns is not None and t_ns >= self._duration_ns:
            return "duration"
        return None

    def supervise(self) -> None:
        """Wait for the target without recording, still passing signals on; also until a second Ctrl-C."""
        handle = pidfd.open_pidfd(self._pid)
        with select.epoll() as poll:
            poll.register(self.descriptor, select.EPOLLIN)
            if handle is not None:
                poll.register(handle, select.EPOLLIN)
            while (
                self.reason_to_end(0, root_ended=self.target_ended()) != "target-ended" and not self.gave_up
            ):
                poll.poll(0.2 if handle is None or self._give_up_at_ns is not None else -1)
                self.handle()
        if handle is not None:
            os.close(handle)

    def target_ended(self) -> bool:
        """Whether the target has ended, reaped or not."""
        try:
            return procfs.read_stat(procfs.PROC, self._pid).state in "ZX"
        except procfs.Unreadable:
            return True

    def _stop(self, received: Received) -> None:
        # The shell that started us waits for us to stop, and wakes the whole job afterwards.
        if not received.from_terminal:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                self._send(self._pid, signal.SIGTSTP)
        self._send(os.getpid(), signal.SIGSTOP)

    def _wants(self, number: signal.Signals) -> bool:
        """A shell continues the whole job at once; only a target that is still stopped needs ours."""
        if number is not signal.SIGCONT:
            return True
        try:
            return procfs.read_stat(procfs.PROC, self._pid).state == "T"
        except procfs.Unreadable:
            return False


class AttachedControl:
    """Controls the recording of a process that somebody else started: a signal ends the recording alone."""

    def __init__(self, signals: SignalReader, duration_s: float | None) -> None:
        self.descriptor = signals.descriptor
        self._signals = signals
        self._duration_ns = None if duration_s is None else round(duration_s * 1e9)
        self._interrupted = False

    def handle(self) -> None:
        """Any signal that is read here asks for the end."""
        self._interrupted = bool(list(self._signals.read())) or self._interrupted

    def reason_to_end(self, t_ns: int, *, root_ended: bool) -> str | None:
        """The target's end comes before anything else."""
        if root_ended:
            return "target-gone"
        if self._interrupted:
            return "interrupted"
        return "duration" if self._duration_ns is not None and t_ns >= self._duration_ns else None
