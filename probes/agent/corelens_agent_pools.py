"""Asking native pools how many threads they use, without waking, changing or waiting for any of them.

threadpoolctl does the asking. It is loaded by path under a private name, because the program may run another
interpreter that does not have it. Loaded by path beside corelens_agent.py, into programs of CPython 3.8 and
later.
"""

from __future__ import annotations

import os
import sys
from _signal import SIG_BLOCK, SIG_SETMASK, pthread_sigmask, valid_signals  # type: ignore[import-not-found]
from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_ANSWER_WITHIN_S = 5.0


class Pools:
    """The pools of this process; `path` is where threadpoolctl lies, None where there is none."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._controller: Any = None

    def found(self, torch: dict[str, Any]) -> dict[str, Any]:
        """What the libraries say; `torch` holds the names of that module, or nothing.

        Empty while a library is mapped that would start up on being asked.
        """
        paths = mapped_libraries()
        if dormant(paths):
            return {}
        return {**torch_threads(torch), "libraries": self._libraries(paths)}

    def _libraries(self, paths: list[str]) -> list[dict[str, Any]] | None:
        # threadpoolctl imports threading, which takes the thread that does so first for the main one.
        if self._path is None or "threading" not in sys.modules:
            return None
        try:
            if self._controller is None:
                self._controller = controller_class(load_apart(self._path))
            libraries: list[dict[str, Any]] = self._controller(paths).info()
            return libraries
        except Exception:
            # A threadpoolctl that this interpreter cannot run, or a library that vanished while asked.
            return None


def controller_class(module: Any) -> Any:
    """A controller that is told the libraries, and warns of nothing.

    To list them some versions go through dl_iterate_phdr, which calls back into Python under the lock of the
    dynamic loader: a deadlock with any thread that imports an extension module while holding the GIL.
    """

    class Controller(module.ThreadpoolController):  # type: ignore[misc]
        def __init__(self, paths: list[str]) -> None:
            self._paths = paths
            super().__init__()  # pyright: ignore[reportUnknownMemberType]

        def _load_libraries(self) -> None:
            for path in self._paths:
                self._make_controller_from_path(path)

        def _warn_if_incompatible_openmp(self) -> None:
            return

    return Controller


def load_apart(path: str) -> Any:
    """Load threadpoolctl with an `os` whose environ is a copy: on import it sets KMP_DUPLICATE_LIB_OK.

    To set the variable and take it back would be seen, and is unsafe while other threads read the
    environment.
    """
    import builtins
    from _frozen_importlib_external import SourceFileLoader

    apart: Any = type(sys)("os")
    apart.__dict__.update(vars(os))
    apart.environ = dict(os.environ)

    def import_apart(name: str, *rest: Any) -> Any:
        return apart if name == "os" else __import__(name, *rest)

    module: Any = type(sys)("_corelens_threadpoolctl")
    module.__file__ = path
    module.__builtins__ = {**vars(builtins), "__import__": import_apart}
    code: Any = SourceFileLoader(module.__name__, path).get_code(module.__name__)
    # Dataclasses look their module up by its name while they are made.
    sys.modules[module.__name__] = module
    try:
        exec(code, module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return module


def run(act: Callable[[], None]) -> None:
    """Start a thread that no signal reaches: one meant for the program must not end up here."""
    former: Any = pthread_sigmask(SIG_BLOCK, valid_signals())  # pyright: ignore[reportUnknownVariableType]
    try:
        start_new_thread(act, ())
    finally:
        pthread_sigmask(SIG_SETMASK, former)


def torch_threads(torch: dict[str, Any]) -> dict[str, int]:
    """torch's intra-op and inter-op threads, as a thread of the program gets them that was just born."""
    if "get_num_threads" not in torch:
        return {}
    answer = answer_of_new_thread(lambda: (torch["get_num_threads"](), torch["get_num_interop_threads"]()))
    return {"torch_threads": answer[0], "torch_interop_threads": answer[1]} if answer else {}


def answer_of_new_thread(ask: Callable[[], Any]) -> Any:
    """What a thread that was just born is told; None when it fails.

    torch and OpenMP keep the number of threads per calling thread: one that has asked before has its own
    number, and the first question fixes it. A new thread has what the process gives, and takes it along.
    """
    answers: list[Any] = []
    done = allocate_lock()
    done.acquire()

    def main() -> None:
        try:
            answers.append(ask())
        except Exception:
            return
        finally:
            done.release()

    run(main)
    done.acquire(True, _ANSWER_WITHIN_S)
    return answers[0] if answers else None


def mapped_libraries() -> list[str]:
    """Paths of the shared libraries mapped into this process."""
    lines = read("/proc/self/maps").splitlines()
    paths = {line[line.index(b"/") :] for line in lines if b".so" in line and b"/" in line}
    return sorted(os.fsdecode(path) for path in paths if b".so" in path.rpartition(b"/")[2])


def dormant(paths: list[str]) -> bool:
    """Whether a mapped OpenMP runtime or MKL has not been used yet.

    Asked for its number of threads it would start, reading its variables now instead of at the program's
    first use. GNU's runtime and OpenBLAS read theirs when they are loaded, so asking those changes nothing.
    """
    names = [path.rpartition("/")[2] for path in paths]
    runtimes = [name for name in names if name.startswith(("libiomp", "libomp.", "libomp-"))]
    switch = any(name.startswith("libmkl_rt") for name in names)
    core = any(name.startswith("libmkl_core") for name in names)
    return (switch and not core) or (bool(runtimes) and not openmp_registered())


def openmp_registered() -> bool:
    """Whether LLVM's or Intel's runtime has started: it leaves a note for its fellows then."""
    import ctypes

    names = [f"__KMP_REGISTERED_LIB_{os.getpid()}"]
    names.append(f"{names[0]}_{os.getuid()}")
    if any(os.access(f"{folder}/{name}", os.F_OK) for folder in ("/dev/shm", "/tmp") for name in names):
        return True
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    return any(getenv(name.encode()) for name in names)


def read(path: str) -> bytes:
    """The whole of a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts: list[bytes] = []
        while True:
            part = os.read(descriptor, 1 << 16)
            if not part:
                return b"".join(parts)
            parts.append(part)
    finally:
        os.close(descriptor)
