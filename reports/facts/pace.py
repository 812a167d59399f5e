"""When the recorder looked: its periods as the governor changed them, and the time that a change took.

Only what moved is written, so a counter's last reading may be old although the recorder looked since and found
it unchanged. What it then shows was used since the last look, not since the last reading.
"""

from __future__ import annotations

import bisect

from corelens.recording import Recording

DEFAULT_PERIOD_NS = 100_000_000


class Pace:
    """Sampling period of one probe over time."""

    def __init__(self, recording: Recording, probe: str) -> None:
        periods = recording.header["periods_ns"]
        self.first_ns: int = periods.get(probe) or DEFAULT_PERIOD_NS
        changes = [line for line in recording.lines("rate") if line["probe"] == probe]
        self._times = [0, *(line["t_ns"] for line in changes)]
        self._periods: list[int] = [self.first_ns, *(line["period_ns"] for line in changes)]

    def at(self, t_ns: int) -> int:
        """Period in force just before that time."""
        return self._periods[max(bisect.bisect_left(self._times, t_ns) - 1, 0)]

    def since(self, read_ns: int, t_ns: int, least_ns: float) -> int:
        """Earliest time at which what was read at `t_ns` can have begun.

        `read_ns` is when the counter was read last, `least_ns` the shortest time in which the amount can have
        come together: rounds may have been missed.
        """
        return max(read_ns, t_ns - max(self.at(t_ns), int(least_ns)))
