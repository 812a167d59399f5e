"""The search as a program: what it prints, writes and refuses, and in which order it imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from corelens.errors import ExitCode
from corelens.scenarios.search.settings import LIMITS, Limit

PROGRAM = [sys.executable, "-m", "corelens.scenarios.search"]
TINY = ["--scale", "smoke", "--evaluation", "per-genome", "-n", "2", "-p", "8"]

# Hides a module as if it were not installed, then runs the search.
HIDING = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
from corelens.scenarios.search.program import main
sys.exit(main(sys.argv[2:]))
"""


def run(argv: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **variables}, check=False)


def need_lab() -> None:
    for module in ("torch", "optuna"):
        pytest.importorskip(module, reason=f"{module} is not installed (extra lab)")


def refused(done: subprocess.CompletedProcess[str], code: ExitCode) -> str:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("corelens: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_without_a_backend_it_says_so() -> None:
    done = run(PROGRAM)
    assert done.returncode == ExitCode.USAGE
    assert "--backend" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_neither_torch_nor_optuna() -> None:
    code = (
        "import sys\n"
        "from corelens.scenarios.search.program import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'optuna', 'numpy', 'ray', 'joblib', 'rich'} & set(sys.modules)))"
    )
    done = run([sys.executable, "-c", code])
    assert "--limit-threads" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_contradicting_flags_are_one_line() -> None:
    assert "--workers 3" in refused(run([*PROGRAM, "--backend", "sequential", "-w", "3"]), ExitCode.USAGE)


def test_somebodys_results_are_not_replaced(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text("mine")
    said = refused(run([*PROGRAM, "--backend", "sequential", "-o", str(kept)]), ExitCode.OUTPUT_EXISTS)
    assert "--force" in said
    assert kept.read_text() == "mine"


def test_an_unknown_folder_is_said_before_any_work(tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "results.json"
    said = refused(run([*PROGRAM, "--backend", "sequential", "-o", str(target)]), ExitCode.OUTPUT_FAILED)
    assert str(target.parent) in said


def test_a_storage_that_holds_a_study_is_not_joined(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    journal.write_text("")
    refused(run([*PROGRAM, "--backend", "process-pool", "--storage", str(journal)]), ExitCode.OUTPUT_EXISTS)


@pytest.mark.parametrize(
    ("module", "extra", "argv"),
    [
        ("torch", "lab", ["--backend", "sequential"]),
        ("optuna", "lab", ["--backend", "process-pool"]),
        ("joblib", "lab", ["--backend", "joblib-loky"]),
        ("neat", "lab", ["--backend", "sequential", "-m", "neat"]),
        ("ray", "ray", ["--backend", "ray"]),
    ],
)
def test_a_missing_extra_is_one_line_that_names_it(module: str, extra: str, argv: list[str]) -> None:
    if module != "torch":
        need_lab()
    said = refused(run([sys.executable, "-c", HIDING, module, *argv]), ExitCode.MISSING_EXTRA)
    assert said.startswith(f"corelens: {module} is not installed")
    assert f"corelens[{extra}]" in said


@pytest.mark.lab
def test_no_gpu_is_one_line() -> None:
    need_lab()
    # An empty list of devices is how CUDA is told to see none.
    done = run([*PROGRAM, "--backend", "sequential", "--device", "cuda"], CUDA_VISIBLE_DEVICES="")
    assert "--device cpu" in refused(done, ExitCode.USAGE)


@pytest.mark.lab
def test_results_and_marks_tell_the_same_story(tmp_path: Path) -> None:
    need_lab()
    target, spool = tmp_path / "results.json", tmp_path / "spool"
    spool.mkdir()
    argv = [*PROGRAM, "--backend", "sequential", *TINY, "-s", "2", "-o", str(target)]
    done = run(argv, CORELENS_SPOOL=str(spool))
    assert done.returncode == ExitCode.OK, done.stderr
    assert done.stderr == ""
    found = json.loads(target.read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "spool"]
    marks = read_marks(spool)
    names = ["search", "import", "import", "trial", "trial", "threads", "trial", "trial"]
    assert [mark["name"] for mark in marks] == names
    assert marks[0]["attributes"] == found["settings"]
    began = {m["attributes"]["number"]: m["attributes"] for m in marks if is_trial(m, "begin")}
    ended = {m["attributes"]["number"]: m["attributes"] for m in marks if is_trial(m, "end")}
    assert [trial["number"] for trial in found["trials"]] == [0, 1]
    for trial in found["trials"]:
        assert began[trial["number"]]["params"] == trial["params"]
        assert ended[trial["number"]] == {
            "number": trial["number"],
            "value": trial["value"],
            "state": "complete",
        }
        assert [seed["seed"] for seed in trial["seeds"]] == [42, 43]
        assert trial["value"] == max(seed["best_fitness"] for seed in trial["seeds"])
    assert not found["interrupted"]
    assert found["best"]["value"] == max(trial["value"] for trial in found["trials"])
    assert f"best: trial {found['best']['number']}" in done.stdout


def read_marks(spool: Path) -> list[Any]:
    lines = [line for path in spool.iterdir() for line in path.read_text().splitlines()]
    return sorted((json.loads(line) for line in lines), key=lambda mark: mark["monotonic_ns"])


def is_trial(mark: Any, phase: str) -> bool:
    return bool(mark["name"] == "trial" and mark["phase"] == phase)


# Loads the workload as the program does, runs one task's limit in a thread as thread backends do, and prints
# how many threads torch would use there, beside the default.
LIMITED = """
import os, sys, threading
limit, workers = sys.argv[1], []
from corelens.scenarios.search import thread_limits
from corelens.scenarios.search.options import parser, settings_from
from corelens.scenarios.search.program import load_workload
assert "torch" not in sys.modules and "numpy" not in sys.modules
load_workload(settings_from(parser().parse_args(["--backend", "optuna-threads", "--limit-threads", limit])))
import torch
def task():
    with thread_limits.during_task(limit):
        workers.append(torch.get_num_threads())
thread = threading.Thread(target=task)
thread.start()
thread.join()
print(workers[0], os.environ.get("OMP_NUM_THREADS", "unset"))
"""


@pytest.mark.lab
@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_does_in_a_thread_what_it_does_for_users(limit: Limit) -> None:
    need_lab()
    unlimited = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    # Two threads also on a machine with one core, so that a limit to one is seen everywhere.
    wide = {**unlimited, "MKL_DYNAMIC": "FALSE", "MKL_NUM_THREADS": "2"} if limit != "env" else unlimited
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, limit], capture_output=True, text=True, env=wide, check=True
    )
    threads, variable = done.stdout.split()
    assert threads == {"none": "2", "late": "2", "env": "1", "threadpoolctl": "1", "torch": "1"}[limit]
    assert variable == ("1" if limit in {"env", "late"} else "unset")


INITIALIZED = """
import sys, torch
from corelens.scenarios.search import thread_limits
thread_limits.start_worker(sys.argv[1])
print(torch.get_num_threads())
"""


@pytest.mark.lab
@pytest.mark.parametrize(("limit", "threads"), [("none", "2"), ("threadpoolctl", "1"), ("torch", "1")])
def test_an_initializer_limits_its_worker_for_good(limit: Limit, threads: str) -> None:
    need_lab()
    done = run([sys.executable, "-c", INITIALIZED, limit], MKL_DYNAMIC="FALSE", MKL_NUM_THREADS="2")
    assert done.stdout.split() == [threads]
