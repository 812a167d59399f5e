"""The closed form of a thread count: how many threads one process has, as terms that add up, each with its reason.

    T = 1 + w + H + sum over BLAS copies (size - 1) + (S - 1) + sum over OpenMP copies (N - 1)(a + m) + K

It holds for CPython with OpenBLAS wheels and libgomp (torch on Linux, scikit-learn); `tests/test_thread_model.py`
holds it against counts that were read off running programs. `docs/threads.md` explains it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from corelens.reports.facts import owned

# OpenBLAS in the wheels of numpy and scipy is built with NUM_THREADS=64 (driver/others/memory.c allocates for
# that many): 63 threads were counted where 64, 128 and 192 cores were visible.
OPENBLAS_BUILD_MAXIMUM = 64
# Ray 2.60 adds these to the driver: core worker, gRPC, and Python listeners. Other versions differ.
RAY_DRIVER_THREADS = 25


@dataclass(frozen=True, slots=True)
class Helper:
    """Threads that a library keeps beside the work, however many cores there are."""

    name: str
    count: int
    owner: str
    why: str


TQDM_MONITOR = Helper(
    "tqdm monitor", 1, owned.PYTHON_HELPER, "a progress bar of tqdm starts one thread that watches all bars"
)
POOL_THREADS = Helper(
    "pool handlers",
    3,
    owned.PYTHON_HELPER,
    "multiprocessing.pool keeps three threads in the process that owns the pool: workers, tasks, results",
)
EXECUTOR_THREADS = Helper(
    "process pool manager and queue feeder",
    2,
    owned.PYTHON_HELPER,
    "ProcessPoolExecutor keeps a manager thread and its call queue's feeder in the parent",
)
LOKY_THREADS = Helper(
    "process pool manager and queue feeder",
    2,
    owned.PYTHON_HELPER,
    "loky keeps a manager thread and its call queue's feeder in the parent, as an executor does",
)
RAY_DRIVER = Helper(
    "Ray driver",
    RAY_DRIVER_THREADS,
    owned.RAY,
    "ray.init() adds the core worker's and gRPC's threads to the driver (counted with Ray 2.60)",
)
AGENT = Helper("corelens agent", 1, owned.AGENT, "the in-process agent of corelens runs one thread")


def rdb_heartbeats(running_trials: int) -> Helper:
    """Threads of Optuna's RDBStorage(heartbeat_interval=...): one per running trial; a journal has none."""
    why = "RDBStorage with a heartbeat_interval keeps one thread per running trial"
    return Helper(HEARTBEAT, running_trials, owned.PYTHON_HELPER, why)


HELPERS_BY_NAME = {helper.name: helper for helper in (TQDM_MONITOR, POOL_THREADS, EXECUTOR_THREADS)}
"""Those that the names of their threads tell; loky's are called as an executor's are."""
HEARTBEAT = "Optuna heartbeat"

BACKEND_HELPERS: dict[str, tuple[Helper, ...]] = {
    "sequential": (),
    "optuna-threads": (),
    "thread-executor": (),
    "joblib-threads": (POOL_THREADS,),
    "thread-pool": (POOL_THREADS,),
    "process-pool": (POOL_THREADS,),
    "process-executor": (EXECUTOR_THREADS,),
    "joblib-loky": (LOKY_THREADS,),
    "ray": (RAY_DRIVER,),
}
"""Ways to run work to the helpers they keep in the process that started it."""

WORKERS_ARE_THREADS = frozenset({"optuna-threads", "thread-executor", "joblib-threads", "thread-pool"})
"""Those whose workers are threads of that process."""

WORKERS_ARE_PROCESSES = frozenset({"process-pool", "process-executor", "joblib-loky", "ray"})

# ThreadPoolExecutor since 2.6.0; before that joblib with prefer="threads", and multiprocessing.pool before 1.0.
_OPTUNA_WITHOUT_HELPERS = (2, 6)


def helpers_of(backend: str, optuna_version: str | None = None) -> tuple[Helper, ...]:
    """Helpers of a backend; an Optuna older than 2.6 ran its threads on a pool with three handlers.

    Without a version, Optuna is taken to be 2.6 or later. Raises KeyError for a backend that is not known.
    """
    if backend == "optuna-threads" and optuna_version is not None:
        numbers = _release(optuna_version)
        if numbers is not None and numbers < _OPTUNA_WITHOUT_HELPERS:
            return (POOL_THREADS,)
    return BACKEND_HELPERS[backend]


@dataclass(frozen=True, slots=True)
class Blas:
    """One copy of OpenBLAS; the wheels of numpy and scipy each bring one.

    `size` is what a variable or a call set; None: as many as the cores it sees.
    """

    name: str
    size: int | None = None
    build_maximum: int = OPENBLAS_BUILD_MAXIMUM

    def threads(self, cores: int) -> int:
        """Size of its pool, the calling thread included."""
        return max(1, min(cores if self.size is None else self.size, self.build_maximum))


@dataclass(frozen=True, slots=True)
class Teams:
    """The teams of one copy of libgomp: each thread that opened a parallel region keeps its own.

    `size` counts the opening thread, as torch.get_num_threads() does. Operations too small to be split open no
    region, so `workers` may be less than there are.
    """

    name: str
    size: int
    workers: int
    main: bool = False

    @property
    def masters(self) -> int:
        """Threads that opened a team; none of size 1 is ever opened."""
        return self.workers + self.main


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that decides the count of one process. `workers` is 0 where the work runs in the main thread."""

    workers: int
    cores: int
    """Logical cores that the process sees."""
    teams: tuple[Teams, ...] = ()
    blas: tuple[Blas, ...] = ()
    set_num_threads: int | None = None
    """Argument of torch.set_num_threads(); None: never called."""
    helpers: tuple[Helper, ...] = ()
    inter_op: int = 0
    """Threads of torch's inter-op pool; it starts with the first torch.jit.fork."""
    forked: bool = False
    """It forked since it last called BLAS, which ends OpenBLAS's threads until the next call."""


@dataclass(frozen=True, slots=True)
class Term:
    """One part of the count: `groups` of `each` threads. A predicted absence is a term of 0."""

    name: str
    owner: str
    """A word of `reports/facts/owned.py`."""
    groups: int
    each: int
    why: str

    @property
    def count(self) -> int:
        """Threads of this term."""
        return self.groups * self.each


@dataclass(frozen=True, slots=True)
class Prediction:
    """Terms in the order of the closed form."""

    terms: tuple[Term, ...]

    @property
    def total(self) -> int:
        """Threads of the process."""
        return sum(term.count for term in self.terms)

    def by_owner(self) -> dict[str, int]:
        """Threads by the kind of their owner, terms of 0 included."""
        counted: dict[str, int] = {}
        for term in self.terms:
            counted[term.owner] = counted.get(term.owner, 0) + term.count
        return counted

    def equation(self) -> str:
        """The sum in words: `385 = 1 main + 5 Python workers + 63 OpenBLAS (numpy) + 5 x 63 libgomp (torch)`."""
        parts = [f"{_factor(term)} {term.name}" for term in self.terms if term.count]
        return f"{self.total} = {' + '.join(parts)}"


def predict(inputs: Inputs) -> Prediction:
    """Work the closed form out."""
    return Prediction(tuple(_terms(inputs)))


def _terms(inputs: Inputs) -> Iterator[Term]:
    yield Term("main", owned.MAIN, 1, 1, "every process has its main thread")
    if inputs.workers:
        why = "each worker is a Python thread of this process"
        yield Term("Python workers", owned.PYTHON, inputs.workers, 1, why)
    for helper in inputs.helpers:
        yield Term(helper.name, helper.owner, helper.count, 1, helper.why)
    yield from (_blas_term(copy, inputs) for copy in inputs.blas)
    if inputs.set_num_threads is not None:
        yield _pthreadpool_term(inputs.set_num_threads)
    yield from (_teams_term(teams) for teams in inputs.teams)
    if inputs.inter_op:
        why = "the first torch.jit.fork starts torch's inter-op pool"
        yield Term("torch inter-op", owned.TORCH_INTER_OP, 1, inputs.inter_op, why)


def _blas_term(copy: Blas, inputs: Inputs) -> Term:
    size = copy.threads(inputs.cores)
    if inputs.forked:
        size, why = 1, "OpenBLAS ends its threads before a fork and starts them again with its next call"
    elif copy.size is None:
        why = (
            f"{copy.name}'s OpenBLAS starts its pool when it is loaded: one thread per core it sees"
            f" ({inputs.cores}), at most {copy.build_maximum} by its build, less the caller"
        )
    else:
        why = f"{copy.name}'s OpenBLAS was told {copy.size} (at most {copy.build_maximum}), less the caller"
    return Term(f"OpenBLAS ({copy.name})", owned.OPENBLAS, 1, size - 1, why)


def _pthreadpool_term(size: int) -> Term:
    why = f"torch.set_num_threads({size}) also builds a pthreadpool of {size}, less the caller"
    return Term("torch pthreadpool", owned.TORCH_PTHREADPOOL, 1, max(size, 1) - 1, why)


def _teams_term(teams: Teams) -> Term:
    opened = [] if not teams.workers else [f"{teams.workers} workers" if teams.workers > 1 else "1 worker"]
    opened += ["the main thread"] if teams.main else []
    why = (
        f"libgomp keeps one team per thread that opened a parallel region ({' and '.join(opened) or 'none did'}):"
        f" {teams.size} threads, less the one that opened it"
    )
    return Term(f"libgomp ({teams.name})", owned.OPENMP_GNU, teams.masters, max(teams.size, 1) - 1, why)


def _factor(term: Term) -> str:
    if term.groups == 1 or term.each == 1:
        return str(term.count)
    return f"{term.groups} x {term.each}"


def _release(version: str) -> tuple[int, ...] | None:
    """First two numbers of a version; None where there are none."""
    parts = version.split(".")[:2]
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else None
