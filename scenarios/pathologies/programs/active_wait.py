"""Three processes fit boosted trees with OpenMP threads that spin while they wait; `--fixed` lets them sleep."""

# pyright: basic
from __future__ import annotations

import os
import sys

FIXED = "--fixed" in sys.argv
if os.environ.get("OMP_WAIT_POLICY") != ("passive" if FIXED else "active"):
    # A cluster's module file sets the policy for every program.
    policy = {"OMP_WAIT_POLICY": "passive" if FIXED else "active", "OMP_NUM_THREADS": "2"}
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **policy})

import multiprocessing  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402
from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: E402

SECONDS = 8.0
WORKERS = 3


def fits(seed: int) -> int:
    """Fit small models until the time is up."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((3000, 12))
    done, until = 0, time.time() + SECONDS
    while time.time() < until:
        HistGradientBoostingRegressor(max_iter=4).fit(rows, rows[:, 0] * rows[:, 1])
        done += 1
    return done


def main() -> None:
    """Fit on three workers for some seconds."""
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        begun = time.perf_counter()
        done = sum(pool.map(fits, range(WORKERS), chunksize=1))
        print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
