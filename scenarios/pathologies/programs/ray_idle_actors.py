"""An actor that only keeps results holds one of two CPUs, and tasks queue for the other; `--fixed` gives it none."""

# pyright: basic
from __future__ import annotations

import logging
import sys
import time
from typing import Any

import ray

FIXED = "--fixed" in sys.argv
TASKS = 44


class Results:
    """Keeps what tasks have found."""

    def __init__(self) -> None:
        self.found: list[int] = []

    def keep(self, result: int) -> int:
        """Keep one result and say how many there are."""
        self.found.append(result)
        return len(self.found)


def partitions(number: int) -> int:
    """Count the partitions of a number."""
    ways = [1] + [0] * number
    for part in range(1, number + 1):
        for total in range(part, number + 1):
            ways[total] += ways[total - part]
    return ways[number]


def main() -> None:
    """Count for all numbers and keep the counts in the actor."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    results: Any = ray.remote(num_cpus=0 if FIXED else 1)(Results).remote()
    task = ray.remote(num_cpus=1)(partitions)
    ray.get([task.remote(10) for _ in range(2)])
    begun = time.perf_counter()
    kept = [results.keep.remote(task.remote(2600 + number % 3)) for number in range(TASKS)]
    done = max(ray.get(kept))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
