"""The agent's one thread: waits until a report is due and has it made.

It is no thread of the `threading` module, so the program's own counts of its threads stay what they were.
Loaded by path beside corelens_agent.py, into programs of CPython 3.8 and later.
"""

from __future__ import annotations

import os
from _thread import allocate_lock, get_native_id
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_IMPORT_POLL_S = 0.1
_CHILD_LIVES_S = 0.1
_STOP_WITHIN_S = 0.5
_GONE_WITHIN_S = 0.02


class Watch:
    """The life of one agent thread; after a fork another takes over.

    `pending` is the moment of the report that it owes, None while it waits for the next to be due.
    """

    def __init__(self, agent: Any, moment: str | None, is_any_loading: Callable[[], bool]) -> None:
        self.tid: int | None = None
        self.pending = moment
        self._agent = agent
        self._is_any_loading = is_any_loading
        self._alarm = allocate_lock()
        self._alarm.acquire()
        self._done = allocate_lock()
        self._done.acquire()
        self._stopping = False
        self._news = False

    def wake(self, news: bool) -> None:
        """End the present wait."""
        self._news = self._news or news
        try:  # noqa: SIM105 - contextlib may not be loaded
            self._alarm.release()
        except RuntimeError:
            # It rings already.
            pass

    def stop(self) -> None:
        """End the thread and wait, not for long, until the kernel has forgotten it."""
        self._stopping = True
        self.wake(news=False)
        if self._done.acquire(True, _STOP_WITHIN_S):
            deadline_s = monotonic() + _GONE_WITHIN_S
            while os.access(f"/proc/self/task/{self.tid}", os.F_OK) and monotonic() < deadline_s:
                sleep(0.0002)

    def main(self) -> None:
        """Report now if there is something to say, then whenever it is due, until stopped."""
        self.tid = get_native_id()
        try:
            self._name_thread()
            while not self._stopping:
                self._step()
        except Exception:
            return
        finally:
            self._done.release()

    def _name_thread(self) -> None:
        descriptor = os.open(f"/proc/self/task/{self.tid}/comm", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"corelens-agent")
        finally:
            os.close(descriptor)

    def _step(self) -> None:
        if self.pending is None:
            self._alarm.acquire(True, self._agent.sleep_s())
            self.pending = "libraries" if self._news else "interval"
            return
        self._settle()
        if not self._stopping:
            # What else was imported meanwhile is part of this report.
            self._news = False
            self._agent.report_and_plan(self.pending)
            self.pending = None

    def _settle(self) -> None:
        if self.pending == "fork":
            # A child that only executes another program, or lives for a moment, is not worth a report.
            self._alarm.acquire(True, _CHILD_LIVES_S)
        while self._is_any_loading() and not self._stopping:
            self._alarm.acquire(True, _IMPORT_POLL_S)
