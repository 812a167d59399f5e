"""Ray tasks ask for a resource of which there is one, so that one runs at a time; `--fixed` does without it."""

# pyright: basic
from __future__ import annotations

import logging
import sys
import time

import ray

FIXED = "--fixed" in sys.argv
MODELS = 130


def fit(seed: int) -> float:
    """Fit a line by gradient descent, in pure Python."""
    slope, points = 0.0, [(step * 0.01, step * 0.02 + seed) for step in range(1000)]
    for _ in range(1200):
        slope -= 1e-7 * sum((slope * place - height) * place for place, height in points)
    return slope


def main() -> None:
    """Fit all models."""
    resources = {"licence": 1.0}
    ray.init(
        num_cpus=2,
        resources=resources,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    task = ray.remote(num_cpus=1, resources={} if FIXED else resources)(fit)
    ray.get([ray.remote(fit).remote(seed) for seed in range(2)])
    begun = time.perf_counter()
    done = len(ray.get([task.remote(seed) for seed in range(MODELS)]))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
