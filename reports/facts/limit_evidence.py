"""What is known of each process's thread limits: its variables in the order of time, and its libraries."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts.limit_libraries import Present, chosen, loads_of, reported, seen_outside
from corelens.reports.facts.limit_verdicts import Cores
from corelens.reports.facts.processes import Life, Lives
from corelens.reports.facts.teams import Team
from corelens.vocabulary import Line


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
    looked_later: bool
    """Whether an agent reported from it, or its memory showed that its variables had changed since its exec."""
    owned: bool
    """Whether its threads have owners, so that a team that is not there was looked for."""

    @property
    def now(self) -> dict[str, str] | None:
        """The variables as they were seen last; None where nobody looked after the exec."""
        return self.variables[-1][1] if self.looked_later and self.variables else None

    def had(self, name: str, value: str) -> bool:
        """Whether it ever had a variable with this value."""
        known = [variables for _, variables in self.variables] + [self.at_exec or {}]
        return any(variables.get(name) == value for variables in known)


def evidence(
    recording: Recording, lives: Lives, teams: Mapping[Life, tuple[Team, ...]], owned: Set[Life]
) -> dict[Life, Evidence]:
    """What is known of every process; `owned` are those whose threads have owners."""
    reports, seen = _reports(recording, lives), _seen_in_memory(recording, lives)
    return {
        life: _evidence(
            recording, life, reports.get(life, []), teams.get(life, ()), life in owned, seen.get(life, [])
        )
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


def _seen_in_memory(recording: Recording, lives: Lives) -> dict[Life, list[tuple[int, dict[str, str]]]]:
    """Variables that differed from those at exec, by process, in the order of time."""
    found: dict[Life, list[tuple[int, dict[str, str]]]] = {}
    for line in recording.lines("variables"):
        for pid, variables in zip(line["pid"], line["variables"], strict=False):
            life = lives.at(pid, line["t_ns"])
            if life is not None:
                found.setdefault(life, []).append((line["t_ns"], variables))
    return found


def _evidence(
    recording: Recording,
    life: Life,
    lines: list[Line],
    teams: tuple[Team, ...],
    owned: bool,
    seen: list[tuple[int, dict[str, str]]],
) -> Evidence:
    forked = bool(lines) and lines[0]["moment"] == "fork"
    started = bool(lines) and lines[0]["moment"] == "start"
    at_exec = chosen(lines[0]["variables"]) if started else life.variables
    cores = _cores(recording, life)
    libraries = [*reported(lines, at_exec, cores, teams)] if lines else [*seen_outside(life, cores, teams)]
    known = [(line["t_ns"], line["variables"]) for line in lines] if lines else [*seen]
    known += [(load["t_ns"], load["variables"]) for load in loads_of(lines) if not load["inherited"]]
    if at_exec is not None and not forked:
        known.append((life.born_ns, at_exec))
    return Evidence(
        life=life,
        agent=bool(lines),
        at_exec=at_exec,
        variables=tuple((t_ns, chosen(each)) for t_ns, each in sorted(known, key=lambda pair: pair[0])),
        libraries=tuple(libraries),
        packages=lines[-1]["versions"] if lines else {},
        forked=forked,
        looked_later=bool(lines or seen),
        owned=owned,
    )


def _cores(recording: Recording, life: Life) -> Cores:
    limits = recording.lines("limits")
    online = len(limits[0]["online_cores"]) if limits else None
    return Cores(life.affinity_cores or online, recording.header["host"].get("physical_cores"), online)
