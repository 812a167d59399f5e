"""Ctrl-C and SIGTERM: trials in threads end at their next generation, others with their worker process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM)


class TrialInterrupted(Exception):
    """Ends a trial that was told to stop; it has no result."""


class Interruption:
    """Says whether trials of this process shall stop, and which signal asked for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self.signal_number: int | None = None

    def check(self) -> None:
        """Raise TrialInterrupted once a signal has come; trials call it between generations."""
        if self.signal_number is not None:
            raise TrialInterrupted

    @contextlib.contextmanager
    def trial(self) -> Generator[None]:
        """Count the calling thread as one that runs a trial."""
        with self._changed:
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def wait_for_trials(self) -> None:
        """Return when no thread of this process runs a trial."""
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0)

    @contextlib.contextmanager
    def on_signals(self) -> Generator[None]:
        """Turn the first SIGINT or SIGTERM into KeyboardInterrupt in the main thread; ignore the rest."""
        before = {number: signal.getsignal(number) for number in HANDLED}
        self.listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.signal_number = None

    def listen(self) -> None:
        """Take the signals, or take them back from a library that replaced the handlers."""
        for number in HANDLED:
            signal.signal(number, self._handle)

    def stop(self, number: int) -> None:
        """Ask the trials to stop as if this signal had come."""
        self.signal_number = number

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is None:
            self.signal_number = number
            raise KeyboardInterrupt


interruption = Interruption()


def leave_to_parent() -> None:
    """Let the parent end this worker; Ctrl-C in a terminal reaches every process of a program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def held_back() -> Generator[None]:
    """Hold back SIGINT while workers start, so that they are born deaf to it and print no tracebacks."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
