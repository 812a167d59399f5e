"""Two processes look up random rows of a mapped table in a group that cannot hold it; `--fixed` sorts lookups first.

Every lookup throws out a page that a later one wants back; sorted, each page is read once in a pass. Needs root.
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
SECONDS = 7.0
SHAPE = (70_000, 1024)
BATCH = 200_000 if FIXED else 50


def look_up(path: str, seed: int) -> int:
    """Look rows up until the time is up."""
    table = np.memmap(path, dtype=np.float32, mode="r", shape=SHAPE)
    random = np.random.default_rng(seed)
    done, until = 0, time.time() + SECONDS
    while time.time() < until:
        rows = random.integers(0, SHAPE[0], BATCH)
        for row in np.sort(rows) if FIXED else rows:
            table[row, :16].sum()
        done += BATCH
    return done


def write(path: str) -> None:
    """Write the table and forget what is cached of it."""
    row = np.arange(SHAPE[1], dtype=np.float32).tobytes()
    with Path(path).open("wb") as file:
        for _ in range(SHAPE[0]):
            file.write(row)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Look rows up in two processes inside of the group."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = str(Path(folder, "table.bin"))
        write(path)
        with memory_limit(120 << 20):
            begun = time.perf_counter()
            with multiprocessing.Pool(2) as pool:
                done = sum(pool.starmap(look_up, [(path, 0), (path, 1)], chunksize=1))
            print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
