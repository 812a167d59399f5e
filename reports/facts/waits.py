"""What blocked threads waited for, from the system calls that they were found in.

A thread does what its last row said until its next row or its end, so time is counted from row to row. Rows are
samples: what a thread does between two looks is not known, and evens out over many.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from corelens.recording import Recording
from corelens.reports.facts.processes import NS_PER_S, Life, Lives
from corelens.reports.report import ProcessWait, Wait
from corelens.vocabulary import Line

RUNNING = "running"
GIL = "gil"
LOCK = "lock"
POOL = "pool"
PIPE = "pipe"
SOCKET = "socket"
POLL = "poll"
SLEEP = "sleep"
DISK = "disk"
CHILD = "child"
SIGNAL = "signal"
TERMINAL = "terminal"
PAGING = "paging"
OTHER = "other"

LABELS = {
    RUNNING: "on a core, or waiting for one",
    GIL: "the GIL",
    LOCK: "a lock, condition or semaphore",
    POOL: "work, or the rest of its team: idle in a native pool",
    PIPE: "a pipe or event",
    SOCKET: "a socket",
    POLL: "any of several files (poll, select, epoll)",
    SLEEP: "sleeping",
    DISK: "a file on disk",
    CHILD: "a child process",
    SIGNAL: "a signal",
    TERMINAL: "a terminal",
    PAGING: "a page of memory",
    OTHER: "something else",
}
"""What is waited for, in words for people."""

_BY_CALL = {
    "running": RUNNING, "fault": PAGING, "futex": LOCK, "futex_waitv": LOCK, "semop": LOCK,
    "semtimedop": LOCK, "msgrcv": LOCK, "mq_timedreceive": LOCK, "flock": LOCK, "fcntl": LOCK,
    "poll": POLL, "ppoll": POLL, "select": POLL, "pselect6": POLL, "epoll_wait": POLL, "epoll_pwait": POLL,
    "epoll_pwait2": POLL, "nanosleep": SLEEP, "clock_nanosleep": SLEEP, "wait4": CHILD, "waitid": CHILD,
    "pause": SIGNAL, "rt_sigsuspend": SIGNAL, "rt_sigtimedwait": SIGNAL, "fsync": DISK, "fdatasync": DISK,
    "sync_file_range": DISK, "io_getevents": DISK, "io_uring_enter": DISK, "connect": SOCKET,
    "accept": SOCKET, "accept4": SOCKET, "sendto": SOCKET, "recvfrom": SOCKET, "sendmsg": SOCKET,
    "recvmsg": SOCKET, "recvmmsg": SOCKET, "sendmmsg": SOCKET,
}  # fmt: skip
_BY_FILE = {
    "pipe": PIPE, "eventfd": PIPE, "socket": SOCKET, "epoll": POLL, "timerfd": SLEEP, "terminal": TERMINAL,
    "file": DISK,
}  # fmt: skip


_Begun = tuple[int, str, int | None, str, str | None]
"""Since when, and the rest of a spell."""


class Spell(NamedTuple):
    """A thread in one place for a while."""

    life: Life
    tid: int
    start_ns: int
    end_ns: int
    what: str
    """One of the words above."""
    address: int | None
    """Futex that it waited on."""
    call: str = RUNNING
    """System call that it was blocked in, as the recording names it."""
    file: str | None = None
    """Kind of file that the call reads or writes."""


class Sink(Protocol):
    """Takes every spell once, in the order in which they end."""

    def add(self, spell: Spell) -> None:
        """Take one."""
        ...


class Ranges:
    """Addresses that wait for the GIL, per process as they were told."""

    def __init__(self, recording: Recording, lives: Lives) -> None:
        self._by_life: dict[Life, list[tuple[int, int]]] = {}
        for line in recording.lines("gil.found"):
            for pid, start, end in zip(line["pid"], line["wait_start"], line["wait_end"], strict=False):
                life = lives.at(pid, line["t_ns"])
                if life is not None and start is not None:
                    told = self._by_life.setdefault(life, [])
                    if (start, end) not in told:
                        told.append((start, end))

    def has(self, life: Life, address: int) -> bool:
        """Whether who waits there waits for the GIL."""
        for start, end in self._by_life.get(life, ()):  # noqa: SIM110 - a plain loop, once for every futex
            if start <= address < end:
                return True
        return False


def collect(
    recording: Recording,
    lives: Lives,
    ranges: Ranges,
    end_ns: int,
    sinks: Iterable[Sink],
    pools: Container[tuple[Life, int]] = frozenset(),
) -> None:
    """Hand every spell to every sink; one pass, because there can be millions.

    `pools` holds the threads of native pools, whose waiting on a futex is called idling and not a lock.
    """
    adders = [sink.add for sink in sinks]
    for spell in spells(recording, lives, ranges, end_ns):
        if spell.what == LOCK and (spell.life, spell.tid) in pools:
            spell = spell._replace(what=POOL)
        for add in adders:
            add(spell)


def spells(recording: Recording, lives: Lives, ranges: Ranges, end_ns: int) -> Iterator[Spell]:
    """What each thread did, from row to row."""
    now: dict[tuple[Life, int], _Begun] = {}
    where: dict[int, Life] = {}
    for line in _in_order(recording):
        t_ns = line["t_ns"]
        if line["kind"] == "threads.died":
            for tid in line["tid"]:
                life = where.pop(tid, None)
                if life is not None and (begun := now.pop((life, tid), None)) is not None:
                    yield Spell(life, tid, begun[0], t_ns, *begun[1:])
            continue
        rows = zip(line["pid"], line["tid"], line["call"], line["address"], line["file"], strict=False)
        for pid, tid, call, address, file in rows:
            owner = lives.at(pid, t_ns)
            if owner is None or owner.ended_by(t_ns):
                continue
            key = (owner, tid)
            begun = now.get(key)
            what = what_of(call, file)
            if what == LOCK and address is not None and ranges.has(owner, address):
                what = GIL
            if begun is not None:
                yield Spell(owner, tid, begun[0], t_ns, *begun[1:])
            now[key] = (t_ns, what, address, call, file)
            where[tid] = owner
    for (life, tid), begun in now.items():
        last_ns = end_ns if life.died_ns is None else min(end_ns, life.died_ns)
        yield Spell(life, tid, begun[0], max(begun[0], last_ns), *begun[1:])


def what_of(call: str, file: str | None) -> str:
    """What a system call on a kind of file waits for; the GIL is a lock here."""
    return _BY_CALL.get(call) or _BY_FILE.get(file or "", OTHER)


def _in_order(recording: Recording) -> Iterator[Line]:
    # A dead thread's id can be given away within one round, so ends come first.
    kinds = [recording.lines("threads.died"), recording.lines("waits")]
    tagged = [(line["t_ns"], rank, place) for rank, of in enumerate(kinds) for place, line in enumerate(of)]
    for _, rank, place in sorted(tagged):
        yield kinds[rank][place]


@dataclass(slots=True)
class _Sum:
    """Time and threads of one kind of wait."""

    time_ns: int
    threads: set[tuple[Life, int]]


class Totals:
    """Adds up who waited for what; a sink."""

    def __init__(self) -> None:
        self.by_life: dict[Life, dict[str, _Sum]] = {}
        self.by_thread: dict[Life, dict[int, dict[str, int]]] = {}

    def add(self, spell: Spell) -> None:
        """Take one spell."""
        of_life = self.by_life.setdefault(spell.life, {})
        found = of_life.get(spell.what)
        if found is None:
            found = of_life[spell.what] = _Sum(0, set())
        key, lasted = (spell.life, spell.tid), spell.end_ns - spell.start_ns
        found.time_ns += lasted
        found.threads.add(key)
        of_thread = self.by_thread.setdefault(spell.life, {}).setdefault(spell.tid, {})
        of_thread[spell.what] = of_thread.get(spell.what, 0) + lasted

    def time_ns(self, life: Life, what: str) -> int:
        """Time that the threads of one process spent so."""
        found = self.by_life.get(life, {}).get(what)
        return 0 if found is None else found.time_ns


def waits(totals: Totals) -> tuple[Wait, ...]:
    """The whole tree by what was waited for, longest first; empty when nobody looked."""
    together: dict[str, _Sum] = {}
    for of_life in totals.by_life.values():
        for what, one in of_life.items():
            found = together.setdefault(what, _Sum(0, set()))
            found.time_ns += one.time_ns
            found.threads |= one.threads
    whole = sum(one.time_ns for one in together.values())
    ordered = sorted(together.items(), key=lambda item: -item[1].time_ns)
    return tuple(
        Wait(
            what=what,
            label=LABELS[what],
            thread_s=one.time_ns / NS_PER_S,
            time_share=one.time_ns / whole if whole else 0.0,
            threads=len(one.threads),
            processes=len({life for life, _ in one.threads}),
        )
        for what, one in ordered
    )


def process_waits(totals: Totals) -> tuple[ProcessWait, ...]:
    """The same for each process."""
    found: list[ProcessWait] = []
    for life, of_life in totals.by_life.items():
        whole = sum(one.time_ns for one in of_life.values())
        found += [
            ProcessWait(
                pid=life.pid,
                role=life.role,
                what=what,
                thread_s=one.time_ns / NS_PER_S,
                time_share=one.time_ns / whole if whole else 0.0,
                threads=len(one.threads),
            )
            for what, one in sorted(of_life.items(), key=lambda item: -item[1].time_ns)
        ]
    return tuple(found)
