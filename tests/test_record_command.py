"""`corelens record` as a user meets it: outputs, programs and processes that are not as they should be."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from corelens.recording import read
from tests.programs import (
    PYTHON,
    RECORD,
    TALK,
    WAITING_THREADS,
    has_begun,
    python,
    record,
    recorder,
    rows,
    running,
    wait_until,
)

NOBODY = 65534


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `corelens record` with these arguments."""
    return subprocess.run([*RECORD, *arguments], capture_output=True, text=True, timeout=60, cwd=cwd)


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One clear line on stderr, nothing on stdout, the documented exit code."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_an_existing_output_is_refused_before_the_program_starts(tmp_path: Path) -> None:
    path, proof = tmp_path / "r.corelens", tmp_path / "proof"
    path.write_text("precious")
    done = run("-o", str(path), "--", "touch", str(proof))
    assert_one_line(done, 7, str(path), "--force")
    assert path.read_text() == "precious"
    assert not proof.exists()


def test_force_replaces_an_existing_output(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    path.write_text("worthless")
    assert run("--force", "-o", str(path), "--", "true").returncode == 0
    assert read(path).footer is not None


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_an_output_is_not_touched_when_the_program_cannot_start(tmp_path: Path, force: list[str]) -> None:
    path = tmp_path / "r.corelens"
    if force:
        path.write_text("precious")
    done = run(*force, "-o", str(path), "--", "no-such-program-anywhere")
    assert_one_line(done, 127, "no-such-program-anywhere", "PATH")
    assert (path.read_text() if force else path.exists()) == ("precious" if force else False)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("#!/bin/sh\n", 0o644, "chmod +x"),
        ("#!/no/such/interpreter\n", 0o755, "interpreter"),
        ("no program", 0o755, "name its interpreter"),
    ],
)
def test_a_program_that_cannot_be_executed(tmp_path: Path, text: str, mode: int, words: str) -> None:
    program = tmp_path / "program"
    program.write_text(text)
    program.chmod(mode)
    done = run("-o", str(tmp_path / "r.corelens"), "--", str(program))
    assert_one_line(done, 126, str(program), words)
    assert not (tmp_path / "r.corelens").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "name a program after --"),
        (["-p", "0"], 2, "above 0"),
        (["-p", "-3"], 2, "-3"),
        (["-p", "1", "--", "true"], 2, "choose one"),
        (["-p", "1", "--agent"], 2, "--agent"),
        (["-r", "0", "--", "true"], 2, "--rate"),
        (["-r", "1000", "--", "true"], 2, "--rate"),
        (["-r", "nan", "--", "true"], 2, "--rate"),
        (["-d", "-1", "--", "true"], 2, "--duration"),
        (["-d", "inf", "--", "true"], 2, "--duration"),
        (["--budget", "-1", "--", "true"], 2, "--budget"),
        (["--label", "nothing", "--", "true"], 2, "--label"),
        (["-o", "/no/such/folder/r.corelens", "--", "true"], 9, "/no/such/folder"),
        (["-o", "/", "--", "true"], 9, "folder"),
        (["-p", "4194304999"], 5, "4194304999"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    assert_one_line(run(*arguments, cwd=tmp_path), code, words)
    assert list(tmp_path.iterdir()) == []


def test_a_pid_of_nobody(tmp_path: Path) -> None:
    with running(["true"]) as program:
        program.end()
    assert_one_line(run("-p", str(program.pid), cwd=tmp_path), 5, f"no process {program.pid}")


def test_a_process_that_has_ended(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        assert_one_line(run("-p", str(pid), cwd=tmp_path), 5, "has ended")
    finally:
        os.waitpid(pid, 0)


def test_a_thread_id_stands_for_its_process(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    with running(python(WAITING_THREADS, 1)) as program:
        assert program.hear() == "ready"
        (other,) = {int(name) for name in os.listdir(f"/proc/{program.pid}/task")} - {program.pid}  # noqa: PTH208
        done = run("-o", str(path), "-d", "0.1", "-p", str(other))
        assert done.returncode == 0
        assert f"{other} is a thread of process {program.pid}" in done.stderr
    assert read(path).header["target"] == {
        "how": "attached",
        "pid": program.pid,
        "argv": python(WAITING_THREADS, 1),
    }


# The interpreter may live where the other user cannot read, so everything is loaded before the change.
AS_ANOTHER_USER = """
import contextlib, io, os, sys
import corelens.cli, corelens.probes.session
with contextlib.redirect_stderr(io.StringIO()):
    corelens.cli.main(["record", "-p", "0"])
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
sys.exit(corelens.cli.main(sys.argv[2:]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_process_of_another_user_is_recorded_with_gaps(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    path = tmp_path / "r.corelens"
    with running(python(WAITING_THREADS, 2)) as program:
        assert program.hear() == "ready"
        command = ["record", "-q", "-o", str(path), "-d", "0.3", "-p", str(program.pid)]
        with running(python(AS_ANOTHER_USER, NOBODY, *command)) as looking:
            assert looking.end() == 0
    recording = read(path)
    (born,) = recording.lines("process.born")
    assert (born["exe"], born["variables"], born["uid"]) == (None, None, 0)
    gaps = [line for line in recording.lines("gap") if line["probe"] == "tree"]
    assert [(line["pid"], line["reason"]) for line in gaps] == [(program.pid, "forbidden")]
    assert len(rows(recording, "threads")) >= 3
    assert rows(recording, "process.detail")[0]["read_bytes"] is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_process_that_is_hidden_from_this_user(tmp_path: Path) -> None:
    """Where /proc is mounted with hidepid, another user's process exists and cannot be seen."""
    own = subprocess.run(["unshare", "--mount", "true"], capture_output=True)
    if own.returncode != 0:
        pytest.skip("needs root that may make a mount namespace")
    hide = 'mount -t proc -o hidepid=2 none /proc && exec "$@"'
    with running(["sleep", "1000"]) as program:
        inner = python(AS_ANOTHER_USER, NOBODY, "record", "-p", program.pid)
        command = ["unshare", "--mount", "sh", "-c", hide, "sh", *inner]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")
    assert_one_line(done, 4, f"process {program.pid} cannot be seen", "sudo")


def test_the_default_name_tells_program_and_time(tmp_path: Path) -> None:
    for _ in range(2):
        assert run("-q", "--", "true", cwd=tmp_path).returncode == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2
    assert all(re.fullmatch(r"corelens-true-\d{8}-\d{6}(-2)?\.corelens", name) for name in names)


def test_the_last_line_names_the_file_and_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    done = run("-o", str(path), "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert done.stderr == f"err\ncorelens: recorded {path}; see it with: corelens report {path}\n"
    assert run("-q", "--force", "-o", str(path), "--", "true").stderr == ""


SETTINGS = """
import os, pathlib, resource
status = pathlib.Path("/proc/self/status").read_text().splitlines()
print([line for line in status if line.startswith(("SigBlk", "SigIgn", "SigPnd"))])
print(resource.getrlimit(resource.RLIMIT_NOFILE), os.getpgid(0), os.getsid(0), os.getcwd(), os.umask(0))
print(sorted(os.listdir("/proc/self/fd")), os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0)))
print({name: value for name, value in os.environ.items() if name != "CORELENS_SPOOL"})
"""


def _lower_limit() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (512, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_the_program_starts_as_if_nobody_recorded(tmp_path: Path) -> None:
    def settings(command: Sequence[str]) -> str:
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, preexec_fn=_lower_limit, timeout=60
        ).stdout

    alone = settings(python(SETTINGS))
    assert "512" in alone
    assert settings([*recorder(tmp_path / "r.corelens"), "--", *python(SETTINGS)]) == alone


def test_labels_and_budget_are_in_the_header(tmp_path: Path) -> None:
    flags = ["--label", "backend=loky", "--label", "note=a=b", "--budget", "0", "-r", "20"]
    _, recording = record(tmp_path / "r.corelens", ["true"], *flags)
    assert recording.header["labels"] == {"backend": "loky", "note": "a=b"}
    assert recording.header["budget_cores"] is None
    assert recording.header["periods_ns"]["threads"] == 50_000_000
    assert recording.header["target"]["argv"] == ["true"]
    assert recording.header["agent"] is False


@pytest.mark.parametrize(("flags", "shown"), [([], "***"), (["--full-argv"], "hunter2")])
def test_secrets_are_masked_unless_asked_for(tmp_path: Path, flags: list[str], shown: str) -> None:
    command = [PYTHON, "-c", "pass", "--password", "hunter2"]
    _, recording = record(tmp_path / "r.corelens", command, *flags)
    assert recording.header["target"]["argv"][-1] == shown
    assert recording.lines("process.born")[0]["argv"][-1] == shown


def test_the_spool_is_removed(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    source = TALK + "import os\nsay(os.environ['CORELENS_SPOOL'])\n"
    done, _ = record(tmp_path / "r.corelens", python(source), env=environment)
    assert Path(done.stdout.strip()).parent == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["r.corelens"]


def test_children_that_were_there_before_attaching_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "r.corelens"
    source = TALK + (
        "import subprocess\n"
        "child = subprocess.Popen(['cat'], stdin=subprocess.PIPE)\n"
        "say(child.pid)\nhear()\nchild.stdin.close()\nchild.wait()\n"
    )
    with running(python(source)) as program:
        child = int(program.hear())
        with running(recorder(path, "-q", "-p", str(program.pid))) as looking:
            wait_until(lambda: has_begun(path), "the first round")
            program.say("end")
            assert looking.end() == 0
    born = {line["pid"]: (line["joined_by"], line["comm"]) for line in read(path).lines("process.born")}
    assert born[child] == ("child", "cat")
    assert born[program.pid][0] == "root"


def test_attaching_prints_the_verdict_and_who_made_the_threads(tmp_path: Path) -> None:
    with running(python(WAITING_THREADS, 3)) as program:
        assert program.hear() == "ready"
        done = run("-o", str(tmp_path / "r.corelens"), "-d", "0.3", "-p", str(program.pid))
        quiet = run("-q", "-o", str(tmp_path / "q.corelens"), "-d", "0.3", "-p", str(program.pid))
        program.say("end")
    assert (done.returncode, quiet.returncode, quiet.stdout) == (0, 0, "")
    lines = done.stdout.splitlines()
    assert lines[1].startswith("verdict: ")
    ledgers = [
        place for place, line in enumerate(lines) if line.startswith("Thread ledger: the 4 threads at ")
    ]
    assert ledgers and ledgers[0] > 1
    assert any(line.startswith("4 = 1 main + 3 Python threads") for line in lines)
    assert "see it with: corelens report" in done.stderr


def test_importing_the_recorder_stays_light() -> None:
    heavy = "numpy, torch, ray, optuna, matplotlib, rich, psutil"
    source = (
        "import sys, corelens.probes.session, corelens.cli.record\n"
        f"print([name for name in '{heavy}'.split(', ') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
