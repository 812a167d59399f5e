"""What is known of the libraries that read thread limits: which variables, in which order, and when.

One entry per library, and the only place that knows them. `measured` in a comment means tried in a fresh
interpreter on two cores with torch 2.13.0+cpu, numpy 2.4.6, scipy 1.17.1 and numexpr 2.14.2;
`tests/test_limit_cases.py` tries it again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Reads = Literal["load", "first use"]
Bound = Literal["allowed", "physical"]
"""Number of cores that a library cuts a larger value down to: those of the affinity, or physical ones."""

OPENBLAS = "openblas"
TORCH = "torch"
TORCH_INTER_OP = "torch inter-op"
LIBGOMP = "libgomp"
LLVM_OPENMP = "libomp"
MKL = "mkl"
BLIS = "blis"
NUMEXPR = "numexpr"
NUMBA = "numba"
ARROW = "arrow"
POLARS = "polars"


@dataclass(frozen=True, slots=True)
class Library:
    """One library that makes threads; `variables` stand in the order in which they win."""

    name: str
    label: str
    variables: tuple[str, ...]
    policies: tuple[str, ...] = ()
    """Variables that it reads at the same time, and that do not set the size of a team."""
    reads: Reads = "load"
    bound: Bound | None = None
    most: int | None = None
    """Threads that its build allows."""
    most_unasked: int | None = None
    """Threads that it starts at most where no variable asks for more."""
    set_by: str = "code"
    """How a program changes the number later."""


_GNU_POLICIES = (
    "OMP_THREAD_LIMIT", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_PROC_BIND", "OMP_PLACES",
    "GOMP_CPU_AFFINITY", "OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS",
)  # fmt: skip
_KMP_POLICIES = (
    "OMP_THREAD_LIMIT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "OMP_PROC_BIND", "OMP_PLACES", "KMP_AFFINITY",
    "OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS",
)  # fmt: skip

LIBRARIES: dict[str, Library] = {
    library.name: library
    for library in (
        # OpenBLAS driver/others/openblas_env.c (openblas_read_env, called by the constructor in memory.c) and
        # blas_get_cpu_number: OPENBLAS_, then GOTO_, then OMP_; never above the cores of the affinity, nor
        # above MAX_CPU_NUMBER, which is 64 in the wheels of numpy and scipy. Measured.
        Library(
            OPENBLAS,
            "OpenBLAS",
            ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"),
            bound="allowed",
            most=64,
            set_by="threadpoolctl",
        ),
        # pytorch aten/src/ATen/ParallelOpenMP.cpp: each thread asks mkl_get_max_threads() at its first use of
        # torch, and builds without MKL take MKL_NUM_THREADS before OMP_NUM_THREADS too (ParallelCommon.cpp).
        # The MKL inside libtorch_cpu reads its variables while torch is imported. Measured: MKL_NUM_THREADS
        # wins over MKL_DOMAIN_NUM_THREADS, of which only MKL_DOMAIN_ALL counts; a value above the physical
        # cores is cut down to them unless MKL_DYNAMIC=FALSE (0 does not switch it off).
        Library(
            TORCH,
            "torch intra-op",
            ("MKL_NUM_THREADS", "MKL_DOMAIN_NUM_THREADS", "OMP_NUM_THREADS"),
            ("MKL_DYNAMIC", *_GNU_POLICIES),
            bound="physical",
            set_by="torch.set_num_threads",
        ),
        # pytorch aten/src/ATen/ParallelThreadPoolNative.cpp: no variable, only set_num_interop_threads.
        Library(TORCH_INTER_OP, "torch inter-op", (), set_by="torch.set_num_interop_threads"),
        # gcc libgomp/env.c initialize_env, a constructor: read when the library is loaded, clamped by nothing
        # but OMP_THREAD_LIMIT. Each thread has its own number afterwards (omp_set_num_threads).
        Library(LIBGOMP, "libgomp", ("OMP_NUM_THREADS",), _GNU_POLICIES, set_by="threadpoolctl"),
        # llvm openmp/runtime/src/kmp_settings.cpp __kmp_env_initialize, called from serial initialisation: at
        # the first use, not when it is loaded. libiomp5 is the same runtime.
        Library(
            LLVM_OPENMP, "LLVM OpenMP", ("OMP_NUM_THREADS",), _KMP_POLICIES, "first use", set_by="threadpoolctl"
        ),
        # oneMKL developer guide, "Techniques to Set the Number of Threads" and MKL_DYNAMIC; order as measured
        # on the copy inside torch. libmkl_rt loads and reads at its first call.
        Library(
            MKL,
            "MKL",
            ("MKL_NUM_THREADS", "MKL_DOMAIN_NUM_THREADS", "OMP_NUM_THREADS"),
            ("MKL_DYNAMIC",),
            "first use",
            bound="physical",
            set_by="threadpoolctl",
        ),
        # flame/blis frame/thread/bli_thread.c bli_thread_init_rntm_from_env.
        Library(BLIS, "BLIS", ("BLIS_NUM_THREADS", "OMP_NUM_THREADS"), (), "first use", set_by="threadpoolctl"),
        # numexpr/utils.py _init_num_threads, called while numexpr is imported; an empty value counts as unset.
        Library(
            NUMEXPR,
            "numexpr",
            ("NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS"),
            ("NUMEXPR_MAX_THREADS",),
            most_unasked=16,
            set_by="numexpr.set_num_threads",
        ),
        # numba/core/config.py: read when imported and again when something is compiled, until its threads run.
        Library(
            NUMBA, "numba", ("NUMBA_NUM_THREADS",), ("NUMBA_THREADING_LAYER",), "first use",
            set_by="numba.set_num_threads",
        ),
        # arrow cpp/src/arrow/util/thread_pool.cc ThreadPool::DefaultCapacity, when its pool is made.
        Library(
            ARROW, "Arrow", ("OMP_NUM_THREADS",), ("OMP_THREAD_LIMIT",), "first use",
            set_by="pyarrow.set_cpu_count",
        ),
        # polars crates/polars-core/src/lib.rs: its pool is made at the first query.
        Library(POLARS, "polars", ("POLARS_MAX_THREADS",), (), "first use"),
    )
}  # fmt: skip

LOADED_BY: tuple[tuple[str, str], ...] = (
    ("/numpy.libs/", "numpy"),
    ("/numpy/", "numpy"),
    ("/scipy.libs/", "scipy.linalg"),
    ("/torch/lib/", "torch"),
    ("/torch.libs/", "torch"),
    ("/scikit_learn.libs/", "sklearn"),
    ("/sklearn/", "sklearn"),
    ("/xgboost", "xgboost"),
    ("/lightgbm", "lightgbm"),
    ("/faiss", "faiss"),
    ("/opencv", "cv2"),
)
"""Part of a library's path to the module whose import loads it: wheels carry their libraries with them."""

_NUMBER = re.compile(r"\s*(\d{1,9})\s*(?:,.*)?$")
_DOMAIN_ALL = re.compile(r"(?:MKL_DOMAIN_|\b)ALL\s*[=:]?\s*(\d{1,9})", re.IGNORECASE)


def openblas_with(threading_layer: str | None) -> Library:
    """OpenBLAS as built: over OpenMP it reads OMP_NUM_THREADS alone (blas_get_cpu_number, USE_OPENMP)."""
    found = LIBRARIES[OPENBLAS]
    return replace(found, variables=("OMP_NUM_THREADS",)) if threading_layer == "openmp" else found


def loading_module(path: str) -> str | None:
    """Module whose import loads the library at a path; None for one that several may share."""
    return next((module for part, module in LOADED_BY if part in path), None)


def number(name: str, text: str) -> int | None:
    """Threads that a variable asks for; None where a library would ignore it: no number, or not above zero."""
    found = (_DOMAIN_ALL.search if name == "MKL_DOMAIN_NUM_THREADS" else _NUMBER.match)(text)
    return int(found.group(1)) or None if found else None


def winner(library: Library, variables: Mapping[str, str]) -> tuple[str, int] | None:
    """Variable that decides the size, and the number it asks for; None where none does."""
    for name in library.variables:
        asked = number(name, variables[name]) if name in variables else None
        if asked is not None:
            return name, asked
    return None
