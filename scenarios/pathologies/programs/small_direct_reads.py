"""Two threads read a file 4 kB at a time, past the page cache, and wait for each block; `--fixed` reads 4 MB."""

from __future__ import annotations

import mmap
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FIXED = "--fixed" in sys.argv
SECONDS = 6.0
FILE_BYTES = 256 << 20
BLOCK_BYTES = 4 << 20 if FIXED else 4 << 10


def read(path: str, seed: int, until: float) -> int:
    """Read blocks from random places until the time is up; gives how many kB."""
    places = random.Random(seed)
    blocks = FILE_BYTES // BLOCK_BYTES
    buffer = mmap.mmap(-1, BLOCK_BYTES)
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    kilobytes = 0
    while time.time() < until:
        kilobytes += os.preadv(file, [buffer], places.randrange(blocks) * BLOCK_BYTES) >> 10
    os.close(file)
    return kilobytes


def main() -> None:
    """Write a file, then read it for some seconds."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = str(Path(folder, "blocks.bin"))
        with Path(path).open("wb") as file:
            for _ in range(FILE_BYTES >> 22):
                file.write(os.urandom(4 << 20))
            file.flush()
            os.fsync(file.fileno())
        begun, until = time.perf_counter(), time.time() + SECONDS
        with ThreadPoolExecutor(2) as executor:
            done = sum(executor.map(read, [path] * 2, range(2), [until] * 2))
        print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
