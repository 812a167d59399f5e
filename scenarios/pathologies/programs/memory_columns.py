"""Two processes read a mapped matrix by columns in a group too small for it; `--fixed` reads it in blocks of rows.

Every column touches every page, so that pages are thrown out and read again all the time. Needs root.
"""

# pyright: basic
from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from limited_group import memory_limit

FIXED = "--fixed" in sys.argv
SHAPE = (30_000, 1024)
ROUNDS = 3
BLOCK = 1000


def columns(path: str, first: int) -> float:
    """Sum some columns, each from top to bottom."""
    matrix = np.memmap(path, dtype=np.float32, mode="r", shape=SHAPE)
    total = 0.0
    if FIXED:
        for top in range(0, SHAPE[0], BLOCK):
            block = matrix[top : top + BLOCK]
            total += sum(float(block[:, first + number].sum()) for number in range(ROUNDS))
        return total
    return sum(float(matrix[:, first + number].sum()) for number in range(ROUNDS))


def write(path: str) -> None:
    """Write the matrix and forget what is cached of it."""
    row = np.arange(SHAPE[1], dtype=np.float32).tobytes()
    with Path(path).open("wb") as file:
        for _ in range(SHAPE[0]):
            file.write(row)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Sum columns in two processes inside of the group."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = str(Path(folder, "matrix.bin"))
        write(path)
        with memory_limit(100 << 20):
            begun = time.perf_counter()
            with multiprocessing.Pool(2) as pool:
                pool.starmap(columns, [(path, 0), (path, 512)], chunksize=1)
            print(f"units={2 * ROUNDS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
