"""Rows of a triangle are dealt out in two halves, and the second is three times the work; `--fixed` interleaves."""

from __future__ import annotations

import multiprocessing
import sys
import time

FIXED = "--fixed" in sys.argv
ROWS = 19_000


def energy(rows: range, sums: multiprocessing.Queue[float]) -> None:
    """Sum over all pairs below the diagonal of some rows."""
    total = 0.0
    for row in rows:
        for column in range(row):
            total += 1.0 / (1 + row - column)
    sums.put(total)


def main() -> None:
    """Share the rows among two processes."""
    begun = time.perf_counter()
    sums: multiprocessing.Queue[float] = multiprocessing.Queue()
    parts = (range(0, ROWS, 2), range(1, ROWS, 2)) if FIXED else (range(ROWS // 2), range(ROWS // 2, ROWS))
    ranks = [multiprocessing.Process(target=energy, args=(part, sums)) for part in parts]
    for rank in ranks:
        rank.start()
    for _ in ranks:
        sums.get()
    for rank in ranks:
        rank.join()
    print(f"units={ROWS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
