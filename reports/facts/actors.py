"""Each thread and each process with what it used, waited for and when: the tables that rules reason over.

When a thread ran is booked where its counters are followed, in `facts/threads.py`: every row is looked at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from corelens.recording import Recording
from corelens.reports.facts.clocks import Clocks
from corelens.reports.facts.facts import ProcessFacts, ThreadFacts
from corelens.reports.facts.owned import AGENT, Owned
from corelens.reports.facts.processes import NS_PER_S, Life, Lives
from corelens.reports.facts.stack_samples import PythonNames
from corelens.reports.facts.threads import Thread
from corelens.reports.facts.waits import Spell

_Key = TypeVar("_Key")
_COUNTERS = (
    "user_ns", "system_ns", "major_faults", "minor_faults", "read_bytes", "write_bytes", "read_chars",
    "write_chars", "read_calls", "write_calls",
)  # fmt: skip


@dataclass(slots=True)
class _Doing:
    by_what: dict[str, int] = field(default_factory=dict[str, int])
    by_call: dict[tuple[str, str | None], int] = field(default_factory=dict[tuple[str, str | None], int])


class Doings:
    """Adds up, per thread, what it did and in which system call; a sink of spells."""

    def __init__(self) -> None:
        self._by_thread: dict[tuple[Life, int], _Doing] = {}

    def add(self, spell: Spell) -> None:
        """Take one spell."""
        key = (spell.life, spell.tid)
        doing = self._by_thread.get(key)
        if doing is None:
            doing = self._by_thread[key] = _Doing()
        lasted = spell.end_ns - spell.start_ns
        doing.by_what[spell.what] = doing.by_what.get(spell.what, 0) + lasted
        call = (spell.call, spell.file)
        doing.by_call[call] = doing.by_call.get(call, 0) + lasted

    def of(self, thread: Thread) -> tuple[Mapping[str, float], Mapping[tuple[str, str | None], float]]:
        """Seconds by what it did, and by call; both empty when nobody looked at it."""
        doing = None if thread.life is None else self._by_thread.get((thread.life, thread.tid))
        if doing is None:
            return {}, {}
        return _in_seconds(doing.by_what), _in_seconds(doing.by_call)


@dataclass(frozen=True, slots=True)
class Sources:
    """What the tables are made of."""

    recording: Recording
    lives: Lives
    clocks: Clocks
    owned: Mapping[Thread, Owned]
    names: PythonNames
    doings: Doings


def processes(sources: Sources) -> tuple[ProcessFacts, ...]:
    """All processes in the order of birth, the agent's threads left out."""
    switches = _switches(sources.recording, sources.owned)
    by_life: dict[Life, list[ThreadFacts]] = {}
    for owned in sources.owned.values():
        life = owned.thread.life
        if life is not None and owned.owner.kind != AGENT:
            by_life.setdefault(life, []).append(_thread(sources, owned, life, switches))
    counters, masks = _counters(sources.recording, sources.lives), _masks(sources.recording, sources.lives)
    return tuple(
        _process(sources, life, tuple(by_life.get(life, ())), counters.get(life, {}), masks.get(life))
        for life in sources.lives.all
    )


def _at(threads: Iterable[Thread], t_ns: int) -> Thread | None:
    found = None
    for thread in threads:
        if thread.born_ns <= t_ns:
            found = thread
    return found


def _thread(
    sources: Sources, owned: Owned, life: Life, switches: Mapping[Thread, tuple[int, int]]
) -> ThreadFacts:
    thread = owned.thread
    doing, calls = sources.doings.of(thread)
    voluntary, involuntary = switches.get(thread, (None, None))
    return ThreadFacts(
        pid=life.pid,
        tid=thread.tid,
        role=life.role,
        name=sources.names.at(life, thread.tid, thread.born_ns) or thread.comm,
        owner=owned.owner,
        master_tid=None if owned.master is None else owned.master.tid,
        born_s=thread.born_ns / NS_PER_S,
        died_s=_end_s(thread, life),
        run_s=thread.ran_ns / NS_PER_S,
        queue_s=thread.waited_ns / NS_PER_S,
        voluntary=voluntary,
        involuntary=involuntary,
        doing=doing,
        calls=calls,
        run_s_by_bin=_in_seconds(thread.spent.run),
        queue_s_by_bin=_in_seconds(thread.spent.queue),
    )


def _end_s(thread: Thread, life: Life) -> float | None:
    ends = [end for end in (thread.died_ns, life.died_ns) if end is not None]
    return min(ends) / NS_PER_S if ends else None


def _process(
    sources: Sources,
    life: Life,
    threads: tuple[ThreadFacts, ...],
    counted: Mapping[str, int],
    affinity: frozenset[int] | None,
) -> ProcessFacts:
    parent = sources.lives.parent(life)
    return ProcessFacts(
        life=life,
        pid=life.pid,
        role=life.role,
        parent_pid=None if parent is None else parent.pid,
        born_s=life.born_ns / NS_PER_S,
        died_s=None if life.died_ns is None else life.died_ns / NS_PER_S,
        exit_code=life.exit_code,
        signal=life.signal,
        threads=threads,
        run_s=sources.clocks.by_life[life].used_ns / NS_PER_S,
        user_s=_seconds(counted.get("user_ns")),
        system_s=_seconds(counted.get("system_ns")),
        major_faults=counted.get("major_faults"),
        minor_faults=counted.get("minor_faults"),
        read_bytes=counted.get("read_bytes"),
        write_bytes=counted.get("write_bytes"),
        affinity=affinity,
        variables=life.variables or {},
        read_chars=counted.get("read_chars"),
        write_chars=counted.get("write_chars"),
        read_calls=counted.get("read_calls"),
        write_calls=counted.get("write_calls"),
    )


def _counters(recording: Recording, lives: Lives) -> dict[Life, dict[str, int]]:
    """What the slow counters of each process gained while it was recorded; those that were never read are absent."""
    first: dict[tuple[Life, str], int] = {}
    last: dict[tuple[Life, str], int] = {}
    for line in recording.lines("process.detail"):
        for place, pid in enumerate(line["pid"]):
            life = lives.at(pid, line["t_ns"])
            for name in _COUNTERS if life is not None else ():
                value = line[name][place] if name in line else None
                if life is not None and value is not None:
                    first.setdefault((life, name), value if life.began_before else 0)
                    last[life, name] = value
    gained: dict[Life, dict[str, int]] = {}
    for (life, name), value in last.items():
        gained.setdefault(life, {})[name] = max(0, value - first[life, name])
    return gained


def _masks(recording: Recording, lives: Lives) -> dict[Life, frozenset[int]]:
    """Cores that each process may run on, as last read."""
    masks: dict[Life, frozenset[int]] = {}
    said = [*recording.lines("process.born"), *recording.lines("process.changed")]
    for line in sorted(said, key=lambda line: int(line["t_ns"])):
        life = lives.at(line["pid"], line["t_ns"])
        if life is not None and line["affinity"] is not None:
            masks[life] = frozenset(line["affinity"])
    return masks


def _switches(recording: Recording, threads: Iterable[Thread]) -> dict[Thread, tuple[int, int]]:
    """Context switches of each thread while it was recorded: voluntary, involuntary."""
    by_tid: dict[int, list[Thread]] = {}
    for thread in threads:
        by_tid.setdefault(thread.tid, []).append(thread)
    first: dict[Thread, tuple[int, int]] = {}
    last: dict[Thread, tuple[int, int]] = {}
    for line in recording.lines("threads.detail"):
        for tid, one, other in zip(line["tid"], line["voluntary"], line["involuntary"], strict=False):
            read = _at(by_tid.get(tid, ()), line["t_ns"])
            if read is not None:
                before = read.life is not None and read.life.began_before
                first.setdefault(read, (one, other) if before else (0, 0))
                last[read] = (one, other)
    return {
        thread: (max(0, one - first[thread][0]), max(0, other - first[thread][1]))
        for thread, (one, other) in last.items()
    }


def _in_seconds(amounts: Mapping[_Key, float]) -> dict[_Key, float]:
    return {key: amount / NS_PER_S for key, amount in amounts.items()}


def _seconds(amount_ns: int | None) -> float | None:
    return None if amount_ns is None else amount_ns / NS_PER_S
