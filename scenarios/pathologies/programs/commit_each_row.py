"""Three processes commit every row to a database of their own, each commit a wait for the disk.

`--fixed` commits a thousand rows at a time.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

FIXED = "--fixed" in sys.argv
SECONDS = 7.0
BATCH = 1000 if FIXED else 1


def insert(path: str, until: float) -> int:
    """Insert rows until the time is up."""
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE reading (number INTEGER, value REAL)")
    done = 0
    while time.time() < until:
        base.execute("BEGIN")
        for number in range(done, done + BATCH):
            base.execute("INSERT INTO reading VALUES (?, ?)", (number, number * 0.5))
        base.execute("COMMIT")
        done += BATCH
    base.close()
    return done


def main() -> None:
    """Insert in three processes for some seconds."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, multiprocessing.Pool(3) as pool:
        begun, until = time.perf_counter(), time.time() + SECONDS
        parts = [(str(Path(folder, f"{rank}.db")), until) for rank in range(3)]
        done = sum(pool.starmap(insert, parts, chunksize=1))
        print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
