"""The `neat` method: topologies and weights evolved by neat-python on the same control task."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corelens.scenarios.search.cartpole import State, roll_out, roll_out_batch
from corelens.scenarios.search.evaluation import task_of
from corelens.scenarios.search.neat_networks import batch_policy
from corelens.scenarios.search.neat_random import separate_threads
from corelens.scenarios.search.settings import SearchSettings

if TYPE_CHECKING:
    from corelens.scenarios.search.space import Params

CONFIG_FILE = Path(__file__).with_name("neat.ini")
# What the search space varies elsewhere than in the genome's part of the configuration.
OF_SPECIES = frozenset({"compatibility_threshold"})
OF_REPRODUCTION = frozenset({"survival_threshold"})


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Assigns the fitness of every genome, in the shape that neat-python calls."""

    settings: SearchSettings

    def __call__(self, genomes: list[tuple[int, Any]], config: Any) -> None:
        members = [genome for _, genome in genomes]
        batched = self.settings.evaluation == "batched"
        found = (
            self._batch(members, config) if batched else [self._alone(genome, config) for genome in members]
        )
        for genome, fitness in zip(members, found, strict=True):
            genome.fitness = fitness

    def _batch(self, genomes: list[Any], config: Any) -> list[float]:
        import torch

        device = self.settings.device
        with torch.inference_mode():
            policy = batch_policy(genomes, config.genome_config, device)
            return [
                float(value) for value in roll_out_batch(policy, task_of("batched"), len(genomes), device)
            ]

    def _alone(self, genome: Any, config: Any) -> float:
        network = importlib.import_module("neat").nn.FeedForwardNetwork.create(genome, config)

        def policy(state: State[float]) -> float:
            return float(network.activate(state)[0])

        return roll_out(policy, task_of("per-genome"))


def evolve(settings: SearchSettings, params: Params, seed: int) -> Iterator[float]:
    """Yield the best fitness of each generation, without end."""
    neat: Any = importlib.import_module("neat")
    separate_threads()
    population = neat.Population(configuration(params, settings.population), seed=seed)
    evaluate = Evaluate(settings)
    while True:
        best: list[float] = []

        def noting(genomes: list[tuple[int, Any]], config: Any, best: list[float] = best) -> None:
            evaluate(genomes, config)
            best.append(max(genome.fitness for _, genome in genomes))

        population.run(noting, 1)
        yield best[0]


def configuration(params: Params, population: int) -> Any:
    """Give one evolution its own neat-python configuration; it holds counters and is never shared."""
    neat: Any = importlib.import_module("neat")
    config = neat.Config(
        neat.DefaultGenome,
        _reproduction(neat),
        neat.DefaultSpeciesSet,
        neat.DefaultStagnation,
        str(CONFIG_FILE),
    )
    config.pop_size = population
    config.genome_config.add_activation("softsign", _softsign)
    for name, value in params.items():
        setattr(_part(config, name), name, value)
    return config


def _part(config: Any, name: str) -> Any:
    if name in OF_SPECIES:
        return config.species_set_config
    return config.reproduction_config if name in OF_REPRODUCTION else config.genome_config


def _softsign(value: float) -> float:
    return value / (1.0 + abs(value))


def _reproduction(neat: Any) -> type:
    # neat-python 2.0 gives up with an internal error when one large species would have to shrink by more than
    # one to make room for many small ones.
    def adjust(self: Any, sizes: list[int], total: int, least: int) -> list[int]:
        while sum(sizes) > total:
            sizes[sizes.index(max(sizes))] -= 1
        while sum(sizes) < total:
            sizes[sizes.index(min(sizes))] += 1
        return sizes

    return type("Reproduction", (neat.DefaultReproduction,), {"_adjust_spawn_exact": adjust})
