"""All Ray tasks ask one actor for a number that takes it milliseconds; `--fixed` computes it in the tasks."""

# pyright: basic
from __future__ import annotations

import logging
import sys
import time
from typing import Any

import ray

FIXED = "--fixed" in sys.argv
TASKS = 90
QUESTIONS = 25


def price(item: int) -> int:
    """Compute what an item costs."""
    value = item
    for step in range(55_000):
        value = (value * 25_173 + step) % 65_536
    return value


class PriceList:
    """The one place that knows prices."""

    def price(self, item: int) -> int:
        """Compute what an item costs."""
        return price(item)


def basket(seed: int, prices: Any) -> int:
    """Add up a basket."""
    items = range(seed, seed + QUESTIONS)
    return sum(price(item) if prices is None else ray.get(prices.price.remote(item)) for item in items)


def main() -> None:
    """Add up all baskets, two at a time."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    task = ray.remote(basket)
    prices = None if FIXED else ray.remote(num_cpus=0)(PriceList).remote()
    ray.get([task.remote(seed, prices) for seed in range(2)])
    begun = time.perf_counter()
    done = len(ray.get([task.remote(seed, prices) for seed in range(TASKS)]))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
    ray.shutdown()


if __name__ == "__main__":
    main()
