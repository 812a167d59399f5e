"""Tasks wait for tasks that they give to their own full pool; `--fixed` gives those to a second pool.

Ends itself after ten seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

FIXED = "--fixed" in sys.argv
STUCK_AFTER_S = 10
STUCK = 75
outer = ThreadPoolExecutor(3, thread_name_prefix="chapters")
inner = ThreadPoolExecutor(3, thread_name_prefix="pages") if FIXED else outer


def page(number: int) -> int:
    """Render one page."""
    return sum(len(str(number * position)) for position in range(20_000))


def chapter(number: int) -> int:
    """Render one chapter, page by page."""
    return sum(inner.map(page, range(number, number + 5)))


def give_up(_number: int, _frame: object) -> None:
    """End the process and say why."""
    print(f"stuck: nothing moved for {STUCK_AFTER_S} s\nunits=0 elapsed {STUCK_AFTER_S:.2f}", flush=True)
    os._exit(STUCK)


def main() -> None:
    """Render all chapters."""
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(STUCK_AFTER_S)
    begun = time.perf_counter()
    done = len(list(outer.map(chapter, range(60))))
    print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")


if __name__ == "__main__":
    main()
