"""The tree: who joins it, what moved, what changed and how each end is told, on a made-up /proc."""

from __future__ import annotations

import os
import select
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest

from corelens.probes import procfs
from corelens.probes.probe import Moment
from corelens.probes.tree import KEYFRAME_PERIOD_NS, TreeProbe
from corelens.vocabulary import Line, columns
from tests.fakeprocesses import MS, SECOND, FakeProcesses, fake_processes, stat_line, table
from tests.programs import TALK, python, running, state, wait_until

ROOT = 42
MARK = "CORELENS_SPOOL=/tmp/x"
PYTHON = ("python", "job.py")
OURS, THEIRS = "/tmp/ray/session_1", "/tmp/ray/session_2"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProcesses:
    made = fake_processes(tmp_path, monkeypatch)
    made.start(1, 0, argv=("init",))
    made.start(ROOT, 7, argv=PYTHON)
    return made


@pytest.fixture
def tree(fake: FakeProcesses) -> Generator[TreeProbe]:
    made = TreeProbe(ROOT, proc=fake.proc)
    yield made
    made.close()


def look(tree: TreeProbe, t_ns: int) -> list[Line]:
    return list(tree.look(Moment(t_ns, {}, frozenset())))


def of(lines: Iterable[Line], kind: str) -> list[Line]:
    return [line for line in lines if line["kind"] == kind]


def kinds(lines: Iterable[Line]) -> list[str]:
    return [line["kind"] for line in lines]


def joined(lines: Iterable[Line]) -> dict[int, str]:
    return {line["pid"]: line["joined_by"] for line in of(lines, "process.born") if not line["again"]}


# who joins


def test_the_root_and_all_below_it_join(fake: FakeProcesses, tree: TreeProbe) -> None:
    fake.start(50, ROOT)
    fake.start(60, 50)
    fake.start(70, 1)
    assert joined(look(tree, 0)) == {ROOT: "root", 50: "child", 60: "child"}
    assert set(tree.processes) == {ROOT, 50, 60}


def test_a_parent_is_told_before_its_child_whatever_their_ids(fake: FakeProcesses, tree: TreeProbe) -> None:
    """Ids have come round, and all were born within one look."""
    fake.start(30, 20)
    fake.start(20, 10)
    fake.start(10, ROOT)
    assert list(joined(look(tree, 0))) == [ROOT, 10, 20, 30]


def test_links_that_form_a_ring_end_the_look(fake: FakeProcesses, tree: TreeProbe) -> None:
    fake.start(20, 30)
    fake.start(30, 20)
    assert joined(look(tree, 0)) == {ROOT: "root"}


def test_a_later_child_joins(fake: FakeProcesses, tree: TreeProbe) -> None:
    look(tree, 0)
    fake.start(50, ROOT)
    (line,) = of(look(tree, 100 * MS), "process.born")
    assert (line["pid"], line["t_ns"], line["ppid"]) == (50, 100 * MS, ROOT)


def test_whoever_joined_stays_when_its_parent_ends(fake: FakeProcesses, tree: TreeProbe) -> None:
    fake.start(50, ROOT)
    fake.start(60, 50)
    look(tree, 0)
    fake.end(50)
    fake.machine.write("60/stat", stat_line(60, "program", 1, 100))
    lines = look(tree, 100 * MS)
    assert [line["pid"] for line in of(lines, "process.died")] == [50]
    assert set(tree.members) == {ROOT, 60}


def test_the_recorder_itself_does_not_join(fake: FakeProcesses) -> None:
    fake.start(50, ROOT)
    tree = TreeProbe(ROOT, proc=fake.proc, exclude=frozenset({50}))
    assert joined(look(tree, 0)) == {ROOT: "root"}
    tree.close()


@pytest.mark.parametrize(
    ("environ", "ppid", "group", "joins"),
    [
        ((MARK,), 1, 77, True),
        ((MARK,), 9, ROOT, True),
        ((MARK,), 9, 77, False),
        ((f"{MARK}y",), 1, 77, False),
        (("OTHER=1",), 1, 77, False),
        ((), 1, ROOT, False),
    ],
    ids=[
        "taken over by init",
        "taken over by another, of our job",
        "of another parent and another job",
        "of another recording",
        "of nobody",
        "without any",
    ],
)
def test_orphans_with_the_mark_join(
    fake: FakeProcesses, environ: tuple[str, ...], ppid: int, group: int, joins: bool
) -> None:
    tree = TreeProbe(ROOT, proc=fake.proc, mark=MARK)
    look(tree, 0)
    fake.start(50, ppid, environ=environ, group=group)
    assert (50 in joined(look(tree, 100 * MS))) is joins
    tree.close()


def test_without_a_mark_and_with_a_hidden_one_no_orphan_joins(fake: FakeProcesses, tree: TreeProbe) -> None:
    marked = TreeProbe(ROOT, proc=fake.proc, mark=MARK)
    for each in (tree, marked):
        look(each, 0)
    fake.start(50, 1, environ=(MARK,))
    fake.forbidden = {"50/environ"}
    assert [joined(look(each, 100 * MS)) for each in (tree, marked)] == [{}, {}]
    marked.close()


def test_hidden_parts_are_one_gap_for_each_process(fake: FakeProcesses, tree: TreeProbe) -> None:
    fake.forbidden = {f"{ROOT}/exe", f"{ROOT}/environ"}
    lines = look(tree, 0) + look(tree, KEYFRAME_PERIOD_NS)
    (gap,) = of(lines, "gap")
    assert (gap["probe"], gap["pid"], gap["reason"]) == ("tree", ROOT, "forbidden")
    assert of(lines, "process.born")[0]["exe"] is None


def test_a_kernel_thread_hides_nothing(fake: FakeProcesses, tree: TreeProbe) -> None:
    fake.start(50, ROOT, argv=(), exe=None)
    assert of(look(tree, 0), "gap") == []


def test_a_target_that_was_gone_before_the_first_look(tmp_path: Path, fake: FakeProcesses) -> None:
    tree = TreeProbe(99, proc=fake.proc)
    assert not tree.root_ended
    assert look(tree, 0) == []
    assert tree.root_ended


# what moved


def test_the_first_reading_is_movement(fake: FakeProcesses, tree: TreeProbe) -> None:
    lines = look(tree, 0)
    assert kinds(lines) == ["process.born", "processes", "process.detail"]
    assert table(lines, "processes") == [{"pid": ROOT, "cpu_ns": 0, "threads": 1}]
    assert set(columns("processes")) == {"pid", "cpu_ns", "threads"}
    assert tree.moved == {ROOT}


def test_who_stands_still_is_not_written(fake: FakeProcesses, tree: TreeProbe) -> None:
    fake.start(50, ROOT)
    look(tree, 0)
    fake.run(50, 50, MS)
    assert table(look(tree, 100 * MS), "processes") == [{"pid": 50, "cpu_ns": MS, "threads": 1}]
    assert tree.moved == {50}
    assert look(tree, 200 * MS) == []
    assert tree.moved == set()


def test_a_new_thread_is_movement(fake: FakeProcesses, tree: TreeProbe) -> None:
    look(tree, 0)
    fake.thread(ROOT, 50)
    assert table(look(tree, 100 * MS), "processes") == [{"pid": ROOT, "cpu_ns": 0, "threads": 2}]


def test_a_clock_that_cannot_be_read_is_null_and_told_once(fake: FakeProcesses, tree: TreeProbe) -> None:
    del fake.clocks[ROOT]
    assert table(look(tree, 0), "processes") == [{"pid": ROOT, "cpu_ns": None, "threads": 1}]
    assert look(tree, 100 * MS) == []


def test_details_come_once_a_second_for_who_moved(fake: FakeProcesses, tree: TreeProbe) -> None:
    fake.start(50, ROOT)
    assert [row["pid"] for row in table(look(tree, 0), "process.detail")] == [ROOT, 50]
    fake.run(50, 50, MS)
    assert of(look(tree, 500 * MS), "process.detail") == []
    assert [row["pid"] for row in table(look(tree, SECOND), "process.detail")] == [50]
    assert look(tree, 2 * SECOND) == []


def test_details_come_less_often_when_the_probe_looks_less_often(
    fake: FakeProcesses, tree: TreeProbe
) -> None:
    tree.period_ns = SECOND
    look(tree, 0)
    found: list[int] = []
    for second in range(1, 21):
        fake.run(ROOT, ROOT, MS)
        found += [line["t_ns"] // SECOND for line in of(look(tree, second * SECOND), "process.detail")]
    assert found == [10, 20]


def test_living_processes_are_told_again_every_thirty_seconds(fake: FakeProcesses, tree: TreeProbe) -> None:
    look(tree, 0)
    (again,) = look(tree, KEYFRAME_PERIOD_NS)
    assert (again["kind"], again["pid"], again["again"]) == ("process.born", ROOT, True)
    assert look(tree, KEYFRAME_PERIOD_NS + SECOND) == []


def test_who_was_overlooked_joins_with_the_keyframe(fake: FakeProcesses, tree: TreeProbe) -> None:
    look(tree, 0)
    look(tree, 100 * MS)
    fake.start(20, ROOT, last=False)
    assert joined(look(tree, 200 * MS)) == {}
    assert joined(look(tree, KEYFRAME_PERIOD_NS)) == {20: "child"}


# what changed


def test_a_young_process_that_executes_a_program_is_told_in_the_next_look(
    fake: FakeProcesses, tree: TreeProbe
) -> None:
    """Seen between fork and exec, it still had its parent's command line, as a pool worker has for good."""
    look(tree, 0)
    fake.start(50, ROOT, argv=PYTHON)
    (born,) = of(look(tree, 100 * MS), "process.born")
    assert born["role"] == "pool-worker-fork"
    execute(fake, 50, "sort", "-n")
    fake.run(50, 50, MS)
    (changed,) = of(look(tree, 200 * MS), "process.changed")
    assert (changed["pid"], changed["argv"], changed["role"]) == (50, ["sort", "-n"], "child")


def execute(fake: FakeProcesses, pid: int, *argv: str, comm: str = "program") -> None:
    fake.machine.write(f"{pid}/cmdline", "".join(f"{word}\0" for word in argv))
    fake.machine.write(f"{pid}/stat", stat_line(pid, comm, ROOT, 100))


def test_an_older_process_that_executes_a_program_is_told_within_a_second(
    fake: FakeProcesses, tree: TreeProbe
) -> None:
    look(tree, 0)
    look(tree, 5 * SECOND)
    execute(fake, ROOT, "sort", comm="sort")
    fake.run(ROOT, ROOT, MS)
    assert of(look(tree, 5500 * MS), "process.changed") == []
    (changed,) = of(look(tree, 6 * SECOND), "process.changed")
    assert (changed["comm"], changed["argv"], changed["role"]) == ("sort", ["sort"], "main")
    assert of(look(tree, 7 * SECOND), "process.changed") == []


def test_another_set_of_cores_is_a_change(fake: FakeProcesses, tree: TreeProbe) -> None:
    look(tree, 0)
    fake.machine.write(f"{ROOT}/status", "Name:\tprogram\nCpus_allowed_list:\t1\n")
    fake.run(ROOT, ROOT, MS)
    (changed,) = of(look(tree, SECOND), "process.changed")
    assert changed["affinity"] == [1]


def test_a_title_of_a_process_makes_its_role(fake: FakeProcesses, tree: TreeProbe) -> None:
    fake.start(50, ROOT, argv=("sleep", "9"))
    assert of(look(tree, 0), "process.born")[1]["role"] == "child"
    execute(fake, 50, "ray::f")
    fake.run(50, 50, MS)
    look(tree, 100 * MS)
    assert tree.processes[50].role == "ray-worker"


# ends


def test_an_end_is_told_with_what_the_kernel_still_shows(fake: FakeProcesses, tree: TreeProbe) -> None:
    fake.start(50, ROOT)
    look(tree, 0)
    fake.run(50, 50, 7 * MS)
    fake.zombie(50, ROOT, status=3 << 8, user=2)
    lines = list(tree.bury(50, 150 * MS))
    assert kinds(lines) == ["process.detail", "process.died"]
    assert table(lines, "process.detail")[0]["user_ns"] == 2 * procfs.NS_PER_TICK
    died = lines[-1]
    assert (died["pid"], died["t_ns"], died["how"]) == (50, 150 * MS, "pidfd")
    assert (died["exit_code"], died["cpu_ns"]) == (3, 7 * MS)
    assert list(tree.bury(50, 160 * MS)) == []


def test_an_end_that_was_reaped_already_has_neither_status_nor_clock(
    fake: FakeProcesses, tree: TreeProbe
) -> None:
    fake.start(50, ROOT)
    look(tree, 0)
    fake.end(50)
    (died,) = look(tree, 100 * MS)
    assert (died["pid"], died["how"]) == (50, "polling")
    assert (died["exit_code"], died["signal"], died["cpu_ns"]) == (None, None, None)


def test_a_status_that_the_kernel_hides_is_not_taken_for_success(
    fake: FakeProcesses, tree: TreeProbe
) -> None:
    """It shows 0 where it would not show the executable either."""
    fake.start(50, ROOT)
    fake.forbidden = {"50/exe"}
    look(tree, 0)
    tree.members[50].uid = os.geteuid() + 1
    fake.zombie(50, ROOT, status=0)
    assert list(tree.bury(50, SECOND))[-1]["exit_code"] is None


@pytest.mark.parametrize(("uid", "status", "shown"), [(0, 0, 0), (1, 5 << 8, 5)])
def test_a_status_of_our_own_process_or_one_that_is_not_0_is_true(
    fake: FakeProcesses, tree: TreeProbe, uid: int, status: int, shown: int
) -> None:
    fake.start(50, ROOT)
    fake.forbidden = {"50/exe"}
    look(tree, 0)
    tree.members[50].uid = os.geteuid() + uid
    fake.zombie(50, ROOT, status=status)
    assert list(tree.bury(50, SECOND))[-1]["exit_code"] == shown


def test_the_status_of_a_living_process_means_nothing(fake: FakeProcesses, tree: TreeProbe) -> None:
    look(tree, 0)
    assert list(tree.bury(ROOT, SECOND))[-1]["exit_code"] is None


def test_the_end_of_our_own_child_comes_from_whoever_reaps_it(fake: FakeProcesses) -> None:
    tree = TreeProbe(ROOT, proc=fake.proc, reaper=lambda: 9)
    look(tree, 0)
    assert not tree.root_ended
    fake.zombie(ROOT, status=0)
    died = list(tree.bury(ROOT, SECOND))[-1]
    assert (died["exit_code"], died["signal"], died["how"]) == (None, 9, "wait")
    assert tree.root_ended


def test_who_ended_did_not_move(fake: FakeProcesses, tree: TreeProbe) -> None:
    fake.start(50, ROOT)
    look(tree, 0)
    fake.run(50, 50, MS)
    look(tree, 100 * MS)
    assert tree.moved == {50}
    list(tree.bury(50, 150 * MS))
    assert tree.moved == set()


def test_an_id_that_came_round_is_another_process(fake: FakeProcesses, tree: TreeProbe) -> None:
    fake.start(50, ROOT, comm="first")
    fake.start(60, 1)
    for t_ns in (0, 100 * MS, 200 * MS):
        look(tree, t_ns)
    fake.end(50)
    fake.start(50, ROOT, comm="second", start=200)
    fake.run(50, 50, 3 * MS)
    died, born, moved = look(tree, 300 * MS)
    assert (died["kind"], died["pid"], died["cpu_ns"], died["how"]) == ("process.died", 50, None, "polling")
    assert (born["kind"], born["comm"], born["start_ticks"]) == ("process.born", "second", 200)
    assert table([moved], "processes") == [{"pid": 50, "cpu_ns": 3 * MS, "threads": 1}]


def test_a_stranger_with_the_id_of_an_ended_member_does_not_join(
    fake: FakeProcesses, tree: TreeProbe
) -> None:
    fake.start(50, ROOT)
    look(tree, 0)
    fake.end(50)
    fake.start(50, 1, start=200)
    lines = look(tree, 100 * MS)
    assert [line["pid"] for line in of(lines, "process.died")] == [50]
    assert set(tree.members) == {ROOT}


def test_the_end_of_a_member_is_not_told_by_a_stranger_with_its_id(
    fake: FakeProcesses, tree: TreeProbe
) -> None:
    """The kernel told of the end, and by the time it is handled somebody else has the id."""
    fake.start(50, ROOT)
    look(tree, 0)
    fake.end(50)
    fake.start(50, 1, start=200)
    fake.run(50, 50, 9 * MS)
    fake.zombie(50, 1, start=200, status=3 << 8)
    (died,) = tree.bury(50, SECOND)
    assert (died["kind"], died["exit_code"], died["cpu_ns"]) == ("process.died", None, None)


def test_with_no_descriptor_left_a_living_process_stays(fake: FakeProcesses, tree: TreeProbe) -> None:
    fake.start(50, ROOT)
    fake.full = {"50/task"}
    lines = look(tree, 0)
    fake.run(50, 50, MS)
    lines += look(tree, 100 * MS) + look(tree, SECOND)
    assert of(lines, "process.died") == []
    assert [row["cpu_ns"] for row in table(lines, "processes") if row["pid"] == 50] == [0, MS]
    (gap,) = of(lines, "gap")
    assert (gap["pid"], gap["reason"]) == (None, "descriptors")


def test_a_process_that_could_not_be_read_for_want_of_a_descriptor_is_a_gap(
    fake: FakeProcesses, tree: TreeProbe
) -> None:
    look(tree, 0)
    fake.full = {"50/stat"}
    fake.start(50, ROOT)
    (gap,) = look(tree, 100 * MS) + look(tree, 200 * MS)
    assert (gap["pid"], gap["reason"]) == (None, "descriptors")


# Ray


def raylet(fake: FakeProcesses, pid: int, session: str) -> None:
    argv = ("/ray/raylet", f"--raylet_socket_name={session}/sockets/raylet")
    fake.start(pid, 1, comm="raylet", argv=argv)


def ray_worker(fake: FakeProcesses, pid: int, raylet: int) -> None:
    fake.start(pid, raylet, argv=("ray::f",), environ=("RAY_JOB_ID=01000000",))


def drive(fake: FakeProcesses, pid: int, session: str) -> None:
    folder = fake.proc / f"{pid}/fd"
    folder.mkdir()
    (folder / "5").symlink_to(f"{session}/logs/python-core-driver-01000000ffff_1.log")


def test_workers_of_our_session_join_and_those_of_another_do_not(
    fake: FakeProcesses, tree: TreeProbe
) -> None:
    raylet(fake, 60, OURS)
    raylet(fake, 61, THEIRS)
    ray_worker(fake, 70, 60)
    ray_worker(fake, 71, 61)
    drive(fake, ROOT, OURS)
    lines = look(tree, 0)
    assert joined(lines) == {ROOT: "root", 70: "ray-session"}
    assert of(lines, "process.changed")[0]["role"] == "ray-driver"
    assert tree.processes[70].role == "ray-worker"


def test_a_program_that_begins_to_drive_is_told_and_gets_its_workers(
    fake: FakeProcesses, tree: TreeProbe
) -> None:
    raylet(fake, 60, OURS)
    ray_worker(fake, 70, 60)
    assert joined(look(tree, 0)) == {ROOT: "root"}
    drive(fake, ROOT, OURS)
    fake.run(ROOT, ROOT, MS)
    lines = look(tree, SECOND)
    assert joined(lines) == {70: "ray-session"}
    assert [line["role"] for line in of(lines, "process.changed")] == ["ray-driver"]
    fake.start(80, 70)
    assert joined(look(tree, 1100 * MS)) == {80: "child"}
    assert joined(look(tree, 2 * SECOND)) == {}


def test_a_worker_with_a_lower_id_than_its_raylet_joins(fake: FakeProcesses, tree: TreeProbe) -> None:
    """Ids came round between the two, and the recorder was not there yet."""
    raylet(fake, 70, OURS)
    ray_worker(fake, 60, 70)
    fake.start(80, ROOT)
    drive(fake, ROOT, OURS)
    assert joined(look(tree, 0)) == {ROOT: "root", 80: "child", 60: "ray-session"}


def test_the_workers_of_a_driver_that_ended_no_longer_join(fake: FakeProcesses, tree: TreeProbe) -> None:
    raylet(fake, 60, OURS)
    fake.start(50, ROOT, argv=("python", "driver.py"))
    drive(fake, 50, OURS)
    look(tree, 0)
    assert tree.processes[50].role == "ray-driver"
    fake.end(50)
    look(tree, 500 * MS)
    ray_worker(fake, 70, 60)
    assert joined(look(tree, SECOND)) == {}


# the kernel tells of ends

CHILD = (
    TALK
    + """
import os
pid = os.fork()
if not pid:
    os.read(0, 1)
    os._exit(3)
say(pid)
while hear() != "reap":
    pass
print(os.waitpid(pid, 0)[1] >> 8, flush=True)
hear()
"""
)


def test_a_real_child_that_joins_and_ends() -> None:
    with running(python(CHILD)) as program, select.epoll() as poll:
        pid = int(program.hear())
        tree = TreeProbe(program.pid, poll=poll)
        lines = look(tree, 0)
        assert joined(lines) == {program.pid: "root", pid: "child"}
        assert table(lines, "processes")[0]["cpu_ns"] > 0
        os.kill(pid, 9)
        wait_until(lambda: state(pid) == "Z", "the child to end")
        ((descriptor, _),) = poll.poll(60)
        assert tree.pid_of(descriptor) == pid
        died = list(tree.bury(pid, SECOND))[-1]
        assert (died["exit_code"], died["signal"], died["how"]) == (None, 9, "pidfd")
        assert poll.poll(0) == []
        assert (tree.pid_of(descriptor), set(tree.members)) == (None, {program.pid})
        program.say("reap")
        program.hear()
        tree.close()


def test_the_end_that_the_kernel_tells_of_is_not_told_by_looking() -> None:
    """The thread probe must read what is left before the tree buries the process."""
    with running(python(CHILD)) as program, select.epoll() as poll:
        pid = int(program.hear())
        tree = TreeProbe(program.pid, poll=poll)
        look(tree, 0)
        os.kill(pid, 9)
        program.say("reap")
        program.hear()
        assert of(look(tree, 100 * MS), "process.died") == []
        ((descriptor, _),) = poll.poll(60)
        assert tree.pid_of(descriptor) == pid
        assert kinds(tree.bury(pid, 150 * MS)) == ["process.died"]
        tree.close()


def test_a_process_seen_by_polling_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before Linux 5.3, which has no process descriptors: the end shows once it was reaped."""

    def unsupported(pid: int, flags: int = 0) -> Any:
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(os, "pidfd_open", unsupported)
    with running(python(CHILD)) as program:
        pid = int(program.hear())
        tree = TreeProbe(program.pid)
        assert set(joined(look(tree, 0))) == {program.pid, pid}
        os.kill(pid, 9)
        wait_until(lambda: state(pid) == "Z", "the child to end")
        program.say("reap")
        program.hear()
        (died,) = of(look(tree, SECOND), "process.died")
        assert (died["pid"], died["how"]) == (pid, "polling")
        tree.close()
