"""A thread that computes starves the threads that serve requests; `--fixed` computes in another process.

A thread back from a socket waits up to the switch interval for the lock, once per request and once per answer.
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
import threading
import time

FIXED = "--fixed" in sys.argv
SECONDS = 7.0


def number_crunching() -> None:
    """Compute without end, as a background statistics job does."""
    value = 1
    while True:
        for step in range(100_000):
            value = (value * 48_271 + step) % 2_147_483_647


def serve(listener: socket.socket) -> None:
    """Answer each connection on a thread of its own."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    """Echo until the client goes away."""
    with connection:
        while request := connection.recv(64):
            connection.sendall(request.upper())


def ask(address: tuple[str, int], until: float, answers: multiprocessing.Queue[int]) -> None:
    """Send one request after the other, as a browser would, and count the answers."""
    done = 0
    with socket.create_connection(address) as client:
        while time.time() < until:
            client.sendall(b"a request of some bytes")
            client.recv(64)
            done += 1
    answers.put(done)


def main() -> None:
    """Serve two clients while something computes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answers: multiprocessing.Queue[int] = multiprocessing.Queue()
        until = time.time() + SECONDS
        asking = (listener.getsockname(), until, answers)
        clients = [multiprocessing.Process(target=ask, args=asking) for _ in range(2)]
        for client in clients:
            client.start()
        if FIXED:
            multiprocessing.Process(target=number_crunching, daemon=True).start()
        else:
            threading.Thread(target=number_crunching, daemon=True).start()
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        begun = time.perf_counter()
        done = sum(answers.get() for _ in clients)
        print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
