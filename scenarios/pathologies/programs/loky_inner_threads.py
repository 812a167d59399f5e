"""Loky workers are told `inner_max_num_threads=12`, which overrides joblib's protection; `--fixed` says 1."""

# pyright: basic
from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from joblib import Parallel, delayed, parallel_config

FIXED = "--fixed" in sys.argv
SECONDS = 7.0
WORKERS = 4


def decompositions(seed: int, until: float) -> int:
    """Decompose matrices until the time is up."""
    random = np.random.default_rng(seed)
    done = 0
    while time.time() < until:
        np.linalg.qr(random.standard_normal((300, 180)))
        done += 1
    return done


def main() -> None:
    """Decompose on four workers for some seconds."""
    with parallel_config(backend="loky", inner_max_num_threads=1 if FIXED else 12):
        parallel: Any = Parallel(n_jobs=WORKERS)
        parallel(delayed(decompositions)(seed, 0.0) for seed in range(WORKERS))
        begun, until = time.perf_counter(), time.time() + SECONDS
        done = sum(parallel(delayed(decompositions)(seed, until) for seed in range(WORKERS)))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
