"""Native thread pools at work: who runs them, whether their threads spin or sleep, and how they crowd the cores.

A pool that sleeps is nobody's problem, however large. What counts is how long its threads wanted a core.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.owned import (
    BLIS,
    MAIN,
    MKL,
    NUMBA_WORKQUEUE,
    OPENBLAS,
    OPENMP_GNU,
    OPENMP_INTEL,
    OPENMP_LLVM,
    PYTHON,
    TBB,
    TORCH_PTHREADPOOL,
)  # fmt: skip

OPENMP = frozenset({OPENMP_GNU, OPENMP_LLVM, OPENMP_INTEL})
COMPUTING = OPENMP | {OPENBLAS, MKL, BLIS, NUMBA_WORKQUEUE, TBB, TORCH_PTHREADPOOL}
"""Pools that split one call over their threads, and wait for the slowest."""

# OpenBLAS and OpenMP threads spin for some 50 ms after they were made; with dozens of them that takes a second.
_SETTLED_S = 1.0
# Less than this part of its life, a pool's thread is one that is parked.
_ACTIVE_SHARE = 0.10
# A thread that sleeps between pieces of work gives its core up thousands of times per second on it; one that
# spins keeps it until the kernel takes it away. Measured: 0 to 30 for spinning pools, 18,000 up for sleeping ones.
_SPINNING_BLOCKS_PER_S = 200.0
# A process whose pools have less than this part of all pools' demand takes no part.
_TAKES_PART = 0.10
# A thread that does one of these most of the time waits for others and calls no library.
_ELSEWHERE = ("sleep", "poll", "child", "pipe", "socket", "signal", "terminal")
_CALLING_SHARE = 0.10
_STANDARD_LIBRARY = re.compile(r"/python3\.\d+t?/|^<frozen")
_POLICIES = {
    "OMP_WAIT_POLICY": ("ACTIVE",),
    "GOMP_SPINCOUNT": ("INFINITE", "INFINITY"),
    "KMP_BLOCKTIME": ("INFINITE",),
    "KMP_LIBRARY": ("TURNAROUND",),
}


@dataclass(frozen=True, slots=True, eq=False)
class Team:
    """Threads of one native pool of one process that were at work; of OpenMP, those of one opening thread."""

    process: ProcessFacts
    kind: str
    label: str
    library: str | None
    master_tid: int | None
    threads: tuple[ThreadFacts, ...]
    size: int
    """Threads at work in it, the calling one included; parked ones, which cost nothing, are in the pool's size."""
    pool_size: int
    """All threads that the pool has, the calling one included."""

    @property
    def run_s(self) -> float:
        """On a core."""
        return sum(thread.run_s for thread in self.threads)

    @property
    def wanted_s(self) -> float:
        """On a core, or waiting for one."""
        return sum(thread.wanted_s for thread in self.threads)

    @property
    def blocks_per_run_s(self) -> float | None:
        """How often its threads went to sleep per second on a core; None when the switches were never read."""
        # A thread of which no switch was ever read shows as zeros while it ran.
        read = [one for one in self.threads if (one.voluntary or 0) + (one.involuntary or 0) > 0]
        run_s = sum(one.run_s for one in read)
        return sum(one.voluntary or 0 for one in read) / run_s if run_s > 0 else None


@dataclass(frozen=True, slots=True)
class Policy:
    """A variable that makes waiting threads spin without end."""

    pid: int
    name: str
    value: str


@dataclass(frozen=True)
class Contention:
    """Pools of one program while they were at work."""

    teams: tuple[Team, ...]
    processes: tuple[ProcessFacts, ...]
    """Those that take part."""
    callers: Mapping[int, int]
    """Threads that call into the pools, by process id."""
    policies: Mapping[int, Policy]
    """By process id: what makes its OpenMP threads spin without end."""
    cores: float
    """Capacity while they worked."""
    from_s: float
    until_s: float
    window_s: float
    """Time in which pools worked."""
    runnable: float
    """Mean number of the program's threads that were on a core or waited for one, in that time."""
    at_once: float
    """Mean number of processes whose pools worked at the same time."""

    @property
    def crowding(self) -> float:
        """Runnable threads per core."""
        return self.runnable / self.cores if self.cores else 0.0

    @property
    def pool_run_s(self) -> float:
        """Core time of the pools' threads, that of the callers left out."""
        return sum(team.run_s for team in self.teams)

    @property
    def pool_wanted_s(self) -> float:
        """Time for which the pools' threads wanted a core."""
        return sum(team.wanted_s for team in self.teams)

    @property
    def used_s(self) -> float:
        """Core time of the processes that take part."""
        return sum(process.run_s for process in self.processes)

    @property
    def system_s(self) -> float:
        """Their time in the kernel; where it was not read, none is assumed."""
        return sum(process.system_s or 0.0 for process in self.processes)

    @property
    def sleeps_per_s(self) -> float:
        """How often threads of the pools went to sleep, per second of the time in which they worked."""
        slept = sum(thread.voluntary or 0 for team in self.teams for thread in team.threads)
        return slept / self.window_s if self.window_s else 0.0

    @cached_property
    def spinning(self) -> tuple[Team, ...]:
        """Teams whose threads keep their core while they wait."""
        return tuple(team for team in self.teams if self._spins(team))

    @property
    def spin_share(self) -> float:
        """Part of the pools' core time that spinning teams used."""
        return sum(team.run_s for team in self.spinning) / self.pool_run_s if self.pool_run_s else 0.0

    def _spins(self, team: Team) -> bool:
        blocks = team.blocks_per_run_s
        if blocks is None or blocks >= _SPINNING_BLOCKS_PER_S:
            return False
        # libgomp stops spinning at once when it has more threads than cores, unless it is told to go on.
        told = team.process.pid in self.policies
        return team.kind != OPENMP_GNU or told or team.size <= self.cores


def contention(facts: Facts) -> Contention | None:
    """Who crowds the cores with pools at work; None where no pool worked."""
    step_s = facts.report.timeline.step_s
    every = tuple(team for process in facts.processes for team in _teams(process, step_s))
    wanted = sum(team.wanted_s for team in every)
    if not wanted:
        return None
    of_process = _by_process(every)
    members = tuple(
        process
        for process in facts.processes
        if sum(team.wanted_s for team in of_process.get(process.life, ())) >= _TAKES_PART * wanted
    )
    teams = tuple(team for process in members for team in of_process[process.life])
    return _measured(facts, teams, members)


def _measured(facts: Facts, teams: tuple[Team, ...], members: tuple[ProcessFacts, ...]) -> Contention | None:
    timeline = facts.report.timeline
    step_s = timeline.step_s
    demand = [_by_bin(team.threads for team in teams if team.process is one) for one in members]
    together = _sum(demand)
    busy = sorted(place for place, wanted in together.items() if wanted >= step_s / 2)
    if not busy:
        return None
    window_s = len(busy) * step_s
    everyone = _by_bin([facts.threads])
    working = sum(1 for each in demand for place in busy if each.get(place, 0.0) >= step_s / 4)
    capacity = timeline.capacity_cores
    return Contention(
        teams=teams,
        processes=members,
        callers={
            one.pid: _callers(facts, one, [team for team in teams if team.process is one]) for one in members
        },
        policies=dict(_policies(facts, members)),
        cores=sum(capacity[min(place, len(capacity) - 1)] for place in busy) / len(busy),
        from_s=busy[0] * step_s,
        until_s=min((busy[-1] + 1) * step_s, facts.wall_s),
        window_s=min(window_s, facts.wall_s),
        runnable=sum(everyone.get(place, 0.0) for place in busy) / window_s,
        at_once=working / len(busy),
    )


def _teams(process: ProcessFacts, step_s: float) -> Iterator[Team]:
    pools: dict[tuple[str, str, str | None, int | None], list[ThreadFacts]] = {}
    for thread in process.threads:
        if thread.owner.kind in COMPUTING:
            key = (thread.owner.kind, thread.owner.label, thread.owner.library, thread.master_tid)
            pools.setdefault(key, []).append(thread)
    for (kind, label, library, master), members in pools.items():
        active = tuple(thread for thread in members if _is_active(thread, process, step_s))
        if active:
            pool_size = len(members) + 1
            yield Team(process, kind, label, library, master, active, len(active) + 1, pool_size)


def _is_active(thread: ThreadFacts, process: ProcessFacts, step_s: float) -> bool:
    """Whether it wanted a core for a good part of its life, the time after its birth left out."""
    ended = next((end for end in (thread.died_s, process.died_s) if end is not None), None)
    life_s = (sum(thread.doing.values()) if ended is None else ended - thread.born_s) - _SETTLED_S
    first = (thread.born_s + _SETTLED_S) / step_s
    wanted = (thread.run_s_by_bin, thread.queue_s_by_bin)
    wanted_s = sum(value for by_bin in wanted for place, value in by_bin.items() if place >= first)
    return life_s > 0 and wanted_s >= _ACTIVE_SHARE * life_s


def _by_process(teams: Iterable[Team]) -> dict[object, list[Team]]:
    found: dict[object, list[Team]] = {}
    for team in teams:
        found.setdefault(team.process.life, []).append(team)
    return found


def _by_bin(groups: Iterable[Iterable[ThreadFacts]]) -> dict[int, float]:
    return _sum(
        each for group in groups for thread in group for each in (thread.run_s_by_bin, thread.queue_s_by_bin)
    )


def _sum(series: Iterable[Mapping[int, float]]) -> dict[int, float]:
    together: dict[int, float] = {}
    for each in series:
        for place, value in each.items():
            together[place] = together.get(place, 0.0) + value
    return together


def _callers(facts: Facts, process: ProcessFacts, teams: list[Team]) -> int:
    """Threads that call into the pools: OpenMP names them, of others those count that compute or queue for it."""
    masters = {team.master_tid for team in teams if team.master_tid is not None}
    if masters:
        return len(masters)
    leaves = {one.tid: one.frames[-1].file for one in facts.samples_of(process) if one.frames}
    return max(1, sum(1 for thread in process.threads if _calls(thread, leaves.get(thread.tid))))


def _calls(thread: ThreadFacts, leaf: str | None) -> bool:
    looked = sum(thread.doing.values())
    elsewhere = sum(thread.doing.get(what, 0.0) for what in _ELSEWHERE)
    if thread.owner.kind not in (MAIN, PYTHON) or not looked or elsewhere > looked / 2:
        return False
    if thread.wanted_s >= _CALLING_SHARE * looked:
        return True
    # Who waits for a Python lock is met inside the standard library; one that waits for a library's own is not.
    waits = thread.doing.get("lock", 0.0) > looked / 2 and thread.wanted_s > 0
    return waits and leaf is not None and (_STANDARD_LIBRARY.search(leaf) is None or "-packages/" in leaf)


def _policies(facts: Facts, members: tuple[ProcessFacts, ...]) -> Iterator[tuple[int, Policy]]:
    for process in members:
        told = {**facts.variables_now.get(process.life, {}), **process.variables}
        for name, values in _POLICIES.items():
            value = told.get(name)
            if value is not None and value.upper() in values:
                yield process.pid, Policy(process.pid, name, value)
