"""Forty threads wait for a slow service at once and the cores are idle: waiting is the work, and it overlaps."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

REQUESTS = 1600
DELAY_S = 0.15


def service(listener: socket.socket) -> None:
    """Answer every connection after a while."""

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.recv(16)
            time.sleep(DELAY_S)
            connection.sendall(b"42")

    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def ask(address: tuple[str, int]) -> int:
    """Ask once."""
    with socket.create_connection(address) as connection:
        connection.sendall(b"?")
        return int(connection.recv(16))


def main() -> None:
    """Ask on forty threads."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        server = multiprocessing.Process(target=service, args=(listener,), daemon=True)
        server.start()
        begun = time.perf_counter()
        with ThreadPoolExecutor(40) as executor:
            done = len(list(executor.map(ask, [listener.getsockname()] * REQUESTS)))
        print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
        server.kill()
        server.join()


if __name__ == "__main__":
    main()
