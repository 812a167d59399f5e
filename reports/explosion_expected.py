"""What the closed form expects of one replayed run, from its labels alone: nothing that was observed goes in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from corelens.errors import NotComparable
from corelens.reports.facts.thread_model import (
    TQDM_MONITOR,
    WORKERS_ARE_THREADS,
    Blas,
    Inputs,
    Prediction,
    Teams,
    helpers_of,
    predict,
)

MAIN = "main"
POOL_WORKER = "pool-worker-spawn"
RESOURCE_TRACKER = "resource-tracker"
_NEEDED = ("run", "what", "cores", "pools", "blas_cores", "blas", "workers", "backend", "limit_threads")


@dataclass(frozen=True, slots=True)
class Shape:
    """How one run was made."""

    name: str
    what: str
    backend: str
    limit: str
    workers: int
    cores: int
    """Threads that torch gives a team, and cores of the machine that was asked for."""
    blas_cores: int
    """Cores that OpenBLAS sees there."""
    blas: tuple[str, ...]
    emulated: bool


@dataclass(frozen=True, slots=True)
class Expected:
    """Processes of one role, and the threads of each."""

    role: str
    processes: int
    each: Prediction


def shape_of(labels: Mapping[str, str]) -> Shape:
    """Read the labels that `corelens replay explosion` gives a recording; NotComparable where one is missing."""
    missing = [name for name in _NEEDED if name not in labels]
    if missing or labels.get("replay") != "explosion":
        raise NotComparable(
            "the recording is none of `corelens replay explosion`", "make it again with that command"
        )
    return Shape(
        name=labels["run"],
        what=labels["what"],
        backend=labels["backend"],
        limit=labels["limit_threads"],
        workers=int(labels["workers"]),
        cores=int(labels["cores"]),
        blas_cores=int(labels["blas_cores"]),
        blas=tuple(name for name in labels["blas"].split(",") if name),
        emulated=labels["pools"] == "emulated",
    )


def expected(shape: Shape) -> tuple[Expected, ...]:
    """Say which processes there will be at the peak, and the threads of each by owner."""
    return tuple(_expected(shape))


def _expected(shape: Shape) -> Iterator[Expected]:
    threads = shape.backend in WORKERS_ARE_THREADS
    yield Expected(MAIN, 1, predict(_main(shape, shape.workers if threads else 0)))
    if not threads:
        yield Expected(POOL_WORKER, shape.workers, predict(_pool_worker(shape)))
        # It imports no library at all.
        yield Expected(RESOURCE_TRACKER, 1, predict(Inputs(0, shape.blas_cores)))


def _main(shape: Shape, workers: int) -> Inputs:
    """The process that runs the search, with its progress bar; with pool processes it opens no team itself."""
    return Inputs(
        workers=workers,
        cores=shape.blas_cores,
        teams=(Teams("torch", _team_size(shape), workers),),
        blas=_copies(shape),
        set_num_threads=1 if workers and shape.limit == "torch" else None,
        helpers=(TQDM_MONITOR, *helpers_of(shape.backend)),
    )


def _pool_worker(shape: Shape) -> Inputs:
    """A spawned worker evaluates in its main thread, and inherits variables however late they were set."""
    size = 1 if shape.limit in ("env", "late", "torch") else shape.cores
    told = 1 if shape.limit in ("env", "late") else None
    return Inputs(
        workers=0,
        cores=shape.blas_cores,
        teams=(Teams("torch", size, 0, main=True),),
        blas=tuple(Blas(name, told) for name in shape.blas),
        set_num_threads=1 if shape.limit == "torch" else None,
    )


def _team_size(shape: Shape) -> int:
    """Late variables change nothing: the libraries read them while they were loaded."""
    return 1 if shape.limit in ("env", "torch") else shape.cores


def _copies(shape: Shape) -> tuple[Blas, ...]:
    return tuple(Blas(name, 1 if shape.limit == "env" else None) for name in shape.blas)
