"""What each thread was blocked in for all of its blocked time, waits too short to be met included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from corelens.reports.facts.facts import ThreadFacts
from corelens.reports.facts.waits import RUNNING


def alive_s(thread: ThreadFacts, wall_s: float) -> float:
    """How long it lived while recorded."""
    end_s = wall_s if thread.died_s is None else thread.died_s
    return max(0.0, end_s - thread.born_s)


def blocked_s(thread: ThreadFacts, wall_s: float) -> float:
    """Time for which it wanted no core, by the scheduler's count, which misses nothing."""
    return max(0.0, alive_s(thread, wall_s) - thread.wanted_s)


def blocked_in(thread: ThreadFacts, wall_s: float) -> Mapping[str, float]:
    """Seconds by what it was blocked in, adding up to all of its blocked time.

    A thread that blocks for microseconds is mostly met while it is between two waits, which reads as `running`:
    fsync on a fast device looks like work. What the scheduler says it did not want a core for is given to the
    waits that were met, in their proportion. Empty where no wait was ever met.
    """
    met = {what: spent for what, spent in thread.doing.items() if what != RUNNING and spent > 0}
    seen_s = sum(met.values())
    if not seen_s:
        return {}
    scale = blocked_s(thread, wall_s) / seen_s
    return {what: spent * scale for what, spent in met.items()}


def blocked_together(threads: Iterable[ThreadFacts], wall_s: float) -> Mapping[str, float]:
    """The same, added up over threads."""
    total: dict[str, float] = {}
    for thread in threads:
        for what, spent in blocked_in(thread, wall_s).items():
            total[what] = total.get(what, 0.0) + spent
    return total
