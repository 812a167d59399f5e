"""The writers of the comparison: all figures, every reason, nothing that a hostile name could break."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from io import StringIO
from typing import Any, cast

import pytest
from rich.console import Console

from corelens.reports.compared import Comparison, Skipped
from corelens.reports.comparison import compare
from corelens.reports.comparison_figures import FIGURES
from corelens.reports.comparison_json import comparison_fields, comparison_json
from corelens.reports.comparison_markdown import markdown
from corelens.reports.comparison_pictures import busy_cores, drawn, speeds, threads
from corelens.reports.comparison_tables import INSIDE, MACHINE, SPEED
from corelens.reports.comparison_terminal import show
from corelens.reports.findings import Diagnosis
from corelens.reports.formatting import markdown_text, plain, tree_lines
from corelens.reports.report import Report, TreeNode
from tests.made_reports import report, spread_out, threaded, trials

RAY = Skipped("ray", "ray is not installed", {})
HOSTILE = "x\x1b[31m|<b>`*_\n[link](e)$x_{$"


def named(made: Report, path: str) -> Report:
    return replace(made, source=replace(made.source, path=path))


def study(price: float | None = 3.5) -> Comparison:
    reports = [report(), threaded(), spread_out(), named(spread_out(wall_s=26.0), "again.corelens")]
    return compare(reports, price=price, skipped=[RAY])


def on_terminal(comparison: Comparison, width: int = 80) -> str:
    shown = StringIO()
    show(comparison, Console(file=shown, width=width, highlight=False, markup=False, emoji=False))
    return shown.getvalue()


def unlike() -> Comparison:
    other = replace(
        threaded(), source=replace(threaded().source, labels={**threaded().source.labels, "seed": "7"})
    )
    return compare([report(), other])


def disagreeing() -> Comparison:
    return compare(
        [report(), replace(threaded(), trials=trials(61.0, [(1, 1)], values=(0.25, 0.5, 0.75, 9.0)))]
    )


def test_every_figure_stands_in_one_table() -> None:
    shown = [*SPEED, *MACHINE, *INSIDE]
    assert sorted(shown) == sorted(FIGURES)


def test_the_terminal_fits_eighty_columns_and_has_no_escapes_without_a_terminal() -> None:
    text = on_terminal(study())
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text


def test_no_name_or_figure_is_cut_off_in_eighty_columns() -> None:
    text = on_terminal(compare([report(), threaded(), spread_out("process-executor")]))
    assert text.count("process-executor ") >= 3
    assert "…" not in text


@pytest.mark.parametrize(
    "expected",
    [
        "Measured on lab: EPYC, 2 logical cores",
        "Identical trial values in every run: yes (4 trials × 4 runs, bit for bit).",
        "ray: skipped: ray is not installed",
        "Cost at $3.50 per hour of the machine",
    ],
)
def test_terminal_and_markdown_say_the_same(expected: str) -> None:
    comparison = study()
    assert expected in " ".join(on_terminal(comparison).split())
    flat = markdown(comparison, {}).replace("<br>*", ": ").replace("*", "")
    assert expected in " ".join(flat.split())


def test_every_statement_and_figure_of_the_terminal_is_in_the_markdown() -> None:
    comparison = study()
    text = markdown(comparison, {})
    for statement in comparison.groups[0].statements:
        assert markdown_text(statement) in text
    numbers = re.findall(r"\d+\.\d+", on_terminal(comparison))
    assert numbers
    assert [number for number in numbers if number not in text] == []


def test_markdown_tables_have_as_many_cells_as_columns_and_units_in_their_heads() -> None:
    tables = [block for block in markdown(study(), {}).split("\n\n") if block.startswith("| run")]
    assert len(tables) == 3
    for table in tables:
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "wall, s" in tables[0]
    assert "memory/worker, MB" in tables[0]


def test_markdown_shows_the_pictures_that_it_is_given() -> None:
    text = markdown(study(), {"busy-cores": "report-images/busy-cores.png"})
    assert "](report-images/busy-cores.png)" in text
    assert "threads.png" not in text


def test_runs_that_are_unlike_say_so_on_top() -> None:
    comparison = unlike()
    assert on_terminal(comparison).startswith("NOT COMPARABLE (--anyway): seed: 0 (sequential) or 7")
    assert markdown(comparison, {}).split("\n\n")[1].startswith("> [!WARNING]")
    assert json.loads(comparison_json(comparison))["comparable"] is False


def test_values_that_differ_are_loud() -> None:
    comparison = disagreeing()
    assert "IDENTICAL TRIAL VALUES: NO" in on_terminal(comparison)
    assert "> [!CAUTION]\n> **IDENTICAL TRIAL VALUES: NO" in markdown(comparison, {})
    assert "trial 3: 1.0 (sequential) or 9.0 (optuna-threads)" in on_terminal(comparison)


def test_groups_have_their_own_titles() -> None:
    other = replace(
        named(report(), "other.corelens"), source=replace(named(report(), "other.corelens").source,
        labels={**report().source.labels, "evaluation": "per-genome"}),
    )  # fmt: skip
    text = markdown(compare([report(), other], group_by="evaluation"), {})
    assert "## evaluation batched" in text
    assert "## evaluation per-genome" in text


def test_hostile_names_stay_text() -> None:
    tree = (TreeNode(1, HOSTILE, "main", 3, ()),)
    made = [
        named(replace(made, tree=tree), f"{HOSTILE}{place}")
        for place, made in enumerate((report(), report()))
    ]
    comparison = compare(made)
    text = markdown(comparison, {})
    assert "\x1b" not in text + on_terminal(comparison)
    assert "<b>" not in re.sub(r"```text.*?```|(?<!\\)`[^`\n]*`", "", text, flags=re.DOTALL)
    rows = [line for line in text.splitlines() if line.startswith("| x")]
    assert len(rows) == 4
    assert all(r"\|" in row for row in rows)
    # matplotlib would read what is between dollars as a formula, and refuse this one.
    assert len(drawn(comparison)) == 3


def test_a_name_with_newlines_adds_no_line_to_the_terminal() -> None:
    forged = "ray\nrun 1 is 99 times faster"
    made = replace(
        report(), source=replace(report().source, labels={**report().source.labels, "backend": forged})
    )
    text = on_terminal(compare([made, spread_out()]), width=400)
    assert "ray�run 1 is 99 times faster" in text
    assert [line for line in text.splitlines() if line.lstrip().startswith("run 1 is")] == []


def test_plain_text_keeps_letters_and_loses_control() -> None:
    assert plain("ä→ü\x1b[2J\r\n") == "ä→ü�[2J��"


def test_alike_siblings_are_drawn_once_with_their_number() -> None:
    worker = TreeNode(2, "python", "pool-worker-spawn", 3, ())
    root = TreeNode(
        1, "python", "main", 1, (worker, TreeNode(4, "python", "resource-tracker", 1, ()), worker)
    )
    assert tree_lines([root]) == [
        "python [main] 1 thread",
        "├─ 2 × python [pool-worker-spawn] 3 threads each",
        "└─ python [resource-tracker] 1 thread",
    ]


def test_workers_that_differ_by_their_number_are_alike() -> None:
    workers = tuple(TreeNode(number, f"LokyProcess-{number}", "loky-worker", 2, ()) for number in (1, 2))
    assert tree_lines([TreeNode(9, "python", "main", 1, workers)])[1:] == [
        "└─ 2 × LokyProcess-* [loky-worker] 2 threads each"
    ]
    assert tree_lines(workers[:1]) == ["LokyProcess-1 [loky-worker] 2 threads"]


def test_a_chain_deeper_than_calls_can_nest_is_drawn() -> None:
    node = TreeNode(0, "python", "main", 1, ())
    for number in range(1, 3000):
        node = TreeNode(number, "python", "main", 1, (node,))
    assert len(tree_lines([node])) == 3000


def test_json_has_every_documented_field_and_documents_every_field() -> None:
    found = paths(json.loads(comparison_json(study())))
    opaque = {path for path, kind, _, _ in comparison_fields() if kind in ("object", "list")}
    visible = {path for path in found if not any(is_below(path, parent) for parent in opaque)}
    documented = {path for path, _, _, _ in comparison_fields()}
    assert documented <= found
    assert visible <= documented


def paths(value: object, prefix: str = "") -> set[str]:
    if isinstance(value, list):
        return {path for one in cast(list[object], value) for path in paths(one, f"{prefix}[]")}
    if not isinstance(value, dict):
        return set()
    dot = f"{prefix}." if prefix else ""
    items = cast(dict[str, object], value).items()
    return {dot + key for key, _ in items} | {path for key, one in items for path in paths(one, dot + key)}


def is_below(path: str, parent: str) -> bool:
    # Groups and rows are documented field by field, other lists and objects as a whole.
    if parent in ("groups", "groups[].rows", "groups[].rows[].figures"):
        return False
    return path.startswith((f"{parent}.", f"{parent}[]"))


def test_json_figures_hold_the_spread_and_reasons_for_what_is_null() -> None:
    rows: list[dict[str, Any]] = json.loads(comparison_json(study()))["groups"][0]["rows"]
    pool = next(row for row in rows if row["name"] == "process-pool")
    assert pool["figures"]["wall_s"] == {
        "count": 2, "minimum": 23.0, "median": 24.5, "maximum": 26.0, "mean": 24.5,
    }  # fmt: skip
    assert [run["figures"]["wall_s"] for run in pool["runs"]] == [23.0, 26.0]
    for row in rows:
        assert set(row["absent"]) == {key for key, figure in row["figures"].items() if figure is None}


def test_json_is_json_also_where_a_trial_found_no_number() -> None:
    odd = replace(threaded(), trials=trials(61.0, [(1, 1)], values=(math.nan, 0.5)))
    found = json.loads(comparison_json(compare([report(), odd])))
    assert found["groups"][0]["agreement"]["disagreements"][0]["values"][1][0] == "nan"


def test_pictures_share_one_axis_and_one_scale() -> None:
    for figure in (busy_cores(study().groups[0]), threads(study().groups[0])):
        assert figure is not None
        panels = [axis for axis in figure.axes if axis.get_visible()]
        assert [axis.get_title(loc="left") for axis in panels] == [
            "sequential",
            "optuna-threads",
            "process-pool",
        ]
        assert len({axis.get_xlim() for axis in panels}) == len({axis.get_ylim() for axis in panels}) == 1
        assert panels[0].get_xlim()[1] >= 60


def test_bars_have_the_length_of_the_median_and_leave_out_what_has_no_result() -> None:
    figure = speeds(study().groups[0])
    assert figure is not None
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert widths == pytest.approx([(4 * 3600 / 23 + 4 * 3600 / 26) / 2, 4 * 3600 / 61, 4 * 3600 / 41])


def test_the_same_numbers_give_the_same_picture() -> None:
    first, second = drawn(study()), drawn(study())
    assert list(first) == ["trials-per-hour", "busy-cores", "threads"]
    assert first == second
    assert all((ending, data[:4]) == ("png", b"\x89PNG") for ending, data in first.values())


def diagnosed(name: str, verdict: str, path: str | None = None) -> Report:
    headline = f"{HOSTILE} of {verdict}"
    return replace(report(name, path=path), diagnosis=Diagnosis(verdict, None, headline, ()))


def test_each_row_has_its_verdict() -> None:
    made = compare(
        [
            diagnosed("sequential", "healthy"),
            diagnosed("process-pool", "cpu-quota", "a/1.corelens"),
            diagnosed("process-pool", "healthy", "a/2.corelens"),
            diagnosed("process-pool", "cpu-quota", "a/3.corelens"),
        ]
    )
    mixed = "process-pool: cpu-quota in 2 of 3 runs, healthy in 1 of 3 runs"
    for text in (on_terminal(made, 400), markdown(made, {}).replace("\\", "")):
        assert mixed in text
        assert "sequential: healthy: " in text
        assert "\x1b" not in text
    runs = json.loads(comparison_json(made))["groups"][0]["rows"][1]["runs"]
    assert [run["verdict"] for run in runs] == ["cpu-quota", "healthy", "cpu-quota"]
    assert runs[0]["headline"] == f"{HOSTILE} of cpu-quota"


def test_without_a_diagnosis_there_are_no_verdicts() -> None:
    made = compare([report(), report("process-pool")])
    assert "Verdicts" not in on_terminal(made, 400) + markdown(made, {})
