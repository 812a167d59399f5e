"""Who waits for whom: which waits nobody can ever end.

A wait ends by itself, from outside of the recorded tree, or because a thread of the tree ends it. Whoever runs, or
waits for what may come by itself or from outside, can move; whoever waits for somebody who can move may be moved;
the others never will.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corelens.reports.facts import waits
from corelens.reports.facts.stack_samples import Frame
from corelens.vocabulary import Line

IN, OUT, CHILD, MEMORY = "in", "out", "child", "memory"
ANY_CHILD = 0
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
    if place.timed or place.what not in _INSIDE:
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
