"""The plan of the explosion: one search, six ways to run it, on machines of so many cores.

The team behind the story saw 387 threads with five workers, set a limit, took away two workers, and saw 257.
The runs take that apart: fewer workers without a limit, the limit as it was set, and limits that work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corelens.errors import UsageError
from corelens.scenarios.search import thread_limits
from corelens.scenarios.search.options import command_line
from corelens.scenarios.search.settings import BackendName, Limit, SearchSettings, StartMethod

# One trial per worker and one generation: what counts is that all workers have their teams at the same time.
# 200 genomes keep one thread busy for half a second and more, which is several looks at 10 Hz also where limits
# make the run short, and every tensor operation on them is large enough to be split (32,768 elements).
POPULATION = 200
SEED = 42


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run the search."""

    name: str
    what: str
    backend: BackendName
    workers: int
    limit: Limit


WAYS: tuple[Way, ...] = (
    Way("w5", "5 Optuna threads, no limit", "optuna-threads", 5, "none"),
    Way("w3", "3 Optuna threads, no limit", "optuna-threads", 3, "none"),
    Way("w3-late", "3 Optuna threads, variables set after the imports", "optuna-threads", 3, "late"),
    Way("w3-torch", "3 Optuna threads, torch.set_num_threads(1) in each", "optuna-threads", 3, "torch"),
    Way("w3-env", "3 Optuna threads, variables set before start", "optuna-threads", 3, "env"),
    Way("pool-env", "3 pool processes, variables set before start", "process-pool", 3, "env"),
)
"""The ways in the order of the story."""

SWEPT = WAYS[0]
"""What a sweep over cores repeats: the shape without a limit."""


@dataclass(frozen=True, slots=True)
class Machine:
    """How native pools are sized here by default: `blas` names the copies of OpenBLAS that a search loads."""

    torch_threads: int
    cores: int
    blas: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run: `argv` starts it with `variables` in its environment; `stem` names its files."""

    way: Way
    cores: int
    settings: SearchSettings
    argv: tuple[str, ...]
    variables: dict[str, str]
    labels: dict[str, str]
    stem: str


def plan_explosion(machine: Machine, cores: Sequence[int], ways: Sequence[Way] = WAYS) -> list[PlannedRun]:
    """Plan every way on the largest of the machines, and the shape without a limit on the others.

    Pools are native where torch takes that size here by itself, and emulated elsewhere. Raises UsageError on
    numbers of cores that are no machine.
    """
    if not cores or min(cores) < 1 or len(set(cores)) != len(cores):
        raise UsageError(
            f"--cores {','.join(map(str, cores))} names no machines", "give numbers such as 2,8,64"
        )
    largest = max(cores)
    story = [_planned(machine, way, largest) for way in ways]
    return [
        *story,
        *(_planned(machine, SWEPT, each) for each in sorted(cores, reverse=True) if each < largest),
    ]


def _planned(machine: Machine, way: Way, cores: int) -> PlannedRun:
    emulated = machine.torch_threads != cores
    settings = _settings(way, cores if emulated else None)
    variables = thread_limits.variables() if way.limit == "env" else {}
    stem = f"{way.name}-on-{cores}"
    argv = (*command_line(settings), "--bar")
    return PlannedRun(way, cores, settings, argv, variables, _labels(machine, way, cores, emulated), stem)


def _settings(way: Way, emulate_cores: int | None) -> SearchSettings:
    start_method: StartMethod | None = "spawn" if way.backend == "process-pool" else None
    return SearchSettings(
        backend=way.backend,
        scale="small",
        method="pure",
        evaluation="batched",
        trials=way.workers,
        generations=1,
        seeds=1,
        population=POPULATION,
        workers=way.workers,
        stagnation_limit=None,
        device="cpu",
        limit_threads=way.limit,
        start_method=start_method,
        address=None,
        seed=SEED,
        emulate_cores=emulate_cores,
    )


def _labels(machine: Machine, way: Way, cores: int, emulated: bool) -> dict[str, str]:
    """What a report needs to predict the count, beside the labels of the search itself."""
    return {
        "replay": "explosion",
        "run": way.name,
        "what": way.what,
        "cores": str(cores),
        "pools": "emulated" if emulated else "native",
        # OpenBLAS counts hardware threads, of which a native machine may have two per core.
        "blas_cores": str(cores if emulated else machine.cores),
        "blas": ",".join(machine.blas),
    }
