"""A daemonic background process tunes a model with `GridSearchCV(n_jobs=2)` and may not start workers.

`--fixed` starts the background process without the daemon flag.
"""

# pyright: basic
from __future__ import annotations

import multiprocessing
import sys
import time
import warnings

import numpy as np
from joblib.externals.loky import get_reusable_executor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeRegressor

FIXED = "--fixed" in sys.argv


def curved(rows: np.ndarray) -> np.ndarray:
    """Bend every feature, one element at a time."""
    return np.array([[value * abs(value) for value in row] for row in rows.tolist()])


def tune(answers: multiprocessing.Queue[int]) -> None:
    """Tune a tree and say how many fits it took."""
    warnings.simplefilter("ignore")
    random = np.random.default_rng(0)
    rows = random.standard_normal((16_000, 30))
    model = make_pipeline(FunctionTransformer(curved), DecisionTreeRegressor(random_state=0))
    grid = {"decisiontreeregressor__max_depth": [6, 7, 8, 9, 10, 11, 12, 13, 14, 15]}
    GridSearchCV(model, grid, cv=4, n_jobs=2, refit=False).fit(rows, rows.sum(axis=1))
    # Workers that wait for more work would keep this process from ending.
    get_reusable_executor().shutdown()
    answers.put(40)


def main() -> None:
    """Tune in the background and wait for it."""
    begun = time.perf_counter()
    answers: multiprocessing.Queue[int] = multiprocessing.Queue()
    background = multiprocessing.Process(target=tune, args=(answers,), daemon=not FIXED)
    background.start()
    done = answers.get()
    background.join()
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
