"""What is known of each process's libraries and limit variables, put in the order of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, cast

from corelens.recording import Recording
from corelens.reports.facts import limit_readers as readers
from corelens.reports.facts.limit_readers import LIBRARIES, Library
from corelens.reports.facts.limit_verdicts import Cores, Reading
from corelens.reports.facts.owned import (
    ARROW,
    BLIS,
    MKL,
    NUMBA_WORKQUEUE,
    OPENBLAS,
    OPENMP_GNU,
    OPENMP_INTEL,
    OPENMP_LLVM,
    POLARS,
)
from corelens.reports.facts.processes import Life, Lives
from corelens.reports.facts.teams import Team
from corelens.vocabulary import Line

# threadpoolctl, which the agent uses to look, sets them itself.
SET_BY_LOOKING = frozenset({"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"})

_BY_OWNER = {
    OPENBLAS: readers.OPENBLAS,
    OPENMP_GNU: readers.LIBGOMP,
    OPENMP_LLVM: readers.LLVM_OPENMP,
    OPENMP_INTEL: readers.LLVM_OPENMP,
    MKL: readers.MKL,
    BLIS: readers.BLIS,
    NUMBA_WORKQUEUE: readers.NUMBA,
    ARROW: readers.ARROW,
    POLARS: readers.POLARS,
}
_BY_API = {"openblas": readers.OPENBLAS, "mkl": readers.MKL, "blis": readers.BLIS}
_TORCH_FOLDER = "/torch/lib/"


@dataclass(frozen=True, slots=True)
class Present:
    """One library that a process has, as far as it was seen."""

    label: str
    version: str | None
    reading: Reading
    read_ns: int | None
    """When it was about to be loaded; None where nobody saw that."""
    sizes: tuple[tuple[int, int], ...] = ()
    """When it was asked for its threads, and what it said."""
    teams: tuple[Team, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """One process: its variables over time, and its libraries."""

    life: Life
    agent: bool
    """Whether an agent reported from it."""
    at_exec: dict[str, str] | None
    variables: tuple[tuple[int, dict[str, str]], ...]
    """The variables each time they were seen, in the order of time."""
    libraries: tuple[Present, ...]
    packages: dict[str, str]
    forked: bool
    owned: bool
    """Whether its threads have owners, so that a team that is not there was looked for."""

    @property
    def now(self) -> dict[str, str] | None:
        """The variables as they were seen last; None without an agent, for what was executed does not change."""
        return self.variables[-1][1] if self.agent and self.variables else None

    def had(self, name: str, value: str) -> bool:
        """Whether it ever had a variable with this value."""
        known = [variables for _, variables in self.variables] + [self.at_exec or {}]
        return any(variables.get(name) == value for variables in known)


@dataclass(slots=True)
class _Found:
    """A library while the reports of the agent are gone through."""

    library: Library
    label: str
    version: str | None
    path: str | None
    module: str | None
    sizes: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


def evidence(
    recording: Recording, lives: Lives, teams: Mapping[Life, tuple[Team, ...]], owned: Set[Life]
) -> dict[Life, Evidence]:
    """What is known of every process; `owned` are those whose threads have owners."""
    reports = _reports(recording, lives)
    return {
        life: _evidence(recording, life, reports.get(life, []), teams.get(life, ()), life in owned)
        for life in lives.all
    }


def _reports(recording: Recording, lives: Lives) -> dict[Life, list[Line]]:
    """Reports of the agents by process; a process that executed another program began anew."""
    found: dict[Life, list[Line]] = {}
    for line in sorted(recording.lines("pools"), key=lambda line: line["t_ns"]):
        life = lives.at(line["pid"], line["t_ns"])
        if life is not None:
            before = [] if line["moment"] == "start" else found.get(life, [])
            found[life] = [*before, line]
    return found


def _evidence(
    recording: Recording, life: Life, lines: list[Line], teams: tuple[Team, ...], owned: bool
) -> Evidence:
    forked = bool(lines) and lines[0]["moment"] == "fork"
    started = bool(lines) and lines[0]["moment"] == "start"
    at_exec = _chosen(lines[0]["variables"]) if started else life.variables
    cores = _cores(recording, life)
    libraries = [*_reported(lines, at_exec, cores, teams)] if lines else [*_seen_outside(life, cores, teams)]
    known = [(line["t_ns"], line["variables"]) for line in lines]
    known += [(load["t_ns"], load["variables"]) for load in _loads(lines) if not load["inherited"]]
    if at_exec is not None and not forked:
        known.append((life.born_ns, at_exec))
    return Evidence(
        life=life,
        agent=bool(lines),
        at_exec=at_exec,
        variables=tuple((t_ns, _chosen(each)) for t_ns, each in sorted(known, key=lambda pair: pair[0])),
        libraries=tuple(libraries),
        packages=lines[-1]["versions"] if lines else {},
        forked=forked,
        owned=owned,
    )


def _chosen(variables: Mapping[str, Any]) -> dict[str, str]:
    """Variables that mean something here. What another process wrote is not trusted to be text."""
    return {
        name: value
        for name, value in variables.items()
        if name not in SET_BY_LOOKING and isinstance(value, str)
    }


def _cores(recording: Recording, life: Life) -> Cores:
    limits = recording.lines("limits")
    online = len(limits[0]["online_cores"]) if limits else None
    return Cores(life.affinity_cores or online, recording.header["host"].get("physical_cores"), online)


def _loads(lines: Sequence[Line]) -> list[Line]:
    # Recordings of earlier recorders have none.
    loads: list[Line] = lines[-1].get("loads") or [] if lines else []
    return loads


def _reported(
    lines: list[Line], at_exec: dict[str, str] | None, cores: Cores, teams: tuple[Team, ...]
) -> Iterator[Present]:
    found: dict[str, _Found] = {}
    for line in lines:
        for key, one, size in _sizes(line):
            kept = found.setdefault(key, one)
            kept.sizes.append((line["t_ns"], size))
            kept.version = one.version or kept.version
    bundled = "torch" in found
    for one in found.values():
        if not (bundled and one.library.name == readers.LIBGOMP and _TORCH_FOLDER in (one.path or "")):
            yield _present(one, lines, at_exec, cores, _teams_of(one, teams))
    yield from _only_outside(found, lines, at_exec, cores, teams)


def _only_outside(
    found: Mapping[str, _Found],
    lines: list[Line],
    at_exec: dict[str, str] | None,
    cores: Cores,
    teams: tuple[Team, ...],
) -> Iterator[Present]:
    """Libraries that have threads and that the agent was not told of."""
    claimed = {team for one in found.values() for team in _teams_of(one, teams)}
    for one, own in _owners([team for team in teams if team not in claimed]):
        if not (one.library.name == readers.TORCH and "torch" in found):
            yield _present(one, lines, at_exec, cores, own)


def _seen_outside(life: Life, cores: Cores, teams: tuple[Team, ...]) -> Iterator[Present]:
    """Libraries of a process without agent: those that have threads, read from what it was executed with."""
    for one, own in _owners(teams):
        reading = Reading(one.library, life.variables, observed=_largest(own), cores=cores, assumed=True)
        yield Present(one.label, None, reading, None, teams=own)


def _owners(teams: Sequence[Team]) -> Iterator[tuple[_Found, tuple[Team, ...]]]:
    alike: dict[tuple[str, str | None, str], list[Team]] = {}
    for team in teams:
        if team.kind in _BY_OWNER:
            alike.setdefault((team.kind, team.library, team.label), []).append(team)
    for (kind, path, label), own in alike.items():
        torch = kind == OPENMP_GNU and _TORCH_FOLDER in (path or "")
        library = LIBRARIES[readers.TORCH if torch else _BY_OWNER[kind]]
        module = readers.loading_module(path or "")
        yield _Found(library, library.label if torch else label, None, path, module), tuple(own)


def _sizes(line: Line) -> Iterator[tuple[str, _Found, int]]:
    """Each library that one report names, under a key of its own, and its threads."""
    versions: dict[str, str] = line["versions"] or {}
    libraries: list[Any] = line["libraries"] or []
    for library in libraries:
        one = _asked(cast(Line, library)) if isinstance(library, dict) else None
        if one is not None:
            yield one.path or one.label, one, library["num_threads"]
    torch = versions.get("torch")
    for key, name in (("torch_threads", readers.TORCH), ("torch_interop_threads", readers.TORCH_INTER_OP)):
        if line[key] is not None:
            each = LIBRARIES[name]
            yield name, _Found(each, each.label, torch, None, "torch"), line[key]
    counts: dict[str, Any] = line.get("module_threads") or {}
    for module in counts.keys() & LIBRARIES.keys():
        each = LIBRARIES[module]
        if isinstance(counts[module], int):
            yield module, _Found(each, each.label, versions.get(module), None, module), counts[module]


def _asked(library: Line) -> _Found | None:
    """A library as threadpoolctl described it; None where that is not one known here."""
    api, path, size = library.get("internal_api"), library.get("filepath"), library.get("num_threads")
    if not isinstance(path, str) or not isinstance(size, int):
        return None
    if api == "openmp":
        known = LIBRARIES[readers.LIBGOMP if "libgomp" in path.rpartition("/")[2] else readers.LLVM_OPENMP]
    elif api in _BY_API:
        known = LIBRARIES[_BY_API[api]]
    else:
        return None
    if known.name == readers.OPENBLAS:
        known = readers.openblas_with(library.get("threading_layer"))
    module = readers.loading_module(path)
    label = f"{known.label} ({module.partition('.')[0]})" if module else known.label
    version = library.get("version")
    return _Found(known, label, version if isinstance(version, str) else None, path, module)


def _present(
    one: _Found, lines: list[Line], at_exec: dict[str, str] | None, cores: Cores, teams: tuple[Team, ...]
) -> Present:
    load, at_load = _as_loaded(one, lines, at_exec)
    reading = Reading(
        one.library,
        at_load,
        tuple(size for _, size in one.sizes),
        _largest(teams),
        cores,
        inherited=load is not None and load["inherited"],
    )
    return Present(one.label, one.version, reading, load["t_ns"] if load else None, tuple(one.sizes), teams)


def _as_loaded(
    one: _Found, lines: list[Line], at_exec: dict[str, str] | None
) -> tuple[Line | None, dict[str, str] | None]:
    """The load of a library with the variables of that moment.

    A library that several modules may share was loaded by one of them: where all found the same variables it
    does not matter by which. Variables that never changed were the same then, too.
    """
    names = {*one.library.variables, *one.library.policies}
    loads = _loads(lines)
    own = [load for load in loads if load["module"] == one.module] if one.module else loads
    if own and all(_only(load["variables"], names) == _only(own[0]["variables"], names) for load in own):
        return own[0], _chosen(own[0]["variables"])
    known = [line["variables"] for line in lines] + [load["variables"] for load in loads]
    if at_exec is not None and all(_only(each, names) == _only(at_exec, names) for each in known):
        return None, _chosen(at_exec)
    return None, None


def _only(variables: Mapping[str, str], names: set[str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name in names}


def _teams_of(one: _Found, teams: tuple[Team, ...]) -> tuple[Team, ...]:
    if one.library.name == readers.TORCH:
        return tuple(
            team for team in teams if team.kind == OPENMP_GNU and _TORCH_FOLDER in (team.library or "")
        )
    if one.path is None:
        return tuple(team for team in teams if _BY_OWNER.get(team.kind) == one.library.name)
    return tuple(team for team in teams if team.library == one.path and team.kind in _BY_OWNER)


def _largest(teams: Sequence[Team]) -> int | None:
    return max((team.threads for team in teams), default=None)
