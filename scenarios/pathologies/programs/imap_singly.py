"""`Pool.imap` moves one small item at a time; `--fixed` moves a thousand at a time."""

from __future__ import annotations

import multiprocessing
import sys
import time

FIXED = "--fixed" in sys.argv
ITEMS = 400_000


def checksum(number: int) -> int:
    """Do next to nothing."""
    return sum(int(digit) for digit in str(number))


def main() -> None:
    """Sum digits on two workers."""
    items = ITEMS * 10 if FIXED else ITEMS
    begun = time.perf_counter()
    with multiprocessing.Pool(2) as pool:
        done = sum(1 for _ in pool.imap(checksum, range(items), chunksize=1000 if FIXED else 1))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
