"""`corelens doctor`: the same information as a table, as plain lines and as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from corelens.cli import doctor, main
from corelens.errors import ExitCode
from corelens.probes.capabilities import Capability

LIMITS = {
    "online_cores": [*range(128)],
    "capacity_cores": 2.5,
    "capacity_because": "quota",
    "memory_limit_bytes": 8 << 30,
}
HOST = {
    "cpu_model": None,
    "machine": "x86_64",
    "physical_cores": None,
    "memory_bytes": 1 << 39,
    "kernel": "6.1",
}
FOUND = doctor.Diagnosis(
    corelens="0.1.0",
    python="3.11.7",
    pid=None,
    host=HOST,
    limits=LIMITS,
    sees=[Capability("schedstat", True, "can be read"), Capability("py-spy", False, "is absent", "get it")],
    packages={"core": {"psutil": "7"}, "lab": {"torch": "2.13.0", "optuna": None}},
)


def test_plain_lines_are_golden() -> None:
    assert list(doctor.plain_lines(FOUND)) == [
        "corelens 0.1.0, Python 3.11.7, Linux 6.1",
        "machine: x86_64, 128 cores online (unknown physical), 512.0 GiB of memory",
        "programs started from here may use 2.5 cores (bound by: quota) and 8.0 GiB",
        "",
        "ok       schedstat  can be read",
        "missing  py-spy     is absent",
        "                    to get it: get it",
        "",
        "core:    psutil 7",
        "lab:     torch 2.13.0, optuna not installed (pip install 'corelens[lab]')",
    ]


def test_without_a_limit_all_the_memory_may_be_used() -> None:
    free = replace(FOUND, pid=7, limits={**LIMITS, "memory_limit_bytes": None})
    assert "process 7 may use 2.5 cores (bound by: quota) and all the memory" in list(
        doctor.plain_lines(free)
    )


def test_in_general_it_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr()
    assert "schedstat" in printed.out
    assert printed.err == ""


def test_json_names_units_and_the_way_to_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "-p", str(os.getppid())]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pid"] == os.getppid()
    assert found["limits"]["capacity_cores"] > 0
    assert found["host"]["memory_bytes"] > 0
    assert {frozenset(each) for each in found["sees"]} == {frozenset({"name", "ok", "reason", "remedy"})}
    assert set(found["packages"]) == {"core", "report", "lab", "ray"}


def test_the_table_says_what_the_plain_lines_say() -> None:
    program = (
        "import os, pty, sys\n"
        "pid, terminal = pty.fork()\n"
        "if pid == 0:\n"
        "    os.environ.update(NO_COLOR='1', COLUMNS='400', TERM='xterm')\n"
        "    os.execv(sys.executable, [sys.executable, '-m', 'corelens', 'doctor'])\n"
        "text = b''\n"
        "try:\n"
        "    while piece := os.read(terminal, 4096): text += piece\n"
        "except OSError: pass\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.decode())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("0 corelens ")
    for name in ("schedstat", "memory-access", "other-processes", "psutil", "may use"):
        assert name in done.stdout


def test_nobodys_pid_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "-p", str(2**22 + 1)]) == ExitCode.NOTHING_MEASURED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert str(2**22 + 1) in printed.err


def test_an_ended_process_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert main(["doctor", "-p", str(process.pid)]) == ExitCode.NOTHING_MEASURED
    assert "has ended" in capsys.readouterr().err


def test_a_thread_stands_for_its_process(capsys: pytest.CaptureFixture[str]) -> None:
    program = (
        "import threading; e = threading.Event(); t = threading.Thread(target=e.wait); t.start();"
        "print(t.native_id, flush=True); input(); e.set(); t.join()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        tid = int(process.stdout.readline())
        assert main(["doctor", "--json", "-p", str(tid)]) == 0
        process.communicate("\n")
    printed = capsys.readouterr()
    assert json.loads(printed.out)["pid"] == process.pid != tid
    assert "is a thread" in printed.err


def test_a_process_that_cannot_be_looked_at_is_not_permitted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from corelens.probes import procfs

    def hidden(path: str) -> bytes:
        raise procfs.Unreadable(path, "gone", "No such file or directory")

    monkeypatch.setattr(procfs, "read_bytes", hidden)
    assert main(["doctor", "-p", "1"]) == ExitCode.NOT_PERMITTED
    assert "cannot be seen" in capsys.readouterr().err
