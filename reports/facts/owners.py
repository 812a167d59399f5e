"""What made each thread: the readings of the owners probe joined with the threads, and named.

The recording holds places in libraries; here they become owners. Nothing is guessed: a thread whose reading is
missing or says unknown stays unknown with the reason, unless the interpreter itself has named it as its own.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import cast

from corelens.recording import Recording
from corelens.reports.facts import owned
from corelens.reports.facts.owned import Owned, Owner
from corelens.reports.facts.owner_rules import Clue, helper_of, owner_of
from corelens.reports.facts.processes import Life, Lives
from corelens.reports.facts.thread_bodies import bodies
from corelens.reports.facts.threads import Thread
from corelens.vocabulary import Line

Symbols = Callable[[str, str | None, int], str | None]
"""Names the function at an offset of a library: path, build id, offset from its first byte."""

# A thread is asked for within five looks at ten a second; one that ended sooner had no time to answer.
SHORT_LIVED_NS = 500_000_000
# The interpreter calls by this name a thread that another made and that entered it later.
_FOREIGN = "Dummy-"


def no_symbols(path: str, build_id: str | None, offset: int) -> str | None:
    """Knows no function; owners that only their function tells apart then share the owner `torch`."""
    return None


def owners(
    recording: Recording, lives: Lives, threads: Iterable[Thread], symbols: Symbols = no_symbols
) -> dict[Thread, Owned]:
    """The owner of every thread, and the master of each worker in a libgomp team."""
    everyone = tuple(threads)
    found = _Threads(everyone)
    naming = _Naming(recording, symbols)
    readings = _readings(recording, found)
    names = _names(recording, found)
    agents = set(_agents(recording, found))
    run_by = _bodies(recording, found)
    ended = _ended(recording, found)
    first = {thread.life: thread for thread in everyone if _is_first(thread)}
    result: dict[Thread, Owned] = {}
    for thread in everyone:
        reading = readings.get(thread)
        seen = _Seen(
            reading,
            names.get(thread) or _own_name(thread, first.get(thread.life)),
            thread in names,
            run_by.get(thread),
            ended.get(thread),
        )
        owner = _AGENT if thread in agents else naming.owner(thread, seen)
        master = found.at(reading.master, reading.t_ns) if reading and reading.master else None
        result[thread] = Owned(thread, owner, master)
    return result


_MAIN = Owner(owned.MAIN, "main", None, None)
_AGENT = Owner(owned.AGENT, "corelens agent", None, None)


@dataclass(slots=True)
class _Reading:
    """The last telling row of the owners probe for one thread."""

    t_ns: int
    how: str
    module: int | None
    offset: int | None
    rtti: str | None
    master: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class _Seen:
    """All that is known of one thread's making."""

    reading: _Reading | None
    name: str | None
    named_by_interpreter: bool
    body: str | None
    ended_ns: int | None


class _Threads:
    """Threads by id and time: an id can be given to another thread later."""

    def __init__(self, everyone: Iterable[Thread]) -> None:
        self._by_tid: dict[int, list[Thread]] = {}
        for thread in sorted(everyone, key=lambda thread: thread.born_ns):
            self._by_tid.setdefault(thread.tid, []).append(thread)

    def at(self, tid: int, t_ns: int) -> Thread | None:
        """The thread that had this id at that time, or has it first where none had begun."""
        known = self._by_tid.get(tid)
        if known is None:
            return None
        place = bisect.bisect_right(known, t_ns, key=lambda thread: thread.born_ns)
        return known[max(place - 1, 0)]


class _Naming:
    """Turns readings into owners; each place in a library is looked up once."""

    def __init__(self, recording: Recording, symbols: Symbols) -> None:
        self._symbols = symbols
        self._recorded = "owners" in recording.header["periods_ns"] or bool(recording.lines("threads.owned"))
        self._modules = {
            number: (path, build_id)
            for line in recording.lines("modules")
            for number, path, build_id in zip(line["module"], line["path"], line["build_id"], strict=False)
        }
        self._places: dict[tuple[int, int | None, str | None], Owner] = {}

    def owner(self, thread: Thread, seen: _Seen) -> Owner:
        """The owner of one thread."""
        if _is_first(thread):
            return _MAIN
        owner = self._of_reading(thread, seen)
        if owner.kind in (owned.UNKNOWN, owned.SHORT_LIVED) and seen.named_by_interpreter and seen.name:
            owner = owner if seen.name.startswith(_FOREIGN) else _PYTHON
        return _python(seen.name, seen.body) if owner.kind == owned.PYTHON else owner

    def _of_reading(self, thread: Thread, seen: _Seen) -> Owner:
        reading = seen.reading
        if reading is None:
            return self._unread(thread, seen.ended_ns)
        if reading.how == "main":
            return _MAIN
        if reading.module is None:
            return _unknown(reading.reason or "the probe gave no reason")
        if reading.module not in self._modules:
            return _unknown("the name of its library lies in a damaged part of the file")
        place = (reading.module, reading.offset, reading.rtti)
        if place not in self._places:
            self._places[place] = self._of_place(*place)
        return self._places[place]

    def _of_place(self, module: int, offset: int | None, rtti: str | None) -> Owner:
        path, build_id = self._modules[module]
        symbol = None if offset is None or rtti is not None else self._symbols(path, build_id, offset)
        return owner_of(Clue(path, rtti, symbol))

    def _unread(self, thread: Thread, ended_ns: int | None) -> Owner:
        if not self._recorded:
            return _unknown("the recording holds no owners of threads")
        if ended_ns is not None and ended_ns - thread.born_ns <= SHORT_LIVED_NS:
            reason = "it ended before it could be asked for"
            return Owner(owned.SHORT_LIVED, "short-lived", None, reason)
        return _unknown("it was never asked for, or the answer lies in a damaged part of the file")


_PYTHON = Owner(owned.PYTHON, "Python thread", None, None)


def _unknown(reason: str) -> Owner:
    return Owner(owned.UNKNOWN, "unknown", None, reason)


def _python(name: str | None, body: str | None) -> Owner:
    helper = helper_of(name, body)
    if helper is not None:
        return Owner(owned.PYTHON_HELPER, helper, None, None)
    return _PYTHON if name is None else replace(_PYTHON, label=f"Python thread {name}")


def _is_first(thread: Thread) -> bool:
    return thread.life is not None and thread.tid == thread.life.pid


def _own_name(thread: Thread, first: Thread | None) -> str | None:
    """Its name where it has one of its own: threads inherit that of their process."""
    inherited = {first.comm if first is not None else None, _comm(thread.life)}
    return None if thread.comm in inherited else thread.comm


def _comm(life: Life | None) -> str | None:
    return None if life is None else life.comm


# what the recording says, by thread


def _time(line: Line) -> int:
    return int(line["t_ns"])


def _readings(recording: Recording, threads: _Threads) -> dict[Thread, _Reading]:
    found: dict[Thread, _Reading] = {}
    for line in sorted(recording.lines("threads.owned"), key=_time):
        columns = (line[name] for name in ("tid", "how", "module", "offset", "rtti", "master", "reason"))
        for tid, *row in zip(*columns, strict=False):
            thread = threads.at(tid, line["t_ns"])
            reading = _Reading(line["t_ns"], *row)
            if thread is not None and (reading.how != "unknown" or thread not in found):
                found[thread] = reading
    return found


def _names(recording: Recording, threads: _Threads) -> dict[Thread, str]:
    """Names as the interpreter knows them; what the agent or a mark said stands where nothing else did."""
    found: dict[Thread, str] = {}
    for line in sorted(recording.lines("pools"), key=_time):
        said: dict[str, str] = line["python_threads"] or {}
        _keep(found, threads, line["t_ns"], ((int(tid), name) for tid, name in said.items()))
    for line in sorted(recording.lines("mark"), key=_time):
        if line["name"] == "threads":
            _keep(found, threads, line["t_ns"], _marked(line, threads))
    for line in sorted(recording.lines("threads.python"), key=_time):
        _keep(found, threads, line["t_ns"], zip(line["tid"], line["name"], strict=False))
    return found


def _marked(line: Line, threads: _Threads) -> Iterator[tuple[int, str]]:
    """What `corelens.marks.threads()` said of the process that called it; a mark can hold anything."""
    names = line["attributes"].get("names")
    for tid, name in cast(dict[object, object], names if isinstance(names, dict) else {}).items():
        if isinstance(tid, str) and tid.isdecimal() and isinstance(name, str):
            thread = threads.at(int(tid), line["t_ns"])
            if thread is not None and thread.life is not None and thread.life.pid == line["pid"]:
                yield int(tid), name


def _keep(found: dict[Thread, str], threads: _Threads, t_ns: int, named: Iterable[tuple[int, str]]) -> None:
    for tid, name in named:
        thread = threads.at(tid, t_ns)
        if thread is not None:
            found[thread] = name


def _bodies(recording: Recording, threads: _Threads) -> dict[Thread, str]:
    """What each Python thread runs, where its stacks were recorded."""
    found: dict[Thread, str] = {}
    for t_ns, tid, body in bodies(recording):
        thread = threads.at(tid, t_ns)
        if thread is not None:
            found.setdefault(thread, body)
    return found


def _agents(recording: Recording, threads: _Threads) -> Iterator[Thread]:
    for line in recording.lines("pools"):
        thread = threads.at(line["agent_tid"], line["t_ns"]) if line["agent_tid"] is not None else None
        if thread is not None:
            yield thread


def _ended(recording: Recording, threads: _Threads) -> dict[Thread, int]:
    found: dict[Thread, int] = {}
    for line in recording.lines("threads.died"):
        for tid in line["tid"]:
            thread = threads.at(tid, line["t_ns"] - 1)
            if thread is not None:
                found[thread] = line["t_ns"]
    return found
