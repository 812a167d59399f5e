"""`python -m corelens.scenarios.search.pools` says, as JSON, how the native pools of a search would be sized here.

It imports what a search imports, in the same order, and starts no trial.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from corelens.errors import CorelensError
from corelens.scenarios.search import options
from corelens.scenarios.search.program import load_workload


def main() -> int:
    """Print the sizes; a missing part is one line and its exit code."""
    settings = options.settings_from(options.parser().parse_args(["--backend", "optuna-threads"]))
    try:
        load_workload(settings)
    except CorelensError as error:
        print(f"corelens: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(sizes()))
    return 0


def sizes() -> dict[str, Any]:
    """Give `torch_threads`, `cores` that the process sees, and `blas`: the copies of OpenBLAS by their owners."""
    torch: Any = importlib.import_module("torch")
    threadpoolctl: Any = importlib.import_module("threadpoolctl")
    loaded: list[dict[str, Any]] = threadpoolctl.threadpool_info()
    return {
        "torch_threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)),
        "blas": [_owner(one["filepath"]) for one in loaded if one["internal_api"] == "openblas"],
    }


def _owner(path: str) -> str:
    """Name the package whose wheel brought a library: `numpy.libs/libscipy_openblas64_.so` is numpy's."""
    folder = Path(path).parent.name
    return folder.removesuffix(".libs") if folder.endswith(".libs") else Path(path).name.partition(".")[0]


if __name__ == "__main__":
    sys.exit(main())
