"""Each worker pins itself by a rank that is always 0, so that all land on one core; `--fixed` ranks them right."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time

FIXED = "--fixed" in sys.argv
SEEDS = 240


def pin(ranks: multiprocessing.Queue[int]) -> None:
    """Pin a worker to the core of its rank."""
    cores = sorted(os.sched_getaffinity(0))
    rank = ranks.get() if FIXED else int(os.environ.get("LOCAL_RANK", "0"))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})


def collatz(seed: int) -> int:
    """Find the longest Collatz chain of a range."""
    longest = 0
    for start in range(seed * 2000 + 1, seed * 2000 + 8001):
        number, steps = start, 0
        while number != 1:
            number = number // 2 if number % 2 == 0 else 3 * number + 1
            steps += 1
        longest = max(longest, steps)
    return longest


def main() -> None:
    """Work through all ranges on one worker per core."""
    workers = len(os.sched_getaffinity(0))
    ranks: multiprocessing.Queue[int] = multiprocessing.Queue()
    for rank in range(workers):
        ranks.put(rank)
    begun = time.perf_counter()
    with multiprocessing.Pool(workers, initializer=pin, initargs=(ranks,)) as pool:
        done = len(pool.map(collatz, range(SEEDS), chunksize=1))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
