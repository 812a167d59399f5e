"""Two Ray actors are called once per record, for microseconds of work; `--fixed` sends them blocks of records."""

# pyright: basic
from __future__ import annotations

import logging
import sys
import time
from typing import Any

import ray

FIXED = "--fixed" in sys.argv
RECORDS = 36_000
BLOCK = 1000


class Counter:
    """Counts records by their last digit."""

    def __init__(self) -> None:
        self.seen = [0] * 10

    def count(self, records: list[int]) -> int:
        """Count some records."""
        for record in records:
            self.seen[record % 10] += 1
        return len(records)


def main() -> None:
    """Count all records with two actors."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    actor: Any = ray.remote(Counter)
    counters = [actor.remote() for _ in range(2)]
    ray.get([each.count.remote([0]) for each in counters])
    records, block = (RECORDS * 200, BLOCK) if FIXED else (RECORDS, 1)
    begun = time.perf_counter()
    calls = [
        counters[first // block % 2].count.remote(list(range(first, first + block)))
        for first in range(0, records, block)
    ]
    done = sum(ray.get(calls))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
