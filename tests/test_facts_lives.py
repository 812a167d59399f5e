"""Who was there, from when to when: pids used again, lost births and deaths, parents, the tree."""

from __future__ import annotations

import pytest

from corelens.errors import NothingMeasured
from corelens.recording import Recording
from corelens.reports.facts import processes, summarise, tree
from corelens.reports.facts.processes import Life, Lives, began_before, start_ns
from corelens.reports.report import TreeNode
from tests.made_recordings import (
    ROOT,
    SEARCH,
    S,
    born,
    changed,
    clocks,
    detail,
    died,
    footer,
    header,
    ns,
    recording,
    search,
)


def lives(*lines: dict[str, object], how: str = "started") -> Lives:
    return processes.lives(recording(*lines, head=header(how)))


def only(found: Lives, pid: int) -> Life:
    (life,) = [life for life in found.all if life.pid == pid]
    return life


def test_a_recording_without_any_process_says_what_to_do() -> None:
    with pytest.raises(NothingMeasured, match=r"run\.corelens holds no process.*; record again, for longer"):
        summarise(recording(footer(1)))


def test_a_pid_used_again_is_another_process() -> None:
    found = lives(born(0), born(1, 7), died(2, 7, exit_code=3), born(3, 7), died(4, 7, exit_code=4))
    first, second = (life for life in found.all if life.pid == 7)
    assert (first.died_ns, first.exit_code) == (ns(2), 3)
    assert (second.died_ns, second.exit_code) == (ns(4), 4)
    assert (found.at(7, ns(2.5)), found.at(7, ns(3))) == (first, second)


def test_a_pid_used_again_in_the_round_in_which_its_owner_is_found_dead() -> None:
    found = lives(born(0), born(1, 7), born(3, 7), died(3, 7, exit_code=3))
    first, second = (life for life in found.all if life.pid == 7)
    assert (first.exit_code, first.died_ns) == (3, ns(3))
    assert (second.exit_code, second.died_ns) == (None, None)


def test_a_lost_death_is_proved_by_the_next_owner_of_the_pid() -> None:
    found = lives(born(0), born(1, 7), born(3, 7), died(4, 7, 0.5, exit_code=9))
    first, second = (life for life in found.all if life.pid == 7)
    assert (first.died_ns, first.exit_code, first.final_cpu_ns) == (ns(3), None, None)
    assert (second.died_ns, second.exit_code, second.final_cpu_ns) == (ns(4), 9, ns(0.5))


def test_a_process_that_is_repeated_is_one() -> None:
    again = born(30, 7, start_ticks=100, again=True, cpu_ns=ns(20))
    assert len(lives(born(0), born(1, 7), again).all) == 2


def test_a_lost_birth_is_dated_by_the_kernel() -> None:
    life = only(lives(born(0), born(30, 7, start_ticks=150, again=True)), 7)
    assert (life.born_ns, life.began_before) == (ns(1.5), False)


def test_a_lost_birth_before_the_recording_is_dated_by_its_beginning() -> None:
    life = lives(born(30, start_ticks=50_000, again=True), how="attached").root
    assert (life.born_ns, life.began_before) == (0, True)


def test_a_lost_birth_does_not_count_cpu_twice() -> None:
    # The birth at 1 s lay in damaged bytes: readings of the process are older than its introduction at 30 s.
    read = [clocks(second, (7, second - 1.0, 1)) for second in range(2, 41)]
    repeated = born(30, 7, start_ticks=100, again=True, cpu_ns=ns(29))
    lines = [born(0), *read, repeated, died(40, 7, 39.0), died(40), footer(40)]
    made = summarise(recording(*lines, head=header(periods_ns={"tree": S})))
    assert made.cpu.used_core_s == pytest.approx(39.0)
    assert made.cpu.busy_cores_peak == pytest.approx(1.0, rel=0.02)


def test_a_lost_birth_of_a_process_that_was_there_before_keeps_its_baseline() -> None:
    read = [clocks(second, (ROOT, 500.0 + second, 1)) for second in range(1, 41)]
    repeated = born(30, start_ticks=50_000, again=True, cpu_ns=ns(530))
    made = summarise(recording(*read, repeated, head=header("attached")))
    assert made.cpu.used_core_s == pytest.approx(39.0)


def test_the_only_reading_of_a_repeated_birth_counts() -> None:
    repeated = born(30, 7, start_ticks=2000, again=True, cpu_ns=ns(4))
    made = summarise(recording(born(0), repeated, died(40), footer(40)))
    assert made.cpu.used_core_s == pytest.approx(4.0)
    assert made.cpu.busy_cores_peak <= 4.0


def test_the_death_of_a_stranger_is_no_trouble() -> None:
    assert len(lives(born(0), died(2, 7), changed(1, 8)).all) == 1


def test_changes_update_what_they_know() -> None:
    life = only(
        lives(
            born(0),
            born(1, 7, role="child", affinity=[0, 1]),
            changed(2, 7, comm="ray::work", argv=["ray::work"], role="ray-worker", affinity=[3]),
            changed(3, 7, comm="ray::IDLE", argv=None, role="unknown"),
        ),
        7,
    )
    assert (life.comm, life.argv, life.role) == ("ray::IDLE", ("ray::work",), "ray-worker")
    assert (life.affinity_cores, life.variables) == (1, {})
    assert life.titles == {"python", "ray::work"}


def test_of_a_started_program_nothing_began_before() -> None:
    found = lives(born(0, start_ticks=-300), how="started")
    assert not found.root.began_before


def test_a_ray_worker_that_stood_ready_began_before() -> None:
    found = lives(born(0), born(1, 7, start_ticks=-300, joined_by="ray-session"))
    assert only(found, 7).began_before


def test_attached_processes_began_before_and_their_children_did_not() -> None:
    found = lives(born(0, start_ticks=50_000), born(2, 7, ROOT, start_ticks=100_200), how="attached")
    assert found.root.began_before
    assert not only(found, 7).began_before


def test_one_tick_is_no_proof_of_an_earlier_start() -> None:
    made = recording(born(0), head=header("attached"))
    assert start_ns(made, 100_000) == 0
    assert not began_before(made, 99_999)
    assert began_before(made, 99_998)
    assert not began_before(made, None)


def test_the_root_is_told_by_the_header_or_else_the_first() -> None:
    assert lives(born(0, 7), born(0)).root.pid == ROOT
    assert lives(born(1, 7), born(2, 8)).root.pid == 7


def test_a_parent_is_found_by_its_pid_at_that_time() -> None:
    found = lives(born(0), born(1, 7, ROOT), died(2, 7), born(3, 7, ROOT), born(4, 8, 7))
    assert found.parent(only(found, 8)) is [life for life in found.all if life.pid == 7][1]
    assert found.parent(found.root) is None


def test_a_dead_process_is_no_parent() -> None:
    found = lives(born(0), born(1, 7, ROOT), died(2, 7), born(4, 8, 7))
    assert found.parent(only(found, 8)) is None


def test_a_younger_process_is_no_parent() -> None:
    # The recorded program's own parent ended long ago, and a worker was given its pid.
    found = lives(born(0, ppid=7), born(3, 7, ROOT))
    assert found.parent(found.root) is None
    assert found.parent(only(found, 7)) is found.root


def test_no_process_is_missing_from_the_tree_when_a_pid_is_used_again() -> None:
    made = summarise(recording(born(0, ppid=7), born(3, 7, ROOT), died(5), footer(5)))
    assert [(node.pid, [child.pid for child in node.children]) for node in made.tree] == [(ROOT, [7])]


def test_readings_of_a_process_that_nobody_introduced_are_left_out() -> None:
    made = summarise(recording(born(0), clocks(1, (9, 5.0, 3), (ROOT, 1.0, 1)), died(2), footer(2)))
    assert made.cpu.used_core_s == 1.0
    assert made.threads.peak == 1


def test_the_tree_holds_everybody_who_lived_at_the_peak() -> None:
    made = summarise(recording(*search(), head=SEARCH))
    (root,) = made.tree
    assert sum(node.threads for node in (root, *root.children)) == made.threads.peak == 5
    assert [node.label for node in root.children] == ["LokyProcess-201", "LokyProcess-202"]
    assert made.tree_at_s == made.threads.peak_s == 1.0


def test_those_without_a_living_parent_stand_at_the_top() -> None:
    found = lives(born(0), born(1, 7, ROOT), born(2, 8, 7))
    root, middle, leaf = found.all
    assert tree.tree(found, {root: 1, leaf: 2}) == (
        TreeNode(ROOT, "python search.py", "main", 1, ()),
        TreeNode(8, "python search.py", "child", 2, ()),
    )
    assert tree.tree(found, {root: 1, middle: 1, leaf: 2})[0].children[0].children[0].pid == 8


def test_a_chain_deeper_than_calls_can_nest_is_summed_up() -> None:
    chain = [born(0), *(born(number * 0.01, ROOT + number, ROOT + number - 1) for number in range(1, 2000))]
    made = summarise(recording(*chain, detail(20, ROOT), footer(20)))
    assert made.processes_peak == 2000
    assert len(made.tree) == 1


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["python", "--process-name", "LokyProcess-3"], "LokyProcess-3"),
        (["python", "--process-name"], "python"),
        (["ray::work()"], "ray::work()"),
        (["/usr/bin/python3.11", "-W", "error", "/home/me/train.py", "7"], "python3.11 train.py"),
        (["python", "-m", "train"], "python -m train"),
        (["python", "-m"], "python -m"),
        (["python", "-c", "import os"], "python -c"),
        (["python", "/home/me/train.py"], "python train.py"),
        (["python", "--multiprocessing-fork", "x"], "python"),
        (["python"], "python"),
        (["/bin/sleep", "9"], "sleep"),
        ([""], "comm"),
        ([], "comm"),
        (None, "comm"),
    ],
)
def test_a_process_is_called_by_what_it_runs(argv: list[str] | None, expected: str) -> None:
    found = lives(born(0, argv=argv, comm="comm"))
    assert tree.label(found.root) == expected


def test_every_made_line_is_one_that_a_probe_may_write() -> None:
    with pytest.raises(AssertionError, match="fields differ"):
        recording(born(0, colour="red"))
    assert isinstance(recording(born(0)), Recording)
