"""Threads and processes that began and ended between two looks: what the kernel's own figures say of them.

The kernel counts every process and thread that it ever made, on the whole machine, and nothing counts those of
one process. So their number has an upper bound: what was made on the machine while it was recorded, less what was
seen in the recorded tree. Only where that is 0 is it known how many each process had: none. What they used of the
processor is in the clock of their process; it is an upper bound too, since threads that were seen ran on between
the last look at them and their end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts.clocks import Clocks
from corelens.reports.facts.processes import Life, Lives, start_ns
from corelens.reports.facts.threads import Thread
from corelens.reports.report import ShortLivedThreads

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ShortLived:
    """How many threads and processes may have been missed, and what they may have used."""

    made_on_machine: int | None
    """Threads and processes that the kernel made, from the first to the last reading of its counter."""
    seen_in_tree: int
    """Those of them that were seen in the recorded tree."""
    unseen_at_most: int | None
    """The rest: an upper bound, for other programs make threads too. None where the counter was not read."""
    per_process: int | None
    """How many each process had: 0 where the bound is 0, else unknown."""
    reason: str | None
    """Why a count per process is unknown; None where it is known."""
    cpu_at_most_ns: dict[Life, int]
    """By process, what its clock shows beyond its threads as last read; processes without a clock are left out."""


def short_lived(recording: Recording, lives: Lives, threads: Iterable[Thread], clocks: Clocks) -> ShortLived:
    """Hold the kernel's count of all births against the births that were seen."""
    everyone = tuple(threads)
    hidden = _hidden_ns(everyone, clocks)
    host = sorted(recording.lines("host"), key=lambda line: int(line["t_ns"]))
    if len(host) < 2:
        reason = "the kernel's count of births was read fewer than two times"
        return ShortLived(None, 0, None, None, reason, hidden)
    first, last = host[0], host[-1]
    seen = _seen(recording, lives, everyone, first["t_ns"], last["t_ns"])
    made: int = last["forks"] - first["forks"]
    unseen = max(0, made - seen)
    known = unseen == 0
    why_unknown = None if known else "the kernel counts births for the whole machine only"
    return ShortLived(made, seen, unseen, 0 if known else None, why_unknown, hidden)


def told(found: ShortLived) -> ShortLivedThreads:
    """The same as a report has it: for the whole tree."""
    return ShortLivedThreads(
        made_on_machine=found.made_on_machine,
        seen_in_tree=found.seen_in_tree,
        unseen_at_most=found.unseen_at_most,
        per_process=found.per_process,
        reason=found.reason,
        used_at_most_core_s=sum(found.cpu_at_most_ns.values()) / _NS_PER_S,
    )


def _seen(recording: Recording, lives: Lives, threads: tuple[Thread, ...], begin_ns: int, end_ns: int) -> int:
    """Births in the tree between two readings of the counter.

    What may have begun just before the first or after the last does not count, so that the bound can only be
    too high.
    """
    count = sum(_began_between(recording, thread.start_ticks, begin_ns, end_ns) for thread in threads)
    looked_into = {thread.life for thread in threads}
    for life in lives.all:
        if life not in looked_into:
            count += _began_between(recording, life.start_ticks, begin_ns, end_ns)
    return count


def _began_between(recording: Recording, start_ticks: int | None, begin_ns: int, end_ns: int) -> bool:
    if start_ticks is None:
        return False
    # It began within this tick; what may lie outside counts as outside.
    return begin_ns <= start_ns(recording, start_ticks) and start_ns(recording, start_ticks + 1) <= end_ns


def _hidden_ns(threads: tuple[Thread, ...], clocks: Clocks) -> dict[Life, int]:
    shown: dict[Life, int] = {}
    for thread in threads:
        if thread.life is not None:
            shown[thread.life] = shown.get(thread.life, 0) + thread.ran_ns
    return {
        life: max(0, clock.used_ns - shown.get(life, 0))
        for life, clock in clocks.by_life.items()
        if life not in clocks.unreadable
    }
