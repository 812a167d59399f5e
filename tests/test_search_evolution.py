"""The genetic algorithm and NEAT: what breeding keeps and changes, and that fitness really rises."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import pytest

from corelens.scenarios.search.evolution import Breeding, next_generation
from corelens.scenarios.search.objective import best_per_generation, evolve_seeds
from corelens.scenarios.search.options import parser, settings_from
from corelens.scenarios.search.settings import Method, SearchSettings
from corelens.scenarios.search.space import CROSSOVERS, SELECTIONS, Params, draw

BREEDING = Breeding(
    mutation_rate=0.2,
    mutation_size=0.5,
    selection="tournament",
    selected_share=0.2,
    tournament_size=3,
    crossover="uniform",
    crossover_rate=0.7,
    elite_share=0.1,
)
UNCHANGED = replace(BREEDING, mutation_rate=0.0, crossover_rate=0.0)


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed (extra lab)")


@pytest.fixture(scope="module", autouse=True)
def optuna() -> Any:
    return pytest.importorskip("optuna", reason="optuna is not installed (extra lab)")


def settings(*argv: str) -> SearchSettings:
    flags = ["--backend", "sequential", "--scale", "smoke", "--evaluation", "per-genome", *argv]
    return settings_from(parser().parse_args(flags))


def population(torch: Any) -> tuple[Any, Any]:
    """Twenty genomes of six genes; genome 13 is the fittest, then 14, and so on round to 12."""
    weights = torch.arange(120, dtype=torch.float32).reshape(6, 20)
    fitness = torch.tensor([1.0 - ((column - 13) % 20) / 20 for column in range(20)])
    return weights, fitness


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("crossover", CROSSOVERS)
def test_a_generation_keeps_its_size_and_its_elite(torch: Any, selection: str, crossover: str) -> None:
    weights, fitness = population(torch)
    breeding = replace(BREEDING, selection=selection, crossover=crossover)
    born = next_generation(weights, fitness, breeding, torch.Generator().manual_seed(1))
    assert born.shape == weights.shape
    assert torch.equal(born[:, :2], weights[:, 13:15])
    again = next_generation(weights, fitness, breeding, torch.Generator().manual_seed(1))
    assert torch.equal(born, again)
    other = next_generation(weights, fitness, breeding, torch.Generator().manual_seed(2))
    assert not torch.equal(born, other)


def parents(torch: Any, breeding: Breeding) -> list[int]:
    weights, fitness = population(torch)
    born = next_generation(weights, fitness, breeding, torch.Generator().manual_seed(1))
    return [int(gene) for gene in born[0, 2:]]


def test_truncation_breeds_from_the_best_alone(torch: Any) -> None:
    assert set(parents(torch, replace(UNCHANGED, selection="truncation"))) == {13, 14, 15, 16}


@pytest.mark.parametrize("selection", ["tournament", "rank"])
def test_selection_prefers_the_fit(torch: Any, selection: str) -> None:
    ranks = [(parent - 13) % 20 for parent in parents(torch, replace(UNCHANGED, selection=selection))]
    assert sum(ranks) / len(ranks) < 8.0
    assert len(set(ranks)) > 3


@pytest.mark.parametrize("crossover", CROSSOVERS)
def test_every_gene_of_a_child_lies_between_those_of_its_parents(torch: Any, crossover: str) -> None:
    weights, fitness = population(torch)
    breeding = replace(BREEDING, mutation_rate=0.0, crossover_rate=1.0, crossover=crossover)
    born = next_generation(weights, fitness, breeding, torch.Generator().manual_seed(1))
    assert bool(((born >= weights.amin(1, keepdim=True)) & (born <= weights.amax(1, keepdim=True))).all())
    whole = (born % 1.0 == 0.0).all()
    assert bool(whole) == (crossover != "blend")


def test_one_point_crossover_joins_a_head_to_a_tail(torch: Any) -> None:
    weights, fitness = population(torch)
    breeding = replace(BREEDING, mutation_rate=0.0, crossover_rate=1.0, crossover="one-point")
    born = next_generation(weights, fitness, breeding, torch.Generator().manual_seed(1))
    tens: Any = (born % 20).int().T
    columns: list[list[int]] = tens.tolist()
    changes = [sum(left != right for left, right in pairwise(genes)) for genes in columns]
    assert max(changes) == 1


def test_mutation_changes_about_its_rate_of_all_genes(torch: Any) -> None:
    weights = torch.zeros((100, 200))
    fitness = torch.linspace(0, 1, 200)
    born = next_generation(weights, fitness, BREEDING, torch.Generator().manual_seed(1))
    changed = born[:, 20:]
    assert float((changed != 0).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert float(changed[changed != 0].std()) == pytest.approx(0.5, abs=0.05)


def test_the_same_seed_draws_the_same_sets_and_another_seed_others() -> None:
    for method in ("pure", "neat"):
        assert draw(method, 3, 1) == draw(method, 4, 1)[:3]
        assert draw(method, 3, 1) != draw(method, 3, 2)


@pytest.mark.parametrize("method", ["pure", "neat"])
def test_the_best_fitness_rises_over_generations(torch: Any, method: Method) -> None:
    chosen = settings("-m", method, "-p", "40")
    best = list(islice(best_per_generation(chosen, draw(method, 1, 4)[0], 1), 8))
    assert max(best[4:]) > best[0]
    assert all(0.0 <= fitness <= 1.0 for fitness in best)


def test_an_elite_never_gets_worse(torch: Any) -> None:
    best = list(islice(best_per_generation(settings("-p", "20"), draw("pure", 1, 4)[0], 1), 6))
    assert best == sorted(best)


def test_a_seed_ends_after_generations_without_a_better_genome(monkeypatch: pytest.MonkeyPatch) -> None:
    def canned(_settings: SearchSettings, _params: Params, _seed: int) -> Any:
        return iter([0.1, 0.3, 0.2, 0.3, 0.9])

    monkeypatch.setattr("corelens.scenarios.search.objective.best_per_generation", canned)
    short, full = (
        next(evolve_seeds(settings("-g", "5", *flags), {})) for flags in (("--stagnation-limit", "2"), ())
    )
    assert (short.best_fitness, short.generations) == (0.3, 4)
    assert (full.best_fitness, full.generations) == (0.9, 5)


def test_neat_in_two_threads_side_by_side_finds_what_it_finds_alone(torch: Any) -> None:
    pytest.importorskip("neat", reason="neat-python is not installed (extra lab)")
    chosen = settings("-m", "neat", "-p", "24", "-g", "4", "-s", "2")
    sets = draw("neat", 2, 9)
    alone = [list(evolve_seeds(chosen, params)) for params in sets]
    together: dict[int, Any] = {}
    both_began = threading.Barrier(2)

    def evolve(index: int) -> None:
        both_began.wait()
        together[index] = list(evolve_seeds(chosen, sets[index]))

    threads = [threading.Thread(target=evolve, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[0], together[1]] == alone


def test_networks_of_different_shapes_agree_with_neat_pythons_own(torch: Any) -> None:
    neat = pytest.importorskip("neat", reason="neat-python is not installed (extra lab)")
    from corelens.scenarios.search.neat_method import configuration
    from corelens.scenarios.search.neat_networks import batch_policy
    from corelens.scenarios.search.neat_random import separate_threads

    separate_threads()
    config = configuration({"node_add_prob": 0.9, "conn_add_prob": 0.9, "conn_delete_prob": 0.3}, 12)
    genomes = list(neat.Population(config, seed=2).population.values())
    for genome in genomes:
        for _ in range(6):
            genome.mutate(config.genome_config)
    state = torch.randn((4, 3, len(genomes)), generator=torch.Generator().manual_seed(1))
    found = batch_policy(genomes, config.genome_config, "cpu")(tuple(state))
    networks = [neat.nn.FeedForwardNetwork.create(genome, config) for genome in genomes]
    for column, network in enumerate(networks):
        for row in range(3):
            expected = network.activate(state[:, row, column].tolist())[0]
            assert float(found[row, column]) == pytest.approx(expected, abs=1e-5)
    assert len({len(network.node_evals) for network in networks}) > 1


def test_species_make_room_for_each_other_without_an_internal_error() -> None:
    neat = pytest.importorskip("neat", reason="neat-python is not installed (extra lab)")
    from corelens.scenarios.search.neat_method import configuration

    reproduction = configuration({}, 12).reproduction_type
    adjusted = reproduction._adjust_spawn_exact(None, [9, 1, 1, 1, 1, 1, 1, 1], 12, 1)
    assert adjusted == [5, 1, 1, 1, 1, 1, 1, 1]
    with pytest.raises(RuntimeError):
        neat.DefaultReproduction._adjust_spawn_exact(None, [9, 1, 1, 1, 1, 1, 1, 1], 12, 1)
