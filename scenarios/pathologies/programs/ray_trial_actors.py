"""Each short trial gets a Ray actor, hence a process, of its own, as Ray Tune does; `--fixed` reuses two actors."""

# pyright: basic
from __future__ import annotations

import logging
import sys
import time
from typing import Any

import ray

FIXED = "--fixed" in sys.argv
TRIALS = 14


class Trial:
    """One trial, which imports what every trial needs."""

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def run(self, seed: int) -> float:
        """Train a little."""
        self.torch.manual_seed(seed)
        weights = self.torch.rand(64, 64)
        for _ in range(200):
            weights = self.torch.tanh(weights @ weights * 0.01)
        return float(weights.mean())


def main() -> None:
    """Run all trials, two at a time."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    actor: Any = ray.remote(num_cpus=1)(Trial)
    begun = time.perf_counter()
    if FIXED:
        actors = [actor.remote() for _ in range(2)]
        trials = TRIALS * 100
        done = len(ray.get([actors[seed % 2].run.remote(seed) for seed in range(trials)]))
    else:
        done = 0
        for first in range(0, TRIALS, 2):
            actors = [actor.remote() for _ in range(2)]
            done += len(ray.get([each.run.remote(first + place) for place, each in enumerate(actors)]))
            for each in actors:
                ray.kill(each)
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
