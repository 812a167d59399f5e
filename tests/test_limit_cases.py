"""Thread limits in fresh interpreters: which of them torch, numpy and scipy obey, and whether we say so.

Two cores show it all: the pools have 2 threads where nothing limits them, and 1 where 1 was asked for in time.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corelens.probes.host import physical_cores
from tests.limit_programs import Case, attached, recorded, require

CORES = len(os.sched_getaffinity(0))
needs_two_cores = pytest.mark.skipif(CORES < 2, reason="needs the kernel to give this process two cores")


@pytest.fixture(autouse=True)
def libraries() -> None:
    require("torch", "numpy", "scipy")


BETWEEN = """
import numpy
os.environ["OMP_NUM_THREADS"] = "1"
import torch
import scipy.linalg
os.environ["MKL_NUM_THREADS"] = "1"
from threadpoolctl import threadpool_info
print(torch.get_num_threads(), *sorted(pool["num_threads"] for pool in threadpool_info()))
"""


@needs_two_cores
def test_set_between_two_imports_it_reaches_what_is_imported_afterwards(tmp_path: Path) -> None:
    case = recorded(tmp_path, BETWEEN)
    assert case.said == [f"1 1 1 {min(CORES, 64)}"]
    assert case.verdict("OMP_NUM_THREADS", "1", "OpenBLAS (numpy)") == "set-too-late"
    assert case.verdict("OMP_NUM_THREADS", "1", "OpenBLAS (scipy)") == "took-effect"
    assert case.verdict("OMP_NUM_THREADS", "1", "torch intra-op") == "took-effect"
    assert case.verdict("MKL_NUM_THREADS", "1", "torch intra-op") == "set-too-late"
    assert case.row("OMP_NUM_THREADS", "1", "OpenBLAS (numpy)").configured_threads == min(CORES, 64)


AFTER_ALL = """
import numpy, torch, scipy.linalg
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
print(torch.get_num_threads())
"""


@needs_two_cores
def test_set_after_the_imports_nothing_obeys(tmp_path: Path) -> None:
    case = recorded(tmp_path, AFTER_ALL)
    assert int(case.said[0]) > 1
    assert {row.verdict for row in case.limits if row.limit} == {"set-too-late"}
    assert len([row for row in case.limits if row.limit]) == 6
    late = case.row("OMP_NUM_THREADS", "1", "torch intra-op")
    assert "torch.set_num_threads(1)" in str(late.fix)
    assert "OMP_NUM_THREADS=1 python" in str(late.fix)


NUMEXPR = """
import torch
os.environ["OMP_NUM_THREADS"] = "1"
import numexpr
os.environ["NUMEXPR_NUM_THREADS"] = "1"
print(torch.get_num_threads(), numexpr.get_num_threads())
"""


@needs_two_cores
def test_after_torch_only_numexpr_obeys(tmp_path: Path) -> None:
    require("numexpr")
    case = recorded(tmp_path, NUMEXPR)
    assert case.said[0].split()[1] == "1"
    assert case.verdict("OMP_NUM_THREADS", "1", "torch intra-op") == "set-too-late"
    assert case.verdict("OMP_NUM_THREADS", "1", "numexpr") == "took-effect"
    assert case.verdict("NUMEXPR_NUM_THREADS", "1", "numexpr") == "set-too-late"


IMPORTS = "import numpy, torch; print(torch.get_num_threads())"


@needs_two_cores
def test_what_the_shell_exports_takes_effect_and_mkls_own_variable_wins(tmp_path: Path) -> None:
    case = recorded(tmp_path, IMPORTS, env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "2"})
    assert case.said == ["2"]
    assert case.verdict("OMP_NUM_THREADS", "1", "OpenBLAS (numpy)") == "took-effect"
    assert case.verdict("MKL_NUM_THREADS", "2", "torch intra-op") == "took-effect"
    beaten = case.row("OMP_NUM_THREADS", "1", "torch intra-op")
    assert (beaten.verdict, beaten.configured_threads) == ("overridden", 2)
    assert "MKL_NUM_THREADS=2" in beaten.why


@needs_two_cores
def test_openblas_and_numexpr_variables_alone_never_limit_torch(tmp_path: Path) -> None:
    env = {"OPENBLAS_NUM_THREADS": "1", "NUMEXPR_NUM_THREADS": "1"}
    case = recorded(tmp_path, IMPORTS, env=env)
    assert int(case.said[0]) > 1
    assert case.verdict("OPENBLAS_NUM_THREADS", "1", "OpenBLAS (numpy)") == "took-effect"
    assert case.verdict("NUMEXPR_NUM_THREADS", "1", None) == "ignored"
    unlimited = case.row(None, None, "torch intra-op")
    assert (unlimited.verdict, unlimited.configured_threads) == (None, int(case.said[0]))
    assert "OPENBLAS_NUM_THREADS" in unlimited.why


def test_more_than_the_cores_is_cut_down(tmp_path: Path) -> None:
    physical = physical_cores()
    if physical is None:
        pytest.skip("needs the kernel to describe physical cores")
    case = recorded(tmp_path, IMPORTS, env={"OMP_NUM_THREADS": str(CORES + 70)})
    assert case.said == [str(physical)]
    torch = case.row("OMP_NUM_THREADS", str(CORES + 70), "torch intra-op")
    assert (torch.verdict, torch.configured_threads) == ("overridden", physical)
    assert "physical" in torch.why
    blas = case.row("OMP_NUM_THREADS", str(CORES + 70), "OpenBLAS (numpy)")
    assert (blas.verdict, blas.configured_threads) == ("overridden", min(CORES, 64))


CHILDREN = """
import multiprocessing, subprocess
def own():
    forked = "numpy" in sys.modules and "libraries" not in own_reports()
    import numpy
    wait_for("fork" if forked else "libraries")
if __name__ == "__main__":
    import numpy
    wait_for("libraries")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for method in ("spawn", "forkserver", "fork"):
        child = multiprocessing.get_context(method).Process(target=own)
        child.start()
        child.join()
        assert child.exitcode == 0
    bare = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    subprocess.run([sys.executable, "-c", "import numpy"], env=bare, check=True)
    from joblib import Parallel, delayed
    Parallel(n_jobs=2)(delayed(own)() for _ in range(2))
    from joblib.externals.loky import get_reusable_executor
    get_reusable_executor().shutdown(wait=True)
"""


@needs_two_cores
def test_children_that_are_executed_inherit_a_late_limit_and_forks_do_not(tmp_path: Path) -> None:
    require("joblib")
    case = recorded(tmp_path, CHILDREN)
    of = ("OPENBLAS_NUM_THREADS", "1", "OpenBLAS (numpy)")
    assert case.verdict(*of) == "set-too-late"
    for role in ("pool-worker-spawn", "pool-worker-forkserver", "loky-worker"):
        assert case.row(*of, role).configured_threads == 1
        assert case.verdict(*of, role) == "took-effect"
    forked = case.row(*of, "pool-worker-fork")
    assert (forked.verdict, forked.configured_threads) == ("not-inherited", min(CORES, 64))
    assert "fork" in forked.why
    assert case.verdict(*of, "child") == "not-inherited"


def numbers(case: Case) -> list[int]:
    """What a program said beside its teams."""
    return [int(text) for text in case.said if not text.startswith("{")]


OLD_TEAM = """
import torch
torch.set_num_threads(4)
wait_for("libraries")
go = threading.Event()
first = threading.Event()
def worker():
    print(team())
    first.set()
    go.wait()
    operate_while_recorded(sys.argv[1])
    print(torch.get_num_threads())
old = threading.Thread(target=worker)
old.start()
first.wait()
torch.set_num_threads(1)
wait_for("interval")
in_thread(lambda: print(team()))
go.set()
old.join()
"""


def test_set_num_threads_does_not_reach_a_thread_that_used_torch_before(tmp_path: Path) -> None:
    case = recorded(tmp_path, OLD_TEAM, truth=True)
    assert numbers(case) == [4, 1, 4]
    row = case.row("torch.set_num_threads", "1", "torch intra-op")
    assert (row.verdict, row.configured_threads, row.observed_threads) == ("set-too-late", 1, 4)
    assert "teams of up to 4" in row.why


NEW_TEAM = """
import torch
wait_for("libraries")
torch.set_num_threads(4)
wait_for("interval")
in_thread(lambda: print(team()))
torch.set_num_threads(3)
in_thread(lambda: print(team()))
"""


def test_set_num_threads_reaches_threads_that_are_new_to_torch(tmp_path: Path) -> None:
    case = recorded(tmp_path, NEW_TEAM, truth=True, env={"OMP_NUM_THREADS": "1"})
    assert numbers(case) == [4, 3]
    row = case.row("torch.set_num_threads", "3", "torch intra-op")
    assert (row.verdict, row.configured_threads) == ("took-effect", 3)
    assert case.verdict("OMP_NUM_THREADS", "1", "torch intra-op") == "overridden"


IN_MAIN = """
import numpy, torch
from threadpoolctl import threadpool_limits
wait_for("libraries")
def worker():
    print(team())
    operate_while_recorded(sys.argv[1])
with threadpool_limits(1):
    wait_for("interval")
    in_thread(worker)
"""


@needs_two_cores
def test_threadpoolctl_in_the_main_thread_does_not_reach_other_threads(tmp_path: Path) -> None:
    case = recorded(tmp_path, IN_MAIN, truth=True)
    (size,) = numbers(case)
    assert size > 1
    assert case.verdict("threadpoolctl", "1", "OpenBLAS (numpy)") == "took-effect"
    row = case.row("threadpoolctl", "1", "torch intra-op")
    assert (row.verdict, row.observed_threads) == ("not-inherited", size)


IN_WORKER = """
import numpy, torch
from threadpoolctl import threadpool_limits
torch.set_num_threads(4)
wait_for("libraries")
def worker():
    {before}
    with threadpool_limits(1):
        print(team())
        wait_for("interval")
        operate_while_recorded(sys.argv[1])
in_thread(worker)
"""


@pytest.mark.parametrize(
    ("before", "team", "verdict"),
    [("pass", 4, "overridden"), ("torch.get_num_threads()", 1, "took-effect")],
    ids=["before its first operation", "after it"],
)
def test_threadpoolctl_in_a_worker_holds_once_torch_has_initialised_it(
    tmp_path: Path, before: str, team: int, verdict: str
) -> None:
    case = recorded(tmp_path, IN_WORKER.format(before=before), truth=True)
    assert numbers(case) == [team]
    assert case.verdict("threadpoolctl", "1", "torch intra-op") == verdict


ATTACHED = """
import torch
{call}
def worker():
    team()
    sys.stdin.readline()
in_thread(worker)
"""


@needs_two_cores
@pytest.mark.parametrize(
    ("call", "threads", "verdict"),
    [("", 2, "took-effect"), ("torch.set_num_threads(4)", 4, "overridden")],
    ids=["as exported", "changed by code"],
)
def test_an_attached_program_is_judged_by_its_teams_and_its_environment_at_exec(
    tmp_path: Path, call: str, threads: int, verdict: str
) -> None:
    case = attached(tmp_path, ATTACHED.format(call=call), env={"OMP_NUM_THREADS": "2"})
    row = case.row("OMP_NUM_THREADS", "2", "torch intra-op")
    assert (row.verdict, row.observed_threads) == (verdict, threads)
    assert row.configured_threads is None


RAY = """
import ray
ray.init(num_cpus=2, include_dashboard=False, logging_level="error", configure_logging=False)
@ray.remote
def task():
    import os, time
    import torch
    spool, own = os.environ["CORELENS_SPOOL"], "agent-%d-" % os.getpid()
    def reported(word):
        names = [name for name in os.listdir(spool) if name.startswith(own)]
        return any(word in open(os.path.join(spool, name)).read() for name in names)
    word = '"OMP_NUM_THREADS":"%s"' % os.environ["OMP_NUM_THREADS"]
    deadline = time.monotonic() + 60
    while not (reported('"libraries"') and reported(word)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.getpid(), os.environ["OMP_NUM_THREADS"], torch.get_num_threads()
first = {}
for _ in range(20):
    pid, *told = ray.get(task.options(num_cpus=1).remote())
    first.setdefault(pid, told)
    pid, *second = ray.get(task.options(num_cpus=2).remote())
    if pid in first:
        break
print(*first[pid], *second)
ray.shutdown()
"""


@needs_two_cores
def test_ray_rewrites_the_variable_and_a_worker_that_is_used_again_keeps_its_first_value(
    tmp_path: Path,
) -> None:
    require("ray")
    case = recorded(tmp_path, RAY)
    assert case.said == ["1 1 2 1"]
    of = "torch intra-op"
    assert case.verdict("OMP_NUM_THREADS", "1", of, "ray-worker") == "took-effect"
    assert case.verdict("OMP_NUM_THREADS", "2", of, "ray-worker") == "set-too-late"
