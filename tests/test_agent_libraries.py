"""The agent beside real numeric libraries: true answers, and nothing moved by asking."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest

from corelens.probes.agent import corelens_agent_pools
from corelens.probes.spool import Spool
from corelens.vocabulary import Line
from tests.agent_programs import moments, reports, run_program, said


def require(module: str) -> None:
    """Skip without the module, and without importing it: some set variables."""
    if find_spec(module) is None:
        pytest.skip(f"the lab extra is not installed: no {module}")


@pytest.fixture
def spool() -> Generator[Spool]:
    require("numpy")
    made = Spool.create(agent=True)
    yield made
    made.close()


def last(spool: Spool, moment: str) -> Line:
    return [line for line in reports(spool) if line["moment"] == moment][-1]


NUMPY = """
import ctypes
import numpy
wait_for("libraries")
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
print("KMP_DUPLICATE_LIB_OK" in os.environ, getenv(b"KMP_DUPLICATE_LIB_OK"))
print(any("threadpoolctl" in name or name.startswith("corelens") for name in sys.modules))
import resource
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_asking_numpy_leaves_no_variable_module_or_child_process(spool: Spool) -> None:
    assert said(run_program(NUMPY, spool)).splitlines() == [
        "False None",
        "False",
        "0",
    ]
    (library,) = last(spool, "libraries")["libraries"]
    assert (library["user_api"], library["internal_api"]) == ("blas", "openblas")


def test_the_answer_is_that_of_threadpoolctl_in_the_program(spool: Spool) -> None:
    program = """
import json, numpy
wait_for("libraries")
import threadpoolctl
print(json.dumps(threadpoolctl.threadpool_info()))
"""
    import json

    truth = json.loads(said(run_program(program, spool, env={"OPENBLAS_NUM_THREADS": "1"})))
    assert last(spool, "libraries")["libraries"] == truth
    assert truth[0]["num_threads"] == 1


def test_a_limit_that_came_too_late_shows_beside_the_pool_it_did_not_reach(spool: Spool) -> None:
    program = "import numpy; os.environ['OPENBLAS_NUM_THREADS'] = '1'; wait_for('libraries')"
    said(run_program(program, spool, env={"OPENBLAS_NUM_THREADS": "2"}))
    end = last(spool, "exit")
    assert reports(spool)[0]["variables"] == {"OPENBLAS_NUM_THREADS": "2"}
    assert end["variables"] == {"OPENBLAS_NUM_THREADS": "1"}
    assert end["libraries"][0]["num_threads"] == min(2, os.cpu_count() or 1)


def test_without_threadpoolctl_the_libraries_are_null_and_the_rest_is_there(
    spool: Spool,
) -> None:
    environment = {**spool.environment(os.environ), "CORELENS_THREADPOOLCTL": "/nowhere/threadpoolctl.py"}
    subprocess.run([sys.executable, "-c", "import numpy"], env=environment, check=True)
    end = last(spool, "exit")
    assert end["libraries"] is None
    assert "numpy" in end["versions"]


def test_threadpoolctl_is_loaded_apart_from_the_programs_own() -> None:
    import threadpoolctl  # pyright: ignore[reportMissingTypeStubs]

    before = dict(os.environ)
    module = corelens_agent_pools.load_apart(threadpoolctl.__file__)
    assert module is not threadpoolctl
    assert sys.modules["threadpoolctl"] is threadpoolctl
    assert dict(os.environ) == before


LOKY = """
from joblib import Parallel, delayed
def work(_):
    import numpy
    return os.getpid()
print(*set(Parallel(n_jobs=2)(delayed(work)(number) for number in range(8))))
from joblib.externals.loky import get_reusable_executor
get_reusable_executor().shutdown(wait=True)
"""


def test_loky_workers_report_with_the_limits_that_loky_sets(spool: Spool) -> None:
    require("joblib")
    workers = {int(pid) for pid in said(run_program(LOKY, spool)).split()}
    lines = reports(spool)
    found = moments(lines)
    assert workers <= set(found)
    for worker in workers:
        assert found[worker][0] == "start"
        assert "libraries" in found[worker] or "exit" in found[worker]
    started = [line for line in lines if line["pid"] in workers and line["moment"] == "start"]
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert {line["variables"]["OMP_NUM_THREADS"] for line in started} == {share}


TORCH = """
import threading
import torch
if os.environ.get("CORELENS_SPOOL"):
    wait_for("libraries")
seen = []
def look(where, operate=True):
    if operate:
        (torch.ones(400_000) * 2).sum()
    seen.append((where, torch.get_num_threads(), torch.get_num_interop_threads()))
def in_thread(*arguments):
    thread = threading.Thread(target=look, args=arguments)
    thread.start()
    thread.join()
in_thread("first worker")
look("main")
torch.set_num_threads(3)
if os.environ.get("CORELENS_SPOOL"):
    wait_for("interval")
in_thread("worker after", False)
look("main after")
torch.set_num_threads(1)
in_thread("worker at one")
look("main at one")
print(seen)
"""


def test_asking_torch_changes_no_threads_answer(spool: Spool) -> None:
    require("torch")
    bare = said(run_program(TORCH, None))
    assert said(run_program(TORCH, spool)) == bare
    lines = [line for line in reports(spool) if line["moment"] != "start"]
    assert [line["torch_threads"] for line in lines][-2:] == [3, 1]
    assert f"('first worker', {lines[0]['torch_threads']}, " in bare
    assert "torch" in lines[0]["versions"]
    assert {library["prefix"] for library in lines[-1]["libraries"]} >= {"libgomp"}


COUNTED = """
import torch
(torch.ones(400_000) * 2).sum()
if os.environ.get("CORELENS_SPOOL"):
    wait_for("libraries")
torch.set_num_threads(3)
if os.environ.get("CORELENS_SPOOL"):
    wait_for("interval")
(torch.ones(400_000) * 2).sum()
print(sum("corelens" not in text_of("/proc/self/task/%d/comm" % name) for name in threads()))
"""


def test_asking_torch_adds_no_thread_of_torch(spool: Spool) -> None:
    require("torch")
    assert said(run_program(COUNTED, spool)) == said(run_program(COUNTED, None))


FORKED = """
import torch
torch.set_num_threads(4)
if os.environ.get("CORELENS_SPOOL"):
    wait_for("libraries")
pid = os.fork()
if pid == 0:
    if os.environ.get("CORELENS_SPOOL"):
        wait_for("fork")
        wait_for("interval")
    os._exit(sum("corelens" not in text_of("/proc/self/task/%d/comm" % name) for name in threads()))
print(os.waitpid(pid, 0)[1] >> 8)
"""


def test_asking_torch_in_a_forked_child_builds_no_pool_there(spool: Spool) -> None:
    require("torch")
    flags = ["-W", "ignore::DeprecationWarning"]
    bare = said(run_program(FORKED, None, flags=flags))
    assert said(run_program(FORKED, spool, flags=flags)) == bare
    child = [line for line in reports(spool) if line["moment"] == "fork"]
    assert [line["torch_threads"] for line in child] == [None]
    assert last(spool, "interval")["torch_threads"] == 4


def test_a_lazy_module_stays_lazy(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "joblib.py").write_text("raise SystemExit('the lazy module was loaded')")
    program = """
import importlib.util
spec = importlib.util.find_spec("joblib")
spec.loader = importlib.util.LazyLoader(spec.loader)
module = importlib.util.module_from_spec(spec)
sys.modules["joblib"] = module
spec.loader.exec_module(module)
import numpy
wait_for("libraries")
print("lazy")
"""
    assert said(run_program(program, spool, env={"PYTHONPATH": str(tmp_path)})) == "lazy"
    assert "joblib" not in last(spool, "libraries")["versions"]
