"""The owners probe: what made each thread, read from outside from the thread's own descriptor.

The target is not stopped and nothing is written to it: docs/how-it-sees.md says how it is read. Each thread is
asked once, as it appears; in a round in which no thread was born it costs one comparison per process that
moved. Which thread was born is learnt from the threads probe. Names are not made here: a line holds the library,
the place in it and the C++ type, and whoever reads the recording says what that is.

Measured by `python benchmarks/owners.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corelens.probes import procfs
from corelens.probes.gaps import Gaps
from corelens.probes.owners_process import Asked
from corelens.probes.owners_rights import refusal
from corelens.probes.probe import Moment
from corelens.probes.process_maps import Image
from corelens.probes.robust_list import RobustList
from corelens.vocabulary import Line, columnar_line

DEFAULT_PERIOD_NS = 100_000_000
KEYFRAME_PERIOD_NS = 30_000_000_000

Living = Callable[[int], tuple[int, Mapping[int, object]]]
"""How often the threads of a process have changed, and those that live now by id; equal objects are the same
thread. `ThreadsProbe.living` is one."""


@dataclass(slots=True)
class _Followed:
    """A process whose threads are told, with what was last heard of them."""

    start_ticks: int
    asked: Asked
    changes: int = -1
    threads: dict[int, object] = field(default_factory=dict[int, object])
    born: set[int] = field(default_factory=set[int])
    closed: str | None = None
    """Why its memory may not be read; None where it may."""
    trouble: procfs.Unreadable | None = None
    """The same, until it is written down."""

    def hear_of(self, threads: Mapping[int, object]) -> None:
        """Take note of who was born and who ended; an id with another thread behind it is both."""
        for tid, thread in self.threads.items():
            if threads.get(tid) is not thread:
                self.asked.forget(tid)
                self.born.discard(tid)
        self.born |= {tid for tid, thread in threads.items() if self.threads.get(tid) is not thread}
        self.threads = dict(threads)


class OwnersProbe:
    """Follows the threads of the processes in the tree; `living` tells which there are."""

    name = "owners"

    def __init__(
        self,
        living: Living,
        proc: Path = procfs.PROC,
        period_ns: int = DEFAULT_PERIOD_NS,
        *,
        robust: RobustList | None = None,
    ) -> None:
        self.period_ns = period_ns
        self._living = living
        self._proc = proc
        self._robust = robust or RobustList()
        self._gaps = Gaps(self.name)
        self._processes: dict[int, _Followed] = {}
        self._questions: set[int] = set()
        self._modules: dict[tuple[str, str | None, bool], int] = {}
        self._next_keyframe_ns = KEYFRAME_PERIOD_NS

    def look(self, moment: Moment) -> Iterator[Line]:
        """Tell the threads that were born, and those that could not be told before."""
        t_ns = moment.t_ns
        for pid in self._processes.keys() - moment.processes.keys():
            self._drop(pid)
        keyframe = t_ns >= self._next_keyframe_ns
        if keyframe:
            self._next_keyframe_ns = t_ns + KEYFRAME_PERIOD_NS
            self._ask_unknown_again()
        told: list[tuple[_Followed, int]] = []
        for pid in (moment.moved | self._questions) & moment.processes.keys():
            followed = self._follow(pid, moment.processes[pid].start_ticks)
            told += [(followed, tid) for tid in sorted(self._ask(followed))]
            yield from self._tell_trouble(followed, t_ns)
        if keyframe:
            told = [(each, tid) for each in self._processes.values() for tid in each.asked.answers]
        yield from self._lines(told, t_ns, keyframe=keyframe)

    def close(self) -> None:
        """Give the descriptors back."""
        for pid in list(self._processes):
            self._drop(pid)

    # one process

    def _follow(self, pid: int, start_ticks: int) -> _Followed:
        followed = self._processes.get(pid)
        if followed is None or followed.start_ticks != start_ticks:
            self._drop(pid)
            followed = self._processes[pid] = _Followed(start_ticks, Asked(self._proc, pid, self._robust))
        return followed

    def _drop(self, pid: int) -> None:
        followed = self._processes.pop(pid, None)
        self._questions.discard(pid)
        if followed is not None:
            followed.asked.close()

    def _ask(self, followed: _Followed) -> Iterable[int]:
        asked = followed.asked
        changes, threads = self._living(asked.pid)
        if changes != followed.changes:
            followed.changes = changes
            followed.hear_of(threads)
        if not followed.born and not asked.has_questions:
            return ()
        born, followed.born = followed.born, set()
        if followed.closed is not None:
            return asked.give_up(born, followed.closed)
        try:
            told = asked.ask(sorted(born))
        except procfs.Unreadable as error:
            if error.reason == "gone":
                return ()
            forbidden = error.reason == "forbidden"
            followed.closed = "the memory of its process may not be read" if forbidden else error.detail
            followed.trouble = error
            return asked.give_up(born, followed.closed)
        (self._questions.add if asked.has_questions else self._questions.discard)(asked.pid)
        return told

    def _ask_unknown_again(self) -> None:
        for pid, followed in self._processes.items():
            followed.closed = None
            followed.asked.ask_unknown_again()
            self._questions.add(pid)

    # what is written

    def _tell_trouble(self, followed: _Followed, t_ns: int) -> Iterator[Line]:
        pid = followed.asked.pid
        if followed.trouble is not None:
            error, followed.trouble = followed.trouble, None
            why = refusal(self._proc, pid) if error.reason == "forbidden" else ()
            detail = "; ".join((error.detail, *why))
            yield from self._gaps.say(t_ns, pid, "owners of its threads", error.reason, detail)
        if followed.asked.trouble is not None:
            detail = f"{followed.asked.trouble}; only threads that sleep can be told, by their stacks"
            yield from self._gaps.say(t_ns, pid, "descriptors of its threads", "unsupported", detail)

    def _lines(self, told: list[tuple[_Followed, int]], t_ns: int, *, keyframe: bool) -> Iterator[Line]:
        known = len(self._modules)
        rows = [self._row(followed.asked, tid) for followed, tid in told]
        modules = [(number, *key) for key, number in self._modules.items() if keyframe or number >= known]
        if modules:
            yield columnar_line("modules", t_ns, modules)
        if rows:
            yield columnar_line("threads.owned", t_ns, rows)

    def _row(self, asked: Asked, tid: int) -> tuple[Any, ...]:
        answer = asked.answers[tid]
        module = None if answer.image is None else self._module(asked, answer.image)
        return (
            asked.pid,
            tid,
            answer.how,
            module,
            answer.offset,
            answer.rtti,
            answer.master,
            answer.reason,
        )

    def _module(self, asked: Asked, image: Image) -> int:
        key = (image.path, asked.build_id(image), image.deleted)
        return self._modules.setdefault(key, len(self._modules))
