"""The libraries of one process: what the agent was told of them, and what their threads betray from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

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
from corelens.reports.facts.processes import Life
from corelens.reports.facts.teams import OPENMP, Team
from corelens.vocabulary import Line

# threadpoolctl sets them when it is imported; they limit nothing.
_SET_BY_LOOKING = frozenset({"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"})

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


@dataclass(slots=True)
class _Found:
    """A library while the reports of the agent are gone through."""

    library: Library
    label: str
    version: str | None
    path: str | None
    module: str | None
    sizes: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


def reported(
    lines: list[Line], at_exec: dict[str, str] | None, cores: Cores, teams: tuple[Team, ...]
) -> Iterator[Present]:
    """Libraries that the agent named, then those that have threads and that it was not told of."""
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


def seen_outside(life: Life, cores: Cores, teams: tuple[Team, ...]) -> Iterator[Present]:
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
    loads = loads_of(lines)
    own = [load for load in loads if load["module"] == one.module] if one.module else loads
    if own and all(_only(load["variables"], names) == _only(own[0]["variables"], names) for load in own):
        return own[0], chosen(own[0]["variables"])
    known = [line["variables"] for line in lines] + [load["variables"] for load in loads]
    if at_exec is not None and all(_only(each, names) == _only(at_exec, names) for each in known):
        return None, chosen(at_exec)
    return None, None


def _only(variables: Mapping[str, str], names: set[str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name in names}


def _teams_of(one: _Found, teams: tuple[Team, ...]) -> tuple[Team, ...]:
    if one.library.name == readers.TORCH:
        # A wheel brings its OpenMP along; other builds use one that lies where every library finds it.
        return tuple(
            team
            for team in teams
            if team.kind in OPENMP and readers.loading_module(team.library or "") in (None, "torch")
        )
    if one.path is None:
        return tuple(team for team in teams if _BY_OWNER.get(team.kind) == one.library.name)
    return tuple(team for team in teams if team.library == one.path and team.kind in _BY_OWNER)


def _largest(teams: Sequence[Team]) -> int | None:
    return max((team.threads for team in teams), default=None)


def loads_of(lines: Sequence[Line]) -> list[Line]:
    """What the last report says of the modules that were loaded."""
    # Recordings of earlier recorders have none.
    loads: list[Line] = lines[-1].get("loads") or [] if lines else []
    return loads


def chosen(variables: Mapping[str, Any]) -> dict[str, str]:
    """Variables that mean something here. What another process wrote is not trusted to be text."""
    return {
        name: value
        for name, value in variables.items()
        if name not in _SET_BY_LOOKING and isinstance(value, str)
    }
