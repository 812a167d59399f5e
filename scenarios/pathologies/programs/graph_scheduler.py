"""A scheduler sends the nodes of a task graph to workers over sockets, one tiny node at a time.

`--fixed` fuses each chain of nodes into one task.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from multiprocessing.connection import Connection, wait

FIXED = "--fixed" in sys.argv
CHAINS = 6000
LENGTH = 40
COPIES = 10 if FIXED else 1


def node(value: float, step: int) -> float:
    """Compute one node."""
    return (value * 1.7 + step) % 13.0


def worker(scheduler: Connection) -> None:
    """Compute what the scheduler sends until it sends nothing."""
    while task := scheduler.recv():
        key, value, steps = task
        for step in steps:
            value = node(value, step)
        scheduler.send((key, value))


def schedule(workers: list[Connection]) -> int:
    """Keep every worker busy with the next node whose input is ready."""
    fused = LENGTH if FIXED else 1
    ready = [(chain, 0, float(chain)) for chain in range(CHAINS * COPIES)]
    places: dict[int, int] = {}
    done, idle = 0, list(workers)
    while ready or places:
        while ready and idle:
            chain, first, value = ready.pop()
            places[chain] = first
            idle.pop().send((chain, value, tuple(range(first, first + fused))))
        answered = wait(workers)
        for connection in workers:
            if connection not in answered:
                continue
            chain, value = connection.recv()
            idle.append(connection)
            done += fused
            following = places.pop(chain) + fused
            if following < LENGTH:
                ready.append((chain, following, value))
    return done


def main() -> None:
    """Compute the graph on two workers."""
    pairs = [multiprocessing.Pipe() for _ in range(2)]
    workers = [multiprocessing.Process(target=worker, args=(theirs,)) for _, theirs in pairs]
    for each in workers:
        each.start()
    begun = time.perf_counter()
    done = schedule([ours for ours, _ in pairs])
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
    for ours, _ in pairs:
        ours.send(None)
    for each in workers:
        each.join()


if __name__ == "__main__":
    main()
