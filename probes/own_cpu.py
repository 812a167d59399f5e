"""What recording costs: the CPU of the recorder itself and of the helper processes it starts.

The program that a recorder starts is its child too, so the kernel's sum over children would count it in.
Helpers are billed one by one instead, by whoever started them.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class OwnCpu:
    """A clock of own CPU. `bill` adds what a helper process used.

    `deferred_ns` is the part that whoever caused it pays off by pausing; the governor leaves it out of the
    present second, so that one dear moment followed by rest does not look like a steady cost.
    """

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self.helpers_ns = 0
        self.deferred_ns = 0
        self._clock = clock

    def __call__(self) -> int:
        """CPU ns so far, helpers included."""
        return self.process_ns() + self.helpers_ns

    def process_ns(self) -> int:
        """CPU ns of this process alone."""
        return time.process_time_ns() if self._clock is None else self._clock()

    def bill(self, cpu_ns: int) -> None:
        """Add what a helper used since it was billed last."""
        self.helpers_ns += cpu_ns

    def settled_ns(self) -> int:
        """CPU ns so far without what is deferred."""
        return self() - self.deferred_ns
