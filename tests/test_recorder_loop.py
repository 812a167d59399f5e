"""The recorder's loop with a clock that only waiting and looking move, and probes that only take notes."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from corelens.probes.governor import Governor
from corelens.probes.probe import Moment, Process
from corelens.probes.recorder import Recorder, Tally, footer
from corelens.vocabulary import KINDS, Line
from tests.fakeprocesses import MS, SECOND

T0 = 7 * SECOND
TICK = 100 * MS
CONTROL, STRANGER = 3, 99


@dataclass
class World:
    """A clock, a list of what happens when, and everything that was done."""

    now_ns: int = 0
    ends_at_ns: int = SECOND
    events: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """When which descriptor becomes readable; in order."""
    done: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    lines: list[Line] = field(default_factory=list[Line])
    handled: int = 0

    def note(self, what: str) -> None:
        """Write down what was done now."""
        self.done.append((self.now_ns // MS, what))

    def of(self, *what: str) -> list[tuple[int, str]]:
        """When these things were done, in milliseconds."""
        return [each for each in self.done if each[1] in what]

    def clock(self) -> int:
        """A monotonic clock; recording began at T0."""
        return T0 + self.now_ns

    # the poll

    def register(self, descriptor: int, _: int) -> None:
        """As of an epoll."""
        self.note(f"register {descriptor}")

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """Wait: until something happens, or for so long."""
        until_ns = self.now_ns + round(timeout_s * 1e9)
        if self.events and self.events[0][0] <= until_ns:
            at_ns, descriptor = self.events.pop(0)
            self.now_ns = max(self.now_ns, at_ns)
            return [(descriptor, 1)]
        self.now_ns = until_ns
        return []

    # the control

    descriptor = CONTROL

    def handle(self) -> None:
        """As of a control."""
        self.note("handle")
        self.handled += 1

    def reason_to_end(self, t_ns: int, *, root_ended: bool) -> str | None:
        """The root, then time, then a second signal."""
        if root_ended:
            return "target-ended"
        return "duration" if t_ns >= self.ends_at_ns else "interrupted" if self.handled == 2 else None

    # the sink

    def add(self, line: Line) -> None:
        """As of a writer."""
        self.lines.append(line)

    def flush(self, t_ns: int) -> None:
        """As of a writer."""
        self.note("flush")


class Notes:
    """A probe that writes down its looks; `spends` is called in each."""

    def __init__(self, world: World, name: str, period_ns: int) -> None:
        self.world = world
        self.name = name
        self.period_ns = period_ns
        self.moments: list[Moment] = []
        self.spends: Callable[[], None] = lambda: None
        # What the loop asks of the tree and of the threads.
        self.moved: set[int] = set()
        self.root_ended = False
        self.readings = 17
        self.processes: dict[int, Process] = {}

    def look(self, moment: Moment) -> Iterator[Line]:
        """Take note."""
        self.moments.append(moment)
        self.world.note(self.name)
        self.spends()
        yield {"kind": self.name, "t_ns": moment.t_ns}

    def pid_of(self, descriptor: int) -> int | None:
        """Descriptors of processes are their ids here, and a thousand."""
        return descriptor - 1000 if descriptor > 1000 else None

    def bury(self, pid: int, t_ns: int) -> Iterator[Line]:
        """Take note of an end; the root's is remembered."""
        self.world.note(f"{self.name} buries {pid}")
        self.root_ended = pid == 1
        yield {"kind": "died", "t_ns": t_ns, "pid": pid}

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Loop:
    """A recorder with everything around it."""

    world: World
    tree: Notes
    threads: Notes
    slow: Notes
    recorder: Recorder

    def run(self) -> str:
        """Run to the end."""
        return self.recorder.run()


def a_loop(world: World, budget_cores: float | None = None, tick_ns: int = TICK) -> Loop:
    tree, threads = Notes(world, "tree", tick_ns), Notes(world, "threads", tick_ns)
    slow = Notes(world, "slow", 3 * tick_ns)
    periods = {probe.name: probe.period_ns for probe in (tree, threads, slow)}
    made = Recorder(
        tree=cast(Any, tree),
        threads=cast(Any, threads),
        others=[slow],
        sink=world,
        governor=Governor(budget_cores, periods),
        control=world,
        poll=cast(Any, world),
        t0_ns=T0,
        tick_ns=tick_ns,
        clock=world.clock,
    )
    return Loop(world, tree, threads, slow, made)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def loop(world: World) -> Loop:
    return a_loop(world)


def times(notes: list[tuple[int, str]]) -> list[int]:
    return [t_ms for t_ms, _ in notes]


# rounds


def test_rounds_come_with_every_tick_until_the_control_ends_them(world: World, loop: Loop) -> None:
    assert loop.run() == "duration"
    assert times(world.of("tree")) == [*range(0, 1000, 100)]
    assert loop.recorder.tally.ticks == 10
    assert loop.recorder.tally.ticks_missed == 0
    assert world.of("register 3") == [(0, "register 3")]


def test_the_tree_looks_first_then_the_threads_then_the_others(world: World, loop: Loop) -> None:
    loop.run()
    assert [what for t_ms, what in world.done if t_ms == 300] == ["tree", "threads", "slow"]
    assert [line["kind"] for line in world.lines[:3]] == ["tree", "threads", "slow"]


def test_a_slow_probe_looks_when_its_period_is_over(world: World, loop: Loop) -> None:
    loop.run()
    assert times(world.of("slow")) == [0, 300, 600, 900]


def test_a_probe_sees_all_that_moved_since_its_last_look(world: World, loop: Loop) -> None:
    """The tree tells of each round what moved in it; the slow probe skips two of three rounds."""
    numbers = iter(range(100))

    def move() -> None:
        loop.tree.moved = {next(numbers)}

    loop.tree.spends = move
    loop.run()
    assert [set(moment.moved) for moment in loop.threads.moments[:3]] == [{0}, {1}, {2}]
    assert [set(moment.moved) for moment in loop.slow.moments[:3]] == [{0}, {1, 2, 3}, {4, 5, 6}]


def test_others_see_the_processes_that_the_tree_has_just_found(world: World, loop: Loop) -> None:
    def find() -> None:
        loop.tree.processes = {5: Process(5, 1, 1, "main")}

    loop.tree.spends = find
    loop.run()
    assert loop.tree.moments[0].processes == {}
    assert set(loop.threads.moments[0].processes) == {5}


def test_a_round_that_begins_late_skips_those_it_missed_and_counts_them(world: World, loop: Loop) -> None:
    def dawdle() -> None:
        if world.now_ns == 200 * MS:
            world.now_ns += 250 * MS

    loop.slow.period_ns = TICK
    loop.slow.spends = dawdle
    loop.run()
    assert times(world.of("tree")) == [0, 100, 200, 500, 600, 700, 800, 900]
    assert loop.recorder.tally.ticks_missed == 2


def test_a_late_round_keeps_to_the_beat(world: World, loop: Loop) -> None:
    """A death at 130 ms is handled until 230: the round of 200 comes late, those after it do not."""

    def dawdle() -> Iterator[Line]:
        world.now_ns += 100 * MS
        return iter(())

    world.events = [(130 * MS, 1005)]
    loop.threads.bury = lambda pid, t_ns: dawdle()  # type: ignore[method-assign]
    loop.run()
    assert times(world.of("tree"))[:5] == [0, 100, 230, 300, 400]
    assert times(world.of("slow")) == [0, 300, 600, 900]
    assert loop.recorder.tally.ticks_missed == 0


# between the rounds


def test_a_death_is_handled_at_once_threads_first(world: World, loop: Loop) -> None:
    world.events = [(130 * MS, 1005)]
    loop.run()
    assert [(t, what) for t, what in world.done if "buries" in what] == [
        (130, "threads buries 5"),
        (130, "tree buries 5"),
    ]
    assert [line["t_ns"] for line in world.lines if line["kind"] == "died"] == [130 * MS] * 2
    assert times(world.of("tree"))[:3] == [0, 100, 200]


def test_the_end_of_the_root_ends_the_recording_without_another_round(world: World, loop: Loop) -> None:
    world.events = [(130 * MS, 1001)]
    assert loop.run() == "target-ended"
    assert times(world.of("tree")) == [0, 100]
    assert world.now_ns == 130 * MS


def test_a_signal_is_handled_between_the_rounds(world: World, loop: Loop) -> None:
    world.events = [(130 * MS, CONTROL), (140 * MS, CONTROL)]
    assert loop.run() == "interrupted"
    assert times(world.of("handle")) == [130, 140]
    assert times(world.of("tree")) == [0, 100]


def test_a_descriptor_of_nobody_changes_nothing(world: World, loop: Loop) -> None:
    world.events = [(130 * MS, STRANGER)]
    loop.run()
    assert loop.recorder.tally.ticks == 10
    assert world.handled == 0


def test_a_duration_of_nothing_still_ends(world: World, loop: Loop) -> None:
    world.ends_at_ns = 0
    assert loop.run() == "duration"
    assert loop.recorder.tally.ticks == 0


# what is written


def test_the_first_round_is_written_at_once_then_every_second(world: World, loop: Loop) -> None:
    world.ends_at_ns = 3500 * MS
    loop.run()
    assert times(world.of("flush")) == [0, 1000, 2000, 3000]
    # All that a second brought is in the file when it is over.
    assert world.done.index((1000, "flush")) > world.done.index((1000, "tree"))


def test_with_rare_rounds_the_file_still_grows_every_second(world: World) -> None:
    loop = a_loop(world, tick_ns=10 * SECOND)
    world.ends_at_ns = 3500 * MS
    loop.run()
    assert times(world.of("flush")) == [0, 1000, 2000, 3000]
    assert times(world.of("tree")) == [0]


def test_each_second_has_a_line_of_the_recorder_itself(world: World, loop: Loop) -> None:
    world.ends_at_ns = 2500 * MS
    loop.run()
    first, second = [line for line in world.lines if line["kind"] == "self"]
    assert {each.name for each in KINDS["self"].fields} == set(first) - {"kind"}
    assert (first["t_ns"], first["ticks"], second["ticks"]) == (SECOND, 11, 21)
    assert first["threads_read"] == 17
    assert first["rss_bytes"] > 1 << 20
    assert 0 < first["cpu_ns"] <= second["cpu_ns"]
    assert first["longest_gap_ns"] == 100 * MS


def test_the_longest_gap_is_that_of_each_second(world: World, loop: Loop) -> None:
    def dawdle() -> None:
        if world.now_ns == 300 * MS:
            world.now_ns += 350 * MS

    loop.slow.spends = dawdle
    world.ends_at_ns = 2500 * MS
    loop.run()
    assert [line["longest_gap_ns"] // MS for line in world.lines if line["kind"] == "self"] == [400, 100]


def test_making_lines_is_charged_to_the_probe(
    world: World, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = [0]
    monkeypatch.setattr(time, "process_time_ns", lambda: spent[0])

    def spend(ns: int) -> Callable[[], None]:
        def add() -> None:
            spent[0] += ns

        return add

    loop.tree.spends, loop.slow.spends = spend(5), spend(7)
    loop.run()
    assert loop.recorder.tally.cpu_by_probe_ns == {"tree": 50, "threads": 0, "slow": 28}


def test_finishing_looks_at_everything_once_more(world: World, loop: Loop) -> None:
    world.ends_at_ns = 500 * MS
    loop.run()
    world.lines.clear()
    loop.recorder.finish()
    assert [line["kind"] for line in world.lines] == ["tree", "threads", "slow", "self"]
    assert {line["t_ns"] for line in world.lines} == {500 * MS}
    assert loop.slow.moments[-1].t_ns == 500 * MS


# the governor


def test_a_probe_that_costs_too_much_is_looked_at_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = [0]
    monkeypatch.setattr(time, "process_time_ns", lambda: spent[0])
    loop = a_loop(world, budget_cores=0.02)

    def spend() -> None:
        spent[0] += 4 * MS

    loop.threads.spends = spend
    world.ends_at_ns = 9950 * MS
    loop.run()
    (line,) = [line for line in world.lines if line["kind"] == "rate"]
    assert {each.name for each in KINDS["rate"].fields} == set(line) - {"kind"}
    assert (line["t_ns"], line["probe"], line["reason"]) == (8 * SECOND, "threads", "over-budget")
    assert (line["period_ns"], line["own_cores"]) == (200 * MS, 0.04)
    assert (loop.threads.period_ns, loop.tree.period_ns) == (200 * MS, 100 * MS)
    assert times(world.of("threads"))[-4:] == [9300, 9500, 9700, 9900]
    assert times(world.of("tree"))[-2:] == [9800, 9900]


# the footer


def test_a_footer_of_a_program_whose_end_is_known() -> None:
    tally = Tally(ticks=12, ticks_missed=3)
    line = footer(5, "target-ended", tally, exit_code=0, signal=None, user_ns=7, system_ns=8, max_rss_bytes=9)
    assert {each.name for each in KINDS["footer"].fields} == set(line) - {"kind"}
    assert (line["t_ns"], line["reason"], line["exit_code"], line["user_ns"]) == (5, "target-ended", 0, 7)
    assert (line["ticks"], line["ticks_missed"]) == (12, 3)
    assert line["own_cpu_ns"] > 0
    assert line["own_max_rss_bytes"] >= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 2


def test_a_footer_of_a_program_that_runs_on() -> None:
    line = footer(5, "duration", Tally())
    assert [line[name] for name in ("exit_code", "signal", "user_ns", "system_ns", "max_rss_bytes")] == [
        None
    ] * 5
