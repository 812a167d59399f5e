"""Each Ray task is given the same large table by value; `--fixed` puts the table into the object store once."""

# pyright: basic
from __future__ import annotations

import logging
import sys
import time
from typing import Any

import numpy as np
import ray

FIXED = "--fixed" in sys.argv
QUERIES = 300
IN_FLIGHT = 4


def look_up(table: np.ndarray, query: int) -> float:
    """Add up a few entries of the table."""
    return float(sum(table[(query * step) % len(table)] for step in range(2000)))


def main() -> None:
    """Answer all queries on two CPUs, a few at a time."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    table = np.arange(6_000_000, dtype=np.float64)
    task = ray.remote(look_up)
    ray.get([task.remote(np.ones(1), 0) for _ in range(2)])
    begun, done, running = time.perf_counter(), 0, list[Any]()
    argument = ray.put(table) if FIXED else table
    for query in range(QUERIES * (10 if FIXED else 1)):
        running.append(task.remote(argument, query))
        if len(running) >= IN_FLIGHT:
            answered, running = ray.wait(running)
            done += len(ray.get(answered))
    done += len(ray.get(running))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
