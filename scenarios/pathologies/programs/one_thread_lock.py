"""Threads hash under one `threading.Lock`, though hashing needs no lock; `--fixed` locks only the result.

Hashing gives the interpreter lock away: without this lock two cores would be busy.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

FIXED = "--fixed" in sys.argv
BLOCKS = 400
block = bytes(20_000_000)
cache: dict[int, str] = {}
cache_lock = threading.Lock()


def digest(number: int) -> str:
    """Hash one block."""
    return hashlib.blake2b(block, salt=number.to_bytes(8, "big")).hexdigest()


def remember(number: int) -> None:
    """Hash one block and keep the result."""
    if FIXED:
        found = digest(number)
        with cache_lock:
            cache[number] = found
    else:
        with cache_lock:
            cache[number] = digest(number)


def main() -> None:
    """Hash all blocks on four threads."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(remember, range(BLOCKS)))
    print(f"units={len(cache)} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
