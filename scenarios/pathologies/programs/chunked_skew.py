"""Costly items stand side by side, and `Pool.map` puts them into one chunk; `--fixed` hands items out singly."""

from __future__ import annotations

import multiprocessing
import sys
import time

FIXED = "--fixed" in sys.argv
NUMBERS = [1_500] * 192 + [2_900_000] * 64


def divisors(number: int) -> int:
    """Count divisors the slow way."""
    return sum(number % candidate == 0 for candidate in range(1, number + 1))


def main() -> None:
    """Count for all numbers on two workers."""
    begun = time.perf_counter()
    with multiprocessing.Pool(2) as pool:
        done = len(pool.map(divisors, NUMBERS, chunksize=1 if FIXED else 64))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
