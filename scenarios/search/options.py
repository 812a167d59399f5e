"""The flags of the search, from a parser to settings and back to a command line.

Three functions are for other command lines: `add_search_options(parser)` declares the flags of the work,
`settings_from(namespace)` reads them, `command_line(settings)` gives the program that does that work. None of
them imports torch or optuna.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from corelens.scenarios.search.settings import (
    BACKENDS,
    DEVICES,
    EVALUATIONS,
    LIMITS,
    METHODS,
    PRESETS,
    SCALES,
    START_METHODS,
    WITH_START_METHOD,
    BackendName,
    Preset,
    SearchSettings,
    StartMethod,
    check,
)

MODULE = "corelens.scenarios.search"
DEFAULT_SEED = 42


def parser() -> argparse.ArgumentParser:
    """Build the parser of the program that runs a search on its own."""
    built = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description="Search hyper-parameters of a neuro-evolution on one of several parallel backends.",
    )
    add_search_options(built)
    add_output_options(built)
    return built


def add_search_options(parser: argparse.ArgumentParser, *, backend_required: bool = True) -> None:
    """Declare the flags that decide the work, and no flag about where results go."""
    work = parser.add_argument_group("the search")
    work.add_argument("--backend", choices=BACKENDS, required=backend_required, help="what runs the trials")
    add_work_options(work)
    work.add_argument(
        "--start-method",
        choices=START_METHODS,
        help="how process-pool and process-executor start workers (default: spawn)",
    )
    work.add_argument(
        "--address", metavar="RAY", help="join this running Ray cluster, such as auto or IP:6379"
    )


def add_work_options(work: argparse._ArgumentGroup) -> None:  # pyright: ignore[reportPrivateUsage]
    """Declare the flags that mean the same on every backend."""
    sizes = ", ".join(f"{name}: {_described(PRESETS[name])}" for name in SCALES)
    work.add_argument(
        "--scale", choices=SCALES, default="small", help=f"preset sizes; {sizes} (default: small)"
    )
    work.add_argument(
        "-m", "--method", choices=METHODS, default="pure", help="genetic algorithm on weights, or NEAT"
    )
    work.add_argument(
        "--evaluation",
        choices=EVALUATIONS,
        default="batched",
        help="the population as one batch, or each genome alone (default: batched)",
    )
    work.add_argument("-n", "--trials", type=int, metavar="N", help="parameter sets to try")
    work.add_argument("-g", "--generations", type=int, metavar="N", help="generations per seed")
    work.add_argument(
        "-s", "--seeds", type=int, metavar="N", help="evolutions per trial, each with its own seed"
    )
    work.add_argument("-p", "--population", type=int, metavar="N", help="genomes per generation")
    work.add_argument(
        "-w", "--workers", "--n-jobs", type=int, metavar="N", help="trials that run at the same time"
    )
    work.add_argument(
        "--stagnation-limit",
        type=int,
        metavar="N",
        help="end a seed after N generations without a better genome",
    )
    work.add_argument(
        "--device", choices=DEVICES, default="cpu", help="where batches are computed (default: cpu)"
    )
    work.add_argument(
        "--limit-threads",
        choices=LIMITS,
        default="none",
        help="one thread per native pool: by variables before the imports (env) or after them (late), by"
        " threadpoolctl or torch.set_num_threads in each worker (default: none)",
    )
    work.add_argument(
        "--emulate-cores",
        type=int,
        metavar="N",
        help="give native pools the sizes they would have on N cores; thread counts are then real, times are not",
    )
    work.add_argument(
        "--seed", type=int, default=DEFAULT_SEED, help=f"decides everything drawn (default: {DEFAULT_SEED})"
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Declare the flags that decide what is written; they never change the work."""
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--results", type=Path, metavar="FILE", help="write the results as JSON")
    output.add_argument("--force", action="store_true", help="replace FILE if it exists")
    bar = output.add_mutually_exclusive_group()
    bar.add_argument("--quiet", action="store_true", help="no progress bar")
    bar.add_argument("--bar", action="store_true", help="a progress bar also where no terminal shows it")
    output.add_argument(
        "--storage",
        type=Path,
        metavar="FILE",
        help="keep the journal that process backends share here, such as on a file system all nodes see"
        " (default: a temporary file)",
    )


def settings_from(namespace: argparse.Namespace, backend: BackendName | None = None) -> SearchSettings:
    """Read the settings that a parsed command line stands for; UsageError on what contradicts itself.

    `backend` replaces the namespace's own, for callers that run one set of flags on several backends: flags
    that mean nothing there are then left out instead of refused.
    """
    chosen: BackendName = backend or namespace.backend
    preset = PRESETS[namespace.scale]
    return check(
        SearchSettings(
            backend=chosen,
            scale=namespace.scale,
            method=namespace.method,
            evaluation=namespace.evaluation,
            trials=_given(namespace.trials, preset.trials),
            generations=_given(namespace.generations, preset.generations),
            seeds=_given(namespace.seeds, preset.seeds),
            population=_given(namespace.population, preset.population),
            workers=_workers(namespace, chosen, preset, forced=backend is not None),
            stagnation_limit=namespace.stagnation_limit,
            device=namespace.device,
            limit_threads=namespace.limit_threads,
            start_method=_start_method(namespace, chosen, forced=backend is not None),
            address=_address(namespace, chosen, forced=backend is not None),
            seed=namespace.seed,
            emulate_cores=namespace.emulate_cores,
        )
    )


def command_line(settings: SearchSettings, *extra: str) -> list[str]:
    """Give the argument vector of the program that runs these settings, with `extra` flags at its end.

    Every size is spelled out, so the command means the same when a preset changes.
    """
    argv = [sys.executable, "-m", MODULE, "--backend", settings.backend, "--scale", settings.scale]
    argv += ["--method", settings.method, "--evaluation", settings.evaluation]
    for flag in ("trials", "generations", "seeds", "population", "workers", "device", "seed"):
        argv += [f"--{flag}", str(getattr(settings, flag))]
    argv += ["--limit-threads", settings.limit_threads]
    for flag in ("stagnation_limit", "start_method", "address", "emulate_cores"):
        value = getattr(settings, flag)
        if value is not None:
            argv += [f"--{flag.replace('_', '-')}", str(value)]
    return [*argv, *extra]


def _described(preset: Preset) -> str:
    return (
        f"{preset.trials} trials x {preset.population} genomes x {preset.generations} generations"
        f" x {preset.seeds} seeds on {preset.workers} workers"
    )


def _given(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _workers(namespace: argparse.Namespace, backend: BackendName, preset: Preset, *, forced: bool) -> int:
    if backend == "sequential" and (forced or namespace.workers is None):
        return 1
    return _given(namespace.workers, preset.workers)


def _start_method(namespace: argparse.Namespace, backend: BackendName, *, forced: bool) -> StartMethod | None:
    given: StartMethod | None = getattr(namespace, "start_method", None)
    if backend in WITH_START_METHOD:
        return given or "spawn"
    return None if forced else given


def _address(namespace: argparse.Namespace, backend: BackendName, *, forced: bool) -> str | None:
    given: str | None = getattr(namespace, "address", None)
    return None if forced and backend != "ray" else given
