"""The first screen: the verdict with its proof, the fix and the gain, the same in a terminal, Markdown and JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import replace

import pytest

from corelens.reports.diagnosis_rows import (
    MOST_FINDINGS,
    Passage,
    cause_of,
    first_screen,
    gain,
    other_findings,
    statement,
    verdict,
    weight,
)
from corelens.reports.findings import (
    HEALTHY,
    INSUFFICIENT_EVIDENCE,
    Diagnosis,
    Evidence,
    Finding,
    Gain,
    Remedy,
)
from corelens.reports.json_report import json_report
from corelens.reports.markdown import markdown
from corelens.reports.report import Report, Unseen
from tests import made_reports
from tests.test_report_writers import HOSTILE, flat, on_terminal, renamed

GIL = Finding(
    "gil-contention", "pure-python-threads",
    "4 Python threads of process 100 (main) take turns on one interpreter lock in objective (search.py:12).",
    19.5, 0.48, 0.85,
    (
        Evidence("the GIL of process 100 was held 97.1 % of the time", 0.971, "share", 100),
        Evidence("its 4 threads waited 61.3 s for it", 61.3, "s", 100, None, 2.0, 18.5),
        Evidence("1.02 of 2 cores were busy", 1.02, "cores"),
        Evidence("the lock changed hands 190 times a second", 190, "1/s"),
    ),
    Remedy(
        "Run the 4 workers as processes.",
        ("study.optimize(objective, n_trials=25)  # in each of 2 processes", "", "if True:", "    pass"),
        "Python, in place of n_jobs=4",
    ),
    Gain(1.94, "19.9 core-seconds of work that must be done anyway, on 2 cores instead of 1"),
    (Evidence("two of the threads also waited for a file, 0.4 s"),),
    ("I/O: threads were blocked on files or sockets for 1 % of their time",),
    ("thread-oversubscription",),
)  # fmt: skip
SYMPTOM = replace(
    GIL, slug="thread-oversubscription", variant=None, cause="4 threads share 2 cores.", lost_core_s=2.0,
    evidence=(), excluded=(), against=(), explains=(), gain=Gain(None, "it goes with the first"),
    remedy=Remedy("Start fewer threads."),
)  # fmt: skip
LATE = replace(SYMPTOM, slug="late-thread-limit", cause="OMP_NUM_THREADS came late.", contributing=True)
SICK = Diagnosis("gil-contention", "pure-python-threads", GIL.cause, (GIL, SYMPTOM, LATE))
WELL = Diagnosis(HEALTHY, None, "Nothing was found that is worth changing.", ())
UNSURE = Diagnosis(
    INSUFFICIENT_EVIDENCE, None, "The recording is too short to tell.",
    (replace(SYMPTOM, slug=INSUFFICIENT_EVIDENCE, cause="The recording is too short to tell."),),
)  # fmt: skip


def told(diagnosis: Diagnosis) -> Report:
    gaps = (Unseen("/proc/100/io", "forbidden", 2),)
    return replace(made_reports.threaded(), diagnosis=diagnosis, unseen=gaps)


def in_order(text: str, *pieces: str) -> bool:
    """Whether all pieces are there, one after the other."""
    return re.search(".*".join(map(re.escape, pieces)), flat(text), re.DOTALL) is not None


ORDER = (
    GIL.cause, "verdict: gil-contention (pure-python-threads); 19.5 core-seconds lost, 48 % of the capacity;"
    " confidence 85 %; more: corelens explain gil-contention",
    "What shows it", "held 97.1 % of the time", "waited 61.3 s for it (2.0 to 18.5 s)", "1.02 of 2 cores",
    "What to do", "as processes.", "Python, in place of n_jobs=4:", "study.optimize(",
    "What that would gain", "about 1.9 times the throughput: 19.9 core-seconds",
    "What was ruled out", "I/O: threads", "What speaks against it", "also waited for a file",
    "Other findings", "the lock changed hands 190", "thread-oversubscription: a symptom of gil-contention",
    "4 threads share 2 cores.", "what to do: Start fewer threads.", "gain: it goes with the first",
    "late-thread-limit: contributing", "wall time", "What could not be seen", "/proc/100/io",
)  # fmt: skip


def test_the_terminal_says_it_in_reading_order() -> None:
    assert in_order(on_terminal(told(SICK), 400), *ORDER)


def test_markdown_says_the_same_in_the_same_order() -> None:
    text = markdown(told(SICK), {}).replace("\\", "").replace("**", "")
    assert in_order(text, *(piece for piece in ORDER if piece != "wall time"))
    assert (
        "```text\nstudy.optimize(objective, n_trials=25)  # in each of 2 processes\n\nif True:\n    pass\n```"
        in text
    )


@pytest.mark.parametrize("diagnosis", [SICK, WELL, UNSURE], ids=["sick", "healthy", "unsure"])
def test_eighty_columns_and_no_colours_hold_everything(diagnosis: Diagnosis) -> None:
    text = on_terminal(told(diagnosis), 80)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "…" not in text
    assert "\x1b" not in text
    coloured = on_terminal(told(diagnosis), 80, force_terminal=True, color_system="truecolor")
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == text


def test_what_is_to_be_pasted_is_neither_folded_nor_indented() -> None:
    long = "export " + " ".join(f"LIBRARY_{number}_NUM_THREADS=1" for number in range(9))
    finding = replace(GIL, remedy=replace(GIL.remedy, paste=(long, "\tx")))
    lines = on_terminal(told(replace(SICK, findings=(finding,))), 60).splitlines()
    assert long in lines
    assert "    x" in [line.rstrip() for line in lines]


def test_a_healthy_program_is_proven_by_its_numbers() -> None:
    text = on_terminal(told(WELL), 100)
    assert in_order(
        text, WELL.headline, "verdict: healthy", "wall time", "utilisation", "What could not be seen"
    )
    assert not re.search("What to do|What shows it|Other findings|confidence", text)
    assert f"**{WELL.headline}**\n\nverdict: healthy\n\n| " in markdown(told(WELL), {})


def test_findings_too_small_to_act_on_stay_listed_under_a_healthy_verdict() -> None:
    small = replace(WELL, findings=(replace(GIL, lost_share=0.02),))
    assert cause_of(small) is None
    assert in_order(
        on_terminal(told(small), 200), "verdict: healthy", "Other findings", GIL.cause, "2 % of the capacity"
    )


def test_insufficient_evidence_says_what_to_record() -> None:
    text = on_terminal(told(UNSURE), 100)
    assert in_order(
        text, UNSURE.headline, "verdict: insufficient-evidence", "What to record", "Start fewer threads."
    )


def test_without_a_diagnosis_the_numbers_come_first() -> None:
    text = on_terminal(replace(told(WELL), diagnosis=None))
    assert "verdict" not in text
    assert text.splitlines()[2].startswith(("wall time", "0.1.0", "corelens"))


def test_a_first_finding_that_is_no_cause_is_not_the_verdict() -> None:
    doubtful = replace(SYMPTOM, confidence=0.2, lost_core_s=30.0)
    diagnosis = replace(SICK, findings=(doubtful, GIL))
    assert cause_of(diagnosis) is GIL
    assert verdict(diagnosis)[0] == GIL.cause
    assert "4 threads share 2 cores." in flat(" ".join(other_findings(diagnosis)[1].sentences))


def test_findings_beyond_the_limit_are_counted() -> None:
    many = replace(SICK, findings=(GIL, *[SYMPTOM] * (MOST_FINDINGS + 3)))
    assert len(other_findings(many)) == 1 + MOST_FINDINGS
    assert "3 more are in the JSON report" in on_terminal(told(many))
    assert "more are in the JSON report" not in on_terminal(told(SICK))


@pytest.mark.parametrize(
    ("predicted", "words"),
    [
        (Gain(1.94, "why"), "about 1.9 times the throughput: why"),
        (Gain(5.0, "why", at_least=True), "more than 5.0 times the throughput: why"),
        (Gain(None, "nothing moves until then"), "nothing moves until then"),
    ],
)
def test_a_gain_in_words(predicted: Gain, words: str) -> None:
    assert list(gain(predicted)) == [words]


@pytest.mark.parametrize(
    ("from_s", "until_s", "words"),
    [(None, None, "x"), (1.0, None, "x (from 1.0 s on)"), (1.0, 1.0, "x (at 1.0 s)"), (None, 2.0, "x (until 2.0 s)"),
     (1.0, 2.5, "x (1.0 to 2.5 s)")],
)  # fmt: skip
def test_evidence_tells_when(from_s: float | None, until_s: float | None, words: str) -> None:
    assert statement(Evidence("x", from_s=from_s, until_s=until_s)) == words


def test_empty_passages_are_left_out() -> None:
    bare = replace(GIL, evidence=(), excluded=(), against=())
    assert [one.heading for one in first_screen(replace(SICK, findings=(bare,)))] == [
        "What to do", "What that would gain",
    ]  # fmt: skip
    assert all(isinstance(one, Passage) for one in first_screen(SICK))
    assert weight(bare) == "19.5 core-seconds lost, 48 % of the capacity; confidence 85 %"


def test_json_holds_every_field_of_every_finding() -> None:
    found = json.loads(json_report(told(SICK)))
    assert (found["verdict"], found["variant"], found["headline"]) == (
        SICK.verdict,
        SICK.variant,
        SICK.headline,
    )
    assert found["findings"] == json.loads(json.dumps([dataclasses.asdict(one) for one in SICK.findings]))
    assert found["gaps"][0]["what"] == "/proc/100/io"
    assert "diagnosis" not in found["facts"]


def test_no_text_of_a_program_breaks_out() -> None:
    sick = renamed(told(SICK), "search.py")
    evil = replace(sick, diagnosis=swapped(SICK))
    text = on_terminal(evil, 20_000)
    assert [line for line in text.splitlines() if not line.isprintable()] == []
    page = markdown(evil, {})
    assert [line for line in page.splitlines() if not line.isprintable()] == []
    assert "\n# wall time" not in page
    assert "<b>" not in re.sub(r"```+text\n.*?\n```+", "", page, flags=re.DOTALL)


def swapped(diagnosis: Diagnosis) -> Diagnosis:
    """The same diagnosis with every text hostile."""
    finding = replace(
        GIL, cause=HOSTILE, variant=HOSTILE, evidence=(Evidence(HOSTILE),) * 4, against=(Evidence(HOSTILE),),
        excluded=(HOSTILE,), remedy=Remedy(HOSTILE, (HOSTILE, "```"), HOSTILE), gain=Gain(2.0, HOSTILE),
    )  # fmt: skip
    return replace(
        diagnosis, variant=HOSTILE, headline=HOSTILE, findings=(finding, replace(finding, slug="x"))
    )
