"""The registry of pathologies and the programs agree, and the machine is asked before they run."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from corelens.errors import MissingExtra, NotPermitted, UsageError
from corelens.scenarios.pathologies.outcome import throughput_hz
from corelens.scenarios.pathologies.program import FOLDER, STUCK_EXIT_CODE, VERDICTS, Control, Program
from corelens.scenarios.pathologies.programs.limited_group import MOUNT, PREFIX
from corelens.scenarios.pathologies.registry import PROGRAMS, named
from corelens.scenarios.pathologies.requirements import obstacle, remove_left_groups

NO_PROGRAMS = ("__init__", "limited_group")
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
ROOT_USER = 0


def imported(program: Program) -> set[str]:
    nodes = list(ast.walk(ast.parse(program.script.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


def test_every_verdict_has_a_program_and_one_that_is_fast() -> None:
    assert {program.verdict for program in PROGRAMS} == set(VERDICTS)
    assert {program.verdict for program in PROGRAMS if program.fast} == set(VERDICTS)


def test_the_verdicts_are_those_that_the_rules_give() -> None:
    """No program proves memory bandwidth, and a late limit never is the first cause."""
    pages = {path.stem for path in (Path(__file__).parent.parent / "docs" / "rules").glob("*.md")}
    assert pages - {"index"} == {*VERDICTS, "memory-bandwidth", "late-thread-limit"}


def test_every_file_is_registered_once() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} - set(NO_PROGRAMS)
    stems = [program.script.stem for program in PROGRAMS]
    assert len(set(stems)) == len(stems)
    assert set(stems) == files


@each_program
def test_a_program_compiles_and_says_what_it_is(program: Program) -> None:
    tree = ast.parse(program.script.read_text())
    compile(tree, str(program.script), "exec")
    assert ast.get_docstring(tree)
    assert "elapsed {" in program.script.read_text() or program.gives_up


@each_program
def test_sick_programs_alone_have_a_fix(program: Program) -> None:
    assert ('FIXED = "--fixed" in sys.argv' in program.script.read_text()) == program.is_sick


@each_program
def test_what_a_program_needs_is_what_it_imports(program: Program) -> None:
    # One program imports NumPy in the text of a script of its own as well.
    others = imported(program) - set(sys.stdlib_module_names) - {"limited_group"}
    assert others == set(program.libraries)
    assert ("limited_group" in imported(program)) == (program.control is not None)


@each_program
def test_programs_that_get_stuck_end_themselves(program: Program) -> None:
    text = program.script.read_text()
    assert ("signal.alarm(STUCK_AFTER_S)" in text) == program.gives_up
    assert (f"STUCK = {STUCK_EXIT_CODE}" in text) == program.gives_up


@each_program
def test_no_name_hides_a_module(program: Program) -> None:
    """The folder of a script is the first place where imports are looked for."""
    libraries = {name for each in PROGRAMS for name in each.libraries}
    assert program.script.stem not in {*sys.stdlib_module_names, *libraries}


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("over-at-once", []),
        ("forked-holding-lock", ["--fixed"]),
        ("join-before-receive", ["--fixed"]),
        ("pool-awaits-itself", ["--fixed"]),
    ],
)
def test_a_program_runs_without_a_recorder_and_says_what_it_did(name: str, flags: list[str]) -> None:
    argv = [sys.executable, str(named(name).script), *flags]
    ran = subprocess.run(argv, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert throughput_hz(ran.stdout) is not None


def test_a_name_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="no pathology 'no-such'"):
        named("no-such")


def needing(*libraries: str, control: Control | None = None) -> Program:
    return Program("some", "cpu-quota", "some", "", libraries=libraries, control=control)


def installed(*modules: str) -> Callable[[str], bool]:
    return modules.__contains__


@pytest.mark.parametrize(("module", "extra"), [("ray", "ray"), ("sklearn", "lab")])
def test_a_library_that_is_missing_is_named_with_its_extra(tmp_path: Path, module: str, extra: str) -> None:
    found = obstacle(needing("numpy", module), tmp_path, installed("numpy"), ROOT_USER)
    assert isinstance(found, MissingExtra)
    assert module in found.seen
    assert f"corelens[{extra}]" in found.remedy


def test_a_program_without_needs_runs_anywhere(tmp_path: Path) -> None:
    assert obstacle(needing(), tmp_path, installed(), 1000) is None


def test_a_limit_needs_root(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    assert isinstance(obstacle(needing(control="cpu"), tmp_path, installed(), 1000), NotPermitted)
    assert obstacle(needing(control="cpu"), tmp_path, installed(), ROOT_USER) is None


def test_a_limit_needs_its_controller_on_v2(tmp_path: Path) -> None:
    assert isinstance(obstacle(needing(control="memory"), tmp_path, installed(), ROOT_USER), NotPermitted)
    (tmp_path / "cgroup.subtree_control").write_text("cpu io\n")
    assert isinstance(obstacle(needing(control="memory"), tmp_path, installed(), ROOT_USER), NotPermitted)
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory\n")
    assert obstacle(needing(control="memory"), tmp_path, installed(), ROOT_USER) is None


def test_the_group_of_a_living_program_is_left_alone(tmp_path: Path) -> None:
    group = tmp_path / "cpu" / f"{PREFIX}{os.getpid()}"
    group.mkdir(parents=True)
    (tmp_path / "cpu" / f"{PREFIX}not-ours").mkdir()
    assert remove_left_groups(tmp_path) == []
    assert group.exists()


def cpu_groups() -> Path:
    v1 = MOUNT / "cpu"
    folder = v1 if v1.is_dir() else MOUNT
    if obstacle(needing(control="cpu")) is not None:
        pytest.skip("needs a writable cgroup with the cpu controller")
    return folder


def test_a_killed_program_s_groups_and_processes_are_removed() -> None:
    """A program cannot clean up after SIGKILL: whoever started it does."""
    # The child makes its groups, says so, and waits in the inner one to be killed.
    script = "from limited_group import *\nwith cpu_quota(1, nested=True):\n print(flush=True); input()"
    groups = cpu_groups()
    child = subprocess.Popen(
        [sys.executable, "-c", script], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        made = groups / f"{PREFIX}{child.pid}"
        assert (made / "job").is_dir()
        sleeper = subprocess.Popen(["sleep", "600"])
        (made / "job" / "cgroup.procs").write_text(str(sleeper.pid))
        child.kill()
    assert made in remove_left_groups()
    assert not made.exists()
    assert sleeper.wait() == -9


def test_a_quota_holds_inside_and_is_gone_outside() -> None:
    script = (
        "import os\nfrom pathlib import Path\nfrom limited_group import *\n"
        "def group(): return next(l.split(':')[2] for l in open('/proc/self/cgroup')"
        " if l.split(':')[1] in ('cpu', 'cpu,cpuacct', '')).strip()\n"
        "before = group()\n"
        "with cpu_quota(0.5): print(group())\n"
        "assert group() == before\n"
    )
    groups = cpu_groups()
    ran = subprocess.run([sys.executable, "-c", script], cwd=FOLDER, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    inside = ran.stdout.strip()
    assert Path(inside).name.startswith(PREFIX)
    assert not (groups / Path(inside).name).exists()
