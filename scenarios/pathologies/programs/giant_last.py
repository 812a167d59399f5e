"""Threads compress files, the largest of all last; `--fixed` begins with it. `zlib` gives the lock away."""

from __future__ import annotations

import random
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

FIXED = "--fixed" in sys.argv
PATTERN = random.Random(0).randbytes(1 << 20)
SIZES_MIB = [1] * 240 + [210]


def pack(mebibytes: int) -> int:
    """Compress one file."""
    packer = zlib.compressobj(9)
    return sum(len(packer.compress(PATTERN)) for _ in range(mebibytes)) + len(packer.flush())


def main() -> None:
    """Compress all files on two threads."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(2) as executor:
        done = len(list(executor.map(pack, sorted(SIZES_MIB, reverse=FIXED))))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
