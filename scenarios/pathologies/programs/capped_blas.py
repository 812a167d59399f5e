"""OPENBLAS_NUM_THREADS=1 is set for a program that is one large matrix product; `--fixed` sets nothing."""

# pyright: basic
from __future__ import annotations

import os
import sys

FIXED = "--fixed" in sys.argv
if not FIXED:
    # Left over from a profile that was written for many workers.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"

import time  # noqa: E402

import numpy as np  # noqa: E402

PRODUCTS = 36


def main() -> None:
    """Square a covariance again and again."""
    random = np.random.default_rng(0)
    matrix = random.standard_normal((2200, 2200)).astype(np.float64)
    begun = time.perf_counter()
    for _ in range(PRODUCTS):
        matrix = matrix.T @ matrix
        matrix /= np.abs(matrix).max()
    print(f"units={PRODUCTS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
