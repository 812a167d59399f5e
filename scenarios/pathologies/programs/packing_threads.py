"""Four Python threads compress with `lzma`, which gives the interpreter lock away: more threads than cores."""

from __future__ import annotations

import lzma
import time
from concurrent.futures import ThreadPoolExecutor

PIECES = 420


def pack(seed: int) -> int:
    """Compress one piece."""
    piece = b"".join((number * seed % 65_521).to_bytes(2, "big") for number in range(120_000))
    return len(lzma.compress(piece, preset=3))


def main() -> None:
    """Compress all pieces."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(4) as executor:
        done = len(list(executor.map(pack, range(1, PIECES + 1))))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
