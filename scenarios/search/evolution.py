"""The genetic algorithm of the `pure` method: selection, crossover and mutation of weight columns.

Everything random is drawn on the CPU from the generator that is passed in, and in the same order whatever the
device or the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from corelens.scenarios.search.space import Params


@dataclass(frozen=True, slots=True)
class Breeding:
    """How one generation follows from another; rates and shares lie in 0..1."""

    mutation_rate: float
    mutation_size: float
    selection: str
    selected_share: float
    tournament_size: int
    crossover: str
    crossover_rate: float
    elite_share: float


def breeding_from(params: Params) -> Breeding:
    """Read the breeding part of a parameter set."""
    return Breeding(
        mutation_rate=float(params["mutation_rate"]),
        mutation_size=float(params["mutation_size"]),
        selection=str(params["selection"]),
        selected_share=float(params["selected_share"]),
        tournament_size=int(params["tournament_size"]),
        crossover=str(params["crossover"]),
        crossover_rate=float(params["crossover_rate"]),
        elite_share=float(params["elite_share"]),
    )


def next_generation(weights: Tensor, fitness: Tensor, breeding: Breeding, generator: Generator) -> Tensor:
    """Give the next population, same shape (genes, population); the elite comes first and unchanged."""
    import torch

    population = weights.shape[1]
    # Stable, so that genomes of the same fitness keep their order on every machine.
    ranked = weights[:, torch.argsort(fitness, descending=True, stable=True)]
    elite = max(1, round(breeding.elite_share * population))
    children = population - elite
    mothers = ranked[:, _parents(population, children, breeding, generator).to(weights.device)]
    fathers = ranked[:, _parents(population, children, breeding, generator).to(weights.device)]
    born = _crossed(mothers, fathers, breeding, generator)
    return torch.cat([ranked[:, :elite], _mutated(born, breeding, generator)], dim=1)


def _parents(population: int, count: int, breeding: Breeding, generator: Generator) -> Tensor:
    """Choose `count` parents as ranks, 0 the fittest."""
    import torch

    if breeding.selection == "tournament":
        entrants = torch.randint(population, (breeding.tournament_size, count), generator=generator)
        return entrants.amin(0)
    if breeding.selection == "truncation":
        selected = max(2, round(breeding.selected_share * population))
        return torch.randint(selected, (count,), generator=generator)
    # Linear ranking: the chance of a rank falls evenly to zero at the last one.
    drawn = torch.rand((count,), generator=generator)
    return ((1.0 - drawn.sqrt()) * population).long().clamp_(0, population - 1)


def _crossed(mothers: Tensor, fathers: Tensor, breeding: Breeding, generator: Generator) -> Tensor:
    import torch

    genes, count = mothers.shape
    device = mothers.device
    crossing = (torch.rand((count,), generator=generator) < breeding.crossover_rate).to(device)
    if breeding.crossover == "blend":
        share = torch.rand((genes, count), generator=generator).to(device)
        mixed = mothers * share + fathers * (1.0 - share)
    else:
        mixed = torch.where(_from_mother(genes, count, breeding, generator).to(device), mothers, fathers)
    return torch.where(crossing, mixed, mothers)


def _from_mother(genes: int, count: int, breeding: Breeding, generator: Generator) -> Tensor:
    import torch

    if breeding.crossover == "one-point":
        cut = torch.randint(1, genes, (count,), generator=generator)
        return torch.arange(genes).unsqueeze(1) < cut
    return torch.rand((genes, count), generator=generator) < 0.5


def _mutated(weights: Tensor, breeding: Breeding, generator: Generator) -> Tensor:
    import torch

    shape = tuple(weights.shape)
    hit = torch.rand(shape, generator=generator) < breeding.mutation_rate
    change = torch.randn(shape, generator=generator) * breeding.mutation_size
    return weights + torch.where(hit, change, 0.0).to(weights.device)
