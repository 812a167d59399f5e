"""Four processes compute while they hold an `fcntl` lock on one file; `--fixed` holds it only to write."""

from __future__ import annotations

import fcntl
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

FIXED = "--fixed" in sys.argv
RECORDS = 240


def solve(seed: int) -> int:
    """Sieve some primes."""
    sieve = bytearray([1]) * (90_000 + seed)
    for number in range(2, len(sieve)):
        if sieve[number]:
            for multiple in range(2 * number, len(sieve), number):
                sieve[multiple] = 0
    return sum(sieve)


def work(path: str, rank: int) -> None:
    """Append results to the file."""
    for record in range(RECORDS):
        found = solve(rank * RECORDS + record) if FIXED else None
        with Path(path).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(f"{found if found is not None else solve(rank * RECORDS + record)}\n")


def main() -> None:
    """Let four processes fill one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "results.txt"))
        begun = time.perf_counter()
        workers = [multiprocessing.Process(target=work, args=(path, rank)) for rank in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(f"units={4 * RECORDS} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
