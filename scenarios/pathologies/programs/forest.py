"""A random forest on two Python threads that leave the interpreter lock alone while they grow trees."""

# pyright: basic
from __future__ import annotations

import time

import numpy as np
from sklearn.ensemble import RandomForestClassifier

TREES = 140


def main() -> None:
    """Fit one forest."""
    rows = np.random.default_rng(0).standard_normal((20_000, 24))
    begun = time.perf_counter()
    RandomForestClassifier(TREES, n_jobs=2, random_state=0).fit(rows, rows[:, 0] * rows[:, 1] > 0)
    print(f"units={TREES} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
