"""The command line as a whole: quick, lazy, and in step with the modules of its commands."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from corelens.cli import COMMANDS, Command, main, parser
from corelens.errors import MEANINGS, CorelensError, ExitCode, NothingMeasured

HEAVY = ("numpy", "torch", "ray", "optuna", "matplotlib", "joblib", "psutil", "rich")
HELP_BUDGET_S = 0.150


def loaded_after(statement: str) -> set[str]:
    program = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "statement",
    [
        "import corelens",
        "import corelens.cli",
        *(f"import {command.module}" for command in COMMANDS),
        *(f"from corelens.cli import *; parser(COMMANDS[{n}])" for n in range(len(COMMANDS))),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(statement: str) -> None:
    star = statement.replace("from corelens.cli import *", "from corelens.cli import COMMANDS, parser")
    assert loaded_after(star).isdisjoint(HEAVY)


def test_importing_corelens_changes_nothing() -> None:
    program = "import os, threading\nbefore = dict(os.environ)\nimport corelens\n"
    program += "assert dict(os.environ) == before and threading.active_count() == 1"
    subprocess.run([sys.executable, "-c", program], check=True)


def cpu_s(argv: list[str]) -> float:
    """CPU seconds of one child, by wait4."""
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_help_is_quick() -> None:
    """CPU time, not wall time; the neighbours spoil the fastest of several runs least."""
    argv = [sys.executable, "-m", "corelens", "--help"]
    spent = [cpu_s(argv) for _ in range(10)]
    assert min(spent) < HELP_BUDGET_S, f"median {statistics.median(spent):.3f} s"


def test_help_names_every_command_and_exit_code() -> None:
    text = parser().format_help()
    unwrapped = " ".join(text.split())
    for command in COMMANDS:
        assert f"{command.name} {command.help}" in unwrapped
    for code, meaning in MEANINGS.items():
        assert f"{code.value:>3}  {meaning}" in text


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command.name, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert f"usage: corelens {command.name}" in said.out
    assert said.err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("corelens 0.")


def test_help_has_colour_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" not in parser().format_help()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in parser().format_help()


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """A command whose `run` raises."""
    module = tmp_path / "failing_command.py"
    module.write_text(
        "def add_parser(subparsers):\n"
        "    subparsers.add_parser('record').set_defaults(run=run)\n"
        "def run(args):\n"
        "    raise ERROR\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr("corelens.cli.COMMANDS", (Command("record", "failing_command", "fails"),))
    import importlib

    loaded = importlib.import_module("failing_command")
    monkeypatch.setitem(sys.modules, "failing_command", loaded)
    monkeypatch.setattr(loaded, "ERROR", error, raising=False)
    return Command("record", "failing_command", "fails")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            NothingMeasured("no process 7", "name another"),
            ExitCode.NOTHING_MEASURED,
            "no process 7; name another",
        ),
        (CorelensError("two\nlines"), ExitCode.FAILED, "two lines"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "interrupted"),
    ],
)
def test_trouble_becomes_one_line_and_a_code(
    error: BaseException,
    code: ExitCode,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(error, monkeypatch, tmp_path)
    assert main(["record"]) == code
    assert capsys.readouterr().err == f"corelens: {line}\n"
    sys.modules.pop("failing_command", None)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing(ZeroDivisionError(), monkeypatch, tmp_path)
    with pytest.raises(ZeroDivisionError):
        main(["record"])
    sys.modules.pop("failing_command", None)


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-m", "corelens", "doctor", "--json"]
    done = subprocess.run(argv, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == ExitCode.BROKEN_PIPE
    assert done.stderr == ""
