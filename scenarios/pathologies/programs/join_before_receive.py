"""The parent joins a child that still writes into a full pipe; `--fixed` reads before it joins.

Ends itself after ten seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.connection import Connection

FIXED = "--fixed" in sys.argv
STUCK_AFTER_S = 10
STUCK = 75


def simulate(out: Connection) -> None:
    """Send a trajectory that is larger than a pipe."""
    position, speed = 0.0, 1.0
    trajectory: list[float] = []
    for _ in range(200_000):
        speed -= 0.01 * position
        position += 0.01 * speed
        trajectory.append(position)
    out.send(trajectory)


def give_up(_number: int, _frame: object) -> None:
    """End all processes and say why."""
    for child in multiprocessing.active_children():
        child.kill()
    print(f"stuck: nothing moved for {STUCK_AFTER_S} s\nunits=0 elapsed {STUCK_AFTER_S:.2f}", flush=True)
    os._exit(STUCK)


def main() -> None:
    """Simulate in three children and collect what they found."""
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(STUCK_AFTER_S)
    begun, points = time.perf_counter(), 0
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(3)]
    children = [multiprocessing.Process(target=simulate, args=(out,)) for _, out in pipes]
    for child in children:
        child.start()
    for child, (into, _) in zip(children, pipes, strict=True):
        if not FIXED:
            child.join()
        points += len(into.recv())
        child.join()
    print(f"units={points} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
