"""`corelens replay explosion` as a user meets it: what it runs, keeps, refuses, and returns."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from corelens.cli import COMMANDS, main, parser
from corelens.cli.explosion import labels_of, replay_explosion, unlimited
from corelens.errors import ExitCode, OutputExists, UsageError
from corelens.recording import RecordingWriter
from corelens.scenarios.search.explosion import Machine, PlannedRun, plan_explosion
from corelens.scenarios.search.settings import SearchSettings
from corelens.vocabulary import Line, columnar_line
from tests.made_threads import SECOND, born, counted, died, header, listed, recording

REPLAY = next(command for command in COMMANDS if command.name == "replay")
MACHINE = Machine(torch_threads=2, cores=2, blas=("numpy",))
SITE = "/lib/python3.11/site-packages"
LIBRARIES = (
    f"{SITE}/numpy.libs/libscipy_openblas64_.so",
    f"{SITE}/torch/lib/libgomp.so.1",
    "/lib/libpython3.11.so.1.0",
)
OPENBLAS, GOMP, PYTHON = range(3)
# Stands in for the search: says which limits it was given, then does what its name asks for.
PROGRAM = """
import json, os, signal, sys
print(json.dumps({name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}))
if os.environ.get("FAIL") and "torch" in sys.argv:
    sys.exit("corelens: a trial failed")
if os.environ.get("INTERRUPT") and "late" in sys.argv:
    os.kill(int(os.environ["INTERRUPT"]), signal.SIGINT)
    signal.pause()
"""


def parsed(*argv: str) -> argparse.Namespace:
    return parser(REPLAY).parse_args(["replay", "explosion", *argv])


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corelens.cli.explosion._machine", lambda: MACHINE)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run PROGRAM in place of the search, recorded by the real recorder."""

    def command_line(settings: SearchSettings, *_extra: str) -> list[str]:
        return [sys.executable, "-c", PROGRAM, settings.limit_threads]

    monkeypatch.setattr("corelens.scenarios.search.explosion.command_line", command_line)


def made(folder: Path, run: PlannedRun, workers: int, team: int, blas: int) -> None:
    """Write the recording of a search on threads that ended well, with a progress bar."""
    masters = list(range(101, 101 + workers))
    bar, first = 101 + workers, 102 + workers
    natives = [(tid, OPENBLAS, None) for tid in range(first, first + blas)]
    natives += [(first + blas + place, GOMP, masters[place // team]) for place in range(workers * team)]
    python = [(tid, PYTHON, None) for tid in (*masters, bar)]
    rows = [*python, *natives]
    names = {str(tid): f"ThreadPoolExecutor-0_{tid}" for tid in masters}
    lines: list[Line] = [
        born(),
        listed(0, [100]),
        counted(0, (100, 1)),
        columnar_line(
            "modules", SECOND, [(number, path, None, False) for number, path in enumerate(LIBRARIES)]
        ),
        listed(SECOND, [tid for tid, _, _ in rows]),
        counted(SECOND, (100, 1 + len(rows))),
        columnar_line(
            "threads.owned",
            SECOND,
            [
                (100, 100, "main", None, None, None, None, None),
                *(
                    (100, tid, "start-routine", module, 16, None, master, None)
                    for tid, module, master in rows
                ),
            ],
        ),
        mark(2 * SECOND, "threads", "point", bar, None, {"names": {**names, str(bar): "tqdm_monitor"}}),
        *(mark(2 * SECOND, "trial", "begin", tid, f"100.{tid}", {"number": tid}) for tid in masters),
        *(mark(3 * SECOND, "trial", "end", tid, f"100.{tid}", {"value": 0.5}) for tid in masters),
        died(4 * SECOND),
    ]
    whole = recording(
        lines,
        {**header(labels=labels_of(run)), "target": {"how": "started", "pid": 100, "argv": []}},
        4 * SECOND,
    )
    writer = RecordingWriter(folder / f"{run.stem}.corelens")
    for line in (whole.header, limits(), *lines, *whole.lines("footer")):
        writer.add(line)
    writer.close(4 * SECOND)


def mark(t_ns: int, name: str, phase: str, tid: int, span: str | None, attributes: dict[str, object]) -> Line:
    return {
        "kind": "mark", "t_ns": t_ns, "pid": 100, "tid": tid, "name": name, "phase": phase, "span": span,
        "attributes": attributes,
    }  # fmt: skip


def limits() -> Line:
    return {
        "kind": "limits", "t_ns": 0, "online_cores": [0, 1], "affinity_cores": [0, 1], "cgroups": [],
        "quota_cores": None, "memory_limit_bytes": None, "capacity_cores": 2.0, "capacity_because": "online",
        "soft_open_files": 1024,
    }  # fmt: skip


def runs_of(names: Sequence[str], cores: int = 64) -> list[PlannedRun]:
    return [run for run in plan_explosion(MACHINE, [cores]) if run.way.name in names]


def test_counts_as_predicted_are_reported_and_give_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    w5, w3 = runs_of(["w5", "w3"])
    made(tmp_path, w5, 5, 63, 63)
    made(tmp_path, w3, 3, 63, 63)
    assert replay_explosion(parsed("-o", str(tmp_path), "--runs", "w5,w3", "--resume")) == ExitCode.OK
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "Predicted equals observed to the thread in all 2 runs."
    report = (tmp_path / "explosion.md").read_text()
    assert (
        "385 = 1 main + 5 Optuna workers + 1 tqdm monitor + 5 x 63 libgomp (torch) + 63 OpenBLAS (numpy)"
        in report
    )
    found = json.loads((tmp_path / "explosion.json").read_text())
    assert [(run["predicted"], run["observed"]) for run in found["runs"]] == [(385, 385), (257, 257)]


def test_a_count_that_differs_has_its_own_exit_code_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    w5, w3 = runs_of(["w5", "w3"])
    made(tmp_path, w5, 5, 63, 63)
    made(tmp_path, w3, 3, 62, 63)
    code = replay_explosion(parsed("-o", str(tmp_path), "--runs", "w5,w3", "--resume"))
    assert code == ExitCode.NOT_AS_PREDICTED == 11
    said = capsys.readouterr()
    wrong = "corelens: not as predicted: w3 on 64 cores, main: 189 libgomp (torch) predicted, 186 observed"
    assert wrong in said.err.splitlines()
    assert "189 | 186 (NO)" in (tmp_path / "explosion.md").read_text()


@pytest.mark.usefixtures("stand_in")
def test_a_run_that_failed_is_said_and_the_others_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "1")
    code = replay_explosion(parsed("-o", str(tmp_path), "--runs", "w3-torch,w3-env"))
    assert code == ExitCode.FAILED
    said = capsys.readouterr().err.splitlines()
    assert "corelens: w3-torch-on-64 failed with exit code 1: a trial failed" in said
    assert said[0].startswith("1 of 2: w3-torch-on-64 failed with exit code 1: a trial failed")
    report = (tmp_path / "explosion.md").read_text()
    assert "failed with exit code 1" in report
    assert "w3-env" in report


def test_a_recording_that_holds_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def done(_folder: Path, _run: PlannedRun) -> bool:
        return True

    monkeypatch.setattr("corelens.cli.explosion._is_done", done)
    (w5,) = runs_of(["w5"])
    made(tmp_path, w5, 5, 63, 63)
    (tmp_path / "w3-on-64.corelens").write_text("nothing")
    assert replay_explosion(parsed("-o", str(tmp_path), "--runs", "w5,w3", "--resume")) == ExitCode.FAILED
    assert "w3-on-64.corelens" in capsys.readouterr().err
    assert "385" in (tmp_path / "explosion.md").read_text()


@pytest.mark.usefixtures("stand_in")
def test_runs_begin_without_limits_but_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    replay_explosion(parsed("-o", str(tmp_path), "--runs", "w3-late,w3-env"))
    late, env = (json.loads((tmp_path / f"{name}-on-64.log").read_text()) for name in ("w3-late", "w3-env"))
    assert late == {}
    assert set(env.values()) == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_what_limits_pools_is_taken_out_and_nothing_else() -> None:
    given = {
        "OMP_NUM_THREADS": "1",
        "MKL_DYNAMIC": "TRUE",
        "OMP_THREAD_LIMIT": "3",
        "PATH": "/bin",
        "HOME": "/",
    }
    assert unlimited(given) == {"PATH": "/bin", "HOME": "/"}


@pytest.mark.usefixtures("stand_in")
def test_an_interrupt_keeps_what_was_recorded_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["-o", str(tmp_path), "--runs", "w3,w3-late,w3-env"]
    monkeypatch.setattr(sys, "argv", ["corelens", "replay", "explosion", *argv])
    monkeypatch.setenv("INTERRUPT", str(os.getpid()))
    before = signal.getsignal(signal.SIGINT)
    assert replay_explosion(parsed(*argv)) == ExitCode.INTERRUPTED
    last = capsys.readouterr().err.splitlines()[-1]
    assert "interrupted after 1 of 3 runs" in last
    assert last.endswith(" ".join(argv) + " --resume")
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "explosion.md").exists()
    kept = (tmp_path / "w3-on-64.corelens").stat().st_mtime_ns
    monkeypatch.delenv("INTERRUPT")
    replay_explosion(parsed(*argv, "--resume"))
    assert (tmp_path / "w3-on-64.corelens").stat().st_mtime_ns == kept
    assert (tmp_path / "explosion.md").exists()


@pytest.mark.parametrize("name", ["explosion.md", "explosion.json", "w3-on-64.log", "w3-on-64.corelens"])
def test_what_is_there_is_kept_without_force(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputExists) as refused:
        replay_explosion(parsed("-o", str(tmp_path), "--runs", "w3"))
    assert refused.value.exit_code == 7
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.usefixtures("stand_in")
def test_force_replaces_it(tmp_path: Path) -> None:
    (tmp_path / "w3-on-64.log").write_text("mine")
    (tmp_path / "explosion.md").write_text("mine")
    replay_explosion(parsed("-o", str(tmp_path), "--runs", "w3", "--force"))
    assert "mine" not in (tmp_path / "w3-on-64.log").read_text() + (tmp_path / "explosion.md").read_text()


@pytest.mark.parametrize(
    "flags", [["--runs", "w4"], ["--cores", "many"], ["--cores", "0"], ["--cores", "8,8"]]
)
def test_what_cannot_be_is_refused_by_its_flag(tmp_path: Path, flags: list[str]) -> None:
    with pytest.raises(UsageError, match=flags[0]):
        replay_explosion(parsed("-o", str(tmp_path / "new"), *flags))
    assert not (tmp_path / "new").exists()


def test_a_missing_part_is_one_line_and_exit_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('hidden', name='torch')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    errors = tmp_path / "errors"
    with errors.open("w") as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            code = main(["replay", "explosion", "-o", str(tmp_path / "out")])
        finally:
            os.dup2(before, 2)
            os.close(before)
    assert code == ExitCode.MISSING_EXTRA
    assert (
        errors.read_text()
        == "corelens: torch is not installed; install it with: pip install 'corelens[lab]'\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.lab
def test_the_real_search_has_the_predicted_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra lab)")
    monkeypatch.undo()
    argv = ["--cores", "4", "--runs", "w3-late,w3-torch,pool-env", "-o", str(tmp_path)]
    assert main(["replay", "explosion", *argv]) == ExitCode.OK, (tmp_path / "explosion.md").read_text()
    found = json.loads((tmp_path / "explosion.json").read_text())
    assert [(run["name"], run["observed"]) for run in found["runs"]] == [
        ("w3-late", 1 + 3 + 1 + 3 + 3 * 3),
        ("w3-torch", 1 + 3 + 1 + 3),
        ("pool-env", 5 + 3 + 1),
    ]
    assert found["differences"] == []
    assert found["identical_values"] is True
