"""Each Ray task is given the same large table by value; `--fixed` puts the table into the object store once."""

# pyright: basic
from __future__ import annotations

import logging
import sys
import time

import ray

FIXED = "--fixed" in sys.argv
QUERIES = 60


def look_up(table: dict[str, int], query: int) -> int:
    """Add up a few entries of the table."""
    return sum(table[f"entry {(query * step) % len(table)}"] for step in range(50))


def main() -> None:
    """Answer all queries on two CPUs."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    table = {f"entry {number}": number for number in range(200_000)}
    task = ray.remote(look_up)
    ray.get([task.remote({"entry 0": 1}, 0) for _ in range(2)])
    begun = time.perf_counter()
    if FIXED:
        shared = ray.put(table)
        done = len(ray.get([task.remote(shared, query) for query in range(QUERIES)]))
    else:
        done = len(ray.get([task.remote(table, query) for query in range(QUERIES)]))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
