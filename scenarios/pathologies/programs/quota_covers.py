"""A pool works in a control group whose quota is larger than the pool: limited on paper only. Needs root."""

from __future__ import annotations

import multiprocessing
import os
import time

from limited_group import cpu_quota

BOARDS = 100


def queens(first: int, size: int = 11) -> int:
    """Count the ways to place queens on a board, the first one given."""
    ways = 0
    waiting: list[tuple[int, ...]] = [(first % size,)]
    while waiting:
        placed = waiting.pop()
        if len(placed) == size:
            ways += 1
            continue
        for column in range(size):
            if all(
                column != other and abs(column - other) != len(placed) - row
                for row, other in enumerate(placed)
            ):
                waiting.append((*placed, column))
    return ways


def main() -> None:
    """Solve all boards inside of the group."""
    cores = os.cpu_count() or 1
    with cpu_quota(1.2 * cores):
        begun = time.perf_counter()
        with multiprocessing.Pool(cores) as pool:
            done = len(pool.map(queens, range(BOARDS), chunksize=1))
        print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
