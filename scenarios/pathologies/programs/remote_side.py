"""Two workers each fetch pages from a service that answers after 60 ms and compute a little.

The cores are idle because both wait for the remote side; `--fixed` fetches on sixteen threads ahead of the work.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

FIXED = "--fixed" in sys.argv
PAGES = 120
DELAY_S = 0.06


async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request, late."""
    await reader.readline()
    await asyncio.sleep(DELAY_S)
    writer.write(b"x" * 20_000)
    await writer.drain()
    writer.close()


def service(listener: socket.socket) -> None:
    """Serve until killed."""

    async def serve() -> None:
        async with await asyncio.start_server(respond, sock=listener) as server:
            await server.serve_forever()

    asyncio.run(serve())


def fetch(address: tuple[str, int]) -> bytes:
    """Fetch one page."""
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET\n")
        page = b""
        while part := connection.recv(65_536):
            page += part
    return page


def work(address: tuple[str, int], pages: int) -> int:
    """Fetch pages and count their letters."""
    if not FIXED:
        return sum(fetch(address).count(b"x") > 0 for _ in range(pages))
    with ThreadPoolExecutor(16) as executor:
        return sum(page.count(b"x") > 0 for page in executor.map(fetch, [address] * pages))


def main() -> None:
    """Fetch all pages on two workers."""
    pages = PAGES * (12 if FIXED else 1)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        server = multiprocessing.Process(target=service, args=(listener,), daemon=True)
        server.start()
        address = listener.getsockname()
        begun = time.perf_counter()
        with multiprocessing.Pool(2) as pool:
            done = sum(pool.starmap(work, [(address, pages)] * 2, chunksize=1))
        print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
        server.kill()
        server.join()


if __name__ == "__main__":
    main()
