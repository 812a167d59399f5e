"""scikit-learn's grid search on two loky workers, with fits of like length."""

# pyright: basic
from __future__ import annotations

import time

import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC


def main() -> None:
    """Search a small grid."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((3000, 20))
    wanted = (rows[:, :3].sum(axis=1) + random.standard_normal(3000)) > 0
    grid = {"gamma": [0.02, 0.03, 0.04, 0.05], "C": [0.8, 1.0, 1.2, 1.4]}
    begun = time.perf_counter()
    search = GridSearchCV(SVC(cache_size=20), grid, cv=4, n_jobs=2, refit=False).fit(rows, wanted)
    done = len(search.cv_results_["params"]) * 4
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
