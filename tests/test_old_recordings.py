"""Recordings of every version of the format are read, and reports say the same of them as ever.

They lie in tests/fixtures; `python tests/fixtures/make.py figures` writes down what reports say of them now.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from corelens.cli import main
from corelens.recording import read
from corelens.reports.facts import summarise
from corelens.vocabulary import FORMAT_VERSION
from tests.fixtures.make import HOST, figures

FOLDER = Path(__file__).parent / "fixtures"
OLD = sorted(FOLDER.glob("*.corelens"))
# Where things are on any machine.
PLACES = ("/usr/", "/proc", "/sys", "/dev", "/group", "/tmp/example", "/etc")


def differences(now: Any, then: Any, path: str = "") -> Iterator[str]:
    """Where a report no longer says what it said; a key that is new since then is no difference."""
    if isinstance(then, dict):
        for key, value in cast(dict[str, Any], then).items():
            yield from differences(now.get(key, "gone"), value, f"{path}.{key}")
    elif isinstance(then, list) and isinstance(now, list):
        said, says = cast(list[Any], then), cast(list[Any], now)
        if len(says) != len(said):
            yield f"{path}: {len(said)} elements became {len(says)}"
        for place, (new, old) in enumerate(zip(says, said, strict=False)):
            yield from differences(new, old, f"{path}[{place}]")
    elif now != (pytest.approx(then) if isinstance(then, float) else then):
        yield f"{path}: {then} became {now}"


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_an_old_recording_is_reported_with_the_same_figures(path: Path) -> None:
    then = json.loads(path.with_suffix(".json").read_text())
    assert list(differences(json.loads(figures(path)), then)) == []


def test_every_version_of_the_format_has_a_recording() -> None:
    assert [read(path).header["format"] for path in OLD] == list(range(1, FORMAT_VERSION + 1))


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_an_old_recording_is_whole_and_says_what_is_known_of_its_program(path: Path) -> None:
    """The figures that follow from the program itself, whatever machine ran it."""
    found = summarise(read(path))
    assert found.source.complete
    assert found.trials is not None
    assert [(trial.number, trial.value, trial.parameters) for trial in found.trials.trials] == [
        (0, 0.0, {"x": 0.0}), (1, 0.25, {"x": 0.5}),
    ]  # fmt: skip
    assert (found.processes_peak, found.memory.workers, found.source.exit_code) == (3, 2, 0)
    # Two threads and two workers of 0.2 core-seconds each, and the imports.
    assert 0.8 <= found.cpu.used_core_s <= 3.0


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
@pytest.mark.parametrize("form", ["terminal", "markdown", "json"])
def test_an_old_recording_is_shown(path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(path), "--format", form]) == 0
    assert "search.py" in capsys.readouterr().out


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_an_old_recording_names_nobody(path: Path) -> None:
    recording = read(path)
    assert HOST.items() <= recording.header["host"].items()
    words = {word for lines in recording.by_kind.values() for line in lines for word in texts(line)}
    places = {place for word in words for place in re.findall(r"(?<![\w.])/[\w.]+[^\s]*", word)}
    assert {place for place in places if not place.startswith(PLACES)} == set()
    assert path.stat().st_size < 10_000


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        keyed = cast(dict[str, Any], value)
        yield from (text for pair in keyed.items() for one in pair for text in texts(one))
    elif isinstance(value, list):
        yield from (text for one in cast(list[Any], value) for text in texts(one))
    elif isinstance(value, str):
        yield value


def test_a_figure_that_changes_is_found() -> None:
    then = {"cpu": {"used": 1.0}, "roles": [1, 2]}
    assert list(differences({"cpu": {"used": 1.0 + 1e-9, "new": 3}, "roles": [1, 2]}, then)) == []
    assert list(differences({"cpu": {"used": 1.1}, "roles": [1]}, then)) == [
        ".cpu.used: 1.0 became 1.1", ".roles: 2 elements became 1",
    ]  # fmt: skip
    assert list(differences({"cpu": {}, "roles": None}, then)) == [
        ".cpu.used: 1.0 became gone", ".roles: [1, 2] became None",
    ]  # fmt: skip
