"""The control task: its physics, its bit-exact sums, and what batches and single genomes agree on."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from corelens.scenarios.search.cartpole import (
    FALLEN_RAD,
    TRACK_END_M,
    State,
    Task,
    moved,
    reward,
    roll_out,
    roll_out_batch,
    starts,
    sum_first,
)

TORCH_REASON = "torch is not installed (extra lab)"
AT_REST = (0.0, 0.0, 0.0, 0.0)


def reference(state: State[float], push: float) -> State[float]:
    """The equations of Barto, Sutton and Anderson with the library's sine and cosine."""
    x, speed, angle, spin = state
    pull = (10.0 * push + 0.05 * spin**2 * math.sin(angle)) / 1.1
    turn = (9.8 * math.sin(angle) - math.cos(angle) * pull) / (
        0.5 * (4 / 3 - 0.1 * math.cos(angle) ** 2 / 1.1)
    )
    acceleration = pull - 0.05 * turn * math.cos(angle) / 1.1
    return x + 0.02 * speed, speed + 0.02 * acceleration, angle + 0.02 * spin, spin + 0.02 * turn


@pytest.mark.parametrize("push", [-1.0, -0.3, 0.0, 0.7, 1.0])
def test_one_step_follows_the_published_equations(push: float) -> None:
    for state in starts(50):
        assert moved(state, push) == pytest.approx(reference(state, push), abs=1e-10)


def test_a_pole_left_alone_stays_upright_only_if_it_stands_exactly() -> None:
    assert moved(AT_REST, 0.0) == AT_REST
    state: State[float] = (0.0, 0.0, 0.01, 0.0)
    for _ in range(50):
        state = moved(state, 0.0)
    assert state[2] > 0.05


def test_the_reward_is_one_in_the_middle_and_zero_at_both_limits() -> None:
    assert reward(0.0, 0.0) == 1.0
    assert reward(TRACK_END_M, FALLEN_RAD) == pytest.approx(0.0)


def test_a_controller_that_pushes_under_the_pole_beats_one_that_does_nothing() -> None:
    task = Task(episodes=8, steps=200)

    def steady(state: State[float]) -> float:
        x, speed, angle, spin = state
        return max(-1.0, min(1.0, 0.1 * x + 0.2 * speed + 3.0 * angle + 0.6 * spin))

    balanced, idle = roll_out(steady, task), roll_out(lambda _: 0.0, task)
    assert idle < 0.3 < 0.6 < balanced <= 1.0


def test_starts_differ_from_each_other_and_never_change() -> None:
    assert starts(3) == starts(5)[:3]
    assert len(set(starts(64))) == 64
    assert all(abs(x) < TRACK_END_M and abs(angle) < FALLEN_RAD for x, _, angle, _ in starts(64))


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 24])
def test_summing_by_halves_is_a_sum(length: int) -> None:
    torch = pytest.importorskip("torch", reason=TORCH_REASON)
    values = torch.arange(length * 6, dtype=torch.float32).reshape(length, 2, 3)
    assert torch.equal(sum_first(values.clone()), values.sum(0))


def test_a_batch_and_single_runs_of_the_same_controllers_agree() -> None:
    torch = pytest.importorskip("torch", reason=TORCH_REASON)
    from corelens.scenarios.search.weights import batch_policy, first_population, single_policy

    task = Task(episodes=3, steps=60)
    weights = first_population(16, 8, 1.0, torch.Generator().manual_seed(5))
    together = roll_out_batch(batch_policy(weights, 16, task.episodes), task, 8, "cpu")
    alone = [roll_out(single_policy(genome.contiguous(), 16), task) for genome in weights.T]
    # One counts in 32 bits and the other in 64, so they part in the last digits, and a pole on the brink may
    # fall one step apart.
    values: Any = together
    assert values.tolist() == pytest.approx(alone, abs=0.01)
    assert len(set(alone)) > 4


BITS = """
import sys, torch
from corelens.scenarios.search.evaluation import weights_fitness
from corelens.scenarios.search.evolution import breeding_from, next_generation
from corelens.scenarios.search.space import draw
from corelens.scenarios.search.weights import first_population
torch.set_num_threads(int(sys.argv[1]))
generator = torch.Generator().manual_seed(3)
weights = first_population(24, 300, 1.0, generator)
breeding = breeding_from(draw("pure", 1, 3)[0])
for _ in range(2):
    fitness = weights_fitness(weights, 24, "batched", "cpu")
    weights = next_generation(weights, fitness, breeding, generator)
print(torch.get_num_threads(), fitness.numpy().tobytes().hex())
"""


@pytest.mark.lab
def test_results_are_the_same_bits_on_one_and_on_three_threads() -> None:
    pytest.importorskip("torch", reason=TORCH_REASON)
    pytest.importorskip("optuna", reason="optuna is not installed (extra lab)")
    said = [
        subprocess.run(
            [sys.executable, "-c", BITS, count], capture_output=True, text=True, check=True
        ).stdout.split()
        for count in ("1", "3")
    ]
    assert [words[0] for words in said] == ["1", "3"]
    assert said[0][1] == said[1][1]
