"""Thread-limit variables as each process had them last, wherever they were read."""

from __future__ import annotations

from collections.abc import Mapping

from corelens.recording import Recording
from corelens.reports.facts.processes import Life, Lives


def variables_now(recording: Recording, lives: Lives) -> Mapping[Life, Mapping[str, str]]:
    """From the memory of the process where that was read, else from what the agent said, else as at exec."""
    now: dict[Life, Mapping[str, str]] = {life: life.variables or {} for life in lives.all}
    for line in recording.lines("pools"):
        life = lives.at(line["pid"], line["t_ns"])
        if life is not None and line["variables"] is not None:
            now[life] = line["variables"]
    for line in recording.lines("variables"):
        for pid, variables in zip(line["pid"], line["variables"], strict=False):
            life = lives.at(pid, line["t_ns"])
            if life is not None and variables is not None:
                now[life] = variables
    return now
