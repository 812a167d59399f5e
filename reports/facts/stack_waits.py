"""What waiting threads wanted to run: dumps joined with what each thread waited for at that moment.

It is told spell by spell who was where, so that millions of them need not be kept.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Protocol

from corelens.reports.facts.processes import Life
from corelens.reports.facts.stack_samples import DUMP, StackSample
from corelens.reports.facts.stacks import functions
from corelens.reports.python_stacks import PythonFunction

# py-spy reads its first thread so long after it was started (benchmarks/stacks.py: 9 ms).
_START_NS = 10_000_000


class Spell(Protocol):
    """A thread in one place for a while; `what` says in one word what it waited for."""

    @property
    def life(self) -> Life: ...
    @property
    def tid(self) -> int: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...
    @property
    def what(self) -> str: ...


class WaitedStacks:
    """Collects spells that hold a dump of their thread.

    A wait that is shorter than the time between two looks at a thread is met by chance, so that single samples
    say little; many say what waits most.
    """

    def __init__(self, samples: Iterable[StackSample]) -> None:
        self._dumps: dict[tuple[Life | None, int], list[StackSample]] = {}
        for sample in sorted(samples, key=lambda each: each.from_ns):
            if sample.how == DUMP:
                self._dumps.setdefault((sample.life, sample.tid), []).append(sample)
        self._met: dict[str, list[StackSample]] = {}

    def add(self, spell: Spell) -> None:
        """Take one spell."""
        dumps = self._dumps.get((spell.life, spell.tid))
        if dumps is None:
            return
        first = bisect_left(dumps, spell.start_ns, key=_moment)
        for sample in dumps[first : bisect_left(dumps, spell.end_ns, key=_moment)]:
            self._met.setdefault(spell.what, []).append(sample)

    def wanted(self, what: str) -> tuple[PythonFunction, ...]:
        """Innermost functions of the threads that waited for something, by role, most frequent first.

        One that was active when py-spy looked had got what it waited for, and is left out.
        """
        return functions(self._met.get(what, ()), lambda sample: not sample.active)


def _moment(sample: StackSample) -> int:
    return sample.from_ns + _START_NS
