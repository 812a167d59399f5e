"""The in-process agent: tells which native pools a program has and what its limit variables are now.

It writes a line at once, another shortly after a numeric library was imported, more when something changed,
and one at exit, each into a file of its own process in the spool folder. One thread does so, and only in
programs that import such a library. It never imports one itself, prints nothing, and keeps its troubles to
itself.

It runs in somebody else's process on CPython 3.8 and later, so it cannot share code with the rest of
corelens. What it needs of the standard library is built in or loaded anyhow, and is taken by name at the
start, before anybody patches it. Asking pools and the thread lie in files of their own, loaded when needed.
"""

from __future__ import annotations

import atexit
import os
import sys
from _thread import get_native_id
from time import monotonic, monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WATCHED = (
    "numpy", "scipy", "torch", "sklearn", "numba", "mkl", "polars", "pyarrow", "xgboost", "lightgbm",
    "tensorflow", "jax", "cv2", "numexpr", "duckdb", "faiss",
)  # fmt: skip
"""Modules that bring native thread pools."""

LATER_LOADED = ("scipy.linalg",)
"""Modules inside these that load a native library of their own, which the outer one does not."""

LIMIT_VARIABLES = (
    "OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "OMP_PLACES", "OMP_DYNAMIC",
    "OMP_MAX_ACTIVE_LEVELS", "GOMP_SPINCOUNT", "GOMP_CPU_AFFINITY", "KMP_BLOCKTIME", "KMP_AFFINITY",
    "KMP_DUPLICATE_LIB_OK", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS", "MKL_DYNAMIC",
    "MKL_DOMAIN_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS", "TBB_NUM_THREADS", "ARROW_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT", "JOBLIB_MULTIPROCESSING", "PYTHON_CPU_COUNT", "PYTHON_GIL",
    "RAY_num_server_call_thread", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
"""The same as corelens.vocabulary.LIMIT_VARIABLES; a test compares them."""

PACKAGES = {
    "joblib": "joblib", "loky": "loky", "optuna": "optuna", "torch": "torch", "numpy": "numpy",
    "scipy": "scipy", "sklearn": "scikit-learn", "ray": "ray", "dask": "dask", "numba": "numba",
    "polars": "polars", "pyarrow": "pyarrow", "pandas": "pandas", "threadpoolctl": "threadpoolctl",
    "xgboost": "xgboost", "lightgbm": "lightgbm", "tensorflow": "tensorflow", "jax": "jax", "mkl": "mkl",
    "numexpr": "numexpr", "duckdb": "duckdb", "cv2": "opencv-python", "grpc": "grpcio", "neat": "neat-python",
    "cloudpickle": "cloudpickle",
}  # fmt: skip
"""Module to package; the packages of corelens.vocabulary.PACKAGES."""

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 10.0
_LONGEST_VALUE = 256


def start() -> None:
    """Begin in this process, if it was handed a spool folder."""
    spool = os.environ.get("CORELENS_SPOOL")
    if not spool:
        return
    agent = Agent(spool, os.environ.get("CORELENS_THREADPOOLCTL"))
    agent.report("start")
    sys.meta_path.insert(0, Watcher(agent))
    os.register_at_fork(
        before=guarded(agent.before_fork),
        after_in_parent=guarded(agent.after_fork_in_parent),
        after_in_child=guarded(agent.after_fork_in_child),
    )
    atexit.register(guarded(agent.end))


def guarded(act: Callable[[], Any]) -> Callable[[], Any]:
    """The same action without its troubles; Ctrl-C and exit, which belong to the program, still pass."""

    def attempt() -> Any:
        try:
            return act()
        except Exception:
            return None

    return attempt


class Watcher:
    """A finder that finds nothing: it notices the first import *inside* a watched package.

    Asking whether a package exists is not importing it, so the package's own name does not count. The first
    import inside comes before the package's native libraries are loaded, so the limit variables of that
    moment are the ones that those libraries read. The finder stays where it is: to take it out while some
    thread walks the list would hide the next finder.
    """

    def __init__(self, agent: Agent) -> None:
        self._waiting = {*WATCHED, *LATER_LOADED}
        self._agent = agent

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Find nothing, always."""
        package = name.rpartition(".")[0]
        if package in self._waiting and package in sys.modules:
            self._waiting.discard(package)
            guarded(lambda: self._agent.note_load(package))()
            guarded(self._agent.loaded)()


class Agent:
    """What is known of this process, and who keeps it up to date."""

    def __init__(self, spool: str, threadpoolctl_path: str | None) -> None:
        self._spool = spool
        self._threadpoolctl_path = threadpoolctl_path
        self._pools: Any = None
        self._run: Any = None
        self._watch_class: Any = None
        self._watch: Any = None
        self._due_s = 0.0
        self._delay_s = _FIRST_DELAY_S
        self._last: dict[str, Any] | None = None
        self._loads: list[dict[str, Any]] = []
        self._enter_process()

    def _enter_process(self) -> None:
        self._pid = os.getpid()
        self._path = f"{self._spool}/agent-{self._pid}-{start_ticks()}.jsonl"
        self._ended = False

    def note_load(self, package: str) -> None:
        """Keep the limit variables as a package finds them that is about to load its native libraries."""
        load = {"module": package, "monotonic_ns": monotonic_ns(), "inherited": False}
        self._loads.append({**load, "variables": limit_variables()})

    def loaded(self) -> None:
        """Arrange to report a watched library whose import has begun."""
        if self._watch is not None:
            self._watch.wake(news=True)
            return
        if self._pools is None:
            import_threading()
            pools = sibling("corelens_agent_pools")
            self._pools = pools.Pools(self._threadpoolctl_path)
            self._run = pools.run
            self._watch_class = sibling("corelens_agent_thread").Watch
        self._begin("libraries")

    def _begin(self, moment: str | None) -> None:
        self._watch = self._watch_class(self, moment, is_any_loading)
        self._run(self._watch.main)

    def before_fork(self) -> None:
        """Stop the thread: a fork beside threads can deadlock the child, and Python warns of it."""
        if self._watch is not None:
            self._watch.stop()

    def after_fork_in_parent(self) -> None:
        """Go on where `before_fork` stopped."""
        if self._watch is not None:
            self._begin(self._watch.pending)

    def after_fork_in_child(self) -> None:
        """Begin again under the new process's own name."""
        self._enter_process()
        self._last = None
        self._loads = [{**load, "inherited": True} for load in self._loads]
        self._end_with_multiprocessing()
        if self._watch is not None:
            self._begin("fork")
        else:
            self.report("fork")

    def _end_with_multiprocessing(self) -> None:
        # Children of multiprocessing leave without running atexit; what they do run is this registry, which
        # they clear first and offer for refilling then.
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.register_after_fork(self, _finalize_last)

    def end(self) -> None:
        """Report for the last time; a program without pools only if something changed."""
        if self._ended:
            return
        self._ended = True
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        self.report("exit", always=self._pools is not None)

    def sleep_s(self) -> float:
        """Seconds until the next report is due."""
        return max(0.0, self._due_s - monotonic())

    def report_and_plan(self, moment: str) -> None:
        """Report, and plan the next time: soon after news, at growing distances otherwise."""
        self.report(moment, always=moment != "interval")
        later_s = min(2 * self._delay_s, _LONGEST_DELAY_S)
        self._delay_s = later_s if moment == "interval" else _FIRST_DELAY_S
        self._due_s = monotonic() + self._delay_s

    def report(self, moment: str, always: bool = True) -> None:
        """Write down what is found, `always` or only when it is not what was written last."""
        found = self._findings(moment)
        if not always and found == self._last:
            return
        self._last = found
        tid = self._watch.tid if self._watch is not None else None
        line = {"monotonic_ns": monotonic_ns(), "pid": self._pid, "moment": moment, "agent_tid": tid}
        line.update(found)
        append(self._path, json_text(line) + "\n")

    def _findings(self, moment: str) -> dict[str, Any]:
        found = {"libraries": None, "torch_threads": None, "torch_interop_threads": None}
        if self._pools is not None:
            # Right after a fork torch's own hook may still be rebuilding its pool.
            torch = settled_module("torch") if moment != "fork" else None
            asked = guarded(lambda: self._pools.found(attributes(torch)))()
            found.update(asked or {})
        return {
            **found,
            "cpu_count": os.cpu_count(),
            "variables": limit_variables(),
            "loads": list(self._loads),
            "module_threads": module_threads(),
            "versions": loaded_versions(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "python_threads": python_threads() if self._pools is not None else {},
        }


def _finalize_last(agent: Agent) -> None:
    util = sys.modules["multiprocessing.util"]
    util.Finalize(None, guarded(agent.end), exitpriority=-1000)


def import_threading() -> None:
    """Import `threading` in the main thread: it takes the thread that imports it first for the main one."""
    if "threading" not in sys.modules and get_native_id() == os.getpid():
        __import__("threading")


def sibling(name: str) -> Any:
    """Load the file of this name beside this one; it is not entered into sys.modules."""
    from _frozen_importlib_external import SourceFileLoader

    path = f"{__file__.rpartition('/')[0]}/{name}.py"
    module = type(sys)(f"_{name}")
    module.__file__ = path
    code: Any = SourceFileLoader(module.__name__, path).get_code(module.__name__)
    exec(code, module.__dict__)
    return module


def settled_module(name: str) -> Any:
    """A module whose import is over; None otherwise."""
    return None if is_loading(name) else sys.modules.get(name)


def is_loading(name: str) -> bool:
    """Whether the import of a module is still going on."""
    spec = attributes(sys.modules.get(name)).get("__spec__")
    return bool(getattr(spec, "_initializing", False))


def is_any_loading() -> bool:
    """Whether the import of a watched module is still going on."""
    return any(is_loading(name) for name in WATCHED + LATER_LOADED if name in sys.modules)


def attributes(module: Any) -> dict[str, Any]:
    """The module's own dict, fetched so that a lazy module stays lazy; empty for None."""
    try:
        names: dict[str, Any] = object.__getattribute__(module, "__dict__")
        return names
    except AttributeError:
        return {}


def loaded_versions() -> dict[str, str]:
    """Version by package, of the loaded ones that matter and say it."""
    loaded = [name for name in PACKAGES if name in sys.modules]
    said = {name: attributes(settled_module(name)).get("__version__") for name in loaded}
    return {PACKAGES[name]: str(version) for name, version in said.items() if isinstance(version, str)}


def module_threads() -> dict[str, int]:
    """Threads by module, of those that tell their number without starting anything."""
    values = {
        "numexpr": guarded(attributes(settled_module("numexpr")).get("get_num_threads", int))(),
        "numba": attributes(settled_module("numba.core.config")).get("NUMBA_NUM_THREADS"),
    }
    return {name: value for name, value in values.items() if isinstance(value, int) and value > 0}


def limit_variables() -> dict[str, str]:
    """The thread-limit variables as Python sees them now."""
    # To ask os.environ for a name that it lacks raises and catches an error inside, 34 times over.
    present = set(os.environ).intersection(LIMIT_VARIABLES)
    return {name: os.environ[name][:_LONGEST_VALUE] for name in sorted(present)}


def python_threads() -> dict[str, str]:
    """Name by native id of the threads that the threading module knows."""
    threads = list(attributes(sys.modules.get("threading")).get("_active", {}).values())
    return {str(thread.native_id): thread.name for thread in threads if getattr(thread, "native_id", None)}


def start_ticks() -> int:
    """Start time of this process since boot, which with the pid names it for good."""
    descriptor = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, 4096).rpartition(b")")[2].split()[19])
    finally:
        os.close(descriptor)


def append(path: str, text: str) -> None:
    """Add a text to a file in one write, which no other thread's can tear; a folder that is gone is borne."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        return
    try:
        os.write(descriptor, text.encode("utf-8", "replace"))
    except OSError:
        return
    finally:
        os.close(descriptor)


_ESCAPES = {code: f"\\u{code:04x}" for code in range(32)}
_ESCAPES.update({ord('"'): '\\"', ord("\\"): "\\\\"})


def json_text(value: Any) -> str:
    """JSON of a plain value, without loading json into the program."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if hasattr(value, "keys"):
        return "{" + ",".join(f"{json_text(str(key))}:{json_text(value[key])}" for key in value) + "}"
    if hasattr(value, "__iter__") and not isinstance(value, str):
        return "[" + ",".join(map(json_text, value)) + "]"
    return f'"{str(value).translate(_ESCAPES)}"'
