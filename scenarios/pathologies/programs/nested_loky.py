"""A loky level inside of a threading level runs one task after the other; `--fixed` has the loky level alone.

joblib refuses to start processes below threads, warns once, and goes on with one job.
"""

# pyright: basic
from __future__ import annotations

import sys
import time
import warnings
from typing import Any

from joblib import Parallel, delayed

FIXED = "--fixed" in sys.argv
DATASETS = 10
FOLDS = 16


def fold(dataset: int, number: int) -> int:
    """Fit one fold: sorting by hand, in pure Python."""
    values = [(dataset * 7919 + number * position * 104_729) % 100_003 for position in range(1500)]
    for end in range(len(values) - 1, 0, -1):
        for place in range(end):
            if values[place] > values[place + 1]:
                values[place], values[place + 1] = values[place + 1], values[place]
    return values[len(values) // 2]


def study(dataset: int) -> int:
    """Fit all folds of a data set on two workers, as it says."""
    parallel: Any = Parallel(n_jobs=2, backend="loky")
    return sum(parallel(delayed(fold)(dataset, number) for number in range(FOLDS)))


def main() -> None:
    """Study one data set after the other, beside a second job that has nothing to do."""
    warnings.simplefilter("ignore")
    begun = time.perf_counter()
    for dataset in range(DATASETS):
        if FIXED:
            study(dataset)
        else:
            Parallel(n_jobs=2, backend="threading")(delayed(study)(each) for each in [dataset])
    print(f"units={DATASETS * FOLDS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
