"""Which thread limits took effect, and why the others did not: one verdict per process, limit and library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from corelens.recording import Recording
from corelens.reports.facts import limit_code, limit_verdicts
from corelens.reports.facts import limit_readers as readers
from corelens.reports.facts import teams as team_facts
from corelens.reports.facts.limit_code import Set
from corelens.reports.facts.limit_evidence import Evidence, evidence
from corelens.reports.facts.limit_libraries import Present
from corelens.reports.facts.limit_readers import LIBRARIES
from corelens.reports.facts.limit_verdicts import Reading, Verdict
from corelens.reports.facts.owned import TORCH_PTHREADPOOL, Owned
from corelens.reports.facts.processes import NS_PER_S, Life, Lives
from corelens.reports.facts.teams import Team
from corelens.reports.facts.threads import Thread
from corelens.reports.report import Limit

_READ = frozenset(name for library in LIBRARIES.values() for name in (*library.variables, *library.policies))
_SIZES = frozenset(name for library in LIBRARIES.values() for name in library.variables)
_OPENMP = (readers.TORCH, readers.LIBGOMP, readers.LLVM_OPENMP)
_RAY_WORKER = "ray-worker"
_FORKSERVER = "forkserver"


def limits(recording: Recording, lives: Lives, owned: Mapping[Thread, Owned]) -> tuple[Limit, ...]:
    """Judge every limit of every process; without owners, observed sizes are absent."""
    pools = team_facts.teams(recording, owned)
    seen = {thread.life for thread in owned if thread.life is not None}
    known = evidence(recording, lives, pools, seen)
    rows: list[Limit] = []
    for life, process in known.items():
        parent = _giver(lives, life)
        rows += _of_process(recording, process, known.get(parent) if parent else None, pools.get(life, ()))
    for process in _programs(known):
        rows += _unread(process)
    return tuple(rows)


def _programs(known: Mapping[Life, Evidence]) -> list[Evidence]:
    """The first process that is a program of its own, and not the shell that started it.

    Those that it starts inherit its variables, and loky hands its workers every variable that it knows.
    """
    agents = any(process.agent for process in known.values())
    return [process for process in known.values() if process.agent == agents][:1]


def _giver(lives: Lives, life: Life) -> Life | None:
    """The process whose program decided about this one: behind a Ray worker stands the driver."""
    if life is lives.root:
        return None
    if life.role == _RAY_WORKER:
        drivers = [each for each in lives.all if each.role == "ray-driver"]
        return drivers[0] if drivers else lives.root
    parent = lives.parent(life)
    return lives.parent(parent) if parent is not None and parent.role == _FORKSERVER else parent


def _of_process(
    recording: Recording, process: Evidence, parent: Evidence | None, teams: tuple[Team, ...]
) -> Iterator[Limit]:
    calls = [limit_code.set_by_code(present.reading) for present in process.libraries]
    torch = next(
        (call for call, one in zip(calls, process.libraries, strict=True) if _is(one, readers.TORCH)), None
    )
    for present, call in zip(process.libraries, calls, strict=True):
        rows = [
            *_variables(process, parent, present),
            *_missing(process, parent, present),
            *_calls(recording, process, present, call),
            *_seen_calls(process, present, teams),
            *_threadpoolctl(recording, process, present, torch),
        ]
        yield from rows or _unlimited(process, present)


def _variables(process: Evidence, parent: Evidence | None, present: Present) -> Iterator[Limit]:
    reading = present.reading
    for name in (*reading.library.variables, *reading.library.policies):
        for value in _values(process, present, name):
            before = reading.at_load is not None and _was_replaced(process, present, name, value)
            if before:
                verdict = limit_verdicts.on_replaced(reading, name, value)
            elif not process.agent and (process.at_exec or {}).get(name) != value:
                verdict = limit_verdicts.on_set_by_program(reading, name, value)
            else:
                by_parent = parent is not None and parent.had(name, value)
                verdict = limit_verdicts.on_variable(reading, name, value, set_by_parent=by_parent)
            yield _row(process, present, name, value, verdict)


def _values(process: Evidence, present: Present, name: str) -> list[str]:
    """The values that a variable had in a process, each once, in the order of time."""
    at_load = present.reading.at_load or {}
    values: list[Mapping[str, str]] = [process.at_exec or {}] if not process.forked else []
    values += [at_load]
    values += [variables for t_ns, variables in process.variables if t_ns > (present.read_ns or 0)]
    return list(dict.fromkeys(each[name] for each in values if name in each))


def _was_replaced(process: Evidence, present: Present, name: str, value: str) -> bool:
    """Whether a value was there at exec and no more when the library read it, nor later."""
    if process.forked or (process.at_exec or {}).get(name) != value:
        return False
    if (present.reading.at_load or {}).get(name) == value:
        return False
    later = [variables for t_ns, variables in process.variables if t_ns > (present.read_ns or 0)]
    return present.read_ns is not None and not any(each.get(name) == value for each in later)


def _missing(process: Evidence, parent: Evidence | None, present: Present) -> Iterator[Limit]:
    """What the parent has in its environment and this process, though executed, was not handed."""
    if parent is None or process.forked or process.at_exec is None or present.reading.inherited:
        return
    theirs = parent.now or parent.at_exec or {}
    ended_ns = process.life.died_ns
    for name in present.reading.library.variables:
        if ended_ns is not None and any(
            t_ns >= ended_ns and name not in variables for t_ns, variables in parent.variables
        ):
            # The parent set it when this process was over.
            continue
        if name in theirs and not any(name in variables for _, variables in process.variables):
            verdict = limit_verdicts.on_missing(present.reading, name, theirs[name])
            yield _row(process, present, name, theirs[name], verdict)


def _calls(recording: Recording, process: Evidence, present: Present, call: Set | None) -> Iterator[Limit]:
    if call is None:
        return
    name = present.reading.library.set_by
    if _is(present, readers.TORCH):
        larger = _larger_at_work(recording, present, call.threads, _since(present, call.threads))
        verdict = limit_code.on_torch_call(call, larger)
    else:
        verdict = limit_code.on_call(present.reading, call)
    if name == "threadpoolctl" and name not in process.packages:
        name = "code"
    yield _row(process, present, name, str(call.threads), verdict)


def _larger_at_work(recording: Recording, present: Present, threads: int, since_ns: int) -> list[int]:
    """Sizes of teams above a number that still worked after a time."""
    larger = [team for team in present.teams if team.threads > threads]
    return [team.threads for team in team_facts.at_work_after(recording, larger, since_ns)]


def _seen_calls(process: Evidence, present: Present, teams: tuple[Team, ...]) -> Iterator[Limit]:
    """torch.set_num_threads, told by the pool that it makes, where no agent could ask."""
    if process.agent or not _is(present, readers.TORCH):
        return
    for team in teams:
        if team.kind == TORCH_PTHREADPOOL:
            verdict = limit_code.on_seen_pool(present.reading, team.threads)
            if verdict is not None:
                yield _row(process, present, present.reading.library.set_by, str(team.threads), verdict)


def _threadpoolctl(
    recording: Recording, process: Evidence, present: Present, torch: Set | None
) -> Iterator[Limit]:
    if present.reading.library.name not in _OPENMP or "threadpoolctl" not in process.packages:
        return
    for other in process.libraries:
        asked = limit_code.set_by_code(other.reading) if _is(other, readers.OPENBLAS) else None
        if asked is not None:
            since_ns = _since(other, asked.threads)
            larger = _larger_at_work(recording, present, asked.threads, since_ns) if process.owned else None
            verdict = limit_code.on_threadpoolctl(present.reading, asked.threads, torch, larger)
            if verdict is not None:
                yield _row(process, present, "threadpoolctl", str(asked.threads), verdict)
            return


def _since(present: Present, threads: int) -> int:
    """When a library was first seen with a number of threads."""
    return next((t_ns for t_ns, size in present.sizes if size == threads), 0)


def _unlimited(process: Evidence, present: Present) -> Iterator[Limit]:
    elsewhere = sorted((present.reading.at_load or {}).keys() & _SIZES)
    verdict = limit_verdicts.on_nothing(present.reading, elsewhere)
    yield _row(process, present, None, None, verdict or Verdict("", "no variable limits it"))


def _unread(process: Evidence) -> Iterator[Limit]:
    """Variables that set a size for libraries this process does not have."""
    have = [present.reading.library for present in process.libraries]
    taken = {name for library in have for name in (*library.variables, *library.policies)}
    known: dict[str, str] = {}
    for variables in (process.at_exec or {}, *(each for _, each in process.variables)):
        known.update(variables)
    labels = [present.label for present in process.libraries if (present.reading.size or 0) > 1]
    for name in sorted(known.keys() & _SIZES - taken):
        if process.agent:
            verdict = limit_verdicts.on_unread(name, labels)
        else:
            verdict = Verdict(
                limit_verdicts.UNKNOWN,
                "no thread of a library that reads it was seen: it took effect, or no such library is in use;"
                " and nobody asked the libraries",
                "record the program from its start with --agent",
            )
        yield _row(process, None, name, known[name], verdict)


def _row(
    process: Evidence, present: Present | None, limit: str | None, asked: str | None, verdict: Verdict
) -> Limit:
    reading: Reading | None = present.reading if present else None
    return Limit(
        pid=process.life.pid,
        role=process.life.role,
        library=present.label if present else None,
        version=present.version if present else None,
        limit=limit,
        asked=asked,
        configured_threads=reading.sizes[-1] if reading and reading.sizes else None,
        observed_threads=reading.observed if reading else None,
        verdict=verdict.word or None,
        why=verdict.why,
        fix=verdict.fix,
        loaded_at_s=_seconds(present.read_ns if present else None),
        seen_at_s=_seconds(_first_seen_ns(process, present, limit, asked)),
    )


def _first_seen_ns(
    process: Evidence, present: Present | None, limit: str | None, asked: str | None
) -> int | None:
    if limit is None:
        return None
    if limit in _READ:
        seen = (t_ns for t_ns, variables in process.variables if variables.get(limit) == asked)
        return next(seen, None)
    return next((t_ns for t_ns, size in present.sizes if str(size) == asked), None) if present else None


def _seconds(t_ns: int | None) -> float | None:
    return None if t_ns is None else t_ns / NS_PER_S


def _is(present: Present, name: str) -> bool:
    return present.reading.library.name == name
