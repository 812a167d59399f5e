"""Loky workers send back every step of a simulation, of which the mean is wanted; `--fixed` sends the mean."""

# pyright: basic
from __future__ import annotations

import sys
import time
from typing import Any

from joblib import Parallel, delayed

FIXED = "--fixed" in sys.argv
RUNS = 240


def trajectory(seed: int) -> list[tuple[int, float, str]]:
    """Simulate and give every step."""
    place = float(seed)
    return [(step, place := (place * 1.3 + 0.7) % 11.0, f"state {step % 5}") for step in range(60_000)]


def mean(steps: list[tuple[int, float, str]]) -> float:
    """Take the mean of the places."""
    return sum(place for _, place, _ in steps) / len(steps)


def mean_place(seed: int) -> float:
    """Simulate and give the mean alone."""
    return mean(trajectory(seed))


def main() -> None:
    """Simulate on two workers."""
    begun = time.perf_counter()
    parallel: Any = Parallel(n_jobs=2)
    if FIXED:
        done = len(parallel(delayed(mean_place)(seed) for seed in range(RUNS)))
    else:
        done = len([mean(steps) for steps in parallel(delayed(trajectory)(seed) for seed in range(RUNS))])
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
