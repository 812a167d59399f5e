"""Every program of the zoo."""

from __future__ import annotations

from corelens.errors import UsageError
from corelens.scenarios.pathologies.cores import CORES
from corelens.scenarios.pathologies.dispatch import DISPATCH
from corelens.scenarios.pathologies.look_alikes import LOOK_ALIKES
from corelens.scenarios.pathologies.program import Program
from corelens.scenarios.pathologies.waiting import WAITING

PROGRAMS: tuple[Program, ...] = (*CORES, *DISPATCH, *WAITING, *LOOK_ALIKES)


def named(name: str) -> Program:
    """Find a program; raises UsageError for a name that there is not."""
    found = next((program for program in PROGRAMS if program.name == name), None)
    if found is None:
        raise UsageError(f"there is no pathology {name!r}", "see: corelens replay pathology --list")
    return found
