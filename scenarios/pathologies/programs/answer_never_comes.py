"""A worker is killed before it puts its answer into the queue, and the parent waits for it; `--fixed` watches workers.

Ends itself after ten seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from queue import Empty

FIXED = "--fixed" in sys.argv
STUCK_AFTER_S = 10
STUCK = 75


def answer(seed: int, answers: multiprocessing.Queue[int], tries: int) -> None:
    """Compute an answer; the first try of number 3 is killed, as the kernel does when memory runs out."""
    value = seed
    for step in range(4_000_000):
        value = (value * 31 + step) % 1_000_003
    if seed == 3 and tries == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    answers.put(value)


def give_up(_number: int, _frame: object) -> None:
    """End all processes and say why."""
    for child in multiprocessing.active_children():
        child.kill()
    print(f"stuck: nothing moved for {STUCK_AFTER_S} s\nunits=0 elapsed {STUCK_AFTER_S:.2f}", flush=True)
    os._exit(STUCK)


def main() -> None:
    """Start four workers and wait for four answers."""
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(STUCK_AFTER_S)
    begun = time.perf_counter()
    answers: multiprocessing.Queue[int] = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=answer, args=(seed, answers, 1)) for seed in range(4)]
    for worker in workers:
        worker.start()
    got = 0
    while got < 4:
        try:
            answers.get(timeout=0.2 if FIXED else None)
            got += 1
        except Empty:
            for seed, worker in enumerate(workers):
                if worker.exitcode:
                    workers[seed] = multiprocessing.Process(target=answer, args=(seed, answers, 2))
                    workers[seed].start()
    print(f"units={got} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
