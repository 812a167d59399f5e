"""Another machine for the native pools of this process: they get the sizes that they would have there.

Counts of threads are then those of a machine of so many cores; times are not, because the cores are not there.

Torch asks MKL and libgomp for the size of its teams while it is imported, so variables that are set for the
duration of the imports decide it. `torch.set_num_threads` would also start torch's own pthreadpool, which no
machine has by itself. OpenBLAS takes no more from a variable than the cores it sees, and is raised afterwards.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from corelens.errors import UsageError

# In the order in which the library looks at them; the first one that is set counts.
TORCH_VARIABLES = ("MKL_NUM_THREADS", "OMP_NUM_THREADS")
OPENBLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the pools, the thread that calls included: of torch's teams and of each copy of OpenBLAS.

    OpenBLAS itself caps its size by what it was built for.
    """

    torch: int
    blas: int


def sizes_on(cores: int, variables: Mapping[str, str]) -> Sizes:
    """Give the sizes on a machine of `cores` cores, one hardware thread each, under the user's own variables.

    No variable raises a pool above the number of cores: MKL and OpenBLAS both cap it.
    """
    return Sizes(
        torch=min(_first(TORCH_VARIABLES, variables) or cores, cores),
        blas=min(_first(OPENBLAS_VARIABLES, variables) or cores, cores),
    )


@contextlib.contextmanager
def pools_of(cores: int | None) -> Generator[None]:
    """Let libraries that are imported inside size their pools as on `cores` cores; None changes nothing.

    The variables are as before afterwards. Raises UsageError where torch does not take the size. A library that
    is imported later sizes its pool by the cores that there are.
    """
    if cores is None:
        yield
        return
    sizes = sizes_on(cores, os.environ)
    before = dict(os.environ)
    os.environ.update(_variables(sizes))
    try:
        yield
        _check_torch(sizes.torch)
        if sizes.blas > len(os.sched_getaffinity(0)):
            _raise_blas(sizes.blas)
    finally:
        _restore(before)


def import_as_on(cores: int | None) -> None:
    """Import what sizes its pools while it is imported; does nothing without cores, or in a forked worker."""
    if cores is None or "torch" in sys.modules:
        return
    with pools_of(cores):
        importlib.import_module("numpy")
        importlib.import_module("torch")


def _first(names: tuple[str, ...], variables: Mapping[str, str]) -> int | None:
    """The first variable that names a size; libraries pass over what is no positive number."""
    for name in names:
        text = variables.get(name, "").strip()
        if text.isdecimal() and int(text) > 0:
            return int(text)
    return None


def _variables(sizes: Sizes) -> dict[str, str]:
    # With MKL_DYNAMIC, its default, MKL takes no more threads than there are physical cores.
    return {
        "MKL_DYNAMIC": "FALSE",
        **dict.fromkeys(TORCH_VARIABLES, str(sizes.torch)),
        "OPENBLAS_NUM_THREADS": str(sizes.blas),
    }


def _check_torch(size: int) -> None:
    # MKL is asked here for the first time, while the variables stand; it remembers its answer.
    torch: Any = importlib.import_module("torch")
    taken = torch.get_num_threads()
    if taken != size:
        raise UsageError(
            f"torch opens teams of {taken} threads where {size} were to be emulated",
            "leave --emulate-cores out",
        )


def _raise_blas(size: int) -> None:
    threadpoolctl: Any = importlib.import_module("threadpoolctl")
    threadpoolctl.threadpool_limits(limits=size, user_api="blas")


def _restore(before: Mapping[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
