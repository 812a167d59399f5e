"""What counts as right, and how it is laid out: values in, values out."""

from __future__ import annotations

import json

import pytest

from corelens.scenarios.pathologies.outcome import (
    Gain,
    Outcome,
    Run,
    is_near,
    read_back,
    throughput_hz,
    written,
)
from corelens.scenarios.pathologies.registry import named
from corelens.scenarios.pathologies.table import accuracy_page, counts, lines

GIL = named("json-threads")
HEALTHY = named("forest")
STUCK = named("lock-order")


def run(
    verdict: str | None, hz: float | None = None, predicted: Gain | None = None, trouble: str = ""
) -> Run:
    return Run(verdict, None, 8.0, hz, predicted, trouble)


RIGHT = Outcome(GIL, run("gil-contention", 10.0, Gain(2.0)), run("healthy", 18.0))
MISSED = Outcome(GIL, run("healthy", 10.0), run("healthy", 18.0))
STILL = Outcome(GIL, run("gil-contention", 10.0, Gain(4.0)), run("gil-contention", 18.0))
ALARM = Outcome(HEALTHY, run("worker-churn", 10.0))
QUIET = Outcome(HEALTHY, run("healthy", 10.0))
DEADLOCK = Outcome(STUCK, run("deadlock"), run("healthy", 3.0))
ABSENT = Outcome(GIL, not_run="json is not installed")
FAILED = Outcome(GIL, run(None, trouble="failed with exit code 1: no memory"))


@pytest.mark.parametrize(
    ("outcome", "sick", "fixed"),
    [
        (RIGHT, True, True),
        (MISSED, False, True),
        (STILL, True, False),
        (ALARM, False, None),
        (QUIET, True, None),
        (DEADLOCK, True, True),
        (ABSENT, None, None),
        (FAILED, False, None),
    ],
)
def test_what_is_right(outcome: Outcome, sick: bool | None, fixed: bool | None) -> None:
    assert (outcome.sick_is_right, outcome.fixed_is_right) == (sick, fixed)


def test_a_failed_run_is_never_right_even_with_the_verdict() -> None:
    outcome = Outcome(GIL, run("gil-contention", trouble="failed"), run("healthy", trouble="failed"))
    assert (outcome.sick_is_right, outcome.fixed_is_right) == (False, False)


def test_the_gain_is_the_ratio_of_throughputs() -> None:
    assert RIGHT.measured_gain == pytest.approx(1.8)
    assert RIGHT.gain_is_right
    assert STILL.gain_is_right is False
    assert MISSED.gain_is_right is None


@pytest.mark.parametrize("outcome", [DEADLOCK, ALARM, ABSENT, FAILED])
def test_no_gain_where_nothing_can_be_compared(outcome: Outcome) -> None:
    assert outcome.measured_gain is None
    assert outcome.gain_is_right is None


@pytest.mark.parametrize(
    ("predicted", "measured", "near"),
    [
        (Gain(2.0), 1.4, True),
        (Gain(2.0), 1.3, False),
        (Gain(2.0), 3.0, True),
        (Gain(2.0), 3.1, False),
        (Gain(5.0, at_least=True), 80.0, True),
        (Gain(40.0), 80.0, True),
        (Gain(4.0, at_least=True), 80.0, False),
        (Gain(5.0, at_least=True), 4.0, True),
        (Gain(5.0, at_least=True), 2.0, False),
    ],
)
def test_a_prediction_is_near_or_not(predicted: Gain, measured: float, near: bool) -> None:
    assert is_near(predicted, measured) is near


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("units=90 elapsed 4.50\n", 20.0),
        ("ready\nunits=1 elapsed 1.0\nunits=3 elapsed 1.5\n", 2.0),
        ("stuck: nothing moved for 10 s\nunits=0 elapsed 10.00\n", None),
        ("no figures", None),
    ],
)
def test_the_work_is_read_from_what_a_program_says(output: str, expected: float | None) -> None:
    assert throughput_hz(output) == expected


def test_outcomes_survive_json() -> None:
    outcomes = [RIGHT, MISSED, ALARM, DEADLOCK, ABSENT, FAILED]
    assert read_back(json.loads(json.dumps(written(outcomes)))) == outcomes


def test_the_counts() -> None:
    assert list(counts([RIGHT, MISSED, STILL, ALARM, QUIET, DEADLOCK, ABSENT])) == [
        "causes right: 3 of 4",
        "false alarms: 1 of 2 healthy programs",
        "with the fix another verdict: 3 of 4",
        "gains predicted within a factor of 1.5: 1 of 3",
        "not run here: 1",
    ]


def test_the_table_on_a_terminal() -> None:
    table = list(lines([RIGHT, ALARM, ABSENT]))
    assert table[0].split() == [
        "program",
        "must",
        "be",
        "got",
        "with",
        "the",
        "fix",
        "seconds",
        "gain",
        "predicted",
    ]
    assert table[1].split() == [
        *("json-threads", "gil-contention", "gil-contention", "right", "healthy", "right"),
        *("8", "+", "8", "1.80x", "2.00x"),
    ]
    assert table[2].split() == ["forest", "healthy", "worker-churn", "WRONG", "8"]
    assert table[3] == "not run: json-threads: json is not installed"


def test_a_lower_bound_and_a_wrong_prediction_show_as_such() -> None:
    bound = Outcome(GIL, run("gil-contention", 1.0, Gain(5.0, at_least=True)), run("healthy", 60.0))
    rows = list(lines([bound, STILL]))
    assert rows[1].split()[-3:] == ["60x", ">", "5.00x"]
    assert rows[2].split()[-3:] == ["1.80x", "4.00x", "(wrong)"]


def test_the_page_holds_conditions_counts_and_both_tables() -> None:
    page = accuracy_page(
        [RIGHT, MISSED, ALARM, FAILED, ABSENT], date="2026-01-31", machine="2 cores", command="corelens x"
    )
    assert "- date: 2026-01-31\n- machine: 2 cores\n- command: `corelens x`" in page
    assert "- causes right: 1 of 3" in page
    assert "| gil-contention | 3 | 1 |" in page
    assert "| healthy | 1 | 0 |" in page
    assert "| json-threads | gil-contention | failed with exit code 1: no memory | WRONG |" in page
    assert "| json-threads | json is not installed |" in page
    assert "memory-bandwidth" in page


def test_a_page_where_all_ran_names_nothing_as_missing() -> None:
    page = accuracy_page([RIGHT], date="2026-01-31", machine="2 cores", command="corelens x")
    assert "Not run" not in page
