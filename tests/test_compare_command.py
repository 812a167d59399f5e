"""`corelens compare` as a user meets it: what it prints and writes, refuses, and returns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from corelens.cli import main
from corelens.cli.compare import write_comparison
from corelens.errors import ExitCode, NothingMeasured
from corelens.recording import RecordingWriter
from corelens.reports.compared import Skipped
from corelens.vocabulary import FORMAT_VERSION, Line, columnar_line

SECOND = 1_000_000_000
WORK = {
    "scale": "small", "method": "pure", "evaluation": "batched", "trials": 2, "generations": 2, "seeds": 1,
    "population": 20, "stagnation_limit": None, "seed": 1, "limit_threads": "none", "workers": 1,
}  # fmt: skip
HOST = {
    "hostname": "lab", "kernel": "6.18", "machine": "x86_64", "cpu_model": "EPYC", "logical_cores": 2,
    "physical_cores": 1, "numa_nodes": 1, "memory_bytes": 8_000_000_000, "clock_ticks_per_s": 100,
    "page_bytes": 4096, "python": "3.11.7",
}  # fmt: skip


def recorded(folder: Path, backend: str, seconds: int = 4, **search: object) -> Path:
    """Write the recording of a search that keeps one core busy and completes two trials."""
    path = folder / f"{backend}.corelens"
    writer = RecordingWriter(path)
    for line in (*beginning(), *ticks(seconds), *marks(seconds, {**WORK, "backend": backend, **search})):
        writer.add(line)
    end = seconds * SECOND
    writer.add({"kind": "process.died", "t_ns": end, "pid": 7, "exit_code": 0, "signal": None, "cpu_ns": end,
                "how": "wait"})  # fmt: skip
    writer.add({"kind": "footer", "t_ns": end, "reason": "target-ended", "exit_code": 0, "signal": None,
                "user_ns": end, "system_ns": 0, "max_rss_bytes": 1 << 27, "ticks": seconds, "ticks_missed": 0,
                "own_cpu_ns": SECOND // 100, "own_max_rss_bytes": 1 << 24})  # fmt: skip
    writer.close(end)
    return path


def beginning() -> list[Line]:
    header: Line = {
        "kind": "header", "format": FORMAT_VERSION, "corelens": "0.1.0", "started_unix_ns": 0,
        "t0_monotonic_ns": 0, "t0_boottime_ns": 0, "host": HOST,
        "target": {"how": "started", "pid": 7, "argv": ["python", "search.py"]},
        "periods_ns": {"threads": SECOND, "tree": SECOND}, "budget_cores": None, "agent": False, "labels": {},
        "sees": [],
    }  # fmt: skip
    limits: Line = {
        "kind": "limits", "t_ns": 0, "online_cores": [0, 1], "affinity_cores": [0, 1], "cgroups": [],
        "quota_cores": None, "memory_limit_bytes": None, "capacity_cores": 2.0, "capacity_because": "online",
        "soft_open_files": 1024,
    }  # fmt: skip
    born: Line = {
        "kind": "process.born", "t_ns": 0, "pid": 7, "ppid": 1, "start_ticks": 0, "comm": "python",
        "argv": ["python", "search.py"], "exe": "/usr/bin/python", "role": "main", "joined_by": "root",
        "uid": 0, "affinity": [0, 1], "variables": {}, "cpu_ns": 0, "again": False,
    }  # fmt: skip
    return [header, limits, born, columnar_line("threads.born", 0, [(7, 7, 0, "python")])]


def ticks(seconds: int) -> list[Line]:
    lines: list[Line] = []
    for second in range(seconds + 1):
        now = second * SECOND
        lines.append(columnar_line("processes", now, [(7, now, 1)]))
        lines.append(columnar_line("threads", now, [(7, now, now // 100, second)]))
        lines.append(columnar_line("process.detail", now, [(7, now, 0, 0, 0, 9, 0, 1 << 27, "R", *(0,) * 6)]))
        lines.append({"kind": "self", "t_ns": now, "cpu_ns": now // 100, "rss_bytes": 1 << 24, "ticks": 1,
                      "ticks_missed": 0, "threads_read": 1, "cpu_by_probe_ns": {}})  # fmt: skip
    return lines


def marks(seconds: int, search: dict[str, object]) -> list[Line]:
    each = seconds * SECOND // 2
    lines = [mark(0, "search", "point", None, search)]
    for number in range(2):
        lines.append(mark(number * each, "trial", "begin", f"7.{number}", {"number": number, "params": {}}))
        ended = {"number": number, "value": 0.5 + number, "state": "complete"}
        lines.append(mark((number + 1) * each, "trial", "end", f"7.{number}", ended))
    return lines


def mark(t_ns: int, name: str, phase: str, span: str | None, attributes: dict[str, Any]) -> Line:
    return {"kind": "mark", "t_ns": t_ns, "pid": 7, "tid": 7, "name": name, "phase": phase, "span": span,
            "attributes": attributes}  # fmt: skip


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    return [str(recorded(tmp_path, "sequential", 8)), str(recorded(tmp_path, "process-pool", 4, workers=2))]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run `compare`, hold that it says one line on stderr and nothing on stdout, and give code and line."""
    code = main(["compare", *arguments])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    return code, shown.err


def test_the_terminal_report_goes_to_stdout(two: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *two]) == ExitCode.OK
    shown = capsys.readouterr()
    assert shown.err == ""
    assert re.search(r"^process-pool .* 2\.00 +1\.00$", shown.out, re.MULTILINE)
    assert "Identical trial values in every run: yes (2 trials × 2 runs, bit for bit)." in shown.out


def test_markdown_is_written_with_its_pictures_beside_it(two: list[str], tmp_path: Path) -> None:
    out = tmp_path / "my report.md"
    assert main(["compare", *two, "-o", str(out), "--price", "3.50"]) == ExitCode.OK
    text = out.read_text()
    assert "### Cost at $3.50 per hour of the machine" in text
    links = re.findall(r"\]\((my%20report-images/[\w-]+\.png)\)", text)
    assert len(links) == 3
    assert all((tmp_path / link.replace("%20", " ")).read_bytes().startswith(b"\x89PNG") for link in links)
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_inline_pictures_need_no_files(two: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *two, "--format", "markdown", "--images", "inline"]) == ExitCode.OK
    assert capsys.readouterr().out.count("](data:image/png;base64,") == 3


def test_json_is_chosen_by_the_ending(two: list[str], tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    assert main(["compare", *two, "-o", str(out)]) == ExitCode.OK
    rows = json.loads(out.read_text())["groups"][0]["rows"]
    assert [row["figures"]["wall_s"]["median"] for row in rows] == [8.0, 4.0]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_files_are_a_usage_error(
    count: int, two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = refused(capsys, *two[:count])
    assert code == ExitCode.USAGE
    assert "name two recordings or more: corelens compare FILE FILE" in line


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--price", "0"], "--price 0 is no hourly price"),
        (["--baseline", "dask"], "there is no run called dask here"),
        (["--group-by", "colour"], "--group-by colour: sequential has no such label"),
        (["--images", "inline"], "--images inline needs Markdown"),
        (["--format", "markdown", "--images", "files"], "--images files has no place for the files"),
    ],
)
def test_flags_that_make_no_sense_are_usage_errors(
    flags: list[str], expected: str, two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = refused(capsys, *two, *flags)
    assert code == ExitCode.USAGE
    assert expected in line


def test_other_work_is_refused_in_one_line_and_compared_anyway(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(recorded(tmp_path, "sequential")), str(recorded(tmp_path, "ray", population=500))]
    code, line = refused(capsys, *files)
    assert code == ExitCode.NOT_COMPARABLE
    assert "the runs differ in population: 20 (sequential) or 500 (ray)" in line
    assert main(["compare", *files, "--anyway"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("NOT COMPARABLE (--anyway): population: 20")


def test_groups_make_unlike_evaluations_comparable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [
        str(recorded(tmp_path, "sequential")),
        str(recorded(tmp_path, "process-pool", evaluation="per-genome")),
    ]
    assert refused(capsys, *files)[0] == ExitCode.NOT_COMPARABLE
    assert main(["compare", *files, "--group-by", "evaluation"]) == ExitCode.OK
    assert "evaluation per-genome" in capsys.readouterr().out


def test_existing_output_is_kept_unless_forced(
    two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.md"
    out.write_text("mine")
    code, line = refused(capsys, *two, "-o", str(out))
    assert (code, out.read_text()) == (ExitCode.OUTPUT_EXISTS, "mine")
    assert "--force" in line
    assert main(["compare", *two, "-o", str(out), "--force", "--images", "none"]) == ExitCode.OK
    assert out.read_text().startswith("# Comparison of 2 runs")


def test_a_recording_is_never_the_output(two: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = Path(two[1]).read_bytes()
    code, _ = refused(capsys, *two, "-o", two[1], "--force")
    assert (code, Path(two[1]).read_bytes()) == (ExitCode.USAGE, before)


def test_an_output_without_a_folder_is_one_line(
    two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = refused(capsys, *two, "-o", str(tmp_path / "none" / "report.md"))
    assert code == ExitCode.OUTPUT_FAILED
    assert "No such file or directory" in line


@pytest.mark.parametrize("content", [None, b"no recording at all"])
def test_what_is_no_recording_is_one_line(
    content: bytes | None, two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "strange.corelens"
    if content is not None:
        path.write_bytes(content)
    code, line = refused(capsys, two[0], str(path))
    assert code == ExitCode.UNREADABLE
    assert "strange.corelens" in line


def test_a_study_is_compared_whatever_became_of_its_runs(
    two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "joblib-loky.corelens"
    broken.write_bytes(b"")
    out = tmp_path / "report.md"
    recordings = [Path(name) for name in two] + [broken]
    skipped = [Skipped("ray", "ray is not installed", {})]
    for _ in range(2):
        write_comparison(recordings, output=out, skipped=skipped, price=3.5, images="none")
    for text in (capsys.readouterr().out, out.read_text()):
        assert "skipped: ray is not installed" in text
        assert "joblib-loky" in text
        assert "process-pool" in text


def test_a_study_without_any_run_says_why() -> None:
    with pytest.raises(NothingMeasured, match=r"ray: ray is not installed"):
        write_comparison([], skipped=[Skipped("ray", "ray is not installed", {})])


def test_json_and_another_format_contradict_each_other(
    two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = refused(capsys, *two, "--json", "--format", "markdown")
    assert code == ExitCode.USAGE
    assert "--json and --format markdown contradict each other" in line


def test_plain_text_has_no_trailing_blanks_and_no_escapes(
    two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *two]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line != line.rstrip() or "\x1b" in line] == []
