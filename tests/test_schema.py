"""The documentation of the JSON report is whole: every key, every unit, and nothing that is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pytest

from corelens.reports.facts import summarise
from corelens.reports.json_report import AT_THE_TOP, json_report
from corelens.reports.report import Report
from corelens.reports.schema import COUNTS, PLAIN, UNITS, json_fields, unit_of
from tests.made_recordings import SEARCH, recording, search

PAGE = Path(__file__).parent.parent / "docs" / "report-json.md"
TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "bool": (bool,),
    "object": (dict,),
}
FORMS = {path: form for path, form, _, _ in json_fields()}
OPEN = {"facts.source.labels", "facts.packages", "facts.processes[].variables", "facts.views[].variables_at_exec",
        "facts.views[].variables_now", "facts.trials.trials[].parameters"}  # fmt: skip
"""Objects whose keys the recorded program chooses."""


def values(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value of a JSON report with its path; the children of a node of the tree count as nodes."""
    path = re.sub(r"^facts\.tree\[\](\.children\[\])+(?=\.)", "facts.tree[]", path)
    if isinstance(value, list):
        for one in cast(list[object], value):
            yield from values(one, f"{path}[]")
        return
    if path:
        yield path, value
    if isinstance(value, dict) and path not in OPEN:
        dot = f"{path}." if path else ""
        for key, one in cast(dict[str, object], value).items():
            yield from values(one, dot + key)


def made() -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(json_report(summarise(recording(*search(), head=SEARCH)))))


def documented() -> dict[str, str]:
    """Key to unit, by the first table of the page."""
    text = PAGE.read_text().partition("## The JSON comparison")[0]
    rows = re.findall(r"^\| `([^`]+)` \| [^|]* \| ([^|]*) \|", text, re.MULTILINE)
    return {path: unit.strip() for path, unit in rows}


def test_every_key_of_a_report_is_documented() -> None:
    found = {path for path, _ in values(made())}
    assert len(found) > 100
    assert found - documented().keys() == set()


def test_every_documented_key_is_in_a_report_but_for_what_is_empty_there() -> None:
    report = made()
    found = {path for path, _ in values(report)}
    hollow = tuple(nothing(report))
    assert [path for path in documented().keys() - found if not path.startswith(hollow)] == []
    assert "facts.source.damage[]" in hollow
    there = {"facts.pools[]", "facts.trials", "facts.timeline.busy_cores[]", "facts.tree[]", "gaps[]"}
    assert not there & set(hollow)


def nothing(value: object, path: str = "") -> Iterator[str]:
    """Paths of the elements of empty lists, and of what is null."""
    if value is None:
        yield path
    elif isinstance(value, list):
        elements = cast(list[object], value)
        yield from (
            (f"{path}[]",)
            if not elements
            else (one for each in elements for one in nothing(each, f"{path}[]"))
        )
    elif isinstance(value, dict):
        dot = f"{path}." if path else ""
        items = cast(dict[str, object], value).items()
        yield from (one for key, each in items for one in nothing(each, dot + key))


def test_every_value_has_its_documented_type() -> None:
    for path, value in values(made()):
        form = FORMS[path]
        if value is None:
            assert "or null" in form, path
        else:
            kind = form.partition(" ")[0].removesuffix(",")
            assert isinstance(value, TYPES[kind]), path
            assert not isinstance(value, bool) or kind == "bool", path


def test_every_number_has_its_unit_in_its_key_or_is_a_count() -> None:
    numbers = [path for path, form, _, _ in json_fields() if form.startswith(("int", "float"))]
    assert len(numbers) > 80
    assert [path for path in numbers if path != "schema" and unit_of(path) is None] == []


def test_the_page_gives_the_unit_of_every_number() -> None:
    page = documented()
    for path, form, unit, _ in json_fields():
        assert page[path] == unit
        if form.startswith(("int", "float")) and path != "schema":
            assert unit == unit_of(path)


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("facts.wall_s", "s"),
        ("facts.tree_at_s", "s since the recording began"),
        ("facts.processes[].born_s", "s since the recording began"),
        ("facts.threads.peak_s", "s since the recording began"),
        ("facts.cpu.used_core_s", "core-seconds"),
        ("facts.roles[].used_core_s_spread.median", "core-seconds"),
        ("facts.roles[].used_core_s_spread.count", ""),
        ("facts.memory.rss_bytes.mean", "bytes"),
        ("facts.threads.mean", ""),
        ("facts.cpu.busy_cores_mean", "cores"),
        ("facts.capacity.cores", "cores"),
        ("facts.timeline.cores[]", ""),
        ("facts.timeline.core_busy[][]", "ratio, 0 to 1"),
        ("facts.cpu.utilisation", "ratio, 0 to 1"),
        ("facts.trials.per_hour", "1/h"),
        ("facts.source.started_unix_ns", "ns since 1970-01-01 UTC"),
        ("recorder.rate_hz", "Hz"),
        ("findings[].lost_share", "ratio, 0 to 1"),
        ("findings[].evidence[].from_s", "s since the recording began"),
        ("findings[].gain.factor", "ratio"),
        ("facts.cpu.surprise", None),
    ],
)
def test_units_are_read_off_the_ending(path: str, unit: str | None) -> None:
    assert unit_of(path) == unit


def test_no_rule_about_units_is_left_over() -> None:
    paths = [path.replace("[]", "") for path in FORMS]
    assert [ending for ending, _ in UNITS if not any(path.endswith(ending) for path in paths)] == []
    names = {path.rpartition(".")[2] for path in paths}
    assert (COUNTS | PLAIN) - names == set()


def test_texts_under_fields_become_their_meanings() -> None:
    meanings = {path: meaning for path, _, _, meaning in json_fields()}
    assert meanings["facts.source.how"] == "`started` or `attached`."
    assert meanings["facts.trials"] == "None: the program marked no trials."
    assert meanings["facts.cpu"] == "Core-seconds of the whole tree."
    assert meanings["facts.source.path"] == ""


def test_every_part_of_the_report_is_listed_in_its_order() -> None:
    top = [path.removesuffix("[]") for path in FORMS if "." not in path]
    named = {field.name for field in fields(Report)}
    ledgers = [key for key in ("core_time_ledger", "thread_ledger") if AT_THE_TOP[key] in named]
    assert top == [
        "schema",
        "verdict",
        "variant",
        "headline",
        "findings",
        *ledgers,
        "facts",
        "recorder",
        "gaps",
    ]
    parts = [
        path.removesuffix("[]").partition(".")[2]
        for path in FORMS
        if path.count(".") == 1 and path.startswith("facts.")
    ]
    assert sorted(
        [*parts, "diagnosis", *(AT_THE_TOP[key] for key in (*ledgers, "recorder", "gaps"))]
    ) == sorted(named)
