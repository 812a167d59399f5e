"""Sizes of native pools and OpenMP teams as they were seen from outside, by counting threads by owner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts.owned import OPENMP_GNU, OPENMP_INTEL, OPENMP_LLVM, Owned
from corelens.reports.facts.processes import Life
from corelens.reports.facts.threads import Thread

OPENMP = frozenset({OPENMP_GNU, OPENMP_LLVM, OPENMP_INTEL})


@dataclass(frozen=True, slots=True)
class Team:
    """Threads of one pool, and the thread that opened it; `threads` is the most at one time, it included."""

    kind: str
    library: str | None
    label: str
    master: Thread | None
    members: tuple[Thread, ...]
    threads: int


def teams(recording: Recording, owned: Mapping[Thread, Owned]) -> dict[Life, tuple[Team, ...]]:
    """Every pool of every process. OpenMP threads whose master is not known form no team and are left out."""
    ends = _ends(recording, owned)
    members: dict[tuple[Life, str, str | None, str, Thread | None], list[Thread]] = {}
    for thread, belongs in owned.items():
        owner = belongs.owner
        if thread.life is None or (owner.kind in OPENMP and belongs.master is None):
            continue
        key = (thread.life, owner.kind, owner.library, owner.label, belongs.master)
        members.setdefault(key, []).append(thread)
    found: dict[Life, tuple[Team, ...]] = {}
    for (life, kind, library, label, master), each in members.items():
        team = Team(kind, library, label, master, tuple(each), 1 + _most_at_once(each, ends))
        found[life] = (*found.get(life, ()), team)
    return found


def at_work_after(recording: Recording, teams: Sequence[Team], t_ns: int) -> tuple[Team, ...]:
    """Teams of which a member ran after a time; its first reading after it may still tell of the time before."""
    team_of = {thread.tid: team for team in teams for thread in team.members}
    seen: set[int] = set()
    worked: set[Team] = set()
    for line in recording.lines("threads") if team_of else ():
        if line["t_ns"] > t_ns:
            moved = team_of.keys() & line["tid"]
            worked.update(team_of[tid] for tid in moved & seen)
            seen |= moved
    return tuple(team for team in teams if team in worked)


def _most_at_once(threads: Iterable[Thread], ends: Mapping[Thread, int]) -> int:
    steps = [(thread.born_ns, 1) for thread in threads]
    steps += [(ends[thread], -1) for thread in threads if thread in ends]
    now = most = 0
    # What ends and begins in one round was there one after the other.
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


def _ends(recording: Recording, owned: Mapping[Thread, Owned]) -> dict[Thread, int]:
    by_tid: dict[int, list[Thread]] = {}
    for thread in sorted(owned, key=lambda thread: thread.born_ns):
        by_tid.setdefault(thread.tid, []).append(thread)
    ends: dict[Thread, int] = {}
    for line in recording.lines("threads.died"):
        for tid in line["tid"]:
            begun = [thread for thread in by_tid.get(tid, ()) if thread.born_ns <= line["t_ns"]]
            alive = [thread for thread in begun if thread not in ends]
            if alive:
                ends[alive[0]] = line["t_ns"]
    return ends
