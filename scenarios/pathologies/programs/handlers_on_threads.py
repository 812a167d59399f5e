"""An asyncio service hands CPU-bound handlers to `asyncio.to_thread`; `--fixed` hands them to processes.

The event loop stays free, but the handlers take turns on one interpreter lock.
"""

from __future__ import annotations

import asyncio
import sys
import time
from concurrent.futures import ProcessPoolExecutor

FIXED = "--fixed" in sys.argv
REQUESTS = 640


def route(request: int) -> int:
    """Find a way through a grid: pure Python that takes a while."""
    rows = [[(row * column + request) % 9 + 1 for column in range(180)] for row in range(180)]
    for row in range(1, 180):
        for column in range(1, 180):
            rows[row][column] += min(rows[row - 1][column], rows[row][column - 1], rows[row - 1][column - 1])
    for _ in range(5):
        rows = [sorted(row, key=lambda cost: -cost) for row in rows]
    return rows[-1][-1]


async def serve() -> int:
    """Handle all requests at once."""
    if not FIXED:
        return len(await asyncio.gather(*(asyncio.to_thread(route, number) for number in range(REQUESTS))))
    with ProcessPoolExecutor(2) as executor:
        loop = asyncio.get_running_loop()
        waiting = (loop.run_in_executor(executor, route, number) for number in range(REQUESTS))
        return len(await asyncio.gather(*waiting))


def main() -> None:
    """Handle the requests and say how long it took."""
    begun = time.perf_counter()
    done = asyncio.run(serve())
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
