"""Joblib threads fit gradient boosting, each call with OMP_NUM_THREADS=12 of its own; `--fixed` sets 1."""

# pyright: basic
from __future__ import annotations

import os
import sys
import time
from typing import Any

FIXED = "--fixed" in sys.argv
# A job script on a 12-core machine exports this.
os.environ["OMP_NUM_THREADS"] = "1" if FIXED else "12"

import numpy as np  # noqa: E402
from joblib import Parallel, delayed  # noqa: E402
from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: E402

SECONDS = 8.0


def fits(seed: int, until: float) -> int:
    """Fit small models until the time is up."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((4000, 16))
    wanted = rows[:, 0] + rows[:, 1] > 0
    done = 0
    while time.time() < until:
        HistGradientBoostingClassifier(max_iter=5).fit(rows, wanted)
        done += 1
    return done


def main() -> None:
    """Fit on five threads for some seconds."""
    fits(0, time.time())
    begun, until = time.perf_counter(), time.time() + SECONDS
    parallel: Any = Parallel(n_jobs=5, backend="threading")
    done = sum(parallel(delayed(fits)(seed, until) for seed in range(5)))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
