"""A worker is forked while another thread holds a lock, which nobody in the worker ever opens; `--fixed` spawns.

Ends itself after ten seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time

FIXED = "--fixed" in sys.argv
STUCK_AFTER_S = 10
STUCK = 75
settings_lock = threading.Lock()
settings = {"depth": 300_000}


def refresh(taken: threading.Event) -> None:
    """Reload the settings now and then, under the lock."""
    for _ in range(4):
        with settings_lock:
            taken.set()
            time.sleep(0.5)
        time.sleep(0.01)


def work(seed: int) -> int:
    """Compute with the settings, which takes the lock."""
    with settings_lock:
        depth = settings["depth"]
    value = seed
    for step in range(depth):
        value = (value * 69_069 + step) & 0xFFFFFFFF
    return value


def give_up(_number: int, _frame: object) -> None:
    """End all processes and say why."""
    for child in multiprocessing.active_children():
        child.kill()
    print(f"stuck: nothing moved for {STUCK_AFTER_S} s\nunits=0 elapsed {STUCK_AFTER_S:.2f}", flush=True)
    os._exit(STUCK)


def main() -> None:
    """Start workers while the settings are being refreshed."""
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(STUCK_AFTER_S)
    begun = time.perf_counter()
    taken = threading.Event()
    threading.Thread(target=refresh, args=(taken,), daemon=True).start()
    taken.wait()
    multiprocessing.set_start_method("spawn" if FIXED else "fork")
    workers = [multiprocessing.Process(target=work, args=(seed,)) for seed in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(f"units={len(workers)} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
