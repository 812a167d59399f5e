"""Six threads factorise matrices through one OpenBLAS pool of 12; `--fixed` gives BLAS one thread.

12 threads are what a 12-core machine would start.
"""

# pyright: basic
from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import threadpoolctl

FIXED = "--fixed" in sys.argv
SECONDS = 7.0


def factorise(seed: int, until: float) -> int:
    """Factorise and multiply until the time is up."""
    random = np.random.default_rng(seed)
    base = random.standard_normal((220, 220))
    matrix = base @ base.T + 220 * np.eye(220)
    done = 0
    while time.time() < until:
        lower = np.linalg.cholesky(matrix)
        _ = lower @ base
        done += 1
    return done


def main() -> None:
    """Let six threads factorise for some seconds."""
    threadpoolctl.threadpool_limits(1 if FIXED else 12)
    begun, until = time.perf_counter(), time.time() + SECONDS
    with ThreadPoolExecutor(6) as executor:
        done = sum(executor.map(factorise, range(6), [until] * 6))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
