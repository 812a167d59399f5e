"""NumPy multiplies, then the program forks workers that multiply too.

It looks like the deadlock of OpenMP under fork; OpenBLAS's own pool is taken down before a fork and built up again.
"""

# pyright: basic
from __future__ import annotations

import multiprocessing
import time

import numpy as np
from threadpoolctl import threadpool_limits

BLOCKS = 600


def product(seed: int) -> float:
    """Multiply two blocks."""
    block = np.random.default_rng(seed).standard_normal((900, 900))
    return float((block @ block.T).trace())


def main() -> None:
    """Multiply here with all threads, then in forked workers with one each."""
    product(0)
    begun = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(2, initializer=threadpool_limits, initargs=(1,)) as pool:
        done = len(pool.map(product, range(BLOCKS), chunksize=4))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
