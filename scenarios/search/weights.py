"""The genome of the `pure` method: the weights of a network with one hidden layer, a column of a tensor.

A population is a tensor of shape (genes, population). Its rows are, for H hidden neurons: 4 x H input
weights, H biases, H output weights, one output bias. Genomes lie side by side in memory, so that one
operation over neurons and episodes runs along them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from corelens.scenarios.search.cartpole import State, sum_first

if TYPE_CHECKING:
    from torch import Generator, Tensor

INPUTS = 4


def genes(hidden_size: int) -> int:
    """Count the weights of one genome."""
    return (INPUTS + 2) * hidden_size + 1


def first_population(hidden_size: int, population: int, size: float, generator: Generator) -> Tensor:
    """Draw a population whose weights are normal with standard deviation `size`."""
    import torch

    return torch.randn((genes(hidden_size), population), generator=generator) * size


def batch_policy(weights: Tensor, hidden_size: int, episodes: int) -> Callable[[State[Tensor]], Tensor]:
    """Give the policy of a whole population, for states of shape (episodes, population)."""
    import torch

    first_bias, first_output = INPUTS * hidden_size, (INPUTS + 1) * hidden_size
    inputs = weights[:first_bias].view(INPUTS, hidden_size, 1, -1)
    bias = weights[first_bias:first_output].unsqueeze(1)
    output = weights[first_output:-1].unsqueeze(1)
    output_bias = weights[-1]
    # Two buffers for all steps: a fresh megabyte per operation is a page fault per 4 KiB whenever the allocator
    # gives memory back, and that made the same step cost 1 to 3 times as much.
    hidden, spare = torch.empty((2, hidden_size, episodes, weights.shape[1]), device=weights.device)

    def policy(state: State[Tensor]) -> Tensor:
        torch.mul(inputs[0], state[0], out=hidden)
        for weight, observed in zip(inputs[1:], state[1:], strict=True):
            hidden.add_(torch.mul(weight, observed, out=spare))
        hidden.add_(bias)
        hidden.div_(torch.abs(hidden, out=spare).add_(1.0))
        return _squashed(sum_first(torch.mul(hidden, output, out=spare)) + output_bias)

    return policy


def single_policy(genome: Tensor, hidden_size: int) -> Callable[[State[float]], float]:
    """Give the policy of one genome, shape (genes,), for one state of plain floats."""
    import torch
    from torch.nn.functional import softsign

    # One contiguous copy per matrix: these products are too small for a BLAS to share between threads, so the
    # same bytes at the same alignment give the same sums.
    first_bias, first_output = INPUTS * hidden_size, (INPUTS + 1) * hidden_size
    inputs = genome[:first_bias].view(INPUTS, hidden_size).T.contiguous()
    bias = genome[first_bias:first_output].clone()
    output = genome[first_output:-1].clone()
    output_bias = float(genome[-1])

    def policy(state: State[float]) -> float:
        hidden = softsign(torch.addmv(bias, inputs, torch.tensor(state, device=genome.device)))
        value = float(torch.dot(output, hidden)) + output_bias
        return value / (abs(value) + 1.0)

    return policy


def _squashed(value: Tensor) -> Tensor:
    return value / (value.abs() + 1.0)
