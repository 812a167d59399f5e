"""Who waits for whom: which waits nobody can ever end.

A wait ends by itself, from outside of the recorded tree, or because a thread of the tree ends it. Whoever runs, or
waits for what may come by itself or from outside, can move; whoever waits for somebody who can move may be moved;
the others never will.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corelens.reports.facts import code_places, waits
from corelens.reports.facts.stack_samples import Frame
from corelens.vocabulary import Line

IN, OUT, CHILD, MEMORY = "in", "out", "child", "memory"
ANY_CHILD = 0
_STDLIB = re.compile(
    r"/lib(?:64)?/python3\.\d+t?/|/lib/python3/|^(?:multiprocessing|concurrent|threading|queue|asyncio)\b"
)
_INSIDE = frozenset({waits.LOCK, waits.POOL, waits.GIL, waits.CHILD, waits.PIPE, waits.SOCKET, waits.POLL})
"""Waits that threads of the tree may be able to end; everything else ends by itself or from outside."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one thread is blocked."""

    pid: int
    tid: int
    call: str
    what: str
    """What it waits for, in the words of `facts.waits`."""
    timed: bool | None = None
    """Whether the call returns by itself after a time; None where that is not known."""
    address: int | None = None
    waits_for: tuple[tuple[str, str], ...] | None = None
    """As in a `standstill.waits` row; None: a futex of its own process, or not known."""
    shared: bool | None = None
    """Whether the futex lies in shared memory; None where that is not known."""
    module: str | None = None
    stack: tuple[Frame, ...] = ()
    plumbing: bool = False
    """A thread that multiprocessing or an executor runs for itself: it waits for its workers and its queues alone."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everybody at one moment."""

    places: tuple[Place, ...]
    parents: Mapping[int, int | None]
    """Living processes of the tree, with their parents."""
    ends: Mapping[tuple[str, str], frozenset[int] | None]
    """Who could end the wait for a file; None: somebody outside, or nobody knows."""
    looked: bool = True
    """Whether everybody was looked at for this; False: pieced together from what was last said of each thread."""

    def of(self, pid: int) -> tuple[Place, ...]:
        """Threads of one process."""
        return tuple(place for place in self.places if place.pid == pid)


def scene(rows: Line, ends: Line | None, parents: Mapping[int, int | None]) -> Scene:
    """Read the look at everybody that the recorder took."""
    names = ("pid", "tid", "call", "timed", "address", "waits_for", "module", "stack")
    found = [_place(*row) for row in zip(*(rows[name] for name in names), strict=False)]
    return Scene(tuple(found), parents, dict(_holders(ends)))


def _place(
    pid: int,
    tid: int,
    call: str,
    timed: bool | None,
    address: int | None,
    waits_for: Any,
    module: str | None,
    stack: Any,
) -> Place:
    targets = None if waits_for is None else tuple((str(one), str(other)) for one, other in waits_for)
    return Place(
        pid=pid,
        tid=tid,
        call=call,
        what=waits.what_of(call, _kind(targets)),
        timed=timed,
        address=address,
        waits_for=targets,
        shared=None if address is None else targets is not None,
        module=module,
        stack=tuple(Frame(*frame) for frame in stack or ()),
    )


def _kind(targets: Sequence[tuple[str, str]] | None) -> str | None:
    """Kind of the file that a call reads or writes, by its name."""
    if not targets:
        return None
    name = targets[0][1].removeprefix("anon_inode:[")
    kinds = ("pipe", "socket", "eventfd", "eventpoll", "timerfd", "terminal")
    found = next((kind for kind in kinds if name.startswith(kind)), None)
    if found is None:
        return (
            "terminal"
            if name.startswith(("/dev/pts/", "/dev/tty"))
            else "file"
            if name.startswith("/")
            else None
        )
    return "epoll" if found == "eventpoll" else found


def _holders(line: Line | None) -> Iterator[tuple[tuple[str, str], frozenset[int] | None]]:
    if line is None:
        return
    found: dict[tuple[str, str], set[int | None]] = {}
    for direction, file, pid in zip(line["direction"], line["file"], line["pid"], strict=False):
        found.setdefault((direction, file), set()).add(pid)
    for key, pids in found.items():
        known = frozenset(pid for pid in pids if pid is not None)
        yield key, None if len(known) < len(pids) else known


def movers(place: Place, scene: Scene) -> frozenset[int] | None:
    """Processes one of whose threads could end a wait; None: it may end without any of them."""
    # Who waits for the GIL looks every few milliseconds whether its holder heard of it, and waits on.
    if (place.timed and place.what != waits.GIL) or place.what not in _INSIDE:
        return None
    if place.address is not None:
        return frozenset(scene.parents) if place.shared else frozenset({place.pid})
    if place.waits_for is not None:
        return _together(_movers_of(target, place, scene) for target in place.waits_for)
    if place.what == waits.CHILD:
        return _children(place, scene)
    # Whose pipe it is was not looked at. A process that is alone may read what somebody outside writes.
    inside = place.what == waits.PIPE or (place.what == waits.POLL and place.plumbing)
    return frozenset(scene.parents) if inside and len(scene.parents) > 1 else None


def _movers_of(target: tuple[str, str], place: Place, scene: Scene) -> frozenset[int] | None:
    kind, name = target
    if kind == CHILD:
        wanted = int(name)
        return (
            _children(place, scene)
            if wanted == ANY_CHILD
            else frozenset({wanted} & scene.parents.keys()) or None
        )
    return scene.ends.get((kind, name))


def _children(place: Place, scene: Scene) -> frozenset[int] | None:
    return frozenset(pid for pid, parent in scene.parents.items() if parent == place.pid) or None


def _together(found: Iterable[frozenset[int] | None]) -> frozenset[int] | None:
    every = list(found)
    known = [one for one in every if one is not None]
    return frozenset[int]().union(*known) if len(known) == len(every) and known else None


def endless(scene: Scene) -> tuple[Place, ...]:
    """Threads whose wait nobody can end, in the order of the scene."""
    by = {place: movers(place, scene) for place in scene.places}
    movable = {place for place, of in by.items() if of is None}
    while True:
        lively: dict[int, set[Place]] = {}
        for place in movable:
            lively.setdefault(place.pid, set()).add(place)
        moved = {
            place
            for place, of in by.items()
            if place not in movable and of is not None and any(lively.get(pid) for pid in of)
        }
        if not moved:
            return tuple(place for place in scene.places if place not in movable)
        movable |= moved


def judged(lines: Iterable[Line], parents: Mapping[int, int | None]) -> str | None:
    """The chain of waits in one sentence, from the lines of one look at everybody; None where something can move."""
    by_kind = {line["kind"]: line for line in lines}
    rows = by_kind.get("standstill.waits")
    if rows is None:
        return None
    seen = scene(rows, by_kind.get("standstill.ends"), parents)
    stuck = endless(seen)
    if not stuck or len(stuck) < len(seen.places) or may_await_signal(seen):
        return None
    return "; ".join(sentence(place, seen) for place in worth_telling(seen, stuck))


def may_await_signal(seen: Scene) -> bool:
    """Whether the tree is one thread in a library's `wait`: a signal may end that, which does not show.

    One that takes a lock in its own code waits for a thread: for itself, or for one that has ended.
    """
    if len(seen.places) != 1 or seen.places[0].what != waits.LOCK:
        return False
    stack = seen.places[0].stack
    return not stack or is_library(stack[-1].file)


def worth_telling(seen: Scene, stuck: Sequence[Place], most: int = 6) -> list[Place]:
    """The waits that make the chain: main threads first, without idle native pools, one of each kind and place."""
    ordered = sorted(
        (place for place in stuck if place.what != waits.POOL),
        key=lambda place: (place.plumbing and place.what != waits.PIPE, place.pid, place.pid != place.tid),
    )
    alike: dict[object, Place] = {}
    for place in ordered:
        alike.setdefault(
            (place.pid in seen.parents and seen.parents[place.pid], place.call, where(place)), place
        )
    return list(alike.values())[:most]


def sentence(place: Place, seen: Scene) -> str:
    """`MainThread of process 5 waits for child 7 to end, in Popen.wait (…)`."""
    thread = "main thread" if place.pid == place.tid else f"thread {place.tid}"
    code = where(place)
    return f"{thread} of process {place.pid} waits {object_of(place, seen)}" + (
        f", in {code}" if code else ""
    )


def object_of(place: Place, seen: Scene) -> str:
    """What is waited for and who could give it, in words."""
    of = movers(place, seen)
    if of is None:
        by_itself = place.timed or place.what == waits.SLEEP
        return "for a time at most" if by_itself else f"for {waits.LABELS[place.what]}"
    others = sorted(of - {place.pid})
    named = _processes(others)
    if place.what == waits.CHILD:
        return f"for the end of {named}"
    if place.address is not None:
        if place.shared:
            return "for a lock or semaphore in memory that the processes share"
        alone = len(seen.of(place.pid)) == 1
        return "for a lock that only its own process can open" + (
            ", where no other thread exists" if alone else ""
        )
    directions = {direction for direction, _ in place.waits_for or ()}
    if place.call.startswith(("write", "send")) or directions == {OUT}:
        return f"for room in a full {place.what}" + (f", to be read by {named}" if others else "")
    if not others:
        return f"for data from a {place.what} that nobody but itself could write"
    return f"for data from {named}" if place.what != waits.POLL else f"for any of several files of {named}"


def _processes(pids: Sequence[int]) -> str:
    if not pids:
        return "nobody"
    if len(pids) > 4:
        return f"{len(pids)} processes"
    return ("process " if len(pids) == 1 else "processes ") + ", ".join(map(str, pids))


def where(place: Place) -> str | None:
    """The innermost place in code of the program itself and what it called there; None without a stack."""
    if not place.stack:
        return None
    inner = begun_here(place.stack)
    own = own_frame(inner)
    if own is None:
        return code_places.place(next((frame for frame in reversed(inner) if _is_public(frame)), inner[-1]))
    called = inner[inner.index(own) + 1 :][:1]
    return code_places.place(own) + (f" -> {called[0].function}" if called else "")


def _is_public(frame: Frame) -> bool:
    return not frame.function.rpartition(".")[2].startswith("_")


def begun_here(stack: Sequence[Frame]) -> Sequence[Frame]:
    """The part of a stack that the thread or process began itself: a forked one inherits what forked it."""
    begins = [place for place, frame in enumerate(stack) if frame.function.endswith("_bootstrap")]
    return stack[begins[-1] + 1 :] if begins and begins[-1] + 1 < len(stack) else stack


def own_frame(stack: Sequence[Frame]) -> Frame | None:
    """The innermost frame that belongs neither to the standard library nor to an installed package."""
    return next((frame for frame in reversed(stack) if not is_library(frame.file)), None)


def is_library(file: str) -> bool:
    """Whether a file of Python code belongs to the interpreter or to a package that was installed."""
    return (
        file.startswith("<frozen")
        or "site-packages/" in file
        or "dist-packages/" in file
        or bool(_STDLIB.search(file))
    )
