"""Threads: whatever order they move, begin and end in, on a made-up /proc; real ones in a few places."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corelens.probes import procfs
from corelens.probes.descriptors import Descriptors
from corelens.probes.threads import (
    DETAILS_PER_LOOK,
    FEW_THREADS,
    KEYFRAME_PERIOD_NS,
    SCHEDULER_TICK_NS,
    ThreadsProbe,
)
from corelens.vocabulary import Line, columns
from tests.fakeprocesses import MS, SECOND, FakeProcesses, fake_processes, table
from tests.programs import WAITING_THREADS, python, running, schedstat

PID = 42
MANY = range(PID, PID + FEW_THREADS + 4)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProcesses:
    made = fake_processes(tmp_path, monkeypatch)
    made.start(PID)
    return made


@pytest.fixture
def probe(fake: FakeProcesses) -> Generator[ThreadsProbe]:
    made = ThreadsProbe(fake.proc, cores=2)
    yield made
    made.close()


@pytest.fixture
def many(fake: FakeProcesses) -> FakeProcesses:
    """Enough threads for the shortcut, the first of them PID itself."""
    for tid in MANY[1:]:
        fake.thread(PID, tid)
    return fake


def look(probe: ThreadsProbe, fake: FakeProcesses, t_ns: int, *pids: int, **options: Any) -> list[Line]:
    return list(probe.look(fake.moment(t_ns, *(pids or (PID,)), **options)))


def kinds(lines: Iterable[Line]) -> list[str]:
    return [line["kind"] for line in lines]


def tids(lines: Iterable[Line], kind: str) -> list[int]:
    return [row["tid"] for row in table(lines, kind)]


# one thread


def test_a_thread_is_named_first_and_then_counted(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    fake.thread(PID, 50, comm="worker", start=105, run_ns=3 * MS)
    fake.run(PID, 50, 2 * MS, wait_ns=7)
    born, counted = look(probe, fake, 0)
    assert born == {
        "kind": "threads.born",
        "t_ns": 0,
        "pid": [PID, PID],
        "tid": [PID, 50],
        "start_ticks": [100, 105],
        "comm": ["program", "worker"],
    }
    assert set(columns("threads.born")) == set(born) - {"kind", "t_ns"}
    assert table([counted], "threads") == [
        {"tid": PID, "run_ns": 0, "wait_ns": 0, "slices": 1},
        {"tid": 50, "run_ns": 5 * MS, "wait_ns": 7, "slices": 2},
    ]


def test_only_threads_that_moved_are_written(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    fake.thread(PID, 50)
    look(probe, fake, 0)
    assert look(probe, fake, 100 * MS) == []
    fake.run(PID, 50, MS)
    assert tids(look(probe, fake, 200 * MS), "threads") == [50]


def test_a_process_that_did_not_move_is_not_read(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    look(probe, fake, 0)
    readings = probe.readings
    assert look(probe, fake, 100 * MS, moved=()) == []
    assert probe.readings == readings


def test_a_process_that_moved_and_ended_since_is_not_looked_for(
    fake: FakeProcesses, probe: ThreadsProbe
) -> None:
    fake.start(77)
    assert set(tids(look(probe, fake, 0, moved=(PID, 77)), "threads.born")) == {PID}


def test_a_thread_that_ended_is_told(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    fake.thread(PID, 50)
    look(probe, fake, 0)
    fake.end_thread(PID, 50)
    assert look(probe, fake, 100 * MS) == [{"kind": "threads.died", "t_ns": 100 * MS, "tid": [50]}]


def test_the_end_of_a_thread_comes_after_its_last_movement(
    fake: FakeProcesses, probe: ThreadsProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread is found ended while all are read, and another ends before they are listed again."""
    fake.thread(PID, 50)
    fake.thread(PID, 51)
    look(probe, fake, 0)
    fake.run(PID, 50, MS)
    fake.end_thread(PID, 51)
    fake.thread(PID, 52)
    listdir = os.listdir

    def end_and_list(path: str) -> list[str]:
        fake.end_thread(PID, 50)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", end_and_list)
    lines = look(probe, fake, 100 * MS)
    assert kinds(lines) == ["threads.born", "threads", "threads.died"]
    assert (tids(lines, "threads"), tids(lines, "threads.died")) == ([50, 52], [50, 51])


def test_one_that_ends_as_another_begins_is_noticed_in_the_same_look(
    fake: FakeProcesses, probe: ThreadsProbe
) -> None:
    """The number of threads is as before, so only the failed reading tells. The process then rests."""
    fake.thread(PID, 50)
    look(probe, fake, 0)
    fake.end_thread(PID, 50)
    fake.thread(PID, 51, run_ns=60 * MS)
    lines = look(probe, fake, 100 * MS)
    assert tids(lines, "threads.died") == [50]
    assert tids(lines, "threads.born") == [51]
    assert table(lines, "threads") == [{"tid": 51, "run_ns": 60 * MS, "wait_ns": 0, "slices": 1}]


def test_a_reused_thread_id_is_another_thread(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    fake.thread(PID, 50, start=100)
    look(probe, fake, 0)
    fake.end_thread(PID, 50)
    fake.thread(PID, 50, start=200, run_ns=5 * MS)
    lines = look(probe, fake, 100 * MS)
    assert tids(lines, "threads.died") == [50]
    assert [row["start_ticks"] for row in table(lines, "threads.born")] == [200]
    fake.run(PID, 50, 3 * MS)
    lines += look(probe, fake, 200 * MS)
    assert [row["run_ns"] for row in table(lines, "threads") if row["tid"] == 50] == [5 * MS, 8 * MS]


def test_a_reused_process_id_is_another_process(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    """The end of one and the beginning of the other lie between two looks."""
    look(probe, fake, 0)
    fake.end(PID)
    fake.start(PID, start=300)
    fake.run(PID, PID, 9 * MS)
    lines = look(probe, fake, 100 * MS, start=300)
    assert kinds(lines) == ["threads.died", "threads.born", "threads"]
    assert table(lines, "threads.born")[0]["start_ticks"] == 300
    assert table(lines, "threads")[0]["run_ns"] == 9 * MS


def test_the_id_of_an_ended_thread_in_another_process(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    fake.thread(PID, 50)
    fake.start(60)
    look(probe, fake, 0, PID, 60)
    fake.end_thread(PID, 50)
    fake.thread(60, 50, start=200, run_ns=4 * MS)
    lines = look(probe, fake, 100 * MS, PID, 60)
    assert tids(lines, "threads.died") == [50]
    assert [(row["pid"], row["tid"]) for row in table(lines, "threads.born")] == [(60, 50)]


# the end of a process


def test_burying_reads_the_first_thread_once_more(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    fake.thread(PID, 50)
    look(probe, fake, 0)
    fake.end_thread(PID, 50)
    fake.run(PID, PID, 7 * MS)
    lines = list(probe.bury(PID, 50 * MS))
    assert kinds(lines) == ["threads", "threads.died"]
    assert table(lines, "threads") == [{"tid": PID, "run_ns": 7 * MS, "wait_ns": 0, "slices": 2}]
    assert tids(lines, "threads.died") == [PID, 50]


def test_burying_what_was_reaped_or_never_seen(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    look(probe, fake, 0)
    fake.end(PID)
    assert kinds(probe.bury(PID, 50 * MS)) == ["threads.died"]
    assert list(probe.bury(PID, 50 * MS)) == []


def test_a_process_that_left_the_tree_is_buried(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    look(probe, fake, 0)
    fake.run(PID, PID, MS)
    assert kinds(probe.look(fake.moment(100 * MS))) == ["threads", "threads.died"]


def test_descriptors_are_given_back(fake: FakeProcesses) -> None:
    fake.thread(PID, 50)
    fake.start(60)
    before = _open_files()
    descriptors = Descriptors()
    probe = ThreadsProbe(fake.proc, descriptors=descriptors)
    look(probe, fake, 0, PID, 60)
    look(probe, fake, 100 * MS, PID, 60)
    assert descriptors.kept == 3
    list(probe.bury(60, 200 * MS))
    assert descriptors.kept == 2
    probe.close()
    assert descriptors.kept == 0
    assert _open_files() == before


def _open_files() -> list[str]:
    """What this process has open, in the order of its descriptors."""
    found: list[str] = []
    for link in sorted(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):
            # The folder itself was open while it was listed.
            found.append(os.readlink(link))  # noqa: PTH115
    return found


# what cannot be read


def test_a_process_that_is_gone_is_silence(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    fake.end(PID)
    assert look(probe, fake, 0) + look(probe, fake, 100 * MS) == []


def test_a_hidden_folder_is_one_gap(
    fake: FakeProcesses, probe: ThreadsProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refuse)
    (gap,) = look(probe, fake, 0) + look(probe, fake, 100 * MS)
    assert (gap["kind"], gap["pid"], gap["what"], gap["reason"]) == ("gap", PID, "threads", "forbidden")


def test_nonsense_in_a_counter_is_one_gap_and_no_number(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    fake.machine.write(f"{PID}/task/{PID}/schedstat", "one two\n")
    assert kinds(look(probe, fake, 0)) == ["threads.born"]
    lines = look(probe, fake, SECOND) + look(probe, fake, 2 * SECOND)
    (gap,) = lines
    assert (gap["kind"], gap["pid"], gap["what"], gap["reason"]) == ("gap", PID, "schedstat", "broken")
    assert "one two" in gap["detail"]


def test_a_thread_gone_before_its_name_was_read(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    (fake.proc / f"{PID}/task/{PID}/stat").unlink()
    born = table(look(probe, fake, 0), "threads.born")
    assert born == [{"pid": PID, "tid": PID, "start_ticks": None, "comm": None}]


# few descriptors


def test_with_few_descriptors_every_movement_is_still_read(many: FakeProcesses) -> None:
    descriptors = Descriptors(limit=3)
    probe = ThreadsProbe(many.proc, descriptors=descriptors, cores=2)
    look(probe, many, 0)
    assert (descriptors.kept, descriptors.short) == (3, True)
    for number, tid in enumerate(MANY):
        many.run(PID, tid, 20 * MS)
        lines = look(probe, many, (1 + number) * 100 * MS)
        assert tids(lines, "threads") == [tid]
    assert descriptors.kept <= 3
    probe.close()


def test_with_few_descriptors_threads_that_move_keep_theirs(many: FakeProcesses) -> None:
    descriptors = Descriptors(limit=2)
    probe = ThreadsProbe(many.proc, descriptors=descriptors, cores=2)
    look(probe, many, 0)
    busy = list(MANY[-2:])
    for step in range(1, 40):
        for tid in busy:
            many.run(PID, tid, 20 * MS)
        look(probe, many, step * 100 * MS)
    kept = [path.removeprefix(f"{many.proc}/{PID}/task/") for path in _open_files() if "schedstat" in path]
    assert sorted(kept) == [f"{tid}/schedstat" for tid in busy]
    probe.close()


def test_the_lack_of_descriptors_is_one_gap(many: FakeProcesses) -> None:
    probe = ThreadsProbe(many.proc, descriptors=Descriptors(limit=3))
    lines = [line for second in range(5) for line in look(probe, many, second * SECOND)]
    (gap,) = [line for line in lines if line["kind"] == "gap"]
    assert (gap["pid"], gap["reason"]) == (None, "descriptors")
    assert gap["detail"].startswith("3 descriptors serve all threads")
    probe.close()


def test_a_process_out_of_descriptors_says_so_and_ends_no_thread(
    fake: FakeProcesses, probe: ThreadsProbe
) -> None:
    """The limit is for the whole recorder: others may have taken what this probe counted on."""
    fake.thread(PID, 50, run_ns=MS)
    fake.full = {"/50/schedstat"}
    lines = look(probe, fake, 0) + look(probe, fake, SECOND)
    assert tids(lines, "threads") == [PID]
    assert [line["reason"] for line in lines if line["kind"] == "gap"] == ["descriptors"]
    assert tids(lines, "threads.died") == []
    fake.full = set()
    assert tids(look(probe, fake, 2 * SECOND), "threads") == [50]


# now and then


def test_details_come_once_a_second_for_what_moved(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    assert "threads.detail" not in kinds(look(probe, fake, 0))
    lines = look(probe, fake, 500 * MS)
    assert table(lines, "threads.detail") == [
        {"tid": PID, "voluntary": 5, "involuntary": 6, "state": "S", "core": 1, "allowed_cores": "0-1"}
    ]
    assert set(columns("threads.detail")) == set(table(lines, "threads.detail")[0])
    assert look(probe, fake, 1600 * MS) == []
    fake.run(PID, PID, MS)
    assert kinds(look(probe, fake, 2600 * MS)) == ["threads", "threads.detail"]


def test_details_go_round_and_nobody_waits_for_ever(fake: FakeProcesses) -> None:
    crowd = range(1000, 1000 + 2 * DETAILS_PER_LOOK + 3)
    for tid in crowd:
        fake.thread(PID, tid)
    probe = ThreadsProbe(fake.proc)
    asked: list[list[int]] = []
    for second in range(5):
        for tid in (PID, *crowd):
            fake.run(PID, tid, MS)
        asked.append(tids(look(probe, fake, (1 + second) * SECOND), "threads.detail"))
    assert {len(each) for each in asked} == {DETAILS_PER_LOOK}
    assert set(asked[0] + asked[1] + asked[2]) == {PID, *crowd}
    probe.close()


def test_details_of_a_thread_that_ended_are_left_out(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    fake.thread(PID, 50)
    look(probe, fake, 0)
    (fake.proc / f"{PID}/task/50/status").unlink()
    assert tids(look(probe, fake, SECOND), "threads.detail") == [PID]
    assert look(probe, fake, 2 * SECOND) == []


def test_a_new_name_is_told_once(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    look(probe, fake, 0)
    fake.name_thread(PID, PID, "renamed")
    lines = look(probe, fake, SECOND)
    assert table(lines, "threads.named") == [{"tid": PID, "comm": "renamed"}]
    fake.run(PID, PID, MS)
    assert kinds(look(probe, fake, 2 * SECOND)) == ["threads", "threads.detail"]


def test_living_threads_are_told_again_every_thirty_seconds(fake: FakeProcesses, probe: ThreadsProbe) -> None:
    look(probe, fake, 0)
    look(probe, fake, SECOND)
    (again,) = look(probe, fake, KEYFRAME_PERIOD_NS, moved=())
    assert (again["kind"], again["tid"], again["comm"]) == ("threads.born", [PID], ["program"])
    assert look(probe, fake, KEYFRAME_PERIOD_NS + SECOND, moved=()) == []
    assert kinds(look(probe, fake, 2 * KEYFRAME_PERIOD_NS, moved=())) == ["threads.born"]


# the shortcut


def test_the_shortcut_reads_only_what_moved_lately(many: FakeProcesses, probe: ThreadsProbe) -> None:
    look(probe, many, 0)
    many.run(PID, 45, 20 * MS)
    look(probe, many, 1100 * MS)
    readings = probe.readings
    many.run(PID, 45, 20 * MS)
    assert tids(look(probe, many, 1200 * MS), "threads") == [45]
    assert probe.readings == readings + 1


def test_a_thread_that_wakes_is_seen_in_the_same_look(many: FakeProcesses, probe: ThreadsProbe) -> None:
    look(probe, many, 0)
    many.run(PID, 45, 20 * MS)
    look(probe, many, 1100 * MS)
    many.run(PID, 45, 20 * MS)
    many.run(PID, 50, 2 * SCHEDULER_TICK_NS + 1)
    assert tids(look(probe, many, 1200 * MS), "threads") == [45, 50]


def test_slow_and_small_movements_add_up_to_a_reading(many: FakeProcesses, probe: ThreadsProbe) -> None:
    """Each is within the error of the sum; all together they are not."""
    look(probe, many, 0)
    look(probe, many, 1100 * MS)
    seen: list[list[int]] = []
    for step in range(1, 5):
        many.run(PID, 50, SCHEDULER_TICK_NS // 2 - 1)
        seen.append(tids(look(probe, many, 1100 * MS + step * 10 * MS), "threads"))
    assert seen == [[], [], [50], [50]]


def test_all_are_read_once_a_second(many: FakeProcesses, probe: ThreadsProbe) -> None:
    look(probe, many, 0)
    look(probe, many, 1100 * MS)
    many.run(PID, 50, 1)
    assert tids(look(probe, many, 2000 * MS), "threads") == []
    assert tids(look(probe, many, 2100 * MS), "threads") == [50]


def test_without_a_clock_all_are_read(many: FakeProcesses, probe: ThreadsProbe) -> None:
    """As of another user's process on a kernel that refuses."""
    look(probe, many, 0)
    look(probe, many, 1100 * MS)
    del many.clocks[PID]
    path = many.proc / f"{PID}/task/50/schedstat"
    path.write_text("1 0 2\n")
    assert tids(look(probe, many, 1200 * MS), "threads") == [50]


def test_an_active_thread_that_ends_as_another_begins(many: FakeProcesses, probe: ThreadsProbe) -> None:
    look(probe, many, 0)
    many.run(PID, 45, 20 * MS)
    look(probe, many, 1100 * MS)
    many.end_thread(PID, 45)
    many.thread(PID, 99)
    lines = look(probe, many, 1200 * MS)
    assert (tids(lines, "threads.died"), tids(lines, "threads.born")) == ([45], [99])


@dataclass(frozen=True)
class Step:
    """What happens between two looks."""

    after_ms: int
    runs: dict[int, int]
    """Nanoseconds on a core by place in the list of living threads."""
    born: list[int] = field(default_factory=list[int])
    """What each new thread has used when it is first seen."""
    ends: list[int] = field(default_factory=list[int])
    reuses_ids: bool = False


amounts = st.one_of(
    st.integers(1, 10), st.integers(1, SCHEDULER_TICK_NS), st.integers(SCHEDULER_TICK_NS, 100 * MS)
)
places = st.integers(0, 30)
steps = st.lists(
    st.builds(
        Step,
        after_ms=st.sampled_from([10, 100, 100, 400, 1000]),
        runs=st.dictionaries(places, amounts, max_size=4),
        born=st.one_of(st.just([]), st.lists(amounts, max_size=3)),
        ends=st.one_of(st.just([]), st.lists(places, max_size=3)),
        reuses_ids=st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


# A thread by its id and its start, since ids come round.
Key = tuple[int, int]
Counters = tuple[int, int, int]


class Life:
    """A process of a made-up machine that does what steps say."""

    def __init__(self, fake: FakeProcesses) -> None:
        self.fake = fake
        self.starts: dict[int, int] = {}
        self.free = list(range(1000, 2000))
        fake.start(PID)
        self.starts[PID] = 100
        for tid in MANY[1:]:
            self.begin(tid, 0)

    def begin(self, tid: int, ns: int) -> None:
        """Begin a thread that has used so much by the time it is first seen."""
        self.starts[tid] = 101 + max(self.starts.values(), default=0)
        self.fake.thread(PID, tid, start=self.starts[tid], run_ns=ns)
        # To begin takes a core, as does to end.
        self.fake.run(PID, PID, 1)

    def happen(self, step: Step) -> None:
        """Let a step happen; with `reuses_ids` those that begin get the ids of those that end."""
        living = sorted(self.truth())
        for place, ns in step.runs.items():
            self.fake.run(PID, living[place % len(living)][0], ns, wait_ns=ns // 2)
        for tid in {living[place % len(living)][0] for place in step.ends} - {PID}:
            self.fake.clocks[PID] += 1
            self.fake.end_thread(PID, tid)
            if step.reuses_ids:
                self.free.insert(0, tid)
        for ns in step.born:
            self.begin(self.free.pop(0), ns)

    def truth(self) -> dict[Key, Counters]:
        """What the kernel says now of the living threads."""
        return {(tid, self.starts[tid]): row for tid, row in self.fake.counters(PID).items()}


class Written:
    """What one probe wrote of a process."""

    def __init__(self, probe: ThreadsProbe) -> None:
        self.probe = probe
        self.last: dict[Key, Counters] = {}
        self.alive: dict[int, int] = {}

    def look(self, life: Life, t_ns: int, *, moved: bool) -> None:
        """Look, and keep what was written."""
        for line in look(self.probe, life.fake, t_ns, moved=(PID,) if moved else ()):
            for row in table([line], "threads.died"):
                del self.alive[row["tid"]]
            for row in table([line], "threads.born"):
                self.alive[row["tid"]] = row["start_ticks"]
            for row in table([line], "threads"):
                key = (row["tid"], self.alive[row["tid"]])
                self.last[key] = (row["run_ns"], row["wait_ns"], row["slices"])

    def unseen_ns(self, life: Life) -> int:
        """Time on a core of living threads that was not written yet."""
        return sum(row[0] - self.last.get(key, (0, 0, 0))[0] for key, row in life.truth().items())

    def living(self) -> dict[Key, Counters]:
        """The last counters of those that live by what was written."""
        return {key: self.last[key] for key in self.alive.items()}


@settings(deadline=None, max_examples=100)
@given(steps)
def test_the_shortcut_loses_no_movement(story: list[Step]) -> None:
    """Against the yardstick that reads all: never more unseen than the sum cannot tell, nothing after a second.

    The error of the sum is one tick for each core that may be running, and one more.
    """
    cores = 2
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        fake = fake_processes(Path(folder), patch)
        life = Life(fake)
        shortcut = Written(ThreadsProbe(fake.proc, cores=cores))
        yardstick = Written(ThreadsProbe(fake.proc, cores=cores, check_sums=False))
        t_ns, before = 0, (-1, -1)
        for step in story:
            life.happen(step)
            t_ns += step.after_ms * MS
            now = (fake.clocks[PID], len(life.truth()))
            for each in (shortcut, yardstick):
                each.look(life, t_ns, moved=now != before)
            before = now
            assert yardstick.living() == life.truth()
            assert 0 <= shortcut.unseen_ns(life) <= SCHEDULER_TICK_NS * (1 + cores)
        t_ns += SECOND
        fake.run(PID, PID, 1)
        for each in (shortcut, yardstick):
            each.look(life, t_ns, moved=True)
            assert each.living() == life.truth()
            each.probe.close()


# real threads


def test_real_threads_and_their_counters() -> None:
    with running(python(WAITING_THREADS, 12)) as program:
        assert program.hear() == "ready"
        pid = program.pid
        probe = ThreadsProbe()
        lines: list[Line] = []
        deadline = time.monotonic() + 60
        there = {int(name) for name in os.listdir(f"/proc/{pid}/task")}  # noqa: PTH208
        truth: dict[int, tuple[int, int, int]] = {}
        # A thread may still be on its way to its wait: until the counters stand still around a look.
        while time.monotonic() < deadline:
            truth = {tid: schedstat(pid, tid) for tid in there}
            lines += probe.look(_moment(pid))
            if {tid: schedstat(pid, tid) for tid in there} == truth:
                break
        last = {row["tid"]: (row["run_ns"], row["wait_ns"], row["slices"]) for row in table(lines, "threads")}
        assert last == truth
        assert set(tids(lines, "threads.born")) == there
        assert len(there) == 13
        stat = procfs.read_thread_stat(procfs.PROC, pid, pid)
        assert table(lines, "threads.born")[0]["start_ticks"] == stat.start_ticks
        assert program.end() == 0
        died = list(probe.bury(pid, SECOND))
        assert set(tids(died, "threads.died")) == there
        probe.close()


def _moment(pid: int) -> Any:
    from corelens.probes.probe import Moment, Process

    return Moment(0, {pid: Process(pid, 1, 1, "main")}, frozenset({pid}))
