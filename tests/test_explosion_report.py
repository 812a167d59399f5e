"""The explosion's report from made reports: equal only to the thread, and every sentence with its ground."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corelens.errors import NotComparable, NothingMeasured
from corelens.reports.exploded import Explosion, ExplosionRun
from corelens.reports.explosion import explosion
from corelens.reports.explosion_expected import expected, shape_of
from corelens.reports.explosion_json import explosion_fields, explosion_json
from corelens.reports.explosion_markdown import EMULATED, markdown
from corelens.reports.explosion_terminal import lines
from corelens.reports.explosion_words import FROM_SOURCES, MEASURED, statements
from corelens.reports.facts import owned
from corelens.reports.report import LedgerLine, ProcessLedger, Report, ThreadLedger
from corelens.scenarios.search.explosion import Machine, PlannedRun, plan_explosion
from tests.made_reports import report

MACHINE = Machine(torch_threads=2, cores=2, blas=("numpy",))
STORY = {"w5": 385, "w3": 257, "w3-late": 257, "w3-torch": 68, "w3-env": 5, "pool-env": 9}
Threads = Sequence[tuple[str, str, int]]
"""Owner, label and threads of each line of a ledger."""


def planned(cores: Sequence[int] = (64,)) -> dict[str, PlannedRun]:
    return {run.stem: run for run in plan_explosion(MACHINE, list(cores))}


def threads(workers: int, team: int, blas: int, *helpers: tuple[str, int]) -> Threads:
    """The lines of a process as the ledger gives them."""
    return (
        (owned.MAIN, "main", 1),
        *(((owned.PYTHON, "Optuna workers", workers),) if workers else ()),
        *((owned.PYTHON_HELPER, label, count) for label, count in helpers),
        *(((owned.OPENMP_GNU, "libgomp (torch)", team),) if team else ()),
        *(((owned.OPENBLAS, "OpenBLAS (numpy)", blas),) if blas else ()),
    )


BAR = ("tqdm monitor", 1)
SEEN: Mapping[str, Mapping[str, Sequence[Threads]]] = {
    "w5": {"main": [threads(5, 315, 63, BAR)]},
    "w3": {"main": [threads(3, 189, 63, BAR)]},
    "w3-late": {"main": [threads(3, 189, 63, BAR)]},
    "w3-torch": {"main": [threads(3, 0, 63, BAR)]},
    "w3-env": {"main": [threads(3, 0, 0, BAR)]},
    "pool-env": {
        "main": [threads(0, 0, 0, BAR, ("pool handlers", 3))],
        "pool-worker-spawn": [threads(0, 0, 0)] * 3,
        "resource-tracker": [threads(0, 0, 0)],
    },
}


def process(pid: int, role: str, of: Threads) -> ProcessLedger:
    made = tuple(
        LedgerLine(owner, label, count, (), None, None, None, None, None) for owner, label, count in of
    )
    total = sum(line.threads for line in made)
    return ProcessLedger(
        pid, role, "python", 1.0, total, f"{total} = …", made, None, None, None, (), (), None
    )


def of_run(run: PlannedRun, seen: Mapping[str, Sequence[Threads]], **more: Any) -> Report:
    """The report of one run that went through, with these threads."""
    pids = iter(range(100, 200))
    made = tuple(process(next(pids), role, of) for role, all_of in seen.items() for of in all_of)
    ledger = ThreadLedger(1.0, sum(one.threads for one in made), "…", made, (), (), ())
    labels = {**run.labels, "limit_threads": run.settings.limit_threads}
    base = report(
        run.settings.backend, workers=run.settings.workers, labels=labels, path=f"out/{run.stem}.corelens",
        values=(0.25, 0.5),
    )  # fmt: skip
    return replace(base, **{"ledger": ledger, **more})


def story(**replaced: Report) -> Explosion:
    runs = planned()
    return explosion(
        [replaced.get(name.replace("-", "_")) or of_run(runs[f"{name}-on-64"], SEEN[name]) for name in SEEN]
    )


def run(found: Explosion, name: str) -> ExplosionRun:
    return next(each for each in found.runs if each.name == name)


def test_the_story_is_predicted_from_labels_alone() -> None:
    for stem, each in planned().items():
        labels = {**each.labels, "backend": each.settings.backend, "workers": str(each.settings.workers)}
        shape = shape_of({**labels, "limit_threads": each.settings.limit_threads})
        assert sum(one.processes * one.each.total for one in expected(shape)) == STORY[shape.name], stem


@pytest.mark.parametrize(
    ("limit", "each"), [("none", 1 + 63 + 63), ("late", 1), ("env", 1), ("torch", 1 + 63), ("other", 127)]
)
def test_spawned_workers_inherit_variables_however_late(limit: str, each: int) -> None:
    base = {**planned()["pool-env-on-64"].labels, "backend": "process-pool", "workers": "3"}
    of = {one.role: one.each.total for one in expected(shape_of({**base, "limit_threads": limit}))}
    assert of["pool-worker-spawn"] == each


def test_a_native_machine_has_openblas_for_each_hardware_thread() -> None:
    machine = Machine(torch_threads=16, cores=32, blas=("numpy", "scipy"))
    (first, *_) = plan_explosion(machine, [16])
    labels = {**first.labels, "backend": "optuna-threads", "workers": "5", "limit_threads": "none"}
    (main,) = expected(shape_of(labels))
    assert main.each.equation() == (
        "149 = 1 main + 5 Python workers + 1 tqdm monitor + 31 OpenBLAS (numpy) + 31 OpenBLAS (scipy)"
        " + 5 x 15 libgomp (torch)"
    ).replace("149", str(1 + 5 + 1 + 31 + 31 + 75))


def test_a_recording_of_something_else_is_refused() -> None:
    with pytest.raises(NotComparable, match="replay explosion"):
        explosion([report()])
    with pytest.raises(NothingMeasured):
        explosion([])


def test_every_run_of_the_story_agrees_to_the_thread() -> None:
    found = story()
    assert found.differences == ()
    assert {each.name: (each.predicted, each.observed) for each in found.runs} == {
        name: (total, total) for name, total in STORY.items()
    }
    assert all(each.agrees for each in found.runs)


def test_one_thread_too_many_is_named() -> None:
    seen = {"main": [(*threads(3, 189, 63, BAR), (owned.UNKNOWN, "unknown", 1))]}
    found = story(w3_late=of_run(planned()["w3-late-on-64"], seen))
    assert found.differences == ("w3-late on 64 cores, main: 0 unknown predicted, 1 observed",)
    assert [each.agrees for each in found.runs].count(False) == 1


def test_equal_sums_of_other_owners_do_not_agree() -> None:
    seen = {"main": [threads(3, 188, 64, BAR)]}
    found = story(w3=of_run(planned()["w3-on-64"], seen))
    assert run(found, "w3").observed == run(found, "w3").predicted
    assert len(found.differences) == 2
    assert not run(found, "w3").agrees


def test_equal_sums_over_processes_do_not_agree() -> None:
    workers = [threads(0, 0, 2), threads(0, 0, 0), ()]
    seen = {**SEEN["pool-env"], "pool-worker-spawn": workers}
    found = story(pool_env=of_run(planned()["pool-env-on-64"], seen))
    main = next(
        term
        for term in run(found, "pool-env").terms
        if (term.role, term.name) == ("pool-worker-spawn", "main")
    )
    assert (main.predicted, main.observed, main.agrees) == (3, 2, False)
    assert not run(found, "pool-env").agrees


def test_a_process_too_many_or_too_few_is_named() -> None:
    more = {**SEEN["w3"], "child": [threads(0, 0, 0)]}
    less = {**SEEN["pool-env"], "pool-worker-spawn": [threads(0, 0, 0)] * 2}
    runs = planned()
    found = story(w3=of_run(runs["w3-on-64"], more), pool_env=of_run(runs["pool-env-on-64"], less))
    assert "w3 on 64 cores: 0 child processes predicted, 1 observed" in found.differences
    assert "w3 on 64 cores, child: 0 main predicted, 1 observed" in found.differences
    assert "pool-env on 64 cores: 3 pool-worker-spawn processes predicted, 2 observed" in found.differences


def test_a_helper_is_told_from_another_by_its_name() -> None:
    seen = {
        **SEEN["pool-env"],
        "main": [threads(0, 0, 0, BAR, ("pool handlers", 2), ("Optuna heartbeat", 1))],
    }
    found = story(pool_env=of_run(planned()["pool-env-on-64"], seen))
    assert set(found.differences) == {
        "pool-env on 64 cores, main: 3 pool handlers predicted, 2 observed",
        "pool-env on 64 cores, main: 0 Optuna heartbeat predicted, 1 observed",
    }


def test_a_thread_of_python_that_ran_no_trial_is_no_worker() -> None:
    seen = {"main": [(*threads(4, 189, 63, BAR), (owned.PYTHON, "Python thread Thread-1", 1))]}
    found = story(w3=of_run(planned()["w3-on-64"], seen))
    assert set(found.differences) == {
        "w3 on 64 cores, main: 3 Python workers predicted, 4 observed",
        "w3 on 64 cores, main: 0 Python thread Thread-1 predicted, 1 observed",
    }


def test_the_only_copy_of_a_library_is_the_predicted_one_and_a_second_is_not() -> None:
    renamed = (*threads(3, 189, 0, BAR), (owned.OPENBLAS, "OpenBLAS (conda)", 63))
    assert story(w3=of_run(planned()["w3-on-64"], {"main": [renamed]})).differences == ()
    second = (*threads(3, 189, 63, BAR), (owned.OPENBLAS, "OpenBLAS (scipy)", 63))
    assert story(w3=of_run(planned()["w3-on-64"], {"main": [second]})).differences == (
        "w3 on 64 cores, main: 0 OpenBLAS (scipy) predicted, 63 observed",
    )


def test_a_run_that_failed_or_has_no_ledger_is_no_result() -> None:
    each = planned()["w3-on-64"]
    failed = of_run(each, SEEN["w3"])
    failed = replace(failed, source=replace(failed.source, exit_code=1))
    found = story(w3=failed, w5=of_run(planned()["w5-on-64"], SEEN["w5"], ledger=None))
    assert found.differences == (
        "w5 on 64 cores: the recording holds no ledger of threads",
        "w3 on 64 cores: failed with exit code 1",
    )
    assert run(found, "w5").observed is None
    assert "have an owner here" not in " ".join(one.text for one in statements(found))


def test_each_process_counts_at_its_own_peak() -> None:
    made = of_run(planned()["w3-on-64"], {"main": [threads(3, 100, 63, BAR)]})
    assert made.ledger is not None
    peak = process(100, "main", SEEN["w3"]["main"][0])
    found = story(w3=replace(made, ledger=replace(made.ledger, own_peaks=(peak,))))
    assert found.differences == ()


def test_a_sweep_is_sorted_by_cores_and_stands_apart() -> None:
    runs = planned([2, 64, 8])
    seen = {"w5-on-8": threads(5, 35, 7, BAR), "w5-on-2": threads(5, 5, 1, BAR)}
    reports = [
        of_run(each, {"main": [seen[stem]]} if stem in seen else SEEN[each.way.name])
        for stem, each in runs.items()
    ]
    found = explosion(reports)
    assert [(each.cores, each.observed, each.emulated) for each in found.sweep] == [
        (2, 13, False), (8, 49, True), (64, 385, True),
    ]  # fmt: skip
    assert {each.cores for each in found.runs} == {64}
    assert len(found.everything) == len(found.runs) + 2
    assert found.differences == ()
    text = markdown(found)
    assert "The count grows with the cores" in text
    assert "| 8 | emulated | 49 | 49 | yes |" in text
    assert "## The count grows" not in markdown(story())


def test_a_sweep_is_shown_also_where_the_largest_machine_ran_something_else() -> None:
    runs = planned([2, 64])
    two = of_run(runs["w5-on-2"], {"main": [threads(5, 5, 1, BAR)]})
    found = explosion([of_run(runs["w3-on-64"], SEEN["w3"]), two])
    assert [each.name for each in found.everything] == ["w3", "w5"]


def test_values_of_equal_trials_are_compared() -> None:
    assert story().identical_values is True
    other = of_run(planned()["w3-on-64"], SEEN["w3"])
    assert other.trials is not None
    first, *rest = other.trials.trials
    changed = replace(other, trials=replace(other.trials, trials=(replace(first, value=0.75), *rest)))
    found = story(w3=changed)
    assert found.identical_values is False
    assert "DIFFERENT VALUES" in markdown(found)
    assert explosion([of_run(planned()["w3-on-64"], SEEN["w3"])]).identical_values is None


def test_the_story_is_corrected_in_words() -> None:
    said = " ".join(one.text for one in statements(story()))
    assert "385 threads with 5 workers and 257 with 3" in said
    assert "takes 64 threads with it" in said
    assert "385 of the story's 387 threads have an owner here, and 2 are not known" in said
    assert "Of the 130 that went, 128 are two workers less" in said
    assert "257 threads with them, 257 without, and every owner has the same number" in said
    assert "68 threads, none of them libgomp's. 63 are OpenBLAS's own" in said
    assert "limit everything: 5 threads, none of them native pools'" in said
    assert {one.basis for one in statements(story())} == {MEASURED}
    assert MEASURED not in {one.basis for one in FROM_SOURCES}


def test_words_follow_the_numbers() -> None:
    seen = {"main": [threads(3, 0, 63, BAR)]}
    found = story(w3_late=of_run(planned()["w3-late-on-64"], seen))
    said = " ".join(one.text for one in statements(found))
    assert "68 threads with them, 257 without, but openmp-gnu differ" in said
    assert "every owner has the same number" not in said


def test_sentences_need_their_runs() -> None:
    alone = explosion([of_run(planned()["w3-env-on-64"], SEEN["w3-env"])])
    assert [one.text.partition(":")[0] for one in statements(alone)] == [
        "Variables that stand before Python starts limit everything"
    ]


def test_markdown_says_the_verdict_first_and_marks_emulated_times() -> None:
    text = markdown(story())
    assert text.index("Predicted equals observed to the thread in all 6 runs.") < text.index("## Runs")
    assert EMULATED in text
    assert "| w5 | 5 Optuna threads, no limit | 64 | emulated | 385 | 385 | yes | 1 |" in text
    assert "| main | libgomp (torch) | 315 | 315 |" in text
    assert "†" in next(line for line in text.splitlines() if line.startswith("| w3-env "))
    native = of_run(plan_explosion(Machine(64, 128, ("numpy",)), [64])[0], SEEN["w5"])
    assert EMULATED not in markdown(explosion([native]))
    assert "†" not in markdown(explosion([native]))


def test_markdown_and_terminal_say_where_it_differs() -> None:
    found = story(w3=of_run(planned()["w3-on-64"], {"main": [threads(3, 126, 63, BAR)]}))
    text = markdown(found)
    assert "> **Predicted and observed differ in 1 of 6 runs.**" in text
    assert "> - w3 on 64 cores, main: 189 libgomp (torch) predicted, 126 observed" in text
    assert "| main | libgomp (torch) | 189 | 126 (NO) |" in text
    shown = lines(found)
    assert shown[0] == "Predicted and observed differ in 1 of 6 runs."
    assert any(line.startswith("w3 ") and "NO" in line for line in shown)
    assert shown[-1] == EMULATED


def test_json_holds_every_documented_field_and_no_other() -> None:
    made = json.loads(explosion_json(story()))
    documented = {path for path, *_ in explosion_fields()}
    assert {path for path in documented if "[" not in path} == set(made)
    assert {path.removeprefix("runs[].") for path in documented if path.startswith("runs[].")} == set(
        made["runs"][0]
    )
    assert made["agrees"] is True
    assert [(each["predicted"], each["observed"], each["times_representative"]) for each in made["runs"]] == [
        (total, total, False) for total in STORY.values()
    ]


def test_text_of_a_recording_cannot_break_the_report() -> None:
    each = planned()["w3-env-on-64"]
    made = of_run(each, {"main": [(*threads(3, 0, 0, BAR), (owned.PYTHON_HELPER, "a|b\n`x`", 1))]})
    text = markdown(explosion([made]))
    assert "a\\|b" in text
    assert "\nb`" not in text


def test_the_documented_table_is_what_the_model_says() -> None:
    page = (Path(__file__).parent.parent / "docs" / "explosion.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if " | emulated | " in line or " | native | " in line
    ]
    runs = {(run.way.name, str(run.cores)): run for run in planned([2, 8, 16, 64]).values()}
    assert {(name, cores) for name, _, cores, *_ in rows} == set(runs)
    for name, what, cores, pools, predicted, observed in rows:
        run = runs[name, cores]
        labels = {**run.labels, "backend": run.settings.backend, "workers": str(run.settings.workers)}
        shape = shape_of({**labels, "limit_threads": run.settings.limit_threads})
        total = sum(one.processes * one.each.total for one in expected(shape))
        assert (what, pools, predicted, observed) == (
            run.way.what,
            run.labels["pools"],
            str(total),
            str(total),
        )
