"""What samples of Python stacks add up to: recordings made by hand in, values out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from corelens.recording import Recording
from corelens.reports.facts.processes import Life, Lives
from corelens.reports.facts.stack_samples import StacksByThread, python_names, stack_samples
from corelens.reports.facts.stack_waits import WaitedStacks
from corelens.reports.facts.stacks import folded_stacks, interval, stacks, thread_group
from corelens.reports.json_report import json_report
from corelens.reports.markdown import markdown
from corelens.reports.python_stacks import PythonStacks
from corelens.reports.schema import json_fields, unit_of
from corelens.reports.sections import sections
from corelens.vocabulary import Line, columnar_line
from tests import made_reports
from tests.test_vocabulary import complaints

SECOND = 1_000_000_000
MAIN, WORKER = 10, 20
FRAMES = [
    (0, "<module>", "/a/main.py", 1),
    (1, "search", "/a/main.py", 7),
    (2, "search", "/a/main.py", 8),
    (3, "evolve", "/a/ga.py", None),
]
CHAINS = [(0, [0]), (1, [0, 1]), (2, [0, 2]), (3, [0, 1, 3]), (4, [0, 99])]


def life(pid: int, role: str) -> Life:
    return Life(pid, 1, 1, 0, "python", None, role, None, None, None, began_before=False)


LIVES = Lives([root := life(MAIN, "main"), life(WORKER, "pool-worker-spawn")], root)


def look(t_s: float, how: str, pid: int = MAIN, **more: Any) -> Line:
    line = {
        "kind": "stacks.looks", "t_ns": round((t_s + 1) * SECOND), "from_ns": round(t_s * SECOND), "pid": pid,
        "how": how, "rate_hz": None if how == "dump" else 10, "blocking": False, "samples": 1, "dropped": 0,
        "cpu_ns": SECOND // 4, "failed": None,
    }  # fmt: skip
    return {**line, **more}


def sampled(t_s: float, pid: int, *rows: tuple[int, int, int, bool | None, bool | None]) -> Line:
    """A `stacks` line of (tid, stack, samples, active, gil)."""
    return columnar_line(
        "stacks", round((t_s + 1) * SECOND), [(round(t_s * SECOND), pid, *row) for row in rows]
    )


def recording(*lines: Line) -> Recording:
    """A recording of these lines and the frames and stacks of this file."""
    fixed = [columnar_line("stacks.frames", 0, FRAMES), columnar_line("stacks.chains", 0, CHAINS)]
    by_kind: dict[str, list[Line]] = {}
    for line in (*fixed, *lines):
        assert list(complaints(line)) == []
        by_kind.setdefault(line["kind"], []).append(line)
    return Recording(Path("x"), {}, by_kind, None)


def summed(*lines: Line, agent: Line | None = None) -> PythonStacks:
    made = recording(*lines)
    if agent is not None:
        made.by_kind["pools"] = [agent]
    found = stacks(made, LIVES, stack_samples(made, LIVES))
    assert found is not None
    return found


def test_where_nobody_looked_there_is_nothing() -> None:
    assert stacks(recording(), LIVES, ()) is None


def test_samples_are_told_apart_by_what_was_asked() -> None:
    found = summed(
        look(1, "dump"),
        sampled(1, MAIN, (10, 1, 1, True, True), (11, 0, 1, False, False), (12, 0, 1, None, False)),
        look(2, "active"),
        sampled(2, MAIN, (10, 2, 7, True, None)),
        look(3, "gil", dropped=5),
        sampled(3, MAIN, (10, 3, 9, None, True)),
        look(4, "dump", failed="it broke"),
    )
    assert (found.active_samples, found.gil_samples, found.idle_samples, found.unknown_samples) == (
        8,
        9,
        1,
        1,
    )
    assert (found.looks, found.failed_looks, found.dropped_samples, found.processes) == (3, 1, 5, 1)
    assert found.own_core_s == 1.0
    assert not found.blocking


def test_functions_are_those_that_were_innermost_by_role() -> None:
    found = summed(
        look(1, "active"),
        sampled(1, MAIN, (10, 1, 2, True, None), (11, 2, 4, True, None), (12, 3, 2, True, None)),
        look(2, "active", pid=WORKER),
        sampled(2, WORKER, (20, 3, 30, True, None)),
    )
    told = [(one.role, one.function, one.file, one.line, one.samples) for one in found.functions]
    assert told == [
        ("pool-worker-spawn", "evolve", "/a/ga.py", None, 30),
        ("main", "search", "/a/main.py", 8, 6),
        ("main", "evolve", "/a/ga.py", None, 2),
    ]
    assert found.functions[1].seen_share == 0.75
    assert found.holders == ()


def test_holders_of_the_gil_come_from_dumps_and_samples() -> None:
    found = summed(
        look(1, "dump"),
        sampled(1, MAIN, (10, 1, 1, True, True), (11, 3, 1, False, False)),
        look(3, "gil"),
        sampled(3, MAIN, (11, 3, 3, None, True)),
    )
    assert [(one.function, one.samples) for one in found.holders] == [("evolve", 3), ("search", 1)]


def test_the_agent_is_no_part_of_the_program() -> None:
    found = summed(
        look(1, "active"),
        sampled(1, MAIN, (10, 1, 5, True, None), (19, 3, 50, True, None)),
        agent={"kind": "pools", "t_ns": 1, "pid": MAIN, "agent_tid": 19},
    )
    assert [one.function for one in found.functions] == ["search"]
    assert found.active_samples == 5


def test_a_share_of_few_samples_is_wide_and_never_certain() -> None:
    low, high = interval(10, 10)
    assert (round(low, 3), high) == (0.722, 1.0)
    low, high = interval(0, 10)
    assert (low, round(high, 3)) == (0.0, 0.278)
    low, high = interval(500, 1000)
    assert (round(low, 3), round(high, 3)) == (0.469, 0.531)


def test_stacks_fold_by_role_thread_group_and_state() -> None:
    named = columnar_line("threads.python", 1, [(MAIN, 10, "trial-1"), (MAIN, 11, "trial-27")])
    made = recording(
        named,
        look(1, "active"),
        sampled(1, MAIN, (10, 1, 2, True, None), (11, 2, 4, True, None), (12, 1, 1, True, None)),
        look(2, "dump"),
        sampled(2, MAIN, (10, 1, 1, False, False)),
    )
    folded = folded_stacks(stack_samples(made, LIVES), python_names(made, LIVES))
    frames = ("<module> (/a/main.py)", "search (/a/main.py)")
    assert [(one.threads, one.state, one.frames, one.samples) for one in folded] == [
        ("trial-#", "active", frames, 6),
        ("trial-#", "idle", frames, 1),
        ("unnamed", "active", frames, 1),
    ]
    assert thread_group("ThreadPoolExecutor-0_12") == "ThreadPoolExecutor-#_#"


def test_a_stack_that_was_lost_to_damage_takes_its_samples_with_it() -> None:
    found = stack_samples(
        recording(look(1, "dump"), sampled(1, MAIN, (10, 4, 1, True, False), (10, 77, 1, True, True))), LIVES
    )
    assert found == []


def test_the_stack_of_a_thread_nearest_in_time() -> None:
    made = recording(
        look(1, "dump"), sampled(1, MAIN, (10, 0, 1, False, False)),
        look(2, "active"), sampled(2, MAIN, (10, 3, 5, True, None)),
        look(4, "dump"), sampled(4, MAIN, (10, 1, 1, False, False)),
    )  # fmt: skip
    found = StacksByThread(stack_samples(made, LIVES))

    def nearest(t_s: float, within_s: float) -> str | None:
        sample = found.stack_of(10, round(t_s * SECOND), round(within_s * SECOND))
        return None if sample is None else sample.frames[-1].function

    assert nearest(0, 1) == "<module>"
    assert nearest(2.4, 5) == "<module>"
    assert nearest(2.6, 5) == "search"
    assert nearest(9, 5) == "search"
    assert nearest(9, 4) is None
    assert found.stack_of(11, SECOND, SECOND) is None


def test_a_thread_keeps_the_name_it_had_at_the_time() -> None:
    names = python_names(
        recording(
            columnar_line("threads.python", 5, [(MAIN, 10, "first")]),
            columnar_line("threads.python", 7, [(MAIN, 10, "first"), (WORKER, 10, "other")]),
            columnar_line("threads.python", 9, [(MAIN, 10, "second")]),
        ),
        LIVES,
    )
    assert [names.at(LIVES.root, 10, t_ns) for t_ns in (0, 5, 8, 9, 99)] == [
        "first", "first", "first", "second", "second",
    ]  # fmt: skip
    assert names.at(None, 10, 5) is None
    assert names.all()[LIVES.root, 10] == ((5, "first"), (9, "second"))


def test_the_report_shows_the_most_frequent_and_how_sure_that_is() -> None:
    found = summed(
        look(1, "active", dropped=2),
        sampled(1, MAIN, (10, 1, 5, True, None), (11, 3, 15, True, None)),
    )
    report = made_reports.report()
    assert not any(part.title == "Where the Python code was" for part in sections(report))
    shown = replace(report, stacks=found)
    (part,) = [part for part in sections(shown) if part.title == "Where the Python code was"]
    assert part.rows[0] == ("main", "active", "evolve (a/ga.py)", "75.0 %", "53 – 89 %", "15")
    assert part.rows[1][2] == "search (a/main.py:7)"
    assert "20 samples of active threads" in part.notes[0]
    assert part.notes[-1].startswith("left out: 2 torn samples")
    assert '"active_samples": 20' in json_report(shown)
    assert "evolve (a/ga.py)" in markdown(shown, {})


def test_every_number_of_this_part_has_a_unit() -> None:
    numbers = [
        (path, kind)
        for path, kind, _, _ in json_fields()
        if path.startswith("facts.stacks") and kind.split(",")[0].split(" ")[0] in ("int", "float")
    ]
    assert numbers
    assert [path for path, _ in numbers if unit_of(path) is None] == []


class At(NamedTuple):
    """A thread in one place for a while."""

    life: Life
    tid: int
    start_ns: int
    end_ns: int
    what: str


def test_what_waiting_threads_wanted_to_run() -> None:
    made = recording(
        look(1, "dump"), sampled(1, MAIN, (10, 3, 1, False, False), (11, 1, 1, False, False)),
        look(2, "active"), sampled(2, MAIN, (10, 0, 5, True, None)),
        look(4, "dump"), sampled(4, MAIN, (10, 3, 1, False, False), (11, 1, 1, True, True)),
    )  # fmt: skip
    joined = WaitedStacks(stack_samples(made, LIVES))
    for tid, start_s, end_s, what in (
        (10, 0.5, 1.5, "gil"), (10, 1.5, 3.0, "running"), (10, 3.0, 5.0, "gil"),
        (11, 0.0, 2.0, "lock"), (11, 2.0, 5.0, "gil"), (12, 0.0, 5.0, "gil"),
    ):  # fmt: skip
        joined.add(At(LIVES.root, tid, round(start_s * SECOND), round(end_s * SECOND), what))
    told = {what: [(one.function, one.samples) for one in joined.wanted(what)] for what in ("gil", "lock")}
    assert told == {"gil": [("evolve", 2)], "lock": [("search", 1)]}
    assert joined.wanted("running") == ()
