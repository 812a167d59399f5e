"""The lives of the recorded processes: who was there, from when to when, and what is known of each.

A pid means different processes at different times, so a life is told by (pid, start_ticks), and a reading
belongs to the last life of its pid that had begun by then.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from corelens.recording import Recording
from corelens.vocabulary import Line

NS_PER_S = 1_000_000_000
UNKNOWN_ROLE = "unknown"
DEFAULT_TICKS_PER_S = 100


@dataclass(slots=True, eq=False)
class Life:
    """One process while it was recorded; grown line by line, and never changed once `lives` returned."""

    pid: int
    start_ticks: int | None
    ppid: int | None
    born_ns: int
    comm: str
    argv: tuple[str, ...] | None
    role: str
    affinity_cores: int | None
    variables: dict[str, str] | None
    first_cpu_ns: int | None
    began_before: bool
    """It was running before the recording began, so that its first readings are a baseline."""
    died_ns: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    final_cpu_ns: int | None = None
    titles: set[str] = field(default_factory=set[str])
    """Every argv[0] it had; Ray workers name their task there."""

    def ended_by(self, t_ns: int) -> bool:
        """Whether it had ended at that time."""
        return self.died_ns is not None and self.died_ns <= t_ns


class Lives:
    """All lives in the order of birth, found by pid and time."""

    def __init__(self, lives: Iterable[Life], root: Life) -> None:
        self.all = sorted(lives, key=lambda life: life.born_ns)
        self.root = root
        self._by_pid: dict[int, list[Life]] = {}
        for life in self.all:
            self._by_pid.setdefault(life.pid, []).append(life)

    def at(self, pid: int, t_ns: int) -> Life | None:
        """The process that had this pid at that time; None when it was never introduced."""
        named = self._by_pid.get(pid)
        if named is None:
            return None
        if len(named) == 1:
            return named[0]
        begun = [life for life in named if life.born_ns <= t_ns]
        return begun[-1] if begun else named[0]

    def parent(self, life: Life) -> Life | None:
        """Its parent, where that is recorded too."""
        if life.ppid is None or life.ppid == life.pid:
            return None
        parent = self.at(life.ppid, life.born_ns)
        if parent is None or parent.ended_by(life.born_ns - 1):
            return None
        # A pid that is used again can name somebody who came long after the parent and its child.
        return None if _is_younger(parent, life) else parent


def lives(recording: Recording) -> Lives:
    """Put the lives together from births, changes and deaths.

    Expects at least one `process.born` line. A birth that was lost to damage is replaced by its repetition,
    dated by the kernel's start time.
    """
    by_pid: dict[int, list[Life]] = {}
    for line in recording.lines("process.born"):
        known = by_pid.setdefault(line["pid"], [])
        if known and known[-1].start_ticks == line["start_ticks"]:
            continue
        known.append(_born(recording, line))
    for line in recording.lines("process.changed"):
        _change(_latest(by_pid, line), line)
    for line in recording.lines("process.died"):
        _end(_latest(by_pid, line, alive=True), line)
    _end_replaced(by_pid)
    everyone = [life for known in by_pid.values() for life in known]
    return Lives(everyone, _root(recording, everyone))


def start_ns(recording: Recording, start_ticks: int) -> int:
    """When the kernel says that something started, on the clock of the recording, one tick too early at most."""
    header = recording.header
    per_s = header["host"].get("clock_ticks_per_s") or DEFAULT_TICKS_PER_S
    return int(start_ticks * NS_PER_S // per_s - header["t0_boottime_ns"])


def began_before(recording: Recording, start_ticks: int | None) -> bool:
    """Whether something was running when recording began; False where its start is unknown."""
    if start_ticks is None:
        return False
    per_s = recording.header["host"].get("clock_ticks_per_s") or DEFAULT_TICKS_PER_S
    return start_ns(recording, start_ticks) < -NS_PER_S // per_s


def _born(recording: Recording, line: Line) -> Life:
    # What a recorder starts exists a moment before t = 0, which is its exec, and has done nothing until then.
    ours = recording.header["target"]["how"] == "started" and line["joined_by"] != "ray-session"
    before = not ours and began_before(recording, line["start_ticks"])
    born_ns = line["t_ns"]
    if line["again"]:
        born_ns = max(0, min(born_ns, start_ns(recording, line["start_ticks"])))
    life = Life(
        pid=line["pid"],
        start_ticks=line["start_ticks"],
        ppid=line["ppid"],
        born_ns=born_ns,
        comm=line["comm"],
        argv=_arguments(line),
        role=line["role"],
        affinity_cores=_count(line["affinity"]),
        variables=line["variables"],
        # What a repetition says was read long after the birth: a reading like others, see facts/clocks.py.
        first_cpu_ns=None if line["again"] else line["cpu_ns"],
        began_before=before,
    )
    _add_title(life)
    return life


def _change(life: Life | None, line: Line) -> None:
    if life is None:
        return
    life.comm = line["comm"]
    life.argv = _arguments(line) or life.argv
    life.affinity_cores = _count(line["affinity"]) or life.affinity_cores
    life.variables = line["variables"] if line["variables"] is not None else life.variables
    if line["role"] != UNKNOWN_ROLE:
        life.role = line["role"]
    _add_title(life)


def _end(life: Life | None, line: Line) -> None:
    if life is None:
        return
    life.died_ns = line["t_ns"]
    life.exit_code, life.signal = line["exit_code"], line["signal"]
    life.final_cpu_ns = line["cpu_ns"]


def _end_replaced(by_pid: dict[int, list[Life]]) -> None:
    # The line of a death can be lost to damage; another process with the pid proves it all the same.
    for known in by_pid.values():
        for life, next_life in itertools.pairwise(known):
            if life.died_ns is None:
                life.died_ns = next_life.born_ns


def _latest(by_pid: dict[int, list[Life]], line: Line, *, alive: bool = False) -> Life | None:
    begun = [life for life in by_pid.get(line["pid"], []) if life.born_ns <= line["t_ns"]]
    if not alive:
        return begun[-1] if begun else None
    living = [life for life in begun if life.died_ns is None]
    # A successor may be introduced in the very round in which its predecessor is found dead.
    earlier = [life for life in living if life.born_ns < line["t_ns"]]
    return earlier[-1] if earlier else next(iter(living), None)


def _root(recording: Recording, everyone: list[Life]) -> Life:
    pid = recording.header["target"]["pid"]
    return next((life for life in everyone if life.pid == pid), everyone[0])


def _is_younger(one: Life, other: Life) -> bool:
    return (
        one.start_ticks is not None and other.start_ticks is not None and one.start_ticks > other.start_ticks
    )


def _arguments(line: Line) -> tuple[str, ...] | None:
    argv: list[Any] | None = line["argv"]
    return None if argv is None else tuple(map(str, argv))


def _count(cores: list[int] | None) -> int | None:
    return None if cores is None else len(cores)


def _add_title(life: Life) -> None:
    if life.argv:
        life.titles.add(life.argv[0])
