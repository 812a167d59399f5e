"""Measures what the search's two evaluations cost on one thread of this machine.

Run it with `python benchmarks/calibration.py`. It prints CPU seconds, which other programs on the machine
disturb less than wall time. The sizes in `corelens.scenarios.search.evaluation` were chosen by it: a batched
generation of 500 genomes with 24 hidden neurons, the middle of the search space, should cost about 1.5 s,
and a genome alone about 3 ms.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from corelens.scenarios.search.evaluation import BATCH_TASK, SINGLE_TASK, weights_fitness
from corelens.scenarios.search.neat_method import Evaluate, configuration
from corelens.scenarios.search.neat_random import separate_threads
from corelens.scenarios.search.settings import Evaluation, SearchSettings
from corelens.scenarios.search.weights import first_population

HIDDEN_SIZES = (16, 24, 32)
POPULATION = 500
# A genome alone always costs the same, so fewer of them say as much.
ALONE = 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each (default: 7)")
    repeats: int = parser.parse_args().repeats

    import torch

    torch.set_num_threads(1)
    print(f"torch {torch.__version__} on one thread, {repeats} repeats, CPU time as median [min..max]")
    print(f"batched: {POPULATION} genomes x {BATCH_TASK.episodes} episodes x {BATCH_TASK.steps} steps")
    for hidden_size in HIDDEN_SIZES:
        _show(
            f"pure, {hidden_size} hidden",
            repeats,
            _pure(hidden_size, POPULATION, "batched"),
            1.0,
            "s/generation",
        )
    _show("neat, first generation", repeats, _neat(POPULATION, "batched"), 1.0, "s/generation")
    print(f"per-genome: one genome x {SINGLE_TASK.episodes} episodes x {SINGLE_TASK.steps} steps")
    for hidden_size in HIDDEN_SIZES:
        work = _pure(hidden_size, ALONE, "per-genome")
        _show(f"pure, {hidden_size} hidden", repeats, work, 1e3 / ALONE, "ms/genome")
    _show("neat, first generation", repeats, _neat(ALONE, "per-genome"), 1e3 / ALONE, "ms/genome")


def _show(name: str, repeats: int, work: Callable[[], object], scale: float, unit: str) -> None:
    work()
    costs = [_cpu_s(work) * scale for _ in range(repeats)]
    print(f"  {name:24} {median(costs):7.3f} [{min(costs):.3f}..{max(costs):.3f}] {unit}", flush=True)


def _cpu_s(work: Callable[[], object]) -> float:
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def _pure(hidden_size: int, population: int, evaluation: Evaluation) -> Callable[[], object]:
    import torch

    weights = first_population(hidden_size, population, 1.0, torch.Generator().manual_seed(1))
    return lambda: weights_fitness(weights, hidden_size, evaluation, "cpu")


def _neat(population: int, evaluation: Evaluation) -> Callable[[], object]:
    neat: Any = importlib.import_module("neat")

    separate_threads()
    config = configuration({}, population)
    genomes = list(neat.Population(config, seed=1).population.items())
    evaluate = Evaluate(_settings(population, evaluation))
    return lambda: evaluate(genomes, config)


def _settings(population: int, evaluation: Evaluation) -> SearchSettings:
    return SearchSettings(
        backend="sequential",
        scale="production",
        method="neat",
        evaluation=evaluation,
        trials=1,
        generations=1,
        seeds=1,
        population=population,
        workers=1,
        stagnation_limit=None,
        device="cpu",
        limit_threads="none",
        start_method=None,
        address=None,
        seed=1,
    )


if __name__ == "__main__":
    main()
