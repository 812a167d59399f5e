"""An asyncio service computes in its handlers, on the event loop itself; `--fixed` hands that to two processes.

Two client processes ask it over sockets.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor

FIXED = "--fixed" in sys.argv
REQUESTS = 270


def price(seed: int) -> float:
    """Price an option on a tree: pure Python that takes a while."""
    values: list[float] = [max(0.0, (step * seed) % 97 - 40.0) for step in range(900)]
    while len(values) > 1:
        values = [0.499 * low + 0.498 * high for low, high in itertools.pairwise(values)]
    return values[0]


async def handle(
    executor: ProcessPoolExecutor | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer the requests of one connection."""
    while line := await reader.readline():
        seed = int(line)
        if executor is None:
            answer = price(seed)
        else:
            answer = await asyncio.get_running_loop().run_in_executor(executor, price, seed)
        writer.write(f"{answer}\n".encode())
        await writer.drain()
    writer.close()


async def ask(port: int, seed: int) -> int:
    """Ask for a third of a client's prices, one after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in range(REQUESTS // 3):
        writer.write(f"{seed + request}\n".encode())
        await reader.readline()
    writer.close()
    return REQUESTS // 3


def client(port: int, seed: int, counts: multiprocessing.Queue[int]) -> None:
    """Ask over three connections at once."""

    async def asking() -> int:
        return sum(await asyncio.gather(*(ask(port, seed + each) for each in range(3))))

    counts.put(asyncio.run(asking()))


async def serve(executor: ProcessPoolExecutor | None) -> int:
    """Serve two clients until both have all answers."""
    context = multiprocessing.get_context("spawn")
    counts: multiprocessing.Queue[int] = context.Queue()
    server = await asyncio.start_server(functools.partial(handle, executor), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        clients = [context.Process(target=client, args=(port, seed, counts)) for seed in (1, 1000)]
        for each in clients:
            each.start()
        done = 0
        for _ in clients:
            done += await asyncio.to_thread(counts.get)
        for each in clients:
            each.join()
    return done


def main() -> None:
    """Serve and say how long it took."""
    begun = time.perf_counter()
    if FIXED:
        with ProcessPoolExecutor(2) as executor:
            done = asyncio.run(serve(executor))
    else:
        done = asyncio.run(serve(None))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
