"""What each thread was blocked on, and when: the shape of its waits over time, from samples.

Spells are samples, a tenth of a second long or more, so they tell *what* a thread waits for better than *how long*.
The time is known exactly: what a thread was neither on a core nor in a run queue, it was blocked. So the ledger takes
the time from the scheduler's counters, and divides it by the spells around it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from corelens.recording import Recording
from corelens.reports.facts import waits
from corelens.reports.facts.bins import Grid
from corelens.reports.facts.processes import NS_PER_S, Life, Lives
from corelens.reports.facts.stack_samples import DUMP, StackSample
from corelens.reports.facts.waits import Spell

# More addresses than this per thread are no single locks, and are not told apart.
_MOST_ADDRESSES = 32
# A fresh process reads from its parent what it shall import before it does; a wait so soon is for that.
_YOUNG_NS = 150_000_000
_FOR_TASKS = frozenset((waits.PIPE, waits.POLL, waits.LOCK))


Place = tuple[str, int]
"""A futex, by the memory it lies in: a process and the address, or what is shared and the offset in it."""


class Wait(NamedTuple):
    """What a thread was blocked on: one kind of wait, and the lock where it is one."""

    what: str
    call: str
    place: Place | None = None


# py-spy reads its first thread so long after it was started (benchmarks/stacks.py: 9 ms).
_START_NS = 10_000_000
# Where pools and queues of the standard library, joblib, loky and torch wait for a task: file and function.
_TAKES_TASKS = (
    ("concurrent/futures/thread.py", "_worker"),
    ("queue.py", "get"),
    ("multiprocessing/queues.py", "get"),
    ("multiprocessing/pool.py", "worker"),
    ("loky/process_executor.py", "_process_worker"),
    ("concurrent/futures/process.py", "_process_worker"),
    ("torch/utils/data/_utils/worker.py", "_worker_loop"),
)
# So far out a queue's `get` stands from what it waits in.
_INNERMOST = 5

Shape = dict[Wait, dict[int, float]]
"""ns of each wait per bin."""


class Blocked:
    """Keeps the waits of every thread but those of native pools, which idle; a sink of spells."""

    def __init__(
        self, recording: Recording, lives: Lives, grid: Grid, samples: Iterable[StackSample] = ()
    ) -> None:
        self._step_ns, self._last_bin = grid.step_ns, grid.count - 1
        self._shapes: dict[tuple[Life, int], Shape] = {}
        self._shared = _shared(recording, lives)
        self._first: dict[Life, int] = {}
        self._in_pools: dict[tuple[Life, int], dict[int, float]] = {}
        self._dumps = _task_dumps(samples)
        self._seen_at: dict[Place, list[bool]] = {}

    def add(self, spell: Spell) -> None:
        """Take one spell."""
        what = spell.what
        if what == waits.RUNNING:
            return
        if what == waits.POOL:
            self._spread(self._in_pools.setdefault((spell.life, spell.tid), {}), spell)
            return
        if what in _FOR_TASKS and spell.tid == spell.life.pid:
            self._waits_for_task(spell)
        shape = self._shapes.setdefault((spell.life, spell.tid), {})
        wait = self._wait(spell, shape)
        self._spread(shape.setdefault(wait, {}), spell)
        if wait.place is not None:
            self._look_at(wait.place, spell)

    def of(self, life: Life, tid: int) -> Mapping[Wait, Mapping[int, float]]:
        """Waits of one thread by bin."""
        return self._shapes.get((life, tid), {})

    def in_pool(self, life: Life, tid: int) -> Mapping[int, float]:
        """ns per bin that a thread of a native pool waited for work, or for the rest of its team."""
        return self._in_pools.get((life, tid), {})

    def takes_tasks_at(self, place: Place) -> bool | None:
        """Whether Python stacks show that who waits at a lock waits for tasks; None where none shows it."""
        seen = self._seen_at.get(place)
        return None if seen is None else sum(seen) * 2 > len(seen)

    def first_wait_s(self) -> dict[int, float]:
        """By pid, when its main thread first waited as for a task."""
        return {life.pid: start_ns / NS_PER_S for life, start_ns in self._first.items()}

    def _waits_for_task(self, spell: Spell) -> None:
        if spell.start_ns > spell.life.born_ns + _YOUNG_NS:
            self._first.setdefault(spell.life, spell.start_ns)

    def _look_at(self, place: Place, spell: Spell) -> None:
        dumps = self._dumps.get((spell.life, spell.tid), ())
        first = bisect_left(dumps, (spell.start_ns, False))
        for _, for_task in dumps[first : bisect_left(dumps, (spell.end_ns, False))]:
            self._seen_at.setdefault(place, []).append(for_task)

    def _wait(self, spell: Spell, shape: Shape) -> Wait:
        if spell.what not in (waits.LOCK, waits.GIL) or spell.address is None:
            return Wait(spell.what, spell.call)
        if spell.what == waits.GIL:
            return Wait(spell.what, "futex")
        place = self._shared.get((spell.life, spell.address), (f"process {spell.life.pid}", spell.address))
        wait = Wait(spell.what, "futex", place)
        return wait if wait in shape or len(shape) < _MOST_ADDRESSES else Wait(spell.what, "futex")

    def _spread(self, bins: dict[int, float], spell: Spell) -> None:
        step, last = self._step_ns, self._last_bin
        start_ns, end_ns = spell.start_ns, spell.end_ns
        first, final = start_ns // step, (end_ns - 1) // step
        if final > last or first < 0:
            first, final = max(0, min(first, last)), max(0, min(final, last))
        if first >= final:
            bins[final] = bins.get(final, 0.0) + (end_ns - start_ns)
            return
        bins[first] = bins.get(first, 0.0) + (first + 1) * step - start_ns
        for place in range(first + 1, final):
            bins[place] = bins.get(place, 0.0) + step
        bins[final] = bins.get(final, 0.0) + end_ns - final * step


def _shared(recording: Recording, lives: Lives) -> dict[tuple[Life, int], tuple[str, int]]:
    """Futexes in shared memory: by process and address, the object and where in it they lie."""
    found: dict[tuple[Life, int], tuple[str, int]] = {}
    for line in recording.lines("locks.shared"):
        for pid, address, item, offset in zip(
            line["pid"], line["address"], line["object"], line["offset"], strict=False
        ):
            life = lives.at(pid, line["t_ns"])
            if life is not None:
                found[life, address] = (item, offset)
    return found


def _task_dumps(samples: Iterable[StackSample]) -> dict[tuple[Life, int], list[tuple[int, bool]]]:
    """When the stack of an idle thread was taken, and whether it stood where a pool waits for a task."""
    found: dict[tuple[Life, int], list[tuple[int, bool]]] = {}
    for sample in samples:
        if sample.how == DUMP and sample.life is not None and not sample.active:
            told = (sample.from_ns + _START_NS, takes_tasks(sample))
            found.setdefault((sample.life, sample.tid), []).append(told)
    return {key: sorted(told) for key, told in found.items()}


def takes_tasks(sample: StackSample) -> bool:
    """Whether a stack stands where a pool or queue waits for the next task."""
    return any(
        frame.function.rpartition(".")[2] == function and frame.file.endswith(file)
        for frame in sample.frames[-_INNERMOST:]
        for file, function in _TAKES_TASKS
    )
