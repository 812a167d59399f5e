"""The thread ledger as people read it: alike processes once, sums in words, nothing cut and nothing obeyed."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from corelens.reports import ledger_rows
from corelens.reports.facts import owned
from corelens.reports.facts.owned import Owner
from corelens.reports.json_report import json_report
from corelens.reports.markdown import markdown
from corelens.reports.pictures import drawn, owners
from corelens.reports.report import OwnerSeries, Report, ThreadLedger
from corelens.reports.sections import sections
from corelens.reports.terminal import show
from tests.made_ledgers import TQDM, UNKNOWN, accounted, of_search, running, search
from tests.made_reports import report
from tests.made_threads import MS, SECOND, counted, ended, header, ran, recording

OPTUNA = {"backend": "optuna-threads", "workers": "5"}
STORY = "387 = 1 main + 5 Optuna workers + 1 tqdm monitor + 5 x 63 libgomp (torch) + 63 OpenBLAS (numpy) + 2 unknown"


@pytest.fixture(name="story")
def _story() -> ThreadLedger:
    more = ((TQDM, None), (UNKNOWN, None), (UNKNOWN, None))
    return of_search(search(more=more), head=header(labels=OPTUNA))


@pytest.fixture(name="pool")
def _pool() -> ThreadLedger:
    """A main process and three equal loky workers, of which one was busier."""
    lines, everyone = running({}), dict[int, tuple[Owner, int | None]]()
    for pid in (1000, 2000, 3000):
        owners = search(pid=pid, workers=0, team=0, blas=3, more=())
        everyone.update(owners)
        lines += running(owners, pid, ppid=100, role="loky-worker", affinity=4)
    lines += [ran(SECOND, [(1001, 0, 0), (2001, 0, 0)]), ran(1500 * MS, [(1001, SECOND // 2, 0)])]
    lines += [ran(1900 * MS, [(2001, 1, 0)])]
    return accounted(recording(lines), everyone)


def with_ledger(ledger: ThreadLedger | None) -> Report:
    return replace(report(), ledger=ledger)


def on_terminal(made: Report, width: int = 100) -> str:
    console = Console(file=StringIO(), width=width, no_color=True)
    show(made, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def titles(made: Report) -> list[str]:
    return [section.title for section in sections(made)]


def test_the_sum_stands_on_the_first_screen(story: ThreadLedger) -> None:
    text = on_terminal(with_ledger(story), width=400)
    first_screen = text[: text.index("busy cores over time")]
    assert "387 at peak" in first_screen
    assert STORY.partition(" = ")[2] in first_screen


def test_every_owner_has_its_row_with_teams_and_prediction(story: ThreadLedger) -> None:
    rows = {row[1]: row for row in ledger_rows.rows(story)}
    assert rows["main"][0] == "main 100"
    assert rows["libgomp (torch)"][2:4] == ("315", "5 teams of 63, each opened by one Optuna worker")
    assert rows["libgomp (torch)"][-2:] == ("315", "0")
    assert rows["unknown"][-2:] == ("—", "—")
    assert rows["= all"][2:] == ("387", "", "", "", "385", "+2")


def test_the_notes_say_what_differs_and_what_the_prediction_rests_on(story: ThreadLedger) -> None:
    told = "\n".join(ledger_rows.notes(story))
    assert "main 100: 2 unknown: its memory may not be read" in told
    assert "385 predicted (+2 seen) from workers = 5 (the label workers=5)" in told
    assert "5 % of the second before" in told


def test_alike_processes_are_one_row_and_their_busy_threads_a_range(pool: ThreadLedger) -> None:
    rows = list(ledger_rows.rows(pool))
    assert [row[0] for row in rows if row[0]] == ["main 100", "3 x loky-worker"]
    (blas,) = [row for row in rows if row[1] == "OpenBLAS (numpy)"]
    assert blas[4:6] == ("0–1", "0–1")
    assert list(ledger_rows.equations(pool)) == [
        "13 = 1 main + 3 x 4 loky-worker",
        "main 100: 1 = 1 main",
        "3 x loky-worker: 4 = 1 main + 3 OpenBLAS (numpy)",
    ]


def test_a_peak_at_another_time_is_told() -> None:
    big, small = search(), search(pid=5000, workers=0, team=0, blas=9, more=())
    lines = [
        *running(big),
        *running(small, 5000, 2 * SECOND, ppid=100, role="loky-worker", affinity=10),
        ended(1500 * MS, [*big][5:]),
        counted(1500 * MS, (100, 6)),
    ]
    told = ledger_rows.notes(accounted(recording(lines), {**big, **small}))
    assert "loky-worker 5000 had most threads at 2.0 s: 10 = 1 main + 9 OpenBLAS (numpy)" in told


def test_processes_without_a_prediction_share_the_reason() -> None:
    ray = Owner(owned.RAY, "Ray raylet", "raylet", None)
    lines, everyone = running({}), dict[int, tuple[Owner, int | None]]()
    for pid in (1000, 2000):
        owners = dict.fromkeys(range(pid + 1, pid + 5), (ray, None))
        everyone.update(owners)
        lines += running(owners, pid, ppid=100, role="raylet")
    told = ledger_rows.notes(accounted(recording(lines), everyone))
    assert "2 x raylet: nothing is predicted: Ray decides how many threads its raylet has" in told


@pytest.mark.parametrize(
    "words", ["387 = 1 main", "each opened by one Optuna worker", "+2 seen", "libgomp (torch)"]
)
def test_terminal_and_markdown_say_the_same(story: ThreadLedger, words: str) -> None:
    made = with_ledger(story)
    assert words in " ".join(on_terminal(made, width=300).split())
    assert words in markdown(made, {}).replace("\\", "")


def test_the_terminal_cuts_nothing_off_in_eighty_columns(story: ThreadLedger) -> None:
    text = on_terminal(with_ledger(story), width=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text


def test_names_of_threads_are_shown_and_never_obeyed() -> None:
    evil = Owner(owned.PYTHON, "Python thread \x1b[31m|`<script>\n# x", None, None)
    made = with_ledger(of_search({101: (evil, None)}))
    assert "\x1b" not in on_terminal(made)
    text = markdown(made, {})
    assert "\x1b" not in text
    assert "\n# x" not in text


def test_json_holds_both_peaks_and_the_series(story: ThreadLedger) -> None:
    said = json.loads(json_report(with_ledger(story)))["thread_ledger"]
    assert said["equation"] == STORY
    assert sum(line["threads"] for line in said["processes"][0]["lines"]) == said["threads"] == 387
    assert {each["owner"] for each in said["over_time"]} >= {"main", "python", "openmp-gnu", "openblas"}


def test_without_known_owners_there_is_no_section() -> None:
    unowned = accounted(recording(running(search())), {})
    for ledger in (None, unowned):
        assert not [title for title in titles(with_ledger(ledger)) if "ledger" in title]
        assert "threads by owner" not in on_terminal(with_ledger(ledger))
        assert "owners" not in drawn(replace(with_ledger(ledger), ledger=None))


def test_the_picture_stacks_up_to_eight_owners(story: ThreadLedger) -> None:
    bins = len(story.over_time[0].threads)
    many = tuple(OwnerSeries(f"library {n}", (n,) * bins) for n in range(12))
    for series in (story.over_time, many):
        figure = owners(with_ledger(replace(story, over_time=series)))
        assert figure is not None
        assert len(figure.axes[0].collections) == min(len(series), 8)
    top = max(path.get_extents().y1 for band in figure.axes[0].collections for path in band.get_paths())
    assert top == sum(range(12))


def test_the_same_ledger_gives_the_same_picture(story: ThreadLedger) -> None:
    made = with_ledger(story)
    assert drawn(made)["owners"] == drawn(made)["owners"]
