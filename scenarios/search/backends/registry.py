"""Which backends there are, where each lives and what it needs installed."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from corelens.scenarios.search.backends.protocol import Backend
from corelens.scenarios.search.settings import BackendName

FOLDER = "corelens.scenarios.search.backends"


@dataclass(frozen=True, slots=True)
class Entry:
    """One backend.

    `needs` is a module and its extra, `stored` says that workers find the study in a journal, `own_progress`
    that Optuna's bar shows its progress.
    """

    module: str
    needs: tuple[str, str] | None = None
    stored: bool = False
    own_progress: bool = False


REGISTRY: dict[BackendName, Entry] = {
    "sequential": Entry("sequential", own_progress=True),
    "optuna-threads": Entry("optuna_threads", own_progress=True),
    "joblib-threads": Entry("joblib_threads", needs=("joblib", "lab")),
    "joblib-loky": Entry("joblib_loky", needs=("joblib", "lab"), stored=True),
    "process-pool": Entry("process_pool", stored=True),
    "process-executor": Entry("process_executor", stored=True),
    "ray": Entry("ray_tasks", needs=("ray", "ray"), stored=True),
}


def load(name: BackendName) -> Backend:
    """Import a backend and give its function."""
    module: Any = importlib.import_module(f"{FOLDER}.{REGISTRY[name].module}")
    run: Backend = module.run
    return run
