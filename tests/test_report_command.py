"""`corelens report` as a user meets it: what it prints and writes, refuses, and returns."""

from __future__ import annotations

import json
import os
import pty
import re
import struct
import subprocess
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

from corelens.cli import main
from corelens.errors import ExitCode
from corelens.reports.json_report import SCHEMA
from corelens.vocabulary import FORMAT_VERSION
from tests.made_recordings import SEARCH, header, search, written


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return written(tmp_path / "run.corelens", *search(), head=SEARCH)


def reported(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run `report`, hold that it went well and silently, and give what it printed."""
    assert main(["report", *map(str, arguments)]) == ExitCode.OK
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def refused(capsys: pytest.CaptureFixture[str], code: ExitCode, *arguments: object) -> str:
    """Run `report`, hold that it ends with this code and one line on stderr, and give the line."""
    assert main(["report", *map(str, arguments)]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("corelens: ")
    return shown.err


# What it prints


def test_the_terminal_report_is_the_default(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = reported(capsys, whole)
    assert text == reported(capsys, whole, "--format", "terminal")
    assert text.startswith("python search.py (backend joblib-loky, scale small)\n")
    assert [line for line in text.splitlines() if line != line.rstrip() or "\x1b" in line] == []
    assert max(map(len, text.splitlines())) <= 100


def test_json_has_two_names(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = reported(capsys, whole, "--json")
    assert text == reported(capsys, whole, "--format", "json")
    assert json.loads(text)["facts"]["source"]["path"] == str(whole)


def test_markdown_on_stdout_has_no_pictures_unless_inline(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = reported(capsys, whole, "--format", "markdown")
    assert text.startswith("# python search.py (backend joblib-loky, scale small)\n")
    assert text == reported(capsys, whole, "--format", "markdown", "--images", "none")
    assert "![" not in text
    inline = reported(capsys, whole, "--format", "markdown", "--images", "inline")
    assert re.findall(r"\]\(data:image/([\w+]+);base64,", inline) == ["svg+xml", "svg+xml", "png"]


# Where it writes


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("report.md", "# python"),
        ("report.json", '{\n  "schema"'),
        ("report.txt", "python search.py"),
        ("report", "# python"),
    ],
)
def test_the_ending_chooses_the_form(
    name: str, begins: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reported(capsys, whole, "-o", tmp_path / name) == ""
    assert (tmp_path / name).read_text().startswith(begins)
    assert list(tmp_path.glob(".*")) == []


def test_the_form_that_is_named_wins_over_the_ending(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.md"
    reported(capsys, whole, "-o", out, "--json")
    assert json.loads(out.read_text())["schema"] == SCHEMA


def test_pictures_lie_beside_the_file(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my report.md"
    reported(capsys, whole, "-o", out)
    links = re.findall(r"\]\((my%20report-images/[\w-]+\.(?:svg|png))\)", out.read_text())
    names = ["busy-cores.svg", "threads.svg", "cores.png"]
    assert links == [f"my%20report-images/{name}" for name in names]
    assert sorted(path.name for path in (tmp_path / "my report-images").iterdir()) == sorted(names)


@pytest.mark.parametrize(("images", "pictures"), [("inline", 3), ("none", 0)])
def test_without_files_there_is_no_folder(
    images: str, pictures: int, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.md"
    reported(capsys, whole, "-o", out, "--images", images)
    assert out.read_text().count("![") == pictures
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "run.corelens"}


# What it refuses


def test_existing_output_is_kept_unless_forced(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    out.write_text("mine")
    assert "--force" in refused(capsys, ExitCode.OUTPUT_EXISTS, whole, "-o", out)
    assert out.read_text() == "mine"
    reported(capsys, whole, "-o", out, "--force")
    assert json.loads(out.read_text())["schema"] == SCHEMA


def test_an_existing_folder_of_pictures_is_kept_unless_forced(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report-images").mkdir()
    out = tmp_path / "report.md"
    assert "report-images" in refused(capsys, ExitCode.OUTPUT_EXISTS, whole, "-o", out)
    assert not out.exists()
    reported(capsys, whole, "-o", out, "--images", "none")
    reported(capsys, whole, "-o", out, "--force")
    assert len(list((tmp_path / "report-images").iterdir())) == 3


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_recording_is_never_the_output(
    force: list[str], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = whole.read_bytes()
    link = tmp_path / "link"
    link.symlink_to(whole)
    for output in (whole, link):
        assert "is a recording to be read" in refused(capsys, ExitCode.USAGE, whole, "-o", output, *force)
    assert whole.read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--images", "inline"], "--images inline needs Markdown"),
        (["--json", "--images", "none"], "--images none needs Markdown"),
        (["--format", "markdown", "--images", "files"], "--images files has no place for the files"),
        (["--json", "--format", "markdown"], "--json and --format markdown contradict each other"),
    ],
)
def test_flags_that_make_no_sense_are_usage_errors(
    flags: list[str], expected: str, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refused(capsys, ExitCode.USAGE, whole, *flags)


def test_no_recording_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert "name one: corelens report FILE" in refused(capsys, ExitCode.USAGE)


def test_a_form_that_does_not_exist_is_a_usage_error(whole: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(whole), "--format", "pdf"])
    assert ended.value.code == ExitCode.USAGE


def test_a_recording_without_processes_has_nothing_to_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = written(tmp_path / "empty.corelens")
    assert "record again, for longer" in refused(capsys, ExitCode.NOTHING_MEASURED, empty)


@pytest.mark.parametrize("content", [None, b"", b"no recording at all", b"\x1f\x8b\x08\x00torn"])
def test_what_is_no_recording_is_one_line(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "strange.corelens"
    if content is not None:
        path.write_bytes(content)
    assert "strange.corelens" in refused(capsys, ExitCode.UNREADABLE, path)


def test_a_recording_of_the_future_asks_for_an_upgrade(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.corelens", *search(), head=header(format=FORMAT_VERSION + 1))
    line = refused(capsys, ExitCode.UNREADABLE, path, "--json")
    assert f"format {FORMAT_VERSION + 1}, this corelens reads up to {FORMAT_VERSION}" in line
    assert "pip install --upgrade corelens" in line


@pytest.mark.parametrize("name", ["none/report.json", "folder"])
def test_an_output_that_cannot_be_written_is_one_line(
    name: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    line = refused(capsys, ExitCode.OUTPUT_FAILED, whole, "-o", tmp_path / name, "--json", "--force")
    assert "choose another place with -o OUT" in line
    assert list(tmp_path.glob(".*")) == []


# Recordings in bad shape


def test_a_cut_recording_is_reported_as_far_as_it_goes(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    assert reported(capsys, whole).splitlines()[2].startswith("the recording was cut")
    found = json.loads(reported(capsys, whole, "--json"))
    assert (found["facts"]["source"]["complete"], found["facts"]["source"]["end_reason"]) == (False, "cut")
    assert 0 < found["facts"]["wall_s"] < 4
    assert found["gaps"][0]["what"] == "the end of the recording"


def test_a_damaged_recording_tells_what_was_lost(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    whole.write_bytes(data)
    found = json.loads(reported(capsys, whole, "--json"))
    assert found["facts"]["source"]["complete"] is False
    assert found["facts"]["source"]["end_reason"] == "target-ended"
    assert "are unreadable" in found["facts"]["source"]["damage"][0]
    assert found["facts"]["source"]["damage"][0] in " ".join(reported(capsys, whole).split())
    # The end told the whole truth, whatever was lost in between.
    assert found["facts"]["cpu"]["used_core_s"] == pytest.approx(7.2)


def test_every_member_can_be_lost(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = re.split(rb"(?=\x1f\x8b\x08\x00\x00\x00\x00\x00)", whole.read_bytes())[1:]
    assert len(members) > 20
    for lost in range(1, len(members)):
        torn = tmp_path / "torn.corelens"
        torn.write_bytes(b"".join(members[:lost] + members[lost + 1 :]))
        found = json.loads(reported(capsys, torn, "--json"))
        # Without the footer and the rest of the last member, a cut is all that shows.
        assert found["facts"]["source"]["complete"] is False, lost
        assert found["facts"]["cpu"]["used_core_s"] <= 7.2 + 1e-6, lost


# A terminal, and one end to end


def on_a_terminal(command: list[str], columns: int, **variables: str) -> str:
    """What a command shows on a terminal of this width."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8", **variables}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: read_terminal(ours), b""))
    os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode()


def read_terminal(descriptor: int) -> bytes:
    """What comes next; nothing once the other side is closed, which Linux calls an error."""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


def test_a_terminal_gets_colours_its_own_width_and_no_color_takes_them_away(whole: Path) -> None:
    command = [sys.executable, "-m", "corelens", "report", str(whole)]
    coloured, plain = (on_a_terminal(command, 70, **how) for how in ({}, {"NO_COLOR": "1"}))
    assert re.search(r"\x1b\[[\d;]*36m", coloured)
    assert not re.search(r"\x1b\[[\d;]*3\d(;\d+)*m", plain)
    texts = [re.sub(r"\x1b\[[\d;]*m", "", text) for text in (coloured, plain)]
    assert texts[0] == texts[1]
    assert 60 < max(map(len, texts[0].splitlines())) <= 70


def test_a_stdout_that_holds_no_such_letters_gets_others(whole: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "corelens", "report", str(whole)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"busy cores over time" in done.stdout


def test_a_program_is_recorded_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "real.corelens"
    program = "import time\nwhile time.thread_time() < 0.3: sum(range(1000))\nprint('\\x1b[31m')"
    command = [
        sys.executable,
        "-m",
        "corelens",
        "record",
        "-o",
        str(path),
        "--",
        sys.executable,
        "-c",
        program,
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(reported(capsys, path, "--json"))
    assert found["facts"]["source"]["argv"][-1] == program
    assert found["facts"]["cpu"]["used_core_s"] >= 0.3
    assert found["facts"]["cpu"]["used_core_s"] == pytest.approx(
        found["facts"]["roles"][0]["used_core_s"], abs=0.05
    )
    assert (
        found["facts"]["wall_s"] >= found["facts"]["cpu"]["used_core_s"] / found["facts"]["capacity"]["cores"]
    )
    assert "\\x1b" in reported(capsys, path, "--format", "markdown")
