"""`maxtasksperchild=1` with spawned workers that import SciPy for every short task; `--fixed` keeps the workers."""

# pyright: basic
from __future__ import annotations

import multiprocessing
import sys
import time
from typing import Any

import scipy.integrate
import scipy.stats

FIXED = "--fixed" in sys.argv
TASKS = 18


def probability(seed: int) -> float:
    """Integrate a density."""
    density: Any = scipy.stats.t(df=2 + seed % 5)
    return float(sum(scipy.integrate.quad(density.pdf, 0, 1 + step % 3)[0] for step in range(6)))


def main() -> None:
    """Integrate on two workers."""
    tasks = TASKS * (40 if FIXED else 1)
    begun = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=None if FIXED else 1) as pool:
        done = len(pool.map(probability, range(tasks), chunksize=1))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
