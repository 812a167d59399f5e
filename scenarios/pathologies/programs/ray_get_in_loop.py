"""The driver calls `ray.get` right after each `.remote()`; `--fixed` asks for all results at the end."""

# pyright: basic
from __future__ import annotations

import logging
import random
import sys
import time

import ray

FIXED = "--fixed" in sys.argv
WALKS = 90


def walk(seed: int) -> float:
    """Walk at random and say how far it went."""
    dice = random.Random(seed)
    place = farthest = 0.0
    for _ in range(600_000):
        place += dice.random() - 0.5
        farthest = max(farthest, abs(place))
    return farthest


def main() -> None:
    """Walk many times on two CPUs."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    task = ray.remote(walk)
    ray.get([task.remote(0), task.remote(1)])
    begun = time.perf_counter()
    if FIXED:
        done = len(ray.get([task.remote(seed) for seed in range(WALKS)]))
    else:
        done = len([ray.get(task.remote(seed)) for seed in range(WALKS)])
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
