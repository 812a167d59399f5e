"""Threads hash in a group without a limit that lies in a group of 0.5 cores; `--fixed` raises the outer quota.

What the program can read about its own group says "no limit". Needs root.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from limited_group import cpu_quota

FIXED = "--fixed" in sys.argv
SECONDS = 7.0


def keys(seed: int, until: float) -> int:
    """Derive keys until the time is up; the lock is free meanwhile."""
    done = 0
    while time.time() < until:
        hashlib.pbkdf2_hmac("sha256", b"password", seed.to_bytes(8, "big"), 40_000)
        done += 1
    return done


def main() -> None:
    """Derive keys on one thread per core inside of the inner group."""
    cores = os.cpu_count() or 1
    with cpu_quota(2 * cores if FIXED else 0.25 * cores, nested=True):
        begun, until = time.perf_counter(), time.time() + SECONDS
        with ThreadPoolExecutor(cores) as executor:
            done = sum(executor.map(keys, range(cores), [until] * cores))
        print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
