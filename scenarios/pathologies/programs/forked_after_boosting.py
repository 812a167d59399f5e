"""Boosting is fitted once, then again in forked workers, whose copy of libgomp waits for threads that are gone.

`--fixed` starts the workers from a forkserver. The sick twin ends itself after ten seconds.
"""

# pyright: basic
from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

FIXED = "--fixed" in sys.argv
STUCK_AFTER_S = 10
STUCK = 75


def fit(seed: int) -> float:
    """Fit a model and give its score."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((20_000, 8))
    model = HistGradientBoostingRegressor(max_iter=20).fit(rows, rows.sum(axis=1))
    return float(model.score(rows, rows.sum(axis=1)))


def give_up(_number: int, _frame: object) -> None:
    """End all processes and say why."""
    for child in multiprocessing.active_children():
        child.kill()
    print(f"stuck: nothing moved for {STUCK_AFTER_S} s\nunits=0 elapsed {STUCK_AFTER_S:.2f}", flush=True)
    os._exit(STUCK)


def main() -> None:
    """Fit once here, then four times in workers."""
    fit(0)
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(STUCK_AFTER_S)
    begun = time.perf_counter()
    with multiprocessing.get_context("forkserver" if FIXED else "fork").Pool(2) as pool:
        done = len(pool.map(fit, range(4), chunksize=1))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
