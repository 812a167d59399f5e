"""A process as it may have been when somebody counted its threads, and what had to be assumed for that.

The first guess is made of what was given (cores, workers, libraries, backend) and takes nothing else for granted;
`thread_assumptions` changes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from corelens.reports.facts.thread_model import (
    BACKEND_HELPERS,
    WORKERS_ARE_THREADS,
    Blas,
    Helper,
    Inputs,
    Prediction,
    Teams,
    Term,
    helpers_of,
    predict,
)

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")
"""Libraries whose pools are in the model."""
DEFAULT_LIBRARIES = ("torch", "numpy")
BLAS_LIBRARIES = ("numpy", "scipy")
_TEAM_LIBRARIES = ("torch", "scikit-learn")
BACKENDS = tuple(BACKEND_HELPERS)
"""Ways to run the work that the model knows."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """Something that was not given, and what would show whether it holds."""

    text: str
    check: str
    against: bool = False
    """It contradicts what was given, rather than adding what was not said."""


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody said of the program. None: they did not say."""

    cores: int
    workers: int
    libraries: tuple[str, ...] | None = None
    backend: str | None = None

    @property
    def loaded(self) -> tuple[str, ...]:
        """The libraries said, or those of a usual search."""
        return DEFAULT_LIBRARIES if self.libraries is None else self.libraries


@dataclass(frozen=True, slots=True)
class Guess:
    """One process as it may have been, with what had to be assumed."""

    workers: int
    seen: int
    region: int
    """Threads that a parallel region gets."""
    opened: int
    """Workers that opened a region."""
    main: bool
    libraries: tuple[str, ...]
    blas_limit: int | None = None
    told: int | None = None
    helpers: tuple[Helper, ...] = ()
    inter_op: int = 0
    children: int = 0
    """Worker processes that the count includes."""
    child: Inputs | None = None
    """One of them."""
    assumed: tuple[Assumption, ...] = ()

    def prediction(self) -> Prediction:
        """What the model makes of it."""
        made = predict(self.inputs())
        if self.child is None or not self.children:
            return made
        why = "each worker process has a main thread and pools of its own"
        each = predict(self.child).total
        return Prediction((*made.terms, Term("in worker processes", "processes", self.children, each, why)))

    def before_work(self) -> Prediction:
        """What it was before any worker started."""
        idle = replace(self, workers=0, opened=0, main=False, helpers=(), inter_op=0, children=0)
        return idle.prediction()

    def inputs(self) -> Inputs:
        """The inputs of the model."""
        copies = [name for name in BLAS_LIBRARIES if name in self.libraries]
        with_teams = [name for name in _TEAM_LIBRARIES if name in self.libraries]
        return Inputs(
            workers=self.workers,
            cores=self.seen,
            teams=tuple(Teams(name, self.region, self.opened, self.main) for name in with_teams),
            blas=tuple(Blas(name, self.blas_limit) for name in copies),
            set_num_threads=self.told,
            helpers=self.helpers,
            inter_op=self.inter_op,
        )


def first(given: Given) -> Guess:
    """The guess that assumes nothing: every worker is a thread that opens regions as large as the machine.

    Without a backend, workers are Optuna's or other plain threads. Of a backend whose workers are processes, it
    is the process that started them; with one worker, threads are not used and the main thread does the work.
    """
    backend = given.backend or "optuna-threads"
    threads = backend in WORKERS_ARE_THREADS and given.workers > 1
    workers = given.workers if threads else 0
    return Guess(
        workers=workers,
        seen=given.cores,
        region=given.cores,
        opened=workers,
        main=not threads and backend in {*WORKERS_ARE_THREADS, "sequential"},
        libraries=given.loaded,
        helpers=helpers_of(backend) if threads or backend not in WORKERS_ARE_THREADS else (),
    )
