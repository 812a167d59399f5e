"""Networks of different shapes, evaluated together as one batch.

Every network is laid out in slots: four for the inputs, then one per neuron in an order in which each neuron
follows those it listens to. Shorter networks are padded with connections of weight zero.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from corelens.scenarios.search.cartpole import State, sum_first

if TYPE_CHECKING:
    from torch import Tensor

Link = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Neuron:
    """One neuron in its slot: what it listens to as (slot, weight), and its bias."""

    links: tuple[Link, ...]
    bias: float


PADDING = Neuron((), 0.0)


@dataclass(frozen=True, slots=True)
class Network:
    """The neurons of one genome by slot, and the slot of its output."""

    neurons: tuple[Neuron, ...]
    output_slot: int


@dataclass(frozen=True, slots=True)
class Column:
    """One slot of all networks: sources and weights of shape (links, 1, population), biases (population,)."""

    sources: Tensor
    weights: Tensor
    bias: Tensor


def batch_policy(genomes: Sequence[Any], config: Any, device: str) -> Callable[[State[Tensor]], Tensor]:
    """Give the policy of all genomes together, for states of shape (episodes, len(genomes))."""
    import torch

    inputs = len(config.input_keys)
    networks = [laid_out(genome, config) for genome in genomes]
    slots = max(len(network.neurons) for network in networks)
    columns = [_column([_at(network, slot) for network in networks], device) for slot in range(slots)]
    output = torch.tensor([network.output_slot for network in networks], device=device)

    def policy(state: State[Tensor]) -> Tensor:
        shape = state[0].shape
        values = torch.zeros((inputs + slots, *shape), device=device)
        values[:inputs] = torch.stack(state)
        for slot, column in enumerate(columns, start=inputs):
            heard = values.gather(0, column.sources.expand(-1, *shape)) * column.weights
            total = sum_first(heard) + column.bias
            values[slot] = total / (total.abs() + 1.0)
        return values.gather(0, output.expand(1, *shape))[0]

    return policy


def laid_out(genome: Any, config: Any) -> Network:
    """Lay one genome out; neurons that the output does not need are left out, as neat-python does."""
    graphs: Any = importlib.import_module("neat.graphs")
    weights = {gene.key: gene.weight for gene in genome.connections.values() if gene.enabled}
    layers, required = graphs.feed_forward_layers(config.input_keys, config.output_keys, list(weights))
    order: list[int] = list(chain.from_iterable(sorted(layer) for layer in layers))
    slot_of = {key: slot for slot, key in enumerate([*config.input_keys, *order])}
    heard = {*required, *config.input_keys}
    neurons = [
        Neuron(
            tuple((slot_of[a], weight) for (a, b), weight in weights.items() if b == key and a in heard),
            genome.nodes[key].bias,
        )
        for key in order
    ]
    return _with_output(neurons, slot_of, config)


def _with_output(neurons: list[Neuron], slot_of: dict[int, int], config: Any) -> Network:
    slot = slot_of.get(config.output_keys[0])
    if slot is not None:
        return Network(tuple(neurons), slot)
    # An output that nothing reaches stays at zero.
    return Network((*neurons, PADDING), len(config.input_keys) + len(neurons))


def _at(network: Network, slot: int) -> Neuron:
    return network.neurons[slot] if slot < len(network.neurons) else PADDING


def _column(neurons: Sequence[Neuron], device: str) -> Column:
    import torch

    width = max(1, *(len(neuron.links) for neuron in neurons))
    padded = [(*neuron.links, *((0, 0.0),) * (width - len(neuron.links))) for neuron in neurons]
    rows = list(zip(*padded, strict=True))
    return Column(
        sources=torch.tensor([[[source for source, _ in row]] for row in rows], device=device),
        weights=torch.tensor([[[weight for _, weight in row]] for row in rows], device=device),
        bias=torch.tensor([neuron.bias for neuron in neurons], device=device),
    )
