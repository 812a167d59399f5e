"""Which library makes which threads: the table that turns a file, a C++ type and a function into an owner.

The first rule that fits decides. What tells the file alone, or the type, comes first; a rule that needs the
function's name, which only an unstripped library on the reading machine has, never stands where another could do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from corelens.reports.facts import owned
from corelens.reports.facts.owned import Owner


@dataclass(frozen=True, slots=True)
class Clue:
    """What is known of the code that a thread was started with."""

    path: str
    rtti: str | None
    symbol: str | None


@dataclass(frozen=True, slots=True)
class Rule:
    """Patterns that must all be found, of the file's name, the C++ type, the function; an empty one always is."""

    kind: str
    label: str
    """`{copy}` stands for whose copy of the library it is, `{name}` for the library's name."""
    file: str
    rtti: str = ""
    symbol: str = ""
    folder: str = ""

    def fits(self, clue: Clue) -> bool:
        """Whether a clue shows all that this rule asks for."""
        path = PurePosixPath(clue.path)
        return (
            _found(self.file, path.name)
            and _found(self.rtti, clue.rtti)
            and _found(self.symbol, clue.symbol)
            and _found(self.folder, str(path.parent))
        )


_TORCH = r"^lib(torch|c10|shm|caffe2)"
_RAYLET = r"^_raylet\."

RULES = (
    Rule(owned.OPENMP_GNU, "libgomp ({copy})", r"^libgomp[.-]"),
    Rule(owned.OPENMP_INTEL, "libiomp5 ({copy})", r"^libiomp5"),
    Rule(owned.OPENMP_LLVM, "libomp ({copy})", r"^lib(omp|kmp)[.-]"),
    Rule(owned.OPENBLAS, "OpenBLAS ({copy})", r"openblas"),
    Rule(owned.BLIS, "BLIS ({copy})", r"^libblis"),
    Rule(owned.TBB, "TBB ({copy})", r"^libtbb(?!malloc)"),
    Rule(owned.MKL, "MKL ({copy})", r"^libmkl_"),
    # c10::TaskThreadPool and what derives from it; the executor of inter-op parallelism.
    Rule(owned.TORCH_INTER_OP, "torch inter-op", _TORCH, rtti=r"ThreadPool"),
    Rule(owned.TORCH_AUTOGRAD, "torch autograd", _TORCH, rtti=r"autograd"),
    Rule(
        owned.TORCH_DISTRIBUTED,
        "torch distributed",
        _TORCH,
        rtti=r"ProcessGroup|gloo|c10d|TCPStore|tensorpipe",
    ),
    # pthreadpool starts its threads in C: no type tells them from the others of libtorch, only their function.
    Rule(owned.TORCH_PTHREADPOOL, "torch pthreadpool", _TORCH, symbol=r"^thread_main$"),
    Rule(owned.TORCH_PTHREADPOOL, "torch pthreadpool", r"^libpthreadpool"),
    Rule(owned.TORCH_DISTRIBUTED, "torch distributed", _TORCH, symbol=r"^uv__"),
    Rule(owned.TORCH_OTHER, "torch", _TORCH),
    Rule(owned.RAY, "Ray core worker", _RAYLET),
    Rule(owned.RAY, "Ray raylet", r"^raylet$"),
    Rule(owned.RAY, "Ray GCS", r"^gcs_server$"),
    Rule(owned.RAY, "Ray allocator", r"^libjemalloc", folder=r"/ray/"),
    Rule(owned.GRPC, "gRPC", r"^cygrpc\.|^libgrpc"),
    Rule(owned.ARROW, "Arrow", r"^lib(arrow|parquet)"),
    Rule(owned.DUCKDB, "DuckDB", r"^_?duckdb|^libduckdb"),
    Rule(owned.POLARS, "polars", r"polars"),
    Rule(owned.NUMBA_WORKQUEUE, "numba workqueue", r"^workqueue\.", folder=r"numba"),
    Rule(owned.OTHER_LIBRARY, "numba", r"", folder=r"/numba/"),
    Rule(owned.OTHER_LIBRARY, "CUDA ({name})", r"^lib(cuda|cudart|cublas|cudnn|nccl|nv)"),
    Rule(owned.PYTHON, "Python thread", r"^(lib)?python\d"),
    # An interpreter built into a program of another name.
    Rule(owned.PYTHON, "Python thread", r"", symbol=r"^(pythread_wrapper|t_bootstrap)$"),
    Rule(owned.OTHER_LIBRARY, "{name}", r""),
)


@dataclass(frozen=True, slots=True)
class Helper:
    """Threads of Python that serve a library and do none of the work: a pattern of their names."""

    name: str
    label: str
    body: str = ""
    """Pattern of `file:function` that it runs; tells it where it has no name."""


# The kernel cuts names after 15 bytes, so no name pattern is longer than that.
HELPERS = (
    Helper(r"QueueFeederThre", "multiprocessing queue feeder", r"/multiprocessing/queues\.py:.*_feed"),
    Helper(
        r"ExecutorManager|QueueManagerThr",
        "process pool manager",
        r"/concurrent/futures/process\.py:|/loky/process_executor\.py:",
    ),
    Helper(r"\(_handle_workers\)", "multiprocessing pool: workers", r"/pool\.py:.*_handle_workers"),
    Helper(r"\(_handle_tasks\)", "multiprocessing pool: tasks", r"/pool\.py:.*_handle_tasks"),
    Helper(r"\(_handle_results\)", "multiprocessing pool: results", r"/pool\.py:.*_handle_results"),
    Helper(
        r"\((_serve|accepter|serve_client)\)",
        "multiprocessing server",
        r"/multiprocessing/(resource_sharer|managers)\.py:",
    ),
    Helper(r"\(_?pin_memory_loop\)", "DataLoader pinning", r"/_utils/pin_memory\.py:"),
    Helper(r"\(_record_heartbeat\)", "Optuna heartbeat", r"/optuna/storages/_heartbeat\.py:"),
    Helper(r"tqdm|TMonitor", "tqdm monitor", r"/tqdm/_monitor\.py:"),
    Helper(r"^ray_", "Ray driver", r"/ray/_private/"),
    Helper(r"HistorySavingTh", "IPython history", r"/IPython/core/history\.py:"),
)


def owner_of(clue: Clue) -> Owner:
    """The owner that the first fitting rule names; the last rule fits everything."""
    rule = next(rule for rule in RULES if rule.fits(clue))
    label = rule.label.format(copy=copy_of(clue.path), name=library_name(clue.path))
    return Owner(rule.kind, label, None if rule.kind == owned.PYTHON else clue.path, None)


def helper_of(name: str | None, body: str | None = None) -> str | None:
    """What a Python thread of this name or body serves; None where it may be one that works."""
    for helper in HELPERS:
        if (name and re.search(helper.name, name)) or (body and re.search(helper.body, body)):
            return helper.label
    return None


def copy_of(path: str) -> str:
    """Who brought a copy of a library: the package whose folder it lies in, or the system."""
    parts = PurePosixPath(path).parts
    for place in ("site-packages", "dist-packages"):
        if place in parts[:-2]:
            folder = parts[parts.index(place) + 1]
            return folder.removesuffix(".libs").replace("_", "-")
    if any(part in _CONDA for part in parts):
        return "conda"
    if path.startswith(_SYSTEM):
        return "system"
    folder = PurePosixPath(path).parent.name
    return "environment" if folder in ("lib", "lib64") else folder or path


def library_name(path: str) -> str:
    """File name without its version and the tag of the interpreter: `libuv`, `_ssl`."""
    return re.split(r"\.so|\.cpython-|\.abi3|-[0-9a-f]{8}", PurePosixPath(path).name)[0]


_CONDA = frozenset({"conda", "miniconda3", "anaconda3", "miniforge3", "mambaforge"})
_SYSTEM = ("/usr/lib", "/lib", "/usr/local/lib")


def _found(pattern: str, text: str | None) -> bool:
    return not pattern or (text is not None and re.search(pattern, text) is not None)
