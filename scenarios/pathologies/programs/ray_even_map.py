"""Even Ray tasks on two CPUs, with the many threads and idle processes that Ray always has."""

# pyright: basic
from __future__ import annotations

import logging
import time

import ray

TASKS = 40


def magic(seed: int) -> int:
    """Search numbers that divide the sum of their digits' powers."""
    return sum(sum(int(digit) ** 3 for digit in str(number)) % (seed + 7) == 0 for number in range(200_000))


def main() -> None:
    """Run all tasks."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    task = ray.remote(magic)
    ray.get([task.remote(0), task.remote(1)])
    begun = time.perf_counter()
    done = len(ray.get([task.remote(seed) for seed in range(TASKS)]))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
