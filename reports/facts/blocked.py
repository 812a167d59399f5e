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

# Of more kinds of wait than this per thread, the rest are no single locks, and are not told apart.
_MOST_KINDS = 32
# A fresh process reads from its parent what it shall import before it does; a wait so soon is for that.
_YOUNG_NS = 150_000_000
_FOR_TASKS = frozenset((waits.PIPE, waits.POLL, waits.LOCK))


Place = tuple[str, int]
"""A futex, by the memory it lies in: a process and the address, or what is shared and the offset in it."""


class Wait(NamedTuple):
    """What a thread was blocked on: one kind of wait, and the lock where it is one."""

    what: str
    call: str
    file: str | None = None
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
    ("multiprocessing/connection.py", "recv"),
    ("ray/_private/worker.py", "main_loop"),
)
_PROXIES = "multiprocessing/managers.py"
# So far out a queue's `get` stands from what it waits in.
_INNERMOST = 5

Bins = dict[int, float]
"""ns per bin."""
_Kind = int | None | tuple[str, str, str | None]
"""A lock by its address, or what is waited for otherwise."""
_IN_POOL: _Kind = (waits.POOL, "futex", None)


class Blocked:
    """Keeps the waits of every thread; a sink of spells. There can be millions, so `add` stays plain."""

    def __init__(
        self, recording: Recording, lives: Lives, grid: Grid, samples: Iterable[StackSample] = ()
    ) -> None:
        self._step_ns, self._last = grid.step_ns, grid.count - 1
        self._by_thread: dict[tuple[Life, int], dict[_Kind, Bins]] = {}
        self._shared = _shared(recording, lives)
        self._first: dict[Life, int] = {}
        self._dumps = _task_dumps(samples)
        self._seen_at: dict[Place | tuple[str, Wait], list[bool]] = {}

    def add(self, spell: Spell) -> None:
        """Take one spell."""
        life, tid, start_ns, end_ns, what, address, call, file = spell
        if what == waits.RUNNING:
            return
        key = (life, tid)
        of_thread = self._by_thread.get(key)
        if of_thread is None:
            of_thread = self._by_thread[key] = {}
        kind: _Kind = (
            address if what == waits.LOCK else _IN_POOL if what == waits.POOL else (what, call, file)
        )
        bins = of_thread.get(kind)
        if bins is None:
            bins = of_thread[kind] = {}
        first = start_ns // self._step_ns
        if 0 <= first == (end_ns - 1) // self._step_ns <= self._last:
            bins[first] = bins.get(first, 0.0) + (end_ns - start_ns)
        else:
            self._spread(bins, start_ns, end_ns)
        if tid == life.pid and what in _FOR_TASKS and start_ns > life.born_ns + _YOUNG_NS:
            self._first.setdefault(life, start_ns)
        if key in self._dumps:
            self._look_at(spell, self._wait(life, kind))

    def of(self, life: Life, tid: int) -> Mapping[Wait, Mapping[int, float]]:
        """Waits of one thread by bin, those of threads in native pools left out."""
        found: dict[Wait, Bins] = {}
        of_thread = self._by_thread.get((life, tid), {})
        for kind, bins in sorted(of_thread.items(), key=lambda item: -sum(item[1].values())):
            if kind == _IN_POOL:
                continue
            wait = self._wait(life, kind if len(found) < _MOST_KINDS else None)
            into = found.setdefault(wait, {})
            for place, time_ns in bins.items():
                into[place] = into.get(place, 0.0) + time_ns
        return found

    def in_pool(self, life: Life, tid: int) -> Mapping[int, float]:
        """ns per bin that a thread of a native pool waited for work, or for the rest of its team."""
        return self._by_thread.get((life, tid), {}).get(_IN_POOL, {})

    def takes_tasks(self, role: str, wait: Wait) -> bool | None:
        """Whether Python stacks show that processes of a role that wait so wait for tasks; None where none shows it."""
        seen = self._seen_at.get((role, wait) if wait.place is None else wait.place)
        return None if seen is None else sum(seen) * 2 > len(seen)

    def first_wait_s(self) -> dict[int, float]:
        """By pid, when its main thread first waited as for a task."""
        return {life.pid: start_ns / NS_PER_S for life, start_ns in self._first.items()}

    def _look_at(self, spell: Spell, wait: Wait) -> None:
        dumps = self._dumps[spell.life, spell.tid]
        first = bisect_left(dumps, (spell.start_ns, False))
        for _, for_task in dumps[first : bisect_left(dumps, (spell.end_ns, False))]:
            place = (spell.life.role, wait) if wait.place is None else wait.place
            self._seen_at.setdefault(place, []).append(for_task)

    def _wait(self, life: Life, kind: _Kind) -> Wait:
        if isinstance(kind, tuple):
            return Wait(*kind)
        if kind is None:
            return Wait(waits.LOCK, "futex")
        place = self._shared.get((life, kind), (f"process {life.pid}", kind))
        return Wait(waits.LOCK, "futex", None, place)

    def _spread(self, bins: Bins, start_ns: int, end_ns: int) -> None:
        step, last = self._step_ns, self._last
        first, final = max(0, min(start_ns // step, last)), max(0, min((end_ns - 1) // step, last))
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
    """Whether a stack stands where a pool, a queue or a connection waits for the next task.

    A manager's proxy uses a connection too, and waits for its manager.
    """
    near = sample.frames[-_INNERMOST:]
    if any(frame.file.endswith(_PROXIES) for frame in near):
        return False
    return any(
        frame.function.rpartition(".")[2] == function and frame.file.endswith(file)
        for frame in near
        for file, function in _TAKES_TASKS
    )
