"""Optuna trains small networks on four threads, each with an OpenMP team of 16; `--fixed` gives each one thread.

libgomp keeps one team for every thread that opens a parallel region: 4 x 16 threads for two cores.
"""

# pyright: basic
from __future__ import annotations

import sys
import time

import optuna
import torch

FIXED = "--fixed" in sys.argv
SECONDS = 8.0
TEAM = 1 if FIXED else 16
EPOCHS = {"done": 0}


def objective(trial: optuna.Trial) -> float:
    """Train one epoch of a convolution on random pictures."""
    torch.set_num_threads(TEAM)
    rate = trial.suggest_float("rate", 1e-3, 1e-1)
    layer = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16 * 30 * 30, 10)
    )
    optimiser = torch.optim.SGD(layer.parameters(), lr=rate)
    loss = torch.tensor(0.0)
    for _ in range(4):
        optimiser.zero_grad()
        loss = layer(torch.rand(32, 3, 32, 32)).square().mean()
        loss.backward()
        optimiser.step()
    EPOCHS["done"] += 1
    return float(loss.detach())


def main() -> None:
    """Run the study on four threads for some seconds."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    begun = time.perf_counter()
    study.optimize(objective, timeout=SECONDS, n_jobs=4)
    print(f"units={EPOCHS['done']} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
