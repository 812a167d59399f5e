"""Standstills: stretches of time in which nothing in the tree moved, and who waited for whom then.

A stretch ends when a process begins or ends, or when the tree uses more CPU than threads that only poll do. What is
told of it is the look at everybody that the recorder took then; without one it is pieced together from what was last
said of each thread, which does not tell waits that end by themselves (a lock with a timeout) from others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from corelens.recording import Recording
from corelens.reports.facts import waits
from corelens.reports.facts.owned import AGENT, NATIVE_POOLS, PYTHON_HELPER, Owned
from corelens.reports.facts.processes import NS_PER_S, Life, Lives
from corelens.reports.facts.stack_samples import DUMP, Frame, StackSample
from corelens.reports.facts.threads import Thread
from corelens.reports.facts.wait_chain import (
    Place,
    Scene,
    endless,
    may_await_signal,
    movers,
    scene,
    sentence,
    where,
    worth_telling,
)
from corelens.reports.report import Standstill, Waiter
from corelens.vocabulary import Line

# Shorter pauses are ordinary: a slow import, a retry.
SHORTEST_NS = 3 * NS_PER_S
# A thread that polls ten times a second uses 0.001 of a core; a program that does something uses more.
POLLING_CORES = 0.005
POLLING_NS = 5_000_000
_MOST_TOLD = 24


class _Thread(Protocol):
    @property
    def pid(self) -> int: ...
    @property
    def tid(self) -> int: ...
    @property
    def name(self) -> str | None: ...


class Named(Protocol):
    """A process whose threads have names."""

    @property
    def threads(self) -> Sequence[_Thread]: ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """From when to when nothing moved, in ns."""

    start_ns: int
    end_ns: int
    used_ns: int
    """CPU of the whole tree within it."""

    @property
    def length_ns(self) -> int:
        """How long it was."""
        return self.end_ns - self.start_ns


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """The longest standstill of a recording."""

    start_s: float
    end_s: float
    used_core_s: float
    to_the_end: bool
    """Whether it lasted until recording or the program ended, the processes' own ends aside."""
    killed: bool
    """Whether the recorder was told to end the program, and did."""
    scene: Scene
    stuck: tuple[Place, ...]
    """Threads whose wait nobody in the tree, and nothing outside, can end."""
    awake: tuple[Place, ...]
    """The others."""
    lives: Mapping[int, Life]
    """Living processes at that time, by pid."""
    wakes: Mapping[int, int]
    """How often each thread got a core within it, by tid; those that never did are absent."""

    @property
    def length_s(self) -> float:
        """How long it lasted."""
        return self.end_s - self.start_s

    @property
    def nobody_can_move(self) -> bool:
        """Whether no thread of the tree could ever have gone on; a lone thread may wait for a signal."""
        return bool(self.stuck) and not self.awake and not may_await_signal(self.scene)


def still(
    recording: Recording,
    lives: Lives,
    wall_ns: int,
    owned_by: Mapping[Thread, Owned],
    samples: tuple[StackSample, ...],
) -> Still | None:
    """The longest stretch without movement; None where none is long enough, or nobody looked what threads do."""
    told_ns = [line["t_ns"] for line in recording.lines("standstill") if line["deadlock"] is not None]
    stretch = _longest(stretches(recording, wall_ns), told_ns)
    if stretch is None:
        return None
    living = {life.pid: life for life in lives.all if _lives_through(life, stretch)}
    seen, killed = _looked_at(recording, stretch, living, lives)
    if seen is None:
        seen = _pieced_together(recording, lives, stretch, living, samples)
    seen = _described(seen, owned_by, stretch, waits.Ranges(recording, lives), living)
    if not seen.places or not living:
        return None
    stuck = endless(seen)
    return Still(
        start_s=stretch.start_ns / NS_PER_S,
        end_s=stretch.end_ns / NS_PER_S,
        used_core_s=stretch.used_ns / NS_PER_S,
        to_the_end=_to_the_end(recording, stretch, wall_ns),
        killed=killed,
        scene=seen,
        stuck=stuck,
        awake=tuple(place for place in seen.places if place not in stuck),
        lives=living,
        wakes=_wakes(recording, stretch),
    )


def _longest(every: Iterable[Stretch], told_ns: Sequence[int]) -> Stretch | None:
    """The stretch in which the recorder told a deadlock, however short it was asked to wait; else the longest."""
    known = list(every)
    told = [each for each in known if any(each.start_ns <= t_ns <= each.end_ns for t_ns in told_ns)]
    long = [each for each in known if each.length_ns >= SHORTEST_NS]
    return max(told or long, key=lambda each: each.length_ns, default=None)


def stretches(recording: Recording, wall_ns: int) -> Iterator[Stretch]:
    """Stretches without movement in the order of time; they follow on each other without overlap."""
    start_ns = used_ns = last_ns = 0
    for t_ns, cpu_ns in sorted(_movements(recording)):
        if used_ns + cpu_ns <= POLLING_NS + POLLING_CORES * (t_ns - start_ns):
            used_ns, last_ns = used_ns + int(cpu_ns), t_ns
            continue
        yield Stretch(start_ns, min(t_ns, wall_ns), used_ns)
        start_ns, used_ns, last_ns = t_ns, 0, t_ns
    yield Stretch(start_ns, max(wall_ns, last_ns), used_ns)


def _movements(recording: Recording) -> Iterator[tuple[int, float]]:
    """(when, CPU used since the last reading); infinite where somebody began or ended."""
    for kind in ("process.born", "process.died"):
        yield from ((line["t_ns"], math.inf) for line in recording.lines(kind) if not line.get("again"))
    before: dict[int, int] = {}
    for line in recording.lines("threads"):
        used_ns = 0
        # What a thread shows first it used before; of one that was there when recording began that is much.
        for tid, run_ns in zip(line["tid"], line["run_ns"], strict=False):
            used_ns += max(0, run_ns - before.get(tid, 0))
            before[tid] = run_ns
        yield line["t_ns"], used_ns


def _lives_through(life: Life, stretch: Stretch) -> bool:
    return life.born_ns <= stretch.start_ns and (life.died_ns is None or life.died_ns >= stretch.end_ns)


def _to_the_end(recording: Recording, stretch: Stretch, wall_ns: int) -> bool:
    """Whether nothing came after it but ends."""
    born_later = any(
        line["t_ns"] > stretch.end_ns and not line["again"] for line in recording.lines("process.born")
    )
    # Whoever ends the program tidies up, for a moment.
    return not born_later and wall_ns - stretch.end_ns <= max(NS_PER_S, stretch.length_ns // 4)


def _wakes(recording: Recording, stretch: Stretch) -> dict[int, int]:
    before: dict[int, int] = {}
    found: dict[int, int] = {}
    for line in recording.lines("threads"):
        for tid, slices in zip(line["tid"], line["slices"], strict=False):
            if stretch.start_ns < line["t_ns"] < stretch.end_ns:
                found[tid] = found.get(tid, 0) + max(0, slices - before.get(tid, slices))
            before[tid] = slices
    return {tid: count for tid, count in found.items() if count}


# who was where


def _looked_at(
    recording: Recording, stretch: Stretch, living: Mapping[int, Life], lives: Lives
) -> tuple[Scene | None, bool]:
    """The last look at everybody within the stretch, and whether the program was ended then."""
    lines = [
        line for line in recording.lines("standstill") if stretch.start_ns <= line["t_ns"] <= stretch.end_ns
    ]
    if not lines:
        return None, False
    rows = _at(recording, "standstill.waits", lines[-1])
    ends = _at(recording, "standstill.ends", lines[-1])
    killed = any(line["killed"] for line in lines)
    return (None if rows is None else scene(rows, ends, _parents(living, lives))), killed


def _at(recording: Recording, kind: str, standstill: Line) -> Line | None:
    return next((line for line in recording.lines(kind) if line["t_ns"] == standstill["t_ns"]), None)


def _parents(living: Mapping[int, Life], lives: Lives) -> dict[int, int | None]:
    found = {pid: lives.parent(life) for pid, life in living.items()}
    return {pid: None if parent is None else parent.pid for pid, parent in found.items()}


def _pieced_together(
    recording: Recording,
    lives: Lives,
    stretch: Stretch,
    living: Mapping[int, Life],
    samples: tuple[StackSample, ...],
) -> Scene:
    """Where each thread was last seen before the middle of the stretch, with the last dump of its stack."""
    middle_ns = (stretch.start_ns + stretch.end_ns) // 2
    ranges = waits.Ranges(recording, lives)
    shared = {
        (pid, address)
        for line in recording.lines("locks.shared")
        for pid, address in zip(line["pid"], line["address"], strict=False)
    }
    stacks = _last_dumps(samples, stretch)
    places: dict[tuple[int, int], Place] = {}
    for spell in waits.spells(recording, lives, ranges, stretch.end_ns):
        pid = spell.life.pid
        if living.get(pid) is spell.life and spell.start_ns <= middle_ns < spell.end_ns:
            places[pid, spell.tid] = Place(
                pid=pid,
                tid=spell.tid,
                call=spell.call,
                what=spell.what,
                address=spell.address,
                shared=None if spell.address is None else (pid, spell.address) in shared,
                stack=stacks.get((spell.life, spell.tid), ()),
            )
    return Scene(tuple(places.values()), _parents(living, lives), {}, looked=False)


def _last_dumps(
    samples: tuple[StackSample, ...], stretch: Stretch
) -> dict[tuple[Life | None, int], tuple[Frame, ...]]:
    """Stacks that were dumped within the stretch, or shortly before: later than it began to wait, mostly."""
    return {
        (sample.life, sample.tid): sample.frames
        for sample in samples
        if sample.how == DUMP and stretch.start_ns <= sample.from_ns <= stretch.end_ns
    }


def _described(
    seen: Scene,
    owned_by: Mapping[Thread, Owned],
    stretch: Stretch,
    ranges: waits.Ranges,
    living: Mapping[int, Life],
) -> Scene:
    """The scene with what is known of each thread's owner; the recorder's own agent is left out."""
    kinds = {
        (thread.life.pid, thread.tid): owned.owner.kind
        for thread, owned in owned_by.items()
        if thread.life is not None and thread.born_ns <= stretch.end_ns
    }
    places = [
        replace(
            place,
            plumbing=kinds.get((place.pid, place.tid)) == PYTHON_HELPER,
            what=_what(place, kinds, ranges, living),
        )
        for place in seen.places
        if kinds.get((place.pid, place.tid)) != AGENT
    ]
    return replace(seen, places=tuple(places))


def _what(
    place: Place, kinds: Mapping[tuple[int, int], str], ranges: waits.Ranges, living: Mapping[int, Life]
) -> str:
    """What it waits for, the GIL and idle native pools told from other futexes."""
    life = living.get(place.pid)
    if place.what != waits.LOCK:
        return place.what
    if life is not None and place.address is not None and ranges.has(life, place.address):
        return waits.GIL
    return waits.POOL if kinds.get((place.pid, place.tid)) in NATIVE_POOLS else waits.LOCK


def told(standstill: Still | None, processes: Iterable[Named]) -> Standstill | None:
    """The standstill as values of the report."""
    if standstill is None:
        return None
    names = {(thread.pid, thread.tid): thread.name for process in processes for thread in process.threads}
    scene, stuck = standstill.scene, set(standstill.stuck)
    everybody = worth_telling(scene, scene.places, most=_MOST_TOLD)
    return Standstill(
        since_s=standstill.start_s,
        until_s=standstill.end_s,
        to_the_end=standstill.to_the_end,
        deadlock=standstill.nobody_can_move and standstill.to_the_end,
        looked=scene.looked,
        killed=standstill.killed,
        waiters=tuple(
            Waiter(
                pid=place.pid,
                tid=place.tid,
                role=standstill.lives[place.pid].role,
                name=names.get((place.pid, place.tid)),
                what=place.what,
                sentence=sentence(place, scene),
                pids=tuple(sorted((movers(place, scene) or frozenset()) - {place.pid})),
                function=where(place),
                endless=place in stuck,
            )
            for place in everybody
        ),
    )
