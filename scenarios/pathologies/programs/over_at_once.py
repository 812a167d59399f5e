"""A pool that has finished before anybody could look; `--fixed` gives it work for seconds."""

from __future__ import annotations

import multiprocessing
import sys
import time

FIXED = "--fixed" in sys.argv


def step(seed: int) -> int:
    """Compute a little."""
    return sum(number ^ seed for number in range(100_000))


def main() -> None:
    """Compute two tasks, or many."""
    tasks = 4800 if FIXED else 2
    begun = time.perf_counter()
    with multiprocessing.Pool(2) as pool:
        done = len(pool.map(step, range(tasks), chunksize=4))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
