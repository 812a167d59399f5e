"""Which of three things crowds the cores: one caller's pool, several callers in one process, or several processes."""

from __future__ import annotations

from corelens.reports.facts.facts import Facts
from corelens.reports.facts.native_teams import OPENMP, Contention, contention
from corelens.reports.facts.pool_costs import CROWDED, is_crowded

ONE_CALLER = "one caller"
CALLERS = "callers"
PROCESSES = "processes"
ACTIVE_WAIT = "active wait"

# Half way between one process at a time and two.
_SEVERAL_AT_ONCE = 1.5


def crowded(facts: Facts, shape: str) -> Contention | None:
    """Pools that crowd the cores in this way; None where they do not, or do in another one."""
    found = contention(facts)
    return found if found is not None and is_crowded(found) and shape_of(found) == shape else None


def shape_of(found: Contention) -> str | None:
    """The way in which the pools crowd the cores; None where the pool of one caller fits them."""
    if waits_actively(found):
        return ACTIVE_WAIT
    if found.at_once >= _SEVERAL_AT_ONCE:
        return PROCESSES
    if max(found.callers.values()) > 1:
        return CALLERS
    # Without other threads of the program, which do not belong to the team.
    own = found.pool_wanted_s / found.window_s + 1
    return ONE_CALLER if own >= CROWDED * found.cores else None


def waits_actively(found: Contention) -> bool:
    """Whether most of the pools' threads spin because a variable tells them to."""
    told = [team for team in found.spinning if team.process.pid in found.policies and team.kind in OPENMP]
    single = all(callers == 1 for callers in found.callers.values())
    return single and sum(team.wanted_s for team in told) >= found.pool_wanted_s / 2
