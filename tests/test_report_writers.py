"""The writers of one report: every figure, every reason, and nothing that a hostile name could break."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from io import StringIO
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from corelens.errors import MissingExtra
from corelens.reports.facts import summarise
from corelens.reports.formatting import markdown_text, plain
from corelens.reports.json_report import AT_THE_TOP, SCHEMA, finite, json_report
from corelens.reports.markdown import markdown
from corelens.reports.pictures import TITLES, drawn
from corelens.reports.report import OwnerSeries, Report, Spread, TreeNode, Unseen
from corelens.reports.sections import (
    LONGEST_TITLE,
    MOST_TRIALS,
    MOST_UNSEEN,
    Section,
    headline,
    memory,
    percent,
    place,
    seconds,
    sections,
    spread,
    title,
    troubles,
)
from corelens.reports.terminal import show, sparkline
from corelens.vocabulary import Line
from tests.made_recordings import (
    ALWAYS_THE_SAME,
    HOST,
    ROOT,
    SEARCH,
    born,
    clocks,
    detail,
    died,
    footer,
    gap,
    header,
    library,
    mark,
    pools,
    recording,
    search,
    trial,
)
from tests.made_reports import report, unlabelled

# Colours, a cleared screen, a new title and a hyperlink; a text written from right to left; a line that looks
# like ours; a table, a heading, a link, an image, a tag, an entity and a fence; half a character.
HOSTILE = (
    "\x1b[31mred\x1b[2J\x1b]0;title\x07\x1b]8;;http://e\x1b\\ \u202egnp.exe\u2066 \r\n# wall time  0.01 s\n| a | b |\n"
    "[x](http://e) ![y](z) <b>*b*_i_ ~~s~~ &lt;i&gt; &#8238; `c` ```\n\x00\x7f\x9b\u2028\ud800end"
)
MEDIUM = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def small(**said: Any) -> Report:
    """The report of the small search of tests/made_recordings.py."""
    return replace(summarise(recording(*search(), head=SEARCH)), **said)


def hostile() -> Report:
    """A report in which every text that a program can choose is hostile."""
    return summarise(
        recording(
            born(0, comm=HOSTILE, argv=[HOSTILE, HOSTILE], variables={"OMP_NUM_THREADS": HOSTILE}),
            born(0, 7, ROOT, comm=HOSTILE, argv=None, role="child"),
            born(0, 8, ROOT, argv=["python", "--process-name", HOSTILE]),
            clocks(1, (ROOT, 0.5, 2)), detail(1, ROOT),
            pools(1, libraries=[library(2, prefix=HOSTILE, internal_api=HOSTILE, version=HOSTILE)],
                  variables={"OMP_NUM_THREADS": HOSTILE[::-1]}, versions={HOSTILE: HOSTILE}),
            mark(1, "search", "point", None, backend=HOSTILE, scale=HOSTILE),
            mark(1, "trial", "begin", "1", number=1, params={HOSTILE: HOSTILE}),
            mark(2, "trial", "end", "1", state=HOSTILE, value=HOSTILE),
            gap(1, HOSTILE, said=HOSTILE), died(3), footer(3),
            head=header(
                host={**HOST, "hostname": HOSTILE, "cpu_model": HOSTILE},
                target={"how": "started", "pid": ROOT, "argv": [HOSTILE]},
                labels={HOSTILE: HOSTILE},
            ), path=f"{HOSTILE}.corelens",
        )
    )  # fmt: skip


def on_terminal(made: Report, width: int = 100, **how: Any) -> str:
    shown = StringIO()
    show(made, Console(file=shown, width=width, highlight=False, markup=False, emoji=False, **how))
    return shown.getvalue()


def rendered(text: str) -> str:
    """What a reader of Markdown sees, without the markup."""
    return html.unescape(re.sub(r"<[^>]*>", "", MEDIUM.render(text)))


def flat(text: str) -> str:
    return " ".join(text.split())


# Texts of strangers


def test_the_terminal_lets_no_hostile_text_through() -> None:
    text = on_terminal(hostile())
    assert [line for line in text.splitlines() if not line.isprintable()] == []
    assert "wall time  0.01 s" in text
    assert [line for line in text.splitlines() if line.lstrip().startswith("# wall time  0.01 s")] == []


def test_a_hostile_text_adds_no_line_to_the_terminal() -> None:
    wide = 20_000
    tame = re.sub(r"\W", "x", HOSTILE)
    lines = on_terminal(hostile(), width=wide).count("\n")
    cut = HOSTILE.replace("\n", "").replace("\r", "")
    assert lines == on_terminal(renamed(hostile(), cut), width=wide).count("\n")
    assert lines == on_terminal(renamed(hostile(), tame), width=wide).count("\n")


def renamed(made: Any, text: str) -> Any:
    """The same value with every hostile text replaced."""
    if dataclasses.is_dataclass(made) and not isinstance(made, type):
        names = [field.name for field in dataclasses.fields(made)]
        return replace(made, **{name: renamed(getattr(made, name), text) for name in names})
    if isinstance(made, tuple):
        return tuple(renamed(one, text) for one in cast(tuple[object, ...], made))
    if isinstance(made, dict):
        said = cast(dict[object, object], made)
        return {renamed(key, text): renamed(value, text) for key, value in said.items()}
    return made.replace(HOSTILE, text).replace(HOSTILE.lower(), text) if isinstance(made, str) else made


def test_markdown_lets_no_hostile_text_through() -> None:
    text = markdown(hostile(), {})
    assert [line for line in text.splitlines() if not line.isprintable()] == []
    page = MEDIUM.render(text)
    assert set(re.findall(r"<(\w+)", page)) <= {
        "h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "pre", "code", "blockquote",
        "strong",
    }  # fmt: skip
    assert "\u202e" not in html.unescape(page)
    assert page.count("<h1>") == 1
    assert page.count("<h2>") == text.count("\n## ") == len(sections(hostile()))


def test_a_hostile_text_is_shown_as_it_is_in_markdown() -> None:
    shown = flat(rendered(markdown(hostile(), {})))
    assert flat(plain(HOSTILE))[:LONGEST_TITLE] in shown
    assert shown.count(flat(plain(HOSTILE))) >= 6


def test_json_escapes_everything_and_loses_nothing() -> None:
    text = json_report(hostile())
    assert re.fullmatch(r"[ -~\n]*", text)
    found = json.loads(text)["facts"]
    (one,) = found["trials"]["trials"]
    assert one["parameters"] == {HOSTILE: HOSTILE}
    assert one["state"] == HOSTILE.lower()
    assert found["processes"][0]["argv"] == [HOSTILE, HOSTILE]
    assert found["processes"][1]["comm"] == HOSTILE


@ALWAYS_THE_SAME
@given(st.text())
def test_any_text_becomes_one_line_without_control(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    assert plain(shown) == shown
    assert plain("".join(filter(str.isprintable, text))) == "".join(filter(str.isprintable, text))


@ALWAYS_THE_SAME
@given(
    st.text(st.characters(codec="utf-8") | st.sampled_from(list("\\`*_[]()<>#+-!|&;~=$:0123.")), min_size=1)
)
def test_any_text_is_shown_as_it_is_in_markdown(text: str) -> None:
    text = " ".join(text.split()) or "x"
    shown = markdown_text(text)
    assert flat(rendered(shown)) == flat(plain(text))
    assert flat(rendered(f"| a |\n|---|\n| {shown} |")) == flat(f"a {plain(text)}")
    assert flat(rendered(f"# {shown}\n")) == flat(plain(text))
    assert flat(rendered(f"- {shown}\n")) == flat(plain(text))


def test_a_fence_is_longer_than_any_in_the_drawing() -> None:
    made = small(tree=(TreeNode(1, "```` x", "main", 1, ()),))
    assert "`````text\n```` x [main] 1 thread\n`````\n" in markdown(made, {})


# Terminal


def test_the_terminal_shows_the_numbers_first() -> None:
    lines = on_terminal(small()).splitlines()
    assert lines[0].rstrip() == "python search.py (backend joblib-loky, scale small)"
    assert flat(lines[1]).startswith(
        "lab: EPYC, 4 logical cores, 2 physical, 7.5 GiB, Linux 6.18; recorded by"
    )
    expected = [
        "wall time 4.00 s exit code 0",
        "capacity 2 cores decided by quota",
        "busy cores 1.80 mean 2.05 peak",
        "utilisation 90.0 % 7.2 core-seconds used",
        "run-queue wait 19.6 % of runnable time; 1.8 thread-seconds without a core",
        "threads 5 peak 4.2 mean, 3 in all",
        "processes 3 peak 3 in all",
        "trials 5142.9 per hour 4 complete, 2.00 at once",
        "memory 110 MiB RSS median of 2 workers, 70 MiB PSS; whole tree 230 MiB at its peak",
        "other programs 0.05 cores 0.05 cores taken by the hypervisor",
        "busy cores over time, full height = capacity",
    ]
    first_screen = [flat(line) for line in lines[2:25]]
    assert [line for line in first_screen if line in expected] == expected


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_terminal_keeps_its_width_and_cuts_nothing(width: int) -> None:
    text = on_terminal(small(), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "\x1b" not in text
    assert "5142.9" in flat(text)
    assert "loky-wor" in text


def test_colours_are_for_terminals_that_want_them() -> None:
    coloured = on_terminal(small(), force_terminal=True, color_system="truecolor")
    plain_text = on_terminal(small(), force_terminal=True, color_system="truecolor", no_color=True)
    assert re.search(r"\x1b\[[\d;]*36m", coloured)
    assert not re.search(r"\x1b\[[\d;]*3\d[;m]", plain_text)
    bare = re.compile(r"\x1b\[[\d;]*m")
    assert bare.sub("", coloured) == bare.sub("", plain_text) == on_terminal(small())


def test_troubles_stand_before_the_numbers() -> None:
    made = summarise(recording(born(0), missing_chunks=2))
    assert troubles(made) == [
        "the recording was cut: numbers cover what could be read", "2 members are missing, by their numbers",
    ]  # fmt: skip
    assert flat(" ".join(on_terminal(made).splitlines()[2:4])) == " ".join(troubles(made))
    assert f"> **{troubles(made)[0]}**" in markdown(made, {})


@pytest.mark.parametrize(
    ("values", "top", "width", "expected"),
    [
        ((0.0, 0.5, 1.0), 1.0, 60, " ▄█"),
        ((0.0, None, 9.0), 1.0, 60, " ·█"),
        ((1.0, 3.0, None, None), 4.0, 2, "▄·"),
        ((1.0,), 0.0, 60, "·"),
        ((), 1.0, 60, ""),
        ((1.0, None), 1.0, 1, "█"),
    ],
)
def test_busy_cores_are_drawn_as_blocks(
    values: tuple[float | None, ...], top: float, width: int, expected: str
) -> None:
    assert sparkline(values, top, width) == expected


@ALWAYS_THE_SAME
@given(st.lists(st.none() | st.floats(-1, 9), max_size=300), st.floats(0.01, 4), st.integers(1, 80))
def test_a_curve_is_never_wider_than_asked(values: list[float | None], top: float, width: int) -> None:
    assert len(sparkline(values, top, width)) == min(width, len(values))


# Sections


def titled(made: Report) -> dict[str, Section]:
    return {section.title: section for section in sections(made)}


def test_every_section_of_the_small_search() -> None:
    found = titled(small())
    expected = [
        "Processes by role", "Process tree at its peak of 5 threads, at 1.0 s",
        "Thread limits: what took effect", "Trials", "Limits", "The recorder's own cost", "What could not be seen",
    ]  # fmt: skip
    assert [title for title in found if title in expected] == expected
    assert found["Processes by role"].rows == (
        ("loky-worker", "2", "7.00", "3.50 / 3.50 / 3.50", "4"), ("main", "1", "0.20", "0.20", "1"),
    )  # fmt: skip
    assert found["Process tree at its peak of 5 threads, at 1.0 s"].drawing == (
        "python search.py [main] 1 thread", "└─ 2 × LokyProcess-* [loky-worker] 2 threads each",
    )  # fmt: skip
    assert found["Thread limits: what took effect"].rows == (
        ("2 × loky-worker", "OpenBLAS", "OMP_NUM_THREADS=1", "2", "—", "unknown", "1"),
        ("2 × loky-worker", "torch intra-op", "OMP_NUM_THREADS=1", "2", "—", "unknown", "2"),
        ("2 × loky-worker", "OpenBLAS", "OMP_NUM_THREADS=2", "2", "—", "took-effect", "3"),
        ("2 × loky-worker", "torch intra-op", "OMP_NUM_THREADS=2", "2", "—", "took-effect", "3"),
    )
    assert found["Trials"].rows[1] == ("1", "202", "202", "1.00 s", "1.40 s", "0.25", "complete")
    assert found["Limits"].rows == (
        ("online", "4 cores"), ("affinity of the main process", "4 cores"), ("smallest CPU quota", "2 cores"),
        ("throttled", "0.40 s"), ("memory limit", "4.0 GiB"),
    )  # fmt: skip
    assert found["The recorder's own cost"].notes == (
        "recording cost 0.0025 cores (0.01 core-seconds; budget 0.01 cores), 30 MiB RSS",
        "100 rounds at 1 Hz, 0 skipped for lateness",
    )
    assert ("/proc/PID/io", "forbidden: permission denied", "2") in found["What could not be seen"].rows


def test_sections_with_nothing_to_say_are_left_out() -> None:
    found = titled(unlabelled("run.corelens", ["true"]))
    assert {
        "Process tree at its peak of 2 threads, at 3.0 s",
        "Limits",
        "The recorder's own cost",
    } <= found.keys()
    assert not {
        "Processes by role", "Thread limits: what took effect", "Trials",
        "What could not be seen",
    } & found.keys()  # fmt: skip


def test_columns_and_cells_agree_in_number() -> None:
    for section in (*sections(small()), *sections(hostile())):
        assert len(section.columns) == len(section.numeric)
        assert all(len(row) == len(section.columns) for row in section.rows)


def test_long_lists_end_with_how_many_are_left() -> None:
    lines = [line for number in range(MOST_TRIALS + 2) for line in trial(number, number + 1, number)]
    made = summarise(recording(born(0), *lines, died(99), footer(99)))
    unseen = tuple(Unseen(str(number), "why", 1) for number in range(MOST_UNSEEN + 3))
    found = titled(replace(made, unseen=unseen))
    assert (len(found["Trials"].rows), found["Trials"].notes[-1]) == (
        MOST_TRIALS, "2 more trials are in the JSON report",
    )  # fmt: skip
    assert found["What could not be seen"].notes == ("3 more are in the JSON report",)
    assert len(found["What could not be seen"].rows) == MOST_UNSEEN


def test_trials_that_failed_or_did_not_end_are_told() -> None:
    lines = [*trial(0, 1, 0, state="failed"), *trial(1, None, 1)]
    found = titled(summarise(recording(born(0), *lines, died(4), footer(4))))["Trials"]
    assert found.notes == ("duration (min / median / max): —", "1 failed, 1 unfinished")
    assert found.rows[1] == ("1", "100", "100", "1.00 s", "—", "—", "unfinished")


def test_trials_that_all_went_well_are_not_called_failed() -> None:
    def notes(*lines: Line) -> tuple[str, ...]:
        return titled(summarise(recording(born(0), *lines, died(4), footer(4))))["Trials"].notes

    assert len(notes(*trial(0, 1, 0))) == 1
    assert notes(*trial(0, 1, 0), *trial(1, 2, 1, state="failed"))[1] == "1 failed, 0 unfinished"
    assert notes(*trial(0, 1, 0), *trial(1, None, 1))[1] == "0 failed, 1 unfinished"


def test_what_was_not_measured_is_a_dash_and_never_zero() -> None:
    made = summarise(recording(born(0), footer(1, exit_code=None, signal=11)))
    found = {label: (value, beside) for label, value, beside in headline(made)}
    assert found["wall time"] == ("1.00 s", "ended by signal 11")
    assert found["run-queue wait"] == ("—", "no thread ran while it was looked at")
    assert found["other programs"] == ("—", "")
    assert not {"trials", "memory"} & found.keys()
    assert titled(made)["Limits"].rows[1:] == (
        ("affinity of the main process", "—"), ("smallest CPU quota", "—"), ("throttled", "—"),
        ("memory limit", "—"),
    )  # fmt: skip


def test_an_end_without_a_code_gives_its_reason() -> None:
    made = summarise(recording(born(0), footer(1, exit_code=None, reason="duration")))
    assert headline(made)[0] == ("wall time", "1.00 s", "duration")


def test_a_long_command_is_cut_in_the_title_alone() -> None:
    text = "import os\n" * 100
    made = summarise(recording(born(0), head=header(target={"how": "started", "pid": ROOT, "argv": [text]})))
    assert title(made) == f"{flat(text)[:LONGEST_TITLE]}…"
    assert json.loads(json_report(made))["facts"]["source"]["argv"] == [text]


def test_without_any_command_the_file_names_the_report() -> None:
    made = report(path="a.corelens")
    assert title(replace(made, source=replace(made.source, argv=(), labels={}))) == "a.corelens"


def test_a_machine_of_unknown_cores_does_not_tell_them() -> None:
    made = report()
    assert "physical" in place(made)
    assert "physical" not in place(replace(made, host=replace(made.host, physical_cores=None)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "—"), (0.004, "0.00 s"), (59.99, "59.99 s"), (60, "1 min 00.0 s"), (61.5, "1 min 01.5 s"),
        (119.97, "2 min 00.0 s"), (3599.99, "60 min 00.0 s"),
    ],
)  # fmt: skip
def test_durations(value: float | None, expected: str) -> None:
    assert seconds(value) == expected


def test_shares_sizes_and_spreads() -> None:
    assert (percent(None), percent(0.25), percent(1.5)) == ("—", "25.0 %", "150.0 %")
    assert (memory(None), memory(0), memory(3 << 20), memory(3 << 29)) == ("—", "0 MiB", "3 MiB", "1.5 GiB")
    assert spread(None, str) == "—"
    assert spread(Spread(1, 2.0, 2.0, 2.0, 2.0), str) == "2.0"
    assert spread(Spread(3, 1.0, 2.0, 4.0, 2.3), str) == "1.0 / 2.0 / 4.0"


# Markdown


def test_markdown_tables_have_as_many_cells_as_columns() -> None:
    blocks = [block for block in markdown(small(), {}).split("\n\n") if block.startswith("|")]
    assert len(blocks) == 1 + sum(1 for section in sections(small()) if section.rows)
    for block in blocks:
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_markdown_and_terminal_hold_the_same_numbers() -> None:
    numbers = re.findall(r"\d+\.\d+", on_terminal(small(), 400))
    text = markdown(small(), {})
    assert len(numbers) > 40
    assert [number for number in numbers if number not in text] == []


def test_markdown_shows_the_pictures_that_it_is_given() -> None:
    text = markdown(small(), {"threads": "report-images/threads.svg"})
    assert f"![{TITLES['threads']}](report-images/threads.svg)" in text
    assert text.count("![") == 1


# JSON


def test_json_is_the_report_and_nothing_else() -> None:
    made = small()
    found, parts = json.loads(json_report(made)), dataclasses.asdict(made)
    assert list(found)[:5] == ["schema", "verdict", "variant", "headline", "findings"]
    said = [found.pop(key) for key in list(found)[:5]]
    assert said == [SCHEMA, None, None, None, []]
    for key, name in AT_THE_TOP.items():
        if name in parts:
            assert found.pop(key) == json.loads(json.dumps(parts.pop(name)))
    del parts["diagnosis"]
    assert found == {"facts": json.loads(json.dumps(parts))}


def test_json_says_null_where_a_number_is_none() -> None:
    trials = small().trials
    assert trials is not None
    odd = replace(trials.trials[0], value=math.nan, parameters={"x": math.inf, "y": [-math.inf, (1.5,)]})
    found = json.loads(json_report(small(trials=replace(trials, trials=(odd,)))))["facts"]["trials"][
        "trials"
    ][0]
    assert (found["value"], found["parameters"]) == (None, {"x": None, "y": [None, [1.5]]})


def test_what_json_cannot_say_is_null_at_any_depth() -> None:
    assert finite({1: [math.inf, (math.nan, "x")], "y": {"z": -math.inf}}) == {
        "1": [None, [None, "x"]], "y": {"z": None},
    }  # fmt: skip


def test_json_holds_a_chain_deeper_than_calls_can_nest() -> None:
    node = TreeNode(0, "python", "main", 1, ())
    for number in range(1, 1000):
        node = TreeNode(number, "python", "main", 1, (node,))
    text = json_report(small(tree=(node,)))
    assert text.count('"label": "python",') == 1000


# Pictures


def test_pictures_are_what_their_endings_say_and_always_the_same() -> None:
    made = owned_by_a_library(small())
    pictures = drawn(made)
    assert {kind: ending for kind, (ending, _) in pictures.items()} == {
        "busy-cores": "svg", "threads": "svg", "owners": "svg", "cores": "png",
    }  # fmt: skip
    assert list(pictures) == list(TITLES)
    assert pictures["cores"][1].startswith(b"\x89PNG")
    for kind in ("busy-cores", "threads", "owners"):
        assert ElementTree.fromstring(pictures[kind][1]).tag.endswith("svg")
    assert drawn(made) == pictures


def owned_by_a_library(made: Report) -> Report:
    """The same report, with an owner known for some of its threads."""
    assert made.ledger is not None
    series = tuple(OwnerSeries(owner, made.timeline.threads) for owner in ("main", "openblas"))
    return replace(made, ledger=replace(made.ledger, over_time=series))


def test_without_known_owners_there_is_no_picture_of_them() -> None:
    assert list(drawn(small())) == ["busy-cores", "threads", "cores"]


def test_the_picture_of_busy_cores_names_what_it_draws() -> None:
    (_, data) = drawn(small())["busy-cores"]
    for words in (b"busy cores", b"threads waiting for a core", b"capacity", b"seconds"):
        assert words in data


def test_without_readings_of_the_cores_there_is_no_picture_of_them() -> None:
    made = summarise(recording(born(0), footer(1)))
    assert "cores" not in drawn(made)


def test_a_report_with_nothing_seen_is_drawn() -> None:
    made = small()
    nothing = (None,) * len(made.timeline.busy_cores)
    blind = replace(
        made.timeline, busy_cores=nothing, waiting_threads=nothing, threads=nothing, processes=nothing
    )
    assert drawn(replace(made, timeline=blind)).keys() == drawn(made).keys()


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'corelens\[report\]'"):
        drawn(small())
