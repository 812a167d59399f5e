"""A trial: evolve one population per seed with one parameter set, and return the best fitness.

The value depends on the parameters, the sizes and the seed alone: not on the trial's number, on the backend,
on its neighbours or on how many threads computed it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from corelens import marks
from corelens.scenarios.search.evaluation import weights_fitness
from corelens.scenarios.search.evolution import breeding_from, next_generation
from corelens.scenarios.search.interrupt import TrialInterrupted, interruption
from corelens.scenarios.search.results import SeedResult, TrialResult
from corelens.scenarios.search.settings import SearchSettings
from corelens.scenarios.search.weights import first_population

if TYPE_CHECKING:
    from corelens.scenarios.search.space import Params


def run_trial(settings: SearchSettings, number: int, params: Params) -> TrialResult:
    """Run one trial and give its result, also when it fails; TrialInterrupted alone passes through."""
    began_s = time.monotonic()
    seeds: tuple[SeedResult, ...] = ()
    error = None
    with interruption.trial():
        key = marks.begin("trial", number=number, params=params)
        try:
            seeds = tuple(evolve_seeds(settings, params))
        except TrialInterrupted:
            raise
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        finally:
            value = max((seed.best_fitness for seed in seeds), default=None)
            state = "failed" if value is None else "complete"
            marks.end("trial", key, number=number, value=value, state=state)
    return TrialResult(
        number=number,
        params=params,
        state="failed" if value is None else "complete",
        value=value,
        error=error,
        seeds=seeds,
        began_monotonic_s=began_s,
        wall_s=time.monotonic() - began_s,
        pid=os.getpid(),
        tid=threading.get_native_id(),
    )


def evolve_seeds(settings: SearchSettings, params: Params) -> Iterator[SeedResult]:
    """Evolve one population per seed, one after the other."""
    for seed in range(settings.seed, settings.seed + settings.seeds):
        yield _evolved(settings, params, seed)


def best_per_generation(settings: SearchSettings, params: Params, seed: int) -> Iterator[float]:
    """Yield the best fitness of each generation, without end."""
    if settings.method == "neat":
        from corelens.scenarios.search.neat_method import evolve

        return evolve(settings, params, seed)
    return _evolve_weights(settings, params, seed)


def _evolved(settings: SearchSettings, params: Params, seed: int) -> SeedResult:
    best, improved_at, generation = -1.0, 0, 0
    for generation, fitness in enumerate(best_per_generation(settings, params, seed), start=1):
        if fitness > best:
            best, improved_at = fitness, generation
        if generation == settings.generations or _stagnant(settings, generation - improved_at):
            break
        interruption.check()
    return SeedResult(seed, best, generation)


def _stagnant(settings: SearchSettings, generations: int) -> bool:
    return settings.stagnation_limit is not None and generations >= settings.stagnation_limit


def _evolve_weights(settings: SearchSettings, params: Params, seed: int) -> Iterator[float]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    hidden_size, size = int(params["hidden_size"]), float(params["initial_size"])
    weights = first_population(hidden_size, settings.population, size, generator).to(settings.device)
    breeding = breeding_from(params)
    while True:
        fitness = weights_fitness(weights, hidden_size, settings.evaluation, settings.device)
        yield float(fitness.max())
        weights = next_generation(weights, fitness.to(weights.device), breeding, generator)
