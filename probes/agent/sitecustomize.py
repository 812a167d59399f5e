"""The way into a recorded Python program: this folder stands first on PYTHONPATH, so `site` finds this file.

It starts the agent, takes its own folder off the path again and hands over to the program's own
`sitecustomize`, so that the program finds its modules and its path as if this file were not there. PYTHONPATH
itself stays as it is, for the processes that the program starts.

Runs on CPython 3.8 and later, in somebody else's process: no trouble of ours may reach it.
"""

import sys


def _start(folder: str) -> None:
    # Built in, unlike importlib.util, which would load a dozen modules into the program.
    from _frozen_importlib_external import SourceFileLoader

    path = f"{folder}/corelens_agent.py"
    code = SourceFileLoader("_corelens_agent", path).get_code("_corelens_agent")
    # Kept out of sys.modules: the program has no module of this name.
    names = {"__name__": "_corelens_agent", "__file__": path}
    if code is not None:
        exec(code, names)
        exec("start()", names)


def _leave(folder: str) -> None:
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    sys.path_importer_cache.pop(folder, None)


_folder = __file__.rpartition("/")[0]
try:  # noqa: SIM105 - contextlib is not loaded yet
    _start(_folder)
except Exception:
    pass
_leave(_folder)

# The program's own sitecustomize takes this module's place, its errors and its absence included: `site`
# passes over an ImportError that names sitecustomize.
del sys.modules["sitecustomize"]
__import__("sitecustomize")
