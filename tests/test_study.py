"""A study plans fairly, refuses early, keeps what it has, and goes on where it stopped."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from corelens.cli import COMMANDS, parser
from corelens.cli.study import plan, replay_study
from corelens.cli.study_progress import LineProgress, span, time_left_s
from corelens.errors import ExitCode, NothingMeasured, OutputExists
from corelens.scenarios.search.settings import BACKENDS, SearchSettings

REPLAY = next(command for command in COMMANDS if command.name == "replay")
# Stands in for the search: writes its results where it is told, then does what the settings make it do.
PROGRAM = """
import json, os, pathlib, signal, sys
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
backend = arguments["--backend"]
if backend == "ray":
    sys.exit(print("corelens: ray is not installed; install it with: pip install 'corelens[ray]'") or 3)
if backend == "joblib-loky":
    sys.exit("corelens: a trial failed")
if backend == "process-pool":
    os.kill(int(os.environ["STUDY"]), signal.SIGINT)
    signal.pause()
pathlib.Path(arguments["--results"]).write_text(json.dumps(arguments))
"""


def parsed(*argv: str) -> argparse.Namespace:
    return parser(REPLAY).parse_args(["replay", "study", *argv])


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run PROGRAM in place of the search, recorded by the real recorder."""

    def command_line(settings: SearchSettings, *extra: str) -> list[str]:
        return [sys.executable, "-c", PROGRAM, "--backend", settings.backend, *extra]

    monkeypatch.setattr("corelens.scenarios.search.study.command_line", command_line)
    monkeypatch.setenv("STUDY", str(os.getpid()))


def test_every_backend_runs_once_per_repeat_and_evaluation() -> None:
    runs = plan(parsed("-o", "d", "--evaluations", "batched,per-genome", "--repeat", "2", "--scale", "smoke"))
    wanted = sorted((one, repeat) for one in BACKENDS for repeat in (1, 2) for _ in range(2))
    assert sorted((run.backend, run.repeat) for run in runs) == wanted
    assert len({run.stem for run in runs}) == len(runs)
    assert {run.settings.evaluation for run in runs} == {"batched", "per-genome"}


def test_the_order_is_shuffled_and_the_same_for_the_same_seed() -> None:
    def order(seed: int) -> list[str]:
        return [run.stem for run in plan(parsed("-o", "d", "--shuffle-seed", str(seed)))]

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) > 1


def test_flags_of_the_search_reach_every_run() -> None:
    runs = plan(
        parsed("-o", "d", "--backends", "ray,sequential", "-n", "7", "-w", "3", "--limit-threads", "env")
    )
    assert {run.settings.trials for run in runs} == {7}
    assert {run.backend: run.settings.workers for run in runs} == {"ray": 3, "sequential": 1}
    assert {run.settings.limit_threads for run in runs} == {"env"}


@pytest.mark.usefixtures("stand_in")
def test_a_skipped_and_a_failing_backend_do_not_lose_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study"
    code = replay_study(parsed("-o", str(folder), "--backends", "ray,joblib-loky,sequential"))
    said = capsys.readouterr()
    assert code == ExitCode.FAILED
    assert "joblib-loky failed with exit code 1: a trial failed" in said.err
    report = (folder / "report.md").read_text()
    assert "pip install 'corelens\\[ray\\]'" in report or "pip install 'corelens[ray]'" in report
    assert "exit code 1" in report
    assert json.loads((folder / "sequential.json").read_text())["--backend"] == "sequential"
    assert not (folder / "ray.corelens").exists()


@pytest.mark.usefixtures("stand_in")
def test_a_study_of_missing_parts_alone_says_so(tmp_path: Path) -> None:
    with pytest.raises(NothingMeasured, match="ray is not installed"):
        replay_study(parsed("-o", str(tmp_path), "--backends", "ray"))


@pytest.mark.usefixtures("stand_in")
def test_an_interrupted_study_keeps_its_runs_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [
        "-o",
        str(tmp_path),
        "--backends",
        "sequential,process-pool",
        "--shuffle-seed",
        first_last("sequential"),
    ]
    monkeypatch.setattr(sys, "argv", ["corelens", "replay", "study", *argv])
    before = signal.getsignal(signal.SIGINT)
    assert replay_study(parsed(*argv)) == ExitCode.INTERRUPTED
    said = capsys.readouterr().err.splitlines()[-1]
    assert "interrupted after 1 of 2 runs" in said
    assert said.endswith(" ".join(argv) + " --resume")
    assert signal.getsignal(signal.SIGINT) is before
    kept = (tmp_path / "sequential.corelens").stat().st_mtime_ns
    assert replay_study(parsed(*argv, "--resume")) == ExitCode.INTERRUPTED
    assert (tmp_path / "sequential.corelens").stat().st_mtime_ns == kept
    assert "interrupted after 1 of 2 runs" in capsys.readouterr().err


def first_last(first: str) -> str:
    """A shuffle seed that puts `first` before the other one."""
    for seed in range(100):
        flags = parsed("-o", "d", "--backends", "sequential,process-pool", "--shuffle-seed", str(seed))
        if plan(flags)[0].stem == first:
            return str(seed)
    raise AssertionError("no seed puts it first")


@pytest.mark.usefixtures("stand_in")
def test_what_is_there_is_kept_without_force(tmp_path: Path) -> None:
    (tmp_path / "sequential.log").write_text("mine")
    with pytest.raises(OutputExists):
        replay_study(parsed("-o", str(tmp_path), "--backends", "sequential"))
    assert (tmp_path / "sequential.log").read_text() == "mine"
    assert replay_study(parsed("-o", str(tmp_path), "--backends", "sequential", "--force")) == ExitCode.OK
    assert "mine" not in (tmp_path / "sequential.log").read_text()


@pytest.mark.usefixtures("stand_in")
def test_other_settings_are_not_taken_for_done(tmp_path: Path) -> None:
    flags = ["-o", str(tmp_path), "--backends", "sequential"]
    replay_study(parsed(*flags))
    first = (tmp_path / "sequential.json").stat().st_mtime_ns
    replay_study(parsed(*flags, "--resume"))
    assert (tmp_path / "sequential.json").stat().st_mtime_ns == first
    replay_study(parsed(*flags, "--resume", "-n", "9"))
    assert (tmp_path / "sequential.json").stat().st_mtime_ns > first


@pytest.mark.parametrize(
    ("walls_s", "planned", "left_s"),
    [([], 3, 0.0), ([10.0], 3, 20.0), ([10.0, 20.0], 3, 15.0), ([1.0], 1, 0.0)],
)
def test_the_time_left_follows_the_runs_so_far(walls_s: list[float], planned: int, left_s: float) -> None:
    assert time_left_s(walls_s, planned) == left_s


def test_progress_without_a_terminal_is_a_line_per_run(capsys: pytest.CaptureFixture[str]) -> None:
    shown = LineProgress(2)
    shown.begin("a")
    shown.end("a", 30.0, "")
    shown.end("b", 1.0, "skipped: no ray")
    assert capsys.readouterr().err.splitlines() == [
        "1 of 2: a took 30.0 s; about 30 s left",
        "2 of 2: b skipped: no ray",
    ]
    assert (span(89), span(600)) == ("89 s", "10 min")


def recorded(argv: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "corelens", *argv], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.lab
def test_replay_search_records_the_search_with_its_settings(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    argv = ["replay", "search", "--backend", "sequential", "--scale", "smoke", "-o", "a.corelens"]
    done = recorded([*argv, "--results", "a.json"], tmp_path)
    assert done.returncode == 0, done.stderr
    from corelens.recording import read

    recording = read(tmp_path / "a.corelens")
    assert recording.header["labels"]["backend"] == "sequential"
    assert recording.header["agent"] is True
    trials = [line for line in recording.lines("mark") if line["name"] == "trial" and line["phase"] == "end"]
    assert len(trials) == len(json.loads((tmp_path / "a.json").read_text())["trials"])
