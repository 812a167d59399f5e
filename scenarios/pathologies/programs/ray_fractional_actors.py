"""Four Ray actors of half a CPU each open a torch team of 12; `--fixed` leaves each one thread."""

# pyright: basic
from __future__ import annotations

import logging
import sys
import time
from typing import Any

import ray
import torch

FIXED = "--fixed" in sys.argv
SECONDS = 7.0
ACTORS = 4


class Evaluator:
    """One actor that evaluates candidates."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def evaluate(self, seconds: float) -> int:
        """Evaluate until the time is up and count the rounds."""
        layer, candidates = torch.nn.Linear(256, 256), torch.rand(128, 256)
        done, until = 0, time.time() + seconds
        while time.time() < until:
            torch.tanh(layer(candidates)).std(dim=1)
            done += 1
        return done


def main() -> None:
    """Evaluate on four actors for some seconds."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    actor: Any = ray.remote(num_cpus=0.5)(Evaluator)
    actors = [actor.remote(1 if FIXED else 12) for _ in range(ACTORS)]
    ray.get([each.evaluate.remote(0.1) for each in actors])
    begun = time.perf_counter()
    done = sum(ray.get([each.evaluate.remote(SECONDS) for each in actors]))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
