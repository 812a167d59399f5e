"""What owns a thread, as values: the words that every fact about threads uses."""

from __future__ import annotations

from dataclasses import dataclass

from corelens.reports.facts.threads import Thread

MAIN = "main"
PYTHON = "python"
PYTHON_HELPER = "python-helper"
OPENMP_GNU = "openmp-gnu"
OPENMP_LLVM = "openmp-llvm"
OPENMP_INTEL = "openmp-intel"
OPENBLAS = "openblas"
MKL = "mkl"
BLIS = "blis"
TORCH_PTHREADPOOL = "torch-pthreadpool"
TORCH_INTER_OP = "torch-inter-op"
TORCH_AUTOGRAD = "torch-autograd"
TORCH_DISTRIBUTED = "torch-distributed"
TORCH_OTHER = "torch-other"
TBB = "tbb"
NUMBA_WORKQUEUE = "numba-workqueue"
ARROW = "arrow"
DUCKDB = "duckdb"
POLARS = "polars"
GRPC = "grpc"
RAY = "ray"
AGENT = "corelens-agent"
OTHER_LIBRARY = "other-library"
SHORT_LIVED = "short-lived"
UNKNOWN = "unknown"

NATIVE_POOLS = frozenset(
    {
        OPENMP_GNU, OPENMP_LLVM, OPENMP_INTEL, OPENBLAS, MKL, BLIS, TORCH_PTHREADPOOL, TORCH_INTER_OP, TBB,
        NUMBA_WORKQUEUE, ARROW, DUCKDB, POLARS,
    }
)  # fmt: skip
"""Threads that a library keeps to compute with: between two pieces of work they sleep on a futex."""


@dataclass(frozen=True, slots=True)
class Owner:
    """What made a thread. Threads with equal owners in one process form one line of its ledger."""

    kind: str
    """One of the words above."""
    label: str
    """For people: `libgomp (torch)`, `OpenBLAS (numpy)`, `Python thread trial-2`, `tqdm monitor`."""
    library: str | None
    """Path of the library; None for Python's own threads and unknown ones."""
    reason: str | None
    """Why it is unknown; None where it is known."""


@dataclass(frozen=True, slots=True)
class Owned:
    """One thread with its owner, and the thread that opened its OpenMP team where that was found."""

    thread: Thread
    owner: Owner
    master: Thread | None
