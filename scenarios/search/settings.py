"""What one search is: its settings, their presets, and what contradicts what.

Standard library only, so a command line can plan searches without loading torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from corelens.errors import UsageError

BackendName = Literal[
    "sequential",
    "optuna-threads",
    "joblib-threads",
    "joblib-loky",
    "process-pool",
    "process-executor",
    "ray",
]
Method = Literal["pure", "neat"]
Evaluation = Literal["batched", "per-genome"]
Device = Literal["cpu", "cuda"]
Limit = Literal["none", "env", "late", "threadpoolctl", "torch"]
StartMethod = Literal["spawn", "fork", "forkserver"]
Scale = Literal["smoke", "small", "production"]
Label = str | int | None

BACKENDS: tuple[BackendName, ...] = get_args(BackendName)
METHODS: tuple[Method, ...] = get_args(Method)
EVALUATIONS: tuple[Evaluation, ...] = get_args(Evaluation)
DEVICES: tuple[Device, ...] = get_args(Device)
LIMITS: tuple[Limit, ...] = get_args(Limit)
START_METHODS: tuple[StartMethod, ...] = get_args(StartMethod)
SCALES: tuple[Scale, ...] = get_args(Scale)

WITH_START_METHOD = frozenset({"process-pool", "process-executor"})
# loky and Ray limit their workers' pools by cores that they count themselves.
NOT_EMULATED = frozenset({"joblib-loky", "ray"})
# Below four genomes there is nobody to select and cross beside the elite.
SMALLEST_POPULATION = 4


@dataclass(frozen=True, slots=True)
class Preset:
    """The sizes that a scale stands for; each has a flag that overrides it."""

    trials: int
    generations: int
    seeds: int
    population: int
    workers: int


PRESETS: dict[Scale, Preset] = {
    "smoke": Preset(trials=4, generations=2, seeds=1, population=40, workers=2),
    "small": Preset(trials=4, generations=10, seeds=1, population=200, workers=2),
    "production": Preset(trials=3, generations=150, seeds=3, population=500, workers=3),
}


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Everything that decides what a search computes and how it is run.

    `stagnation_limit` None means that no seed is cut short, `start_method` None that the backend starts no
    processes itself, `address` None that the ray backend starts a cluster of its own, `emulate_cores` None that
    native pools have the sizes that they take on this machine.
    """

    backend: BackendName
    scale: Scale
    method: Method
    evaluation: Evaluation
    trials: int
    generations: int
    seeds: int
    population: int
    workers: int
    stagnation_limit: int | None
    device: Device
    limit_threads: Limit
    start_method: StartMethod | None
    address: str | None
    seed: int
    emulate_cores: int | None = None


def labels(settings: SearchSettings) -> dict[str, Label]:
    """Give the settings as plain JSON values, the words by which reports compare runs."""
    return asdict(settings)


def check(settings: SearchSettings) -> SearchSettings:
    """Return the settings unchanged, or raise UsageError on what cannot be or contradicts itself."""
    for name, least in (("trials", 1), ("generations", 1), ("seeds", 1), ("workers", 1), ("seed", 0)):
        _at_least(name, getattr(settings, name), least)
    _at_least("population", settings.population, SMALLEST_POPULATION)
    if settings.stagnation_limit is not None:
        _at_least("stagnation-limit", settings.stagnation_limit, 1)
    _check_backend(settings)
    _check_emulation(settings)
    _check_device(settings)
    return settings


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise UsageError(f"--{name} {value} is too small", f"use --{name} {least} or more")


def _check_backend(settings: SearchSettings) -> None:
    if settings.backend == "sequential" and settings.workers != 1:
        raise UsageError(
            f"--backend sequential runs one trial at a time, and --workers {settings.workers} asks for more",
            "leave --workers out or choose another --backend",
        )
    if settings.address is not None and settings.backend != "ray":
        raise UsageError(
            f"--address does nothing with --backend {settings.backend}", "use it with --backend ray"
        )
    if settings.start_method is not None and settings.backend not in WITH_START_METHOD:
        raise UsageError(
            f"--start-method does nothing with --backend {settings.backend}",
            f"use it with --backend {' or '.join(sorted(WITH_START_METHOD))}",
        )


def _check_emulation(settings: SearchSettings) -> None:
    if settings.emulate_cores is None:
        return
    _at_least("emulate-cores", settings.emulate_cores, 1)
    if settings.backend in NOT_EMULATED:
        raise UsageError(
            f"--emulate-cores cannot reach the workers of --backend {settings.backend}, which limits their pools"
            " by the cores it counts itself",
            "leave it out or choose another --backend",
        )


def _check_device(settings: SearchSettings) -> None:
    if settings.device != "cuda":
        return
    if settings.start_method == "fork":
        raise UsageError("CUDA does not survive --start-method fork", "use --start-method spawn")
    if settings.method == "neat" and settings.evaluation == "per-genome":
        raise UsageError(
            "--method neat --evaluation per-genome runs in Python and never touches a GPU",
            "use --evaluation batched or --device cpu",
        )
