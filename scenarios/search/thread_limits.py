"""Five ways in which users limit native thread pools to one thread, the ones that fail included.

`env` and `late` differ only in when they write the same variables: native libraries read them once, while
they are loaded. Workers that are started as new programs heed both; threads and forked workers heed no late
ones, because their libraries are loaded already.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Generator
from typing import Any

from corelens.scenarios.search.settings import Limit

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def before_imports(limit: Limit) -> None:
    """Apply what must be there before numpy and torch are loaded."""
    if limit == "env":
        os.environ.update(variables())


def after_imports(limit: Limit) -> None:
    """Make the mistake of setting the variables when the libraries have read them already."""
    if limit == "late":
        os.environ.update(variables())


def variables() -> dict[str, str]:
    """Give the variables and values that limit every pool to one thread."""
    return dict.fromkeys(VARIABLES, "1")


def start_worker(limit: Limit) -> None:
    """Limit the calling thread of a new worker process for good, as a pool's initializer does."""
    if limit == "torch":
        _limit_torch()
    elif limit == "threadpoolctl":
        _threadpoolctl()


@contextlib.contextmanager
def during_task(limit: Limit) -> Generator[None]:
    """Limit the calling thread while a task runs; torch has no way to take its limit back."""
    if limit == "threadpoolctl":
        with _threadpoolctl():
            yield
        return
    if limit == "torch":
        _limit_torch()
    yield


def _limit_torch() -> None:
    import torch

    torch.set_num_threads(1)


def _threadpoolctl() -> contextlib.AbstractContextManager[object]:
    import torch

    # Torch sets a thread's pool size when that thread first uses it, which would undo the limit; asking for
    # the size makes it happen now.
    torch.get_num_threads()
    threadpoolctl: Any = importlib.import_module("threadpoolctl")
    limits: contextlib.AbstractContextManager[object] = threadpoolctl.threadpool_limits(limits=1)
    return limits
