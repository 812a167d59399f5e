"""How many processes and threads there were at each moment, together and by role, and when most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from corelens.recording import Recording
from corelens.reports.facts.processes import Life, Lives
from corelens.reports.facts.threads import Thread

Level = tuple[int, int]
# What the agent calls its thread.
_AGENT_COMM = "corelens-agent"


@dataclass(frozen=True, slots=True)
class Population:
    """Step functions of time, and the moment of most threads.

    The agent's own threads are left out of every count. `peak_threads` holds the living processes at the peak
    with their thread counts.
    """

    threads: tuple[Level, ...]
    processes: tuple[Level, ...]
    peak: int
    peak_ns: int
    peak_threads: dict[Life, int]
    processes_peak: int
    by_life: dict[Life, int]
    """Largest number of threads of each process."""
    by_role: dict[str, int]
    """Largest number of threads of each role together."""
    levels: dict[Life, list[Level]] = field(default_factory=dict[Life, list[Level]])
    """Threads of each process over time, as the kernel counted them; 0 from its end on."""


@dataclass(slots=True)
class _Sweep:
    """Counts of the moment while time goes by."""

    now: dict[Life, int]
    threads: list[Level]
    processes: list[Level]
    by_life: dict[Life, int]
    by_role: dict[str, int]
    roles_now: dict[str, int]
    total: int = 0
    peak: int = 0
    peak_ns: int = 0
    peak_threads: dict[Life, int] | None = None
    levels: dict[Life, list[Level]] = field(default_factory=dict[Life, list[Level]])

    def set(self, t_ns: int, life: Life, count: int) -> None:
        """Change the number of threads of one process; 0 is its end."""
        levels = self.levels.setdefault(life, [])
        if levels and levels[-1][0] == t_ns:
            levels.pop()
        levels.append((t_ns, count))
        change = count - self.now.get(life, 0)
        self.total += change
        self.roles_now[life.role] = self.roles_now.get(life.role, 0) + change
        self.by_life[life] = max(self.by_life.get(life, 0), count)
        if count:
            self.now[life] = count
        else:
            self.now.pop(life, None)

    def settle(self, t_ns: int, roles: Iterable[str]) -> None:
        """Take note of the moment, once everything that happened in it is known."""
        self.threads.append((t_ns, self.total))
        self.processes.append((t_ns, len(self.now)))
        for role in roles:
            self.by_role[role] = max(self.by_role.get(role, 0), self.roles_now[role])
        if self.total > self.peak:
            self.peak, self.peak_ns, self.peak_threads = self.total, t_ns, dict(self.now)


def population(recording: Recording, lives: Lives, threads: Iterable[Thread]) -> Population:
    """Go through all births, counts and deaths in the order of time."""
    events = sorted(_events(recording, lives, _Agents(recording, lives, threads)), key=lambda event: event[0])
    sweep = _Sweep({}, [], [], {}, {}, {})
    touched: set[str] = set()
    for index, (t_ns, life, count) in enumerate(events):
        sweep.set(t_ns, life, count)
        touched.add(life.role)
        if index + 1 == len(events) or events[index + 1][0] != t_ns:
            sweep.settle(t_ns, touched)
            touched.clear()
    return Population(
        threads=tuple(sweep.threads),
        processes=tuple(sweep.processes),
        peak=sweep.peak,
        peak_ns=sweep.peak_ns,
        peak_threads=sweep.peak_threads or {},
        processes_peak=max((count for _, count in sweep.processes), default=0),
        by_life=sweep.by_life,
        by_role=sweep.by_role,
        levels=sweep.levels,
    )


def agent_threads(recording: Recording, lives: Lives, threads: Iterable[Thread]) -> frozenset[Thread]:
    """The agents' own threads, which no count includes.

    An agent ends its thread before a fork and starts another after it, and asks torch in one of its own.
    """
    said = {(lives.at(line["pid"], line["t_ns"]), line["agent_tid"]) for line in recording.lines("pools")}
    seen_in = {life for life, _ in said}
    return frozenset(
        thread
        for thread in threads
        if thread.life is not None
        and thread.life in seen_in
        and ((thread.life, thread.tid) in said or thread.comm == _AGENT_COMM)
    )


class _Agents:
    """How many threads of a process are the agent's."""

    def __init__(self, recording: Recording, lives: Lives, threads: Iterable[Thread]) -> None:
        self._threads: dict[Life, list[Thread]] = {}
        self._unlisted: dict[Life, int] = {}
        for thread in agent_threads(recording, lives, threads):
            if thread.life is not None:
                self._threads.setdefault(thread.life, []).append(thread)
        for line in recording.lines("pools"):
            life = lives.at(line["pid"], line["t_ns"])
            if life is not None and life not in self._threads and line["agent_tid"] is not None:
                self._unlisted.setdefault(life, line["t_ns"])

    def at(self, life: Life, t_ns: int) -> int:
        """Their number at a moment; one that was never listed is there from its first report on."""
        listed = self._threads.get(life)
        if listed is None:
            return int(self._unlisted.get(life, t_ns + 1) <= t_ns)
        return sum(
            thread.born_ns <= t_ns and (thread.died_ns is None or thread.died_ns > t_ns) for thread in listed
        )


def _events(recording: Recording, lives: Lives, agents: _Agents) -> Iterator[tuple[int, Life, int]]:
    # Events of one moment keep this order: a process that is born, counted and gone in one round ends at 0.
    for life in lives.all:
        yield life.born_ns, life, 1
    last: dict[Life, int] = {}
    for line in recording.lines("processes"):
        t_ns = line["t_ns"]
        for pid, count in zip(line["pid"], line["threads"], strict=False):
            owner = lives.at(pid, t_ns)
            if owner is None or owner.ended_by(t_ns):
                continue
            own = max(1, count - agents.at(owner, t_ns))
            if last.get(owner) != own:
                last[owner] = own
                yield t_ns, owner, own
    for life in lives.all:
        if life.died_ns is not None:
            yield life.died_ns, life, 0
