"""CPU of processes that nobody looked at: what parents' counters hold beyond their known children.

When a parent waits for a child, the kernel adds the child's CPU, and that of the children which the child had
waited for, to the parent's reaped counters. Whatever these show beyond the known CPU of the recorded children
was used by children that lived between two looks, or after the last look at them. The counters are printed in
clock ticks, rounded down twice, so they never show too much.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from corelens.recording import Recording
from corelens.reports.facts.bins import Amounts
from corelens.reports.facts.clocks import Clocks
from corelens.reports.facts.processes import Life, Lives

# Two counters of 10 ms each: a smaller difference is rounding.
ROUNDING_NS = 20_000_000
# Above this share a difference between two ways to count is worth telling.
WORTH_TELLING = 0.02


@dataclass(frozen=True, slots=True)
class Hidden:
    """CPU that no process clock showed, in ns."""

    between_looks_ns: int
    """Seen in the reaped counters of recorded parents."""
    by_wait4_ns: int
    """Seen only in what wait4 told of the root and all that it reaped."""
    surplus_ns: int
    """What the clocks show beyond wait4: descendants that nobody waited for, or that still run."""

    @property
    def total_ns(self) -> int:
        """Everything that has to be added to the process clocks."""
        return self.between_looks_ns + self.by_wait4_ns


@dataclass(slots=True)
class _Parent:
    """What one process reaped, by its own counters and by what is known of its children."""

    ended_ns: int | None
    base_ns: int = 0
    readings: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    children: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(time of death, CPU) of recorded children that it can have reaped."""

    @property
    def counted_ns(self) -> int:
        """Reaped CPU by its last reading, since the first."""
        return self.readings[-1][1] - self.base_ns if self.readings else 0

    @property
    def known_ns(self) -> int:
        """CPU of the recorded children that had ended at the last reading."""
        return sum(cpu_ns for died_ns, cpu_ns in self.children if died_ns <= self.last_ns)

    @property
    def last_ns(self) -> int:
        """When its counters were read last."""
        return self.readings[-1][0] if self.readings else 0

    @property
    def reaped_ns(self) -> int:
        """All that it reaped while it was recorded, also after its last reading.

        Most processes are reaped so fast that nobody reads their counters once more.
        """
        until_ns = math.inf if self.ended_ns is None else self.ended_ns
        later_ns = sum(cpu_ns for died_ns, cpu_ns in self.children if self.last_ns < died_ns <= until_ns)
        return max(self.counted_ns, self.known_ns) + later_ns

    @property
    def hidden_ns(self) -> int:
        """CPU of children that nobody knows."""
        return max(0, self.counted_ns - self.known_ns)


def hidden(recording: Recording, lives: Lives, clocks: Clocks) -> Hidden:
    """Find what the clocks did not show, and add it to the timeline where it was used."""
    parents = _parents(recording, lives)
    for life in _children_first(lives):
        parent = lives.parent(life)
        died_ns = _ended_ns(recording, clocks, life)
        if parent is not None and died_ns is not None:
            # What it reaped before the recording reaches the next parent up as well.
            before_ns, while_ns = parents[life].base_ns, parents[life].reaped_ns
            total_ns = (clocks.by_life[life].total_ns or 0) + before_ns + while_ns
            parents[parent].children.append((died_ns, total_ns))
    for life, counted in parents.items():
        _spread(counted, life.born_ns, clocks.busy)
    between_ns = sum(parent.hidden_ns for parent in parents.values())
    return _with_wait4(recording, clocks, parents[lives.root], lives.root, between_ns)


def _ended_ns(recording: Recording, clocks: Clocks, life: Life) -> int | None:
    """When it ended; where its death may be among what was lost to damage, when it was seen last."""
    lossy = bool(recording.damage or recording.missing_chunks)
    return clocks.by_life[life].read_ns if lossy and life.died_ns is None else life.died_ns


def _with_wait4(recording: Recording, clocks: Clocks, root: _Parent, life: Life, between_ns: int) -> Hidden:
    truth_ns = waited_ns(recording)
    if truth_ns is None:
        return Hidden(between_ns, 0, 0)
    # Where the program itself was lost to damage, another process stands in as the root, and reaped nothing.
    known = life.pid == recording.header["target"]["pid"]
    seen_ns = clocks.by_life[life].used_ns + root.reaped_ns if known else clocks.used_ns + between_ns
    fill_ns = max(0, truth_ns - seen_ns)
    clocks.busy.add(0, clocks.busy.grid.end_ns, fill_ns)
    surplus_ns = clocks.used_ns + between_ns + fill_ns - truth_ns
    return Hidden(between_ns, fill_ns, max(0, surplus_ns))


def waited_ns(recording: Recording) -> int | None:
    """CPU of the root and all it reaped, by wait4; None where the recorder was not its parent."""
    footer = recording.footer
    if footer is None or footer["user_ns"] is None or footer["system_ns"] is None:
        return None
    return int(footer["user_ns"] + footer["system_ns"])


def _parents(recording: Recording, lives: Lives) -> dict[Life, _Parent]:
    parents = {life: _Parent(life.died_ns) for life in lives.all}
    first: set[Life] = set()
    for line in recording.lines("process.detail"):
        t_ns = line["t_ns"]
        rows = zip(line["pid"], line["reaped_user_ns"], line["reaped_system_ns"], strict=False)
        for pid, user_ns, system_ns in rows:
            life = lives.at(pid, t_ns)
            if life is None:
                continue
            if life.began_before and life not in first:
                parents[life].base_ns = user_ns + system_ns
            first.add(life)
            parents[life].readings.append((t_ns, user_ns + system_ns))
    return parents


def _spread(parent: _Parent, born_ns: int, busy: Amounts) -> None:
    """Spread hidden CPU over the intervals in which the counters outran the known children."""
    steps: list[tuple[int, int, int]] = []
    before_ns, highest = born_ns, 0
    for t_ns, reaped_ns in parent.readings if parent.hidden_ns else []:
        known_ns = sum(cpu_ns for died_ns, cpu_ns in parent.children if died_ns <= t_ns)
        surplus = reaped_ns - parent.base_ns - known_ns
        if surplus > highest:
            steps.append((before_ns, t_ns, surplus - highest))
            highest = surplus
        before_ns = t_ns
    for start_ns, end_ns, amount in steps:
        busy.add(start_ns, end_ns, amount * parent.hidden_ns / highest)


def _children_first(lives: Lives) -> Iterable[Life]:
    """Order so that what a child reaped is known before its parent's account is made."""
    depth: dict[Life, int] = {}
    for life in lives.all:
        chain: list[Life] = []
        above: Life | None = life
        while above is not None and above not in depth and above not in chain:
            chain.append(above)
            above = lives.parent(above)
        base = depth.get(above, 0) if above is not None else 0
        for number, each in enumerate(reversed(chain), start=1):
            depth[each] = base + number
    return sorted(lives.all, key=lambda life: -depth[life])
