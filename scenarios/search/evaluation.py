"""Two ways to find the fitness of a population: as one batch, or each genome alone.

They break differently on many cores. A batch works on tensors above torch's parallel grain of 32,768
elements, so every operation opens a parallel region and each thread that evaluates gets a team of native
threads. A genome alone works on tensors of some dozens of elements: no region is opened, and threads meet at
the GIL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corelens.scenarios.search.cartpole import Task, roll_out, roll_out_batch
from corelens.scenarios.search.settings import Device, Evaluation
from corelens.scenarios.search.weights import batch_policy, single_policy

if TYPE_CHECKING:
    from torch import Tensor

# Calibrated by benchmarks/calibration.py: a batch of 500 genomes with 24 hidden neurons is about 1.5 s of one
# thread, a genome alone about 3 ms.
BATCH_TASK = Task(episodes=64, steps=500)
SINGLE_TASK = Task(episodes=2, steps=40)


def task_of(evaluation: Evaluation) -> Task:
    """Give the task of an evaluation; the two are different work and their fitness is not comparable."""
    return BATCH_TASK if evaluation == "batched" else SINGLE_TASK


def weights_fitness(weights: Tensor, hidden_size: int, evaluation: Evaluation, device: Device) -> Tensor:
    """Give the fitness of each column of `weights`, shape (population,), 0 to 1."""
    import torch

    task = task_of(evaluation)
    with torch.inference_mode():
        if evaluation == "batched":
            return roll_out_batch(
                batch_policy(weights, hidden_size, task.episodes), task, weights.shape[1], device
            )
        genomes = weights.T.contiguous()
        return torch.tensor([roll_out(single_policy(genome, hidden_size), task) for genome in genomes])
