"""Tried as a new user would: every mistake is one clear line, a documented exit code, and no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from corelens.errors import ExitCode
from corelens.recording import RecordingWriter, read
from corelens.vocabulary import FORMAT_VERSION

COMMANDS = ("record", "report", "compare", "replay", "explain-threads", "doctor")
NOBODY = str(2**22 + 1)
"""Above the kernel's largest pid."""


def corelens(*argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as its users do."""
    return subprocess.run(
        [sys.executable, "-m", "corelens", *argv],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recordings in every condition a user may meet."""
    place = tmp_path_factory.mktemp("manners")
    done = corelens(
        "record", "-o", "whole.corelens", "--", sys.executable, "-c", "sum(range(10**6))", cwd=place
    )
    assert done.returncode == 0, done.stderr
    whole = (place / "whole.corelens").read_bytes()
    (place / "cut.corelens").write_bytes(whole[: len(whole) * 3 // 4])
    (place / "empty.corelens").write_bytes(b"")
    (place / "foreign.corelens").write_text("not a recording\n")
    (place / "not-executable").write_text("#!/bin/sh\n")
    (place / "folder.corelens").mkdir()
    written(
        place / "future.corelens", {**read(place / "whole.corelens").header, "format": FORMAT_VERSION + 1}
    )
    written(place / "header-only.corelens", read(place / "whole.corelens").header)
    return place


def written(path: Path, header: dict[str, object]) -> None:
    """Write a recording that holds a header and nothing else."""
    writer = RecordingWriter(path)
    writer.add(header)
    writer.close(0)


def is_one_clear_line(done: subprocess.CompletedProcess[str], code: ExitCode) -> bool:
    """Whether it ended as documented with one line on stderr and nothing on stdout."""
    lines = done.stderr.splitlines()
    return done.returncode == code and len(lines) == 1 and lines[0].startswith("corelens") and not done.stdout


MISTAKES: list[tuple[ExitCode, str, list[str]]] = [
    # nothing given
    (ExitCode.USAGE, "no command", []),
    (ExitCode.USAGE, "after --", ["record"]),
    (ExitCode.USAGE, "FILE", ["report"]),
    (ExitCode.USAGE, "two recordings", ["compare"]),
    (ExitCode.USAGE, "no scenario", ["replay"]),
    (ExitCode.USAGE, "--backend", ["replay", "search"]),
    (ExitCode.USAGE, "--output", ["replay", "study"]),
    # wrong arguments
    (ExitCode.USAGE, "no command 'recrod'", ["recrod"]),
    (ExitCode.USAGE, "--frobnicate", ["--frobnicate"]),
    *((ExitCode.USAGE, "--frobnicate", [name, "--frobnicate"]) for name in COMMANDS),
    (ExitCode.USAGE, "--rate", ["record", "--rate", "0", "--", "true"]),
    (ExitCode.USAGE, "--rate", ["record", "--rate", "fast", "--", "true"]),
    (ExitCode.USAGE, "both", ["record", "-p", "1", "--", "true"]),
    (ExitCode.USAGE, "--label", ["record", "--label", "nameless", "--", "true"]),
    (ExitCode.USAGE, "two recordings", ["compare", "whole.corelens"]),
    (ExitCode.USAGE, "price", ["compare", "whole.corelens", "whole.corelens", "--price", "0"]),
    (ExitCode.USAGE, "'fast'", ["replay", "search", "--backend", "fast"]),
    (ExitCode.USAGE, "--workers", ["replay", "search", "--backend", "sequential", "-w", "3"]),
    (ExitCode.USAGE, "--backends", ["replay", "study", "-o", "study", "--backends", "ray,fast"]),
    (ExitCode.USAGE, "--evaluations", ["replay", "study", "-o", "study", "--evaluations", "slow"]),
    (ExitCode.USAGE, "--repeat", ["replay", "study", "-o", "study", "--repeat", "0"]),
    (ExitCode.USAGE, "--price", ["replay", "study", "-o", "study", "--price", "-1"]),
    (ExitCode.USAGE, "not allowed with", ["replay", "study", "-o", "study", "--force", "--resume"]),
    # files
    (ExitCode.UNREADABLE, "cannot read absent.corelens", ["report", "absent.corelens"]),
    (ExitCode.UNREADABLE, "cannot read absent.corelens", ["compare", "absent.corelens", "whole.corelens"]),
    (ExitCode.UNREADABLE, "is a folder", ["report", "folder.corelens"]),
    (ExitCode.UNREADABLE, "not a corelens recording", ["report", "empty.corelens"]),
    (ExitCode.UNREADABLE, "not a corelens recording", ["report", "foreign.corelens"]),
    (ExitCode.UNREADABLE, "upgrade", ["report", "future.corelens"]),
    (ExitCode.UNREADABLE, "upgrade", ["compare", "future.corelens", "whole.corelens"]),
    (ExitCode.NOTHING_MEASURED, "header-only.corelens", ["report", "header-only.corelens"]),
    (ExitCode.OUTPUT_EXISTS, "--force", ["report", "whole.corelens", "-o", "foreign.corelens"]),
    (
        ExitCode.OUTPUT_EXISTS,
        "--force",
        ["compare", "whole.corelens", "cut.corelens", "-o", "foreign.corelens"],
    ),
    (ExitCode.OUTPUT_EXISTS, "--force", ["record", "-o", "whole.corelens", "--", "true"]),
    (ExitCode.OUTPUT_EXISTS, "--force", ["replay", "search", "--backend", "ray", "-o", "whole.corelens"]),
    (ExitCode.OUTPUT_FAILED, "none", ["record", "-o", "none/a.corelens", "--", "true"]),
    (ExitCode.OUTPUT_FAILED, "none", ["report", "whole.corelens", "--json", "-o", "none/report.json"]),
    (ExitCode.OUTPUT_FAILED, "whole.corelens", ["replay", "study", "-o", "whole.corelens"]),
    # programs and processes
    (ExitCode.NOT_FOUND, "no-such-program", ["record", "--", "no-such-program"]),
    (ExitCode.CANNOT_EXECUTE, "not-executable", ["record", "--", "./not-executable"]),
    (ExitCode.NOTHING_MEASURED, NOBODY, ["record", "-p", NOBODY]),
    (ExitCode.NOTHING_MEASURED, NOBODY, ["doctor", "-p", NOBODY]),
]


@pytest.mark.parametrize(("code", "words", "argv"), MISTAKES, ids=lambda value: str(value))
def test_a_mistake_is_one_clear_line(folder: Path, code: ExitCode, words: str, argv: list[str]) -> None:
    before = sorted(folder.iterdir())
    done = corelens(*argv, cwd=folder)
    assert is_one_clear_line(done, code), f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert words in done.stderr
    assert sorted(folder.iterdir()) == before, "a refused command leaves nothing behind"


def test_a_truncated_recording_is_reported_as_far_as_it_goes(folder: Path) -> None:
    done = corelens("report", "cut.corelens", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["facts"]["source"]["complete"] is False


def test_a_recording_cut_at_any_place_is_no_traceback(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "whole.corelens").read_bytes()
    for share in range(0, 100, 9):
        cut = tmp_path / f"{share}.corelens"
        cut.write_bytes(whole[: len(whole) * share // 100])
        done = corelens("report", str(cut))
        assert done.returncode in (ExitCode.OK, ExitCode.NOTHING_MEASURED, ExitCode.UNREADABLE), done.stderr
        assert "Traceback" not in done.stderr


def test_the_exit_code_of_the_recorded_program_passes_through(folder: Path, tmp_path: Path) -> None:
    done = corelens(
        "record", "-o", str(tmp_path / "a.corelens"), "--", sys.executable, "-c", "exit(42)", cwd=folder
    )
    assert done.returncode == 42


def test_unlike_work_is_not_compared_unless_told(folder: Path, tmp_path: Path) -> None:
    other = str(tmp_path / "other.corelens")
    corelens("record", "-o", other, "--", sys.executable, "-c", "sum(range(10**5))", cwd=folder)
    refused = corelens("compare", "whole.corelens", other, cwd=folder)
    assert is_one_clear_line(refused, ExitCode.NOT_COMPARABLE), refused.stderr
    assert "--anyway" in refused.stderr
    assert corelens("compare", "whole.corelens", other, "--anyway", cwd=folder).returncode == 0
