"""Which processes are workers, and what the processes of each role used."""

from __future__ import annotations

from collections.abc import Iterable

from corelens.reports.facts.clocks import Clocks
from corelens.reports.facts.population import Population
from corelens.reports.facts.processes import Life, Lives
from corelens.reports.facts.spread import spread
from corelens.reports.report import Role, Trial

_RAY_WORKER = "ray-worker"
_WORKER_ROLES = ("pool-worker-", "loky-worker", "dataloader-worker")
_IDLE_TITLE = "ray::IDLE"
_NS_PER_S = 1_000_000_000


def workers(lives: Lives, trials: Iterable[Trial]) -> tuple[Life, ...]:
    """Processes that exist to work; of Ray's, which start in advance, those that did."""
    busy_pids = {trial.pid for trial in trials}
    return tuple(
        life
        for life in lives.all
        if life.role.startswith(_WORKER_ROLES) or (life.role == _RAY_WORKER and _worked(life, busy_pids))
    )


def roles(lives: Lives, clocks: Clocks, population: Population) -> tuple[Role, ...]:
    """Sum up the processes by role, the dearest first."""
    of: dict[str, list[float]] = {}
    for life in lives.all:
        of.setdefault(life.role, []).append(clocks.by_life[life].used_ns / _NS_PER_S)
    summed = (_role(role, used, population.by_role.get(role, 0)) for role, used in of.items())
    return tuple(sorted((role for role in summed if role), key=lambda role: -role.used_core_s))


def _worked(life: Life, busy_pids: set[int]) -> bool:
    titles = {title for title in life.titles if title.startswith("ray::")}
    return life.pid in busy_pids or bool(titles - {_IDLE_TITLE})


def _role(role: str, used: list[float], threads_peak: int) -> Role | None:
    each = spread(used)
    return None if each is None else Role(role, len(used), sum(used), each, threads_peak)
