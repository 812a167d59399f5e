"""The control task: a cart keeps a pole upright by pushing with a continuous force.

Equations of motion and constants are those of Barto, Sutton and Anderson, "Neuronlike adaptive elements that
can solve difficult learning control problems" (IEEE SMC 13, 1983), integrated by Euler's method at 50 Hz.

Every operation is an addition, multiplication or division of single elements, each of which IEEE 754 rounds
in one way only. So a result does not depend on how many threads share a tensor, or on where they cut it;
library sines and sums would differ in their last bits.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Number = TypeVar("Number", float, "Tensor")
State = tuple[Number, Number, Number, Number]

GRAVITY = 9.8
POLE_MASS = 0.1
TOTAL_MASS = 1.1
HALF_POLE_LENGTH = 0.5
POLE_MOMENT = POLE_MASS * HALF_POLE_LENGTH
FORCE = 10.0
STEP_S = 0.02
TRACK_END_M = 2.4
FALLEN_RAD = 0.20943951023931953  # 12 degrees

# Position (m), speed (m/s), angle (rad) and angular speed (rad/s) of the widest start.
WIDEST_START = (1.2, 0.6, 0.12, 0.6)
START_SEED = 1983


@dataclass(frozen=True, slots=True)
class Task:
    """How often a controller is tried, each time from another start, and for how many steps."""

    episodes: int
    steps: int


def starts(episodes: int) -> list[tuple[float, float, float, float]]:
    """Give the starts of the episodes, the same in every generation, seed and trial."""
    drawn = random.Random(START_SEED)
    x, speed, angle, spin = WIDEST_START
    return [
        (
            drawn.uniform(-x, x),
            drawn.uniform(-speed, speed),
            drawn.uniform(-angle, angle),
            drawn.uniform(-spin, spin),
        )
        for _ in range(episodes)
    ]


def moved(state: State[Number], push: Number) -> State[Number]:
    """Give the state one step later, for floats and for tensors of any shape; `push` lies in -1..1."""
    x, speed, angle, spin = state
    sine, cosine = _sine(angle), _cosine(angle)
    pull = (push * FORCE + spin * spin * sine * POLE_MOMENT) / TOTAL_MASS
    inertia = (cosine * cosine * (-POLE_MASS / TOTAL_MASS) + 4.0 / 3.0) * HALF_POLE_LENGTH
    turn = (sine * GRAVITY - cosine * pull) / inertia
    acceleration = pull - turn * cosine * (POLE_MOMENT / TOTAL_MASS)
    return (
        x + speed * STEP_S,
        speed + acceleration * STEP_S,
        angle + spin * STEP_S,
        spin + turn * STEP_S,
    )


def reward(x_distance: Number, angle_distance: Number) -> Number:
    """Give 1 for a pole upright in the middle of the track, 0 at both limits."""
    return x_distance * (-0.5 / TRACK_END_M) + angle_distance * (-0.5 / FALLEN_RAD) + 1.0


def roll_out(policy: Callable[[State[float]], float], task: Task) -> float:
    """Try one controller alone and give its mean reward per step, 0 to 1."""
    total = sum(_episode(policy, start, task.steps) for start in starts(task.episodes))
    return total / (task.episodes * task.steps)


def _episode(policy: Callable[[State[float]], float], state: State[float], steps: int) -> float:
    total, alive = 0.0, True
    # A fallen pole is stepped on to the end without reward, as in a batch: every genome then costs the same,
    # and time says something about the machine and not about the genome.
    for _ in range(steps):
        after = moved(state, policy(state))
        alive = alive and abs(after[0]) < TRACK_END_M and abs(after[2]) < FALLEN_RAD
        if alive:
            state = after
            total += reward(abs(after[0]), abs(after[2]))
    return total


def roll_out_batch(
    policy: Callable[[State[Tensor]], Tensor], task: Task, population: int, device: str
) -> Tensor:
    """Try a whole population at once and give its mean rewards per step, shape (population,), 0 to 1.

    The policy maps four tensors of shape (episodes, population) to pushes of the same shape.
    """
    import torch

    state = _start_tensors(task.episodes, population, device)
    alive = torch.ones((task.episodes, population), dtype=torch.bool, device=device)
    total = torch.zeros((task.episodes, population), device=device)
    for _ in range(task.steps):
        after = moved(state, policy(state))
        x_distance, angle_distance = after[0].abs(), after[2].abs()
        alive = alive & (x_distance < TRACK_END_M) & (angle_distance < FALLEN_RAD)
        state = _where(alive, after, state)
        total = total + torch.where(alive, reward(x_distance, angle_distance), 0.0)
    return sum_first(total) / (task.episodes * task.steps)


def sum_first(values: Tensor) -> Tensor:
    """Sum over the first dimension by halving it, an order that no number of threads changes.

    The sum is made in place: `values` is used up.
    """
    while len(values) > 1:
        half, odd = divmod(len(values), 2)
        values[:half] += values[half : 2 * half]
        if odd:
            values[0] += values[-1]
        values = values[:half]
    return values[0]


def _where(alive: Tensor, after: State[Tensor], before: State[Tensor]) -> State[Tensor]:
    import torch

    x, speed, angle, spin = (torch.where(alive, new, old) for new, old in zip(after, before, strict=True))
    return x, speed, angle, spin


def _start_tensors(episodes: int, population: int, device: str) -> State[Tensor]:
    import torch

    columns = torch.tensor(starts(episodes), device=device).T.unsqueeze(2)
    x, speed, angle, spin = columns.expand(4, episodes, population).contiguous()
    return x, speed, angle, spin


def _sine(angle: Number) -> Number:
    # The series to the seventh power is exact to 3e-12 for a pole that has not fallen.
    square = angle * angle
    return angle * (square * (square * (square * (-1.0 / 5040.0) + 1.0 / 120.0) - 1.0 / 6.0) + 1.0)


def _cosine(angle: Number) -> Number:
    square = angle * angle
    return square * (square * (square * (-1.0 / 720.0) + 1.0 / 24.0) - 0.5) + 1.0
