"""Gaps: what could not be read, said once per cause and not on every look."""

from __future__ import annotations

from collections.abc import Iterator

from corelens.probes.procfs import Reason, Unreadable
from corelens.vocabulary import Line


class Gaps:
    """Makes the `gap` lines of one probe and remembers which it has already written."""

    def __init__(self, probe: str) -> None:
        self._probe = probe
        self._said: set[tuple[int | None, str, str]] = set()

    def once(self, t_ns: int, pid: int | None, error: Unreadable) -> Iterator[Line]:
        """Yield a gap line unless this reading of this process has failed for the same reason before."""
        yield from self.say(t_ns, pid, error.path, error.reason, error.detail)

    def say(self, t_ns: int, pid: int | None, what: str, reason: Reason, detail: str) -> Iterator[Line]:
        """The same for trouble that is no failed read."""
        key = (pid, what, reason)
        if key in self._said:
            return
        self._said.add(key)
        yield {
            "kind": "gap",
            "t_ns": t_ns,
            "probe": self._probe,
            "pid": pid,
            "what": what,
            "reason": reason,
            "detail": detail,
        }
