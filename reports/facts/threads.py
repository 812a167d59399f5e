"""Threads: how long each was on a core, and how long it waited for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from corelens.recording import Recording
from corelens.reports.facts.bins import Amounts, Grid, shares
from corelens.reports.facts.pace import Pace
from corelens.reports.facts.processes import Life, Lives, began_before
from corelens.vocabulary import Line

# Within one round a dead thread's id can be given to a new one, which is then read.
_ORDER = ("threads.died", "threads.born", "threads")


@dataclass(slots=True, eq=False)
class Spent:
    """When a thread ran and waited for a core: ns per bin, bins in which it did neither left out.

    Readings that fall into one bin are booked together: `index` is the bin, and `ran_ns` and `waited_ns` are what
    of the thread's totals was booked before it.
    """

    run: dict[int, float] = field(default_factory=dict[int, float])
    queue: dict[int, float] = field(default_factory=dict[int, float])
    index: int = 0
    ran_ns: int = 0
    waited_ns: int = 0

    def book(self, thread: Thread) -> None:
        """Give the present bin what the thread used since the last booking."""
        ran, waited = thread.ran_ns - self.ran_ns, thread.waited_ns - self.waited_ns
        if ran:
            self.run[self.index] = self.run.get(self.index, 0) + ran
        if waited:
            self.queue[self.index] = self.queue.get(self.index, 0) + waited
        self.ran_ns, self.waited_ns = thread.ran_ns, thread.waited_ns

    def spread(self, grid: Grid, start_ns: int, end_ns: int, ran: int, waited: int) -> None:
        """Book amounts evenly over an interval that several bins share."""
        for index, share in shares(grid, start_ns, end_ns):
            if ran:
                self.run[index] = self.run.get(index, 0) + ran * share
            if waited:
                self.queue[index] = self.queue.get(index, 0) + waited * share
        self.ran_ns += ran
        self.waited_ns += waited


@dataclass(slots=True, eq=False)
class Thread:
    """One thread; `run_ns` and `wait_ns` are as last read, None before that."""

    tid: int
    life: Life | None
    born_ns: int
    start_ticks: int | None
    comm: str | None
    run_ns: int | None
    wait_ns: int
    read_ns: int
    ran_ns: int = 0
    waited_ns: int = 0
    died_ns: int | None = None
    """When it was found ended; None: it was there at the last look, or its end was lost."""
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True, slots=True)
class Threads:
    """All threads ever seen; `waiting` spreads their run-queue wait over time."""

    all: tuple[Thread, ...]
    waiting: Amounts
    waited_by_life: dict[Life, int]
    """Run-queue wait of each process in ns."""

    @property
    def ran_ns(self) -> int:
        """Time on a core of all threads while they were recorded."""
        return sum(thread.ran_ns for thread in self.all)

    @property
    def waited_ns(self) -> int:
        """Run-queue wait of all threads while they were recorded."""
        return sum(thread.waited_ns for thread in self.all)


def threads(recording: Recording, lives: Lives, grid: Grid) -> Threads:
    """Follow every thread from its first reading to its last.

    A thread born while recording counts from zero, one that was there before from its first reading.
    """
    everyone: list[Thread] = []
    living: dict[int, Thread] = {}
    ended: set[int] = set()
    stillborn: dict[int, int] = {}
    waiting = Amounts(grid)
    pace = Pace(recording, "threads")
    previous_ns = 0
    for line in _in_order(recording):
        if line["kind"] == "threads.died":
            # The entry stays: the last reading of a zombie may follow.
            ended.update(line["tid"])
            _end(line, living, stillborn)
        elif line["kind"] == "threads.born":
            for tid in ended.intersection(line["tid"]):
                living.pop(tid, None)
            ended.difference_update(line["tid"])
            born = list(_introduce(recording, line, lives, living))
            for thread in born:
                # Listed and gone within one look: the end, which comes first in this order, is its own.
                thread.died_ns = line["t_ns"] if stillborn.get(thread.tid) == line["t_ns"] else None
            everyone += born
        elif line["kind"] == "threads":
            everyone += _strangers(line, living)
            start_ns = pace.since(previous_ns, line["t_ns"], 0)
            _read(line, living, start_ns, waiting)
            previous_ns = line["t_ns"]
    for thread in everyone:
        thread.spent.book(thread)
    return Threads(tuple(everyone), waiting, _by_life(everyone))


def _by_life(everyone: Iterable[Thread]) -> dict[Life, int]:
    waited: dict[Life, int] = {}
    for thread in everyone:
        if thread.life is not None:
            waited[thread.life] = waited.get(thread.life, 0) + thread.waited_ns
    return waited


def _in_order(recording: Recording) -> Iterator[Line]:
    kinds = [recording.lines(kind) for kind in _ORDER]
    tagged = [(line["t_ns"], rank, place) for rank, of in enumerate(kinds) for place, line in enumerate(of)]
    for _, rank, place in sorted(tagged):
        yield kinds[rank][place]


def _introduce(recording: Recording, line: Line, lives: Lives, living: dict[int, Thread]) -> Iterator[Thread]:
    t_ns = line["t_ns"]
    rows = zip(line["pid"], line["tid"], line["start_ticks"], line["comm"], strict=False)
    for pid, tid, start_ticks, comm in rows:
        known = living.get(tid)
        life = lives.at(pid, t_ns)
        if known is not None and _same(known, start_ticks, life):
            known.comm, known.life = comm or known.comm, life
            continue
        baseline = _is_baseline(recording, life, start_ticks)
        thread = Thread(tid, life, t_ns, start_ticks, comm, None if baseline else 0, 0, t_ns)
        living[tid] = thread
        yield thread


def _end(line: Line, living: dict[int, Thread], stillborn: dict[int, int]) -> None:
    t_ns = line["t_ns"]
    for tid in line["tid"]:
        thread = living.get(tid)
        if thread is None or thread.died_ns is not None:
            stillborn[tid] = t_ns
        else:
            thread.died_ns = t_ns


def _same(known: Thread, start_ticks: int | None, life: Life | None) -> bool:
    if known.start_ticks is None or start_ticks is None:
        return known.life is None or known.life is life
    return known.start_ticks == start_ticks


def _is_baseline(recording: Recording, life: Life | None, start_ticks: int | None) -> bool:
    """Whether a thread ran before the recording began; of a process that did not, no thread did."""
    if life is None or not life.began_before:
        return life is None
    return start_ticks is None or began_before(recording, start_ticks)


def _strangers(line: Line, living: dict[int, Thread]) -> Iterator[Thread]:
    """Threads whose introduction was lost; what they show first is a baseline."""
    for tid in line["tid"]:
        if tid not in living:
            living[tid] = Thread(tid, None, line["t_ns"], None, None, None, 0, line["t_ns"])
            yield living[tid]


def _read(line: Line, living: dict[int, Thread], start_ns: int, waiting: Amounts) -> None:
    """Take one reading of many threads. This is the only loop over every row, so it stays plain."""
    t_ns = line["t_ns"]
    together, span = 0, t_ns - start_ns
    grid = waiting.grid
    index = grid.index(t_ns - 1)
    # Most readings lie in one bin and can wait for it to end; the others are spread at once.
    within = grid.index(start_ns) == index
    for tid, run_ns, wait_ns in zip(line["tid"], line["run_ns"], line["wait_ns"], strict=False):
        thread = living[tid]
        before_ns = thread.run_ns
        if before_ns is not None and run_ns >= before_ns and wait_ns >= thread.wait_ns:
            ran, waited = run_ns - before_ns, wait_ns - thread.wait_ns
            spent = thread.spent
            if spent.index != index or not within or ran + waited > span:
                spent.book(thread)
                spent.index = index
                if not within or ran + waited > span:
                    # It began before it was first seen, by what it had used until then.
                    first = not before_ns and not thread.wait_ns
                    since_ns = min(start_ns, t_ns - ran - waited)
                    since_ns = max(since_ns, 0 if first else thread.read_ns)
                    spent.spread(grid, since_ns, t_ns, ran, waited)
            thread.ran_ns += ran
            thread.waited_ns += waited
            if waited <= span:
                together += waited
            else:
                # The counter moves only when a thread gets its core: a long wait ends with one step.
                waiting.add(max(thread.born_ns, t_ns - waited), t_ns, waited)
        thread.run_ns, thread.wait_ns, thread.read_ns = run_ns, wait_ns, t_ns
    if together:
        waiting.add(start_ns, t_ns, together)
