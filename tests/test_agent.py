"""The agent in small programs: what it reports, and above all what it leaves alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from corelens.probes.agent import corelens_agent, corelens_agent_pools
from corelens.probes.pools import converted
from corelens.probes.spool import AGENT_FOLDER, RAY_STATE_VARIABLE, Spool
from corelens.vocabulary import LIMIT_VARIABLES, PACKAGES
from tests.agent_programs import moments, numeric_package, reports, run_program, said


@pytest.fixture
def spool() -> Generator[Spool]:
    made = Spool.create(agent=True)
    yield made
    made.close()


def other_pythons() -> list[Any]:
    """Interpreters installed beside ours, one per minor version from 3.8 on."""
    found = {
        tuple(map(int, match.groups())): folder / "bin" / "python"
        for folder in sorted(Path(sys.base_prefix).parent.iterdir())
        if (match := re.fullmatch(r"(?:.*-)?(\d)\.(\d+)\.\d+.*", folder.name))
        and (folder / "bin/python").exists()
    }
    own = sys.version_info[:2]
    some = [
        (version, path) for version, path in sorted(found.items()) if version >= (3, 8) and version != own
    ]
    return [pytest.param(str(path), id=".".join(map(str, version))) for version, path in some] or [
        pytest.param(None, marks=pytest.mark.skip("needs Python of another version beside this one"))
    ]


def test_the_lists_are_those_of_the_vocabulary() -> None:
    assert corelens_agent.LIMIT_VARIABLES == LIMIT_VARIABLES
    assert sorted(corelens_agent.PACKAGES.values()) == sorted(PACKAGES)


def test_a_report_is_written_at_once_and_is_one_the_recording_takes(spool: Spool) -> None:
    env = {"OMP_NUM_THREADS": "3", "MY_SECRET": "x"}
    pid, count = said(run_program("print(os.getpid(), os.cpu_count())", spool, env=env)).split()
    (line,) = reports(spool)
    assert (line["moment"], line["pid"], line["agent_tid"]) == ("start", int(pid), None)
    assert line["variables"] == {"OMP_NUM_THREADS": "3"}
    assert line["cpu_count"] == int(count)
    assert line["python"] == ".".join(map(str, sys.version_info[:3]))
    assert converted(line, 0) is not None


SURROUNDINGS = """
print(sys.path, len(threads()), sys.argv, sys.flags, sorted(os.environ))
print(*sorted(sys.modules))
"""


def test_a_plain_program_finds_everything_as_without_the_agent(spool: Spool) -> None:
    env = {"PYTHONPATH": "/somewhere/else"}
    bare, bare_modules = said(run_program(SURROUNDINGS, None, env=env)).splitlines()
    watched, watched_modules = said(run_program(SURROUNDINGS, spool, env=env)).splitlines()
    for name in ("'CORELENS_SPOOL', ", "'CORELENS_THREADPOOLCTL', ", f"'{RAY_STATE_VARIABLE}', "):
        watched = watched.replace(name, "")
    assert watched == bare
    assert set(watched_modules.split()) - set(bare_modules.split()) <= {"atexit"}


def test_a_late_limit_shows_at_exit(spool: Spool) -> None:
    said(run_program("os.environ['OMP_NUM_THREADS'] = '1'", spool, env={"OMP_NUM_THREADS": "8"}))
    assert [(line["moment"], line["variables"]["OMP_NUM_THREADS"]) for line in reports(spool)] == [
        ("start", "8"),
        ("exit", "1"),
    ]


def test_an_exported_limit_that_stays_is_reported_once(spool: Spool) -> None:
    said(run_program("pass", spool, env={"OMP_NUM_THREADS": "8"}))
    assert [line["moment"] for line in reports(spool)] == ["start"]


OWN = "import sys, os\nos.environ['SEEN'] = __file__\n"


@pytest.mark.parametrize("text", [OWN, "raise ValueError('mine')", "import no_such_module"])
def test_the_programs_own_sitecustomize_behaves_as_ever(spool: Spool, tmp_path: Path, text: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(text)
    program = "print(os.environ.get('SEEN'), getattr(sys.modules.get('sitecustomize'), '__file__', None))"
    env = {"PYTHONPATH": str(tmp_path)}
    bare, watched = (run_program(program, each, env=env) for each in (None, spool))
    assert (watched.returncode, watched.stdout, watched.stderr) == (bare.returncode, bare.stdout, bare.stderr)
    assert [line["moment"] for line in reports(spool)] == ["start"]


def test_a_virtual_environments_own_sitecustomize_runs(spool: Spool, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "v"], check=True)
    (site,) = (tmp_path / "v/lib").glob("python*/site-packages")
    (site / "sitecustomize.py").write_text(OWN)
    python = str(tmp_path / "v/bin/python")
    program = "print(os.environ['SEEN'], sys.modules['sitecustomize'].__file__)"
    own = str(site / "sitecustomize.py")
    assert said(run_program(program, spool, python=python)) == f"{own} {own}"
    assert [line["moment"] for line in reports(spool)] == ["start"]


def test_where_there_is_none_there_is_none(spool: Spool) -> None:
    program = "try:\n import sitecustomize\nexcept ImportError as error:\n print(error.name)"
    assert said(run_program(program, spool)) == said(run_program(program, None))


@pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
def test_where_python_is_told_not_to_look_there_is_no_agent(spool: Spool, flag: str) -> None:
    program = "print(len(threads()), 'corelens_agent' in sys.modules)"
    assert said(run_program(program, spool, flags=[flag])) == "1 False"
    assert reports(spool) == []


def test_a_cleared_environment_and_a_rewritten_path_leave_the_child_alone(spool: Spool) -> None:
    program = """
import subprocess
child = [sys.executable, "-c", "import os; os.environ['OMP_NUM_THREADS'] = '1'"]
subprocess.run(child, env={}, check=True)
subprocess.run(child, env={**os.environ, "PYTHONPATH": "/nowhere"}, check=True)
subprocess.run(child, check=True)
print(os.getpid())
"""
    pid = int(said(run_program(program, spool)))
    found = moments(reports(spool))
    assert found.pop(pid) == ["start"]
    assert list(found.values()) == [["start", "exit"]]


def test_a_vanished_spool_disturbs_nobody(spool: Spool, tmp_path: Path) -> None:
    folder = numeric_package(tmp_path)
    spool.close()
    program = "import polars; print('done')"
    assert said(run_program(program, spool, env={"PYTHONPATH": str(folder)})) == "done"


def test_closed_standard_streams_stay_closed(spool: Spool, tmp_path: Path) -> None:
    environment = spool.environment({**os.environ, "PYTHONPATH": str(numeric_package(tmp_path))})
    inner = "import polars, os; os.environ['OMP_NUM_THREADS'] = '1'"
    command = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, inner]
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    assert [line["moment"] for line in reports(spool)][-1] == "exit"


WATCHED = """
import threading
import polars
wait_for("libraries")
(tid,) = set(threads()) - {os.getpid()}
status = text_of("/proc/self/task/%d/status" % tid)
print(tid, text_of("/proc/self/task/%d/comm" % tid).strip(), threading.active_count())
print(next(line for line in status.splitlines() if line.startswith("SigBlk")).split()[1])
"""


@pytest.mark.parametrize("flags", [[], ["-W", "error"], ["-X", "dev", "-W", "error"], ["-O"]])
def test_a_numeric_library_brings_one_thread_that_nobody_meets(
    spool: Spool, tmp_path: Path, flags: list[str]
) -> None:
    env = {"PYTHONPATH": str(numeric_package(tmp_path))}
    first, blocked = said(run_program(WATCHED, spool, flags=flags, env=env)).splitlines()
    tid, comm, python_threads = first.split()
    assert (comm, python_threads) == ("corelens-agent", "1")
    assert int(blocked, 16) >> (signal.SIGUSR1 - 1) & 1
    lines = reports(spool)
    assert [line["moment"] for line in lines] == ["start", "libraries", "exit"]
    assert lines[1]["agent_tid"] == int(tid)
    assert lines[1]["versions"] == {"polars": "1.2.3"}
    assert lines[1]["libraries"] == []
    assert lines[2]["agent_tid"] is None


def test_asking_whether_a_library_exists_starts_no_thread(spool: Spool, tmp_path: Path) -> None:
    env = {"PYTHONPATH": str(numeric_package(tmp_path))}
    program = "import importlib.util; print(importlib.util.find_spec('polars') is not None, len(threads()))"
    assert said(run_program(program, spool, env=env)) == "True 1"
    assert [line["moment"] for line in reports(spool)] == ["start"]


LOADS = """
os.environ["OMP_NUM_THREADS"] = "1"
import importlib.util
importlib.util.find_spec("polars")
os.environ["OMP_NUM_THREADS"] = "2"
import polars
os.environ["OMP_NUM_THREADS"] = "3"
wait_for("libraries")
pid = os.fork()
if pid == 0:
    wait_for("fork")
    os._exit(0)
os.waitpid(pid, 0)
print(pid)
"""


def test_the_variables_are_kept_as_a_library_finds_them_when_it_is_loaded(
    spool: Spool, tmp_path: Path
) -> None:
    env = {"PYTHONPATH": str(numeric_package(tmp_path))}
    child = int(said(run_program(LOADS, spool, flags=["-W", "error"], env=env)))
    lines = reports(spool)
    (load,) = lines[-1]["loads"]
    assert (load["module"], load["inherited"]) == ("polars", False)
    assert load["variables"] == {"OMP_NUM_THREADS": "2"}
    assert lines[-1]["variables"] == {"OMP_NUM_THREADS": "3"}
    assert lines[0]["monotonic_ns"] <= load["monotonic_ns"] <= lines[-1]["monotonic_ns"]
    (fork,) = [line for line in lines if line["pid"] == child]
    assert fork["loads"] == [{**load, "inherited": True}]


SLOW = """
import os, time
def agent_has_polled():
    for name in os.listdir("/proc/self/task"):
        with open("/proc/self/task/%s/status" % name) as file:
            rows = dict(line.split(":", 1) for line in file if ":" in line)
        if rows["Name"].strip() == "corelens-agent":
            return int(rows["voluntary_ctxt_switches"]) > 5
deadline = time.monotonic() + 60
while not agent_has_polled() and time.monotonic() < deadline: time.sleep(0.005)
"""


def test_a_half_imported_library_is_left_alone(spool: Spool, tmp_path: Path) -> None:
    env = {"PYTHONPATH": str(numeric_package(tmp_path, SLOW))}
    said(run_program("import polars; wait_for('libraries')", spool, env=env))
    first = next(line for line in reports(spool) if line["moment"] == "libraries")
    # The package sets its version last.
    assert first["versions"] == {"polars": "1.2.3"}


FORKING = """
import polars
wait_for("libraries")
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        wait_for("fork")
        os._exit(len(threads()))
    assert os.waitpid(pid, 0)[1] >> 8 == 2
print(len(threads()))
"""


def test_forked_children_report_and_python_has_nothing_to_warn_of(spool: Spool, tmp_path: Path) -> None:
    env = {"PYTHONPATH": str(numeric_package(tmp_path))}
    assert said(run_program(FORKING, spool, flags=["-W", "error"], env=env)) == "2"
    found = list(moments(reports(spool)).values())
    assert found.count(["fork"]) == 5
    assert len(found) == 6


PLAIN_FORK = """
pid = os.fork()
if pid == 0:
    os.environ["OMP_NUM_THREADS"] = "5"
    sys.exit(0)
os.waitpid(pid, 0)
print(pid, len(threads()))
"""


def test_a_program_without_pools_forks_without_a_thread(spool: Spool) -> None:
    child, count = said(run_program(PLAIN_FORK, spool, flags=["-W", "error"])).split()
    assert count == "1"
    assert moments(reports(spool))[int(child)] == ["fork", "exit"]


POOL = """
import multiprocessing
def late(_):
    os.environ["OMP_NUM_THREADS"] = "7"
    return os.getpid()
process = multiprocessing.get_context("{method}").Process(target=late, args=(0,))
process.start()
process.join()
print(process.pid)
"""


def test_a_child_of_multiprocessing_reports_at_its_end(spool: Spool) -> None:
    child = int(said(run_program(POOL.format(method="fork"), spool)))
    lines = [line for line in reports(spool) if line["pid"] == child]
    assert [line["moment"] for line in lines] == ["fork", "exit"]
    assert lines[-1]["variables"] == {"OMP_NUM_THREADS": "7"}


@pytest.mark.parametrize(("method", "first"), [("spawn", "start"), ("forkserver", "fork")])
def test_other_start_methods_report_too(spool: Spool, tmp_path: Path, method: str, first: str) -> None:
    (tmp_path / "late.py").write_text(
        "import os, sys, multiprocessing\n"
        "def work():\n    os.environ['OMP_NUM_THREADS'] = '7'\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context(sys.argv[1]).Process(target=work)\n"
        "    process.start(); process.join(); print(process.pid)\n"
    )
    command = [sys.executable, str(tmp_path / "late.py"), method]
    environment = spool.environment(os.environ)
    child = int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert moments(reports(spool))[child] == [first, "exit"]


def test_executing_another_program_in_place_keeps_both_reports(spool: Spool) -> None:
    program = "os.execv(sys.executable, [sys.executable, '-c', 'import os; print(os.getpid())'])"
    pid = int(said(run_program(program, spool)))
    assert moments(reports(spool)) == {pid: ["start", "start"]}


@pytest.mark.parametrize("python", other_pythons())
def test_other_versions_of_python_are_recorded_likewise(spool: Spool, tmp_path: Path, python: str) -> None:
    env = {"PYTHONPATH": str(numeric_package(tmp_path))}
    assert said(run_program(FORKING, spool, python=python, flags=["-W", "error"], env=env)) == "2"
    found = moments(reports(spool))
    assert sorted(map(len, found.values())) == [1, 1, 1, 1, 1, 3]
    assert all("corelens" not in module for module in said(modules(spool, python)).split())


def modules(spool: Spool, python: str) -> subprocess.CompletedProcess[str]:
    return run_program("print(*sys.modules)", spool, python=python)


def test_ctrl_c_still_belongs_to_the_program(spool: Spool, tmp_path: Path) -> None:
    program = """
import signal
import polars
wait_for("libraries")
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted")
"""
    env = {"PYTHONPATH": str(numeric_package(tmp_path))}
    assert said(run_program(program, spool, env=env)) == "interrupted"


AWKWARD = ['quote " and \\ back', "line\nfeed\t\x00", "größer \u2028 \U0001f600", ""]


@pytest.mark.parametrize("text", AWKWARD)
def test_json_is_that_of_the_standard_library(text: str) -> None:
    value: Any = {text: [text, {"a": None}], "b": [True, False, 0, -5, 1 << 70], "c": (), "d": {}}
    assert json.loads(corelens_agent.json_text(value)) == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    ("names", "asleep"),
    [
        ([], False),
        (["libgomp.so.1", "libscipy_openblas64_-1.so"], False),
        (["libmkl_rt.so.2"], True),
        (["libmkl_rt.so.2", "libmkl_core.so.2", "libmkl_gnu_thread.so.2"], False),
        (["libiomp5.so"], True),
        (["libomp-a1b2.so.5"], True),
        (["libompi_trace.so"], False),
    ],
)
def test_a_runtime_that_asking_would_start_is_not_asked(names: list[str], asleep: bool) -> None:
    assert corelens_agent_pools.dormant([f"/usr/lib/{name}" for name in names]) is asleep


def test_a_runtime_that_left_its_note_may_be_asked() -> None:
    note = Path(f"/dev/shm/__KMP_REGISTERED_LIB_{os.getpid()}_{os.getuid()}")
    assert not corelens_agent_pools.openmp_registered()
    note.touch()
    try:
        assert corelens_agent_pools.openmp_registered()
        assert not corelens_agent_pools.dormant(["/usr/lib/libiomp5.so"])
    finally:
        note.unlink()


def test_the_agents_folder_holds_nothing_that_could_stand_in_for_a_module() -> None:
    names = {path.stem for path in AGENT_FOLDER.glob("*.py")} - {"__init__", "sitecustomize"}
    assert all(name.startswith("corelens_agent") for name in names)
