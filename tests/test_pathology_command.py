"""`corelens replay pathology` as a user meets it: what it records, judges, refuses, and returns."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from corelens.cli import main
from corelens.cli.pathology import Said, verdict_of
from corelens.errors import ExitCode
from corelens.recording import read
from corelens.reports.findings import Diagnosis, Evidence, Finding, Remedy
from corelens.reports.findings import Gain as FoundGain
from corelens.reports.report import Report
from corelens.scenarios.pathologies.outcome import Gain
from corelens.scenarios.pathologies.program import Program
from tests.made_reports import report

SICK = Program("sick-one", "gil-contention", "some", "does not scale", fast=True)
STUCK = Program("stuck-one", "deadlock", "some", "gets stuck")
HEALTHY = Program("healthy-one", "healthy", "some", "scales", fast=True)
ABSENT = Program("absent-one", "io-bound", "some", "cannot run", libraries=("no_such_module",))
WORK = "import sys\nprint('units=' + ('80' if '--fixed' in sys.argv else '20') + ' elapsed 4.00')\n"
GIVE_UP = 'import sys\nprint("units=1 elapsed 1") if "--fixed" in sys.argv else sys.exit(75)\n'


@pytest.fixture(autouse=True)
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of four small programs, and a folder to work in."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for program, text in ((SICK, WORK), (STUCK, GIVE_UP), (HEALTHY, WORK)):
        (folder / f"{program.name.replace('-', '_')}.py").write_text(text)
    monkeypatch.setattr("corelens.scenarios.pathologies.program.FOLDER", folder)
    monkeypatch.setattr("corelens.scenarios.pathologies.registry.PROGRAMS", (SICK, STUCK, HEALTHY, ABSENT))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def diagnosed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Stand in for the rules: what a recording is diagnosed as is decided by its labels."""
    verdicts = {
        ("sick-one", "sick"): "gil-contention",
        ("stuck-one", "sick"): "deadlock",
    }

    def stand_in(report: Report) -> Said:
        labels = report.source.labels
        verdict = verdicts.get((labels["pathology"], labels["twin"]), "healthy")
        return Said(verdict, None, Gain(4.2) if verdict == "gil-contention" else None)

    monkeypatch.setattr("corelens.cli.pathology.verdict_of", stand_in)

    def instead(name: str, verdict: str) -> None:
        verdicts[name, "sick"] = verdict
        verdicts[name, "fixed"] = verdict

    return instead


def replay(*argv: str) -> int:
    return main(["replay", "pathology", *argv])


@pytest.mark.usefixtures("diagnosed")
def test_one_program_is_recorded_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "one.corelens"
    assert replay("sick-one", "-o", str(kept)) == ExitCode.OK
    assert capsys.readouterr().out == "sick-one: must be gil-contention, got gil-contention: right\n"
    assert read(kept).header["labels"] == {"pathology": "sick-one", "twin": "sick"}
    assert "units=20" in kept.with_suffix(".log").read_text()


@pytest.mark.usefixtures("diagnosed")
def test_the_fixed_twin_must_get_another_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "one.corelens"
    assert replay("sick-one", "--fixed", "-o", str(kept)) == ExitCode.OK
    assert "must be anything but gil-contention, got healthy: right" in capsys.readouterr().out
    assert "units=80" in kept.with_suffix(".log").read_text()


@pytest.mark.parametrize("flags", [[], ["--fixed"]])
def test_a_wrong_verdict_has_its_own_exit_code(
    flags: list[str], capsys: pytest.CaptureFixture[str], diagnosed: Callable[[str, str], None]
) -> None:
    diagnosed("sick-one", "gil-contention" if flags else "io-bound")
    assert replay("sick-one", *flags) == ExitCode.NOT_AS_PREDICTED
    assert "WRONG" in capsys.readouterr().out


@pytest.mark.usefixtures("diagnosed")
def test_a_program_that_must_get_stuck_may_end_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert replay("stuck-one") == ExitCode.OK
    assert replay("stuck-one", "--fixed") == ExitCode.OK
    assert "WRONG" not in capsys.readouterr().out


@pytest.mark.usefixtures("diagnosed")
def test_a_program_that_does_not_get_stuck_fails(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (zoo / "stuck_one.py").write_text(WORK)
    assert replay("stuck-one") == ExitCode.FAILED
    assert "did not get stuck: it ended with exit code 0" in capsys.readouterr().out


@pytest.mark.usefixtures("diagnosed")
def test_a_program_that_fails_says_why(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (zoo / "sick_one.py").write_text("import sys; sys.exit('no room left')")
    assert replay("sick-one") == ExitCode.FAILED
    assert "failed with exit code 1: no room left: WRONG" in capsys.readouterr().out


@pytest.mark.usefixtures("diagnosed")
def test_all_programs_give_a_table_their_results_and_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "accuracy.md"
    assert replay("--all", "-o", "kept", "--accuracy", str(page)) == ExitCode.OK
    out = capsys.readouterr().out
    assert "not run: absent-one: no_such_module is not installed" in out
    assert "causes right: 2 of 2" in out
    assert "false alarms: 0 of 1 healthy programs" in out
    results = json.loads((tmp_path / "kept" / "pathologies.json").read_text())
    by_name = {row["name"]: row for row in results["outcomes"]}
    assert by_name["sick-one"]["measured_gain"] == 4.0
    assert by_name["sick-one"]["gain_is_right"] is True
    assert by_name["healthy-one"]["fixed"] is None
    assert "| sick-one | gil-contention | gil-contention | right | healthy | right |" in page.read_text()
    names = {path.name for path in (tmp_path / "kept").glob("*.corelens")}
    assert names == {f"{stem}.corelens" for stem in (*twins("sick-one"), *twins("stuck-one"), "healthy-one")}


def twins(name: str) -> tuple[str, str]:
    return name, f"{name}-fixed"


def test_the_fast_part_leaves_fixes_out_and_counts_alarms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], diagnosed: Callable[[str, str], None]
) -> None:
    diagnosed("healthy-one", "worker-churn")
    assert replay("--fast", "-o", "kept") == ExitCode.NOT_AS_PREDICTED
    assert "false alarms: 1 of 1 healthy programs" in capsys.readouterr().out
    names = {path.stem for path in (tmp_path / "kept").glob("*.corelens")}
    assert names == {"sick-one", "healthy-one"}


@pytest.mark.parametrize(("least", "code"), [("0.5", ExitCode.OK), ("0.6", ExitCode.NOT_AS_PREDICTED)])
def test_a_share_of_right_verdicts_can_be_asked_for(
    least: str, code: ExitCode, diagnosed: Callable[[str, str], None]
) -> None:
    diagnosed("healthy-one", "worker-churn")
    assert replay("--fast", "-o", "kept", "--least", least) == code


@pytest.mark.usefixtures("diagnosed")
def test_what_is_there_is_kept_without_force(tmp_path: Path) -> None:
    kept = tmp_path / "one.corelens"
    kept.write_text("precious")
    assert replay("sick-one", "-o", str(kept)) == ExitCode.OUTPUT_EXISTS
    assert kept.read_text() == "precious"
    assert replay("sick-one", "-o", str(kept), "--force") == ExitCode.OK
    (tmp_path / "pathologies.json").write_text("precious")
    assert replay("--fast", "-o", str(tmp_path)) == ExitCode.OUTPUT_EXISTS


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        ([], ExitCode.USAGE),
        (["no-such"], ExitCode.USAGE),
        (["sick-one", "--all"], ExitCode.USAGE),
        (["--all", "--fixed"], ExitCode.USAGE),
        (["sick-one", "--accuracy", "a.md"], ExitCode.USAGE),
        (["healthy-one", "--fixed"], ExitCode.USAGE),
        (["absent-one"], ExitCode.MISSING_EXTRA),
    ],
)
def test_what_cannot_be_is_one_line(flags: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(*flags) == code
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("corelens: ")


def test_the_list_says_what_cannot_run_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert replay("--list") == ExitCode.OK
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == ["sick-one", "stuck-one", "healthy-one", "absent-one"]
    assert listed[-1].endswith("(cannot run here: no_such_module is not installed)")


@pytest.mark.usefixtures("diagnosed")
def test_an_interrupt_ends_the_run_and_says_so(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    interrupt = f"import os, signal\nos.kill({os.getpid()}, signal.SIGINT)\nsignal.pause()\n"
    (zoo / "sick_one.py").write_text(interrupt)
    before = signal.getsignal(signal.SIGTERM)
    assert replay("sick-one") == ExitCode.INTERRUPTED
    assert "interrupted; what was recorded is kept" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.usefixtures("diagnosed")
def test_an_interrupt_keeps_what_was_found(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    interrupt = f"import os, signal\nos.kill({os.getpid()}, signal.SIGINT)\nsignal.pause()\n"
    (zoo / "healthy_one.py").write_text(interrupt)
    assert replay("--fast", "-o", "kept") == ExitCode.INTERRUPTED
    assert "causes right: 1 of 1" in capsys.readouterr().out


@pytest.mark.usefixtures("diagnosed")
def test_where_nothing_can_run_nothing_is_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("corelens.scenarios.pathologies.registry.PROGRAMS", (ABSENT,))
    assert replay("--all", "-o", "kept") == ExitCode.NOTHING_MEASURED
    assert "not run here: 1" in capsys.readouterr().out


def test_a_report_without_diagnosis_has_no_verdict() -> None:
    assert verdict_of(report()) == Said(None, None, None)


def test_the_verdict_comes_with_the_gain_of_its_own_finding() -> None:
    def finding(slug: str, factor: float | None) -> Finding:
        remedy, gain = Remedy("do less"), FoundGain(factor, "counted", at_least=True)
        return Finding(slug, "some", "cause", 1.0, 0.5, 0.9, (Evidence("seen"),), remedy, gain)

    findings = (finding("io-bound", 3.0), finding("deadlock", None))
    diagnosis = Diagnosis("io-bound", "some", "It waits.", findings)
    assert verdict_of(replace(report(), diagnosis=diagnosis)) == Said(
        "io-bound", "some", Gain(3.0, at_least=True)
    )
    stuck = Diagnosis("deadlock", None, "Nothing moves.", findings)
    assert verdict_of(replace(report(), diagnosis=stuck)) == Said("deadlock", None, None)
