"""The stacks probe against a py-spy and a clock that do as they are told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from corelens.probes.allowance import Allowance
from corelens.probes.interpreters import is_named_python
from corelens.probes.own_cpu import OwnCpu
from corelens.probes.probe import Moment, Process
from corelens.probes.pyspy import Ended, Job
from corelens.probes.stacks import LONGEST_DUMP_NS, SAVINGS_NS, StacksOptions, StacksProbe, cores_for
from corelens.probes.stacks_plan import Candidate, Known, Means, affordable_hz, choose, next_job
from corelens.vocabulary import Line
from tests.fakeproc import FakeMachine, machine
from tests.test_vocabulary import complaints

MS = 1_000_000
SECOND = 1000 * MS
PID = 500
OUTPUT_OF_SAMPLES = b"thread (500): MainThread;<module> (/m.py:1);work (/m.py:9) 20\n"


def dump_of(*names: str, function: str = "work") -> bytes:
    """A dump of threads numbered from the pid on."""
    frames = [
        {"name": function, "filename": "/m.py", "line": 9},
        {"name": "<module>", "filename": "/m.py", "line": 1},
    ]
    threads = [
        {
            "os_thread_id": PID + number,
            "thread_id": 10_000 + number,
            "thread_name": name,
            "active": number == 0,
            "owns_gil": number == 0,
            "frames": frames,
        }
        for number, name in enumerate(names)
    ]
    return json.dumps(threads).encode()


@dataclass
class FakeRun:
    """A py-spy that ends when its time has come."""

    arguments: list[str]
    clock: Clock
    ends_ns: int | None
    output: bytes
    cost_ns: int
    words: str = ""
    ok: bool = True
    killed: bool = False
    interrupted: bool = False

    def cpu_ns(self) -> int:
        return 0 if self.poll() is None else self.cost_ns

    def poll(self, timeout_s: float = 0) -> Ended | None:
        ended = self.interrupted or (self.ends_ns is not None and self.clock.now_ns >= self.ends_ns)
        return Ended(self.ok, self.output, self.words, self.cost_ns) if ended else None

    def interrupt(self) -> None:
        self.interrupted = True

    def kill(self) -> int:
        self.killed = True
        return self.cost_ns


@dataclass
class Clock:
    """Time that stands still unless told."""

    now_ns: int = 0


@dataclass
class Bench:
    """A probe with a fake py-spy, fake processes and a fake clock."""

    fake: FakeMachine
    options: StacksOptions = field(default_factory=StacksOptions)
    clock: Clock = field(default_factory=Clock)
    runs: list[FakeRun] = field(default_factory=list[FakeRun])
    lines: list[Line] = field(default_factory=list[Line])
    roles: dict[int, str] = field(default_factory=lambda: {PID: "main"})
    cost_ns: int = 10 * MS
    lasts_ns: int | None = 20 * MS
    dump: bytes = dump_of("MainThread")
    samples: bytes = OUTPUT_OF_SAMPLES
    failing: str = ""
    closed: bool = False

    def __post_init__(self) -> None:
        self.own = OwnCpu(lambda: 0)
        self.probe = StacksProbe(
            self.options,
            self.own,
            self._start,
            proc=self.fake.proc,
            cpu_of=lambda _: self.clock.now_ns + SECOND,
            is_closed=lambda _: self.closed,
        )
        for pid in self.roles:
            self.process(pid)

    def process(self, pid: int, exe: str = "/usr/bin/python3.12", threads: int = 1) -> None:
        """Make a process of so many threads."""
        for tid in range(pid, pid + threads):
            self.fake.write(f"{pid}/task/{tid}/comm", "python\n")
        self.fake.write(f"{pid}/mem", "")
        link = self.fake.proc / str(pid) / "exe"
        link.unlink(missing_ok=True)
        link.symlink_to(exe)

    def run_for(self, seconds: float, step_ns: int = 250 * MS) -> Bench:
        """Look again and again, every process moving all the time."""
        until_ns = self.clock.now_ns + round(seconds * SECOND)
        while self.clock.now_ns < until_ns:
            self.look()
            self.clock.now_ns += step_ns
        return self

    def look(self) -> None:
        processes = {pid: Process(pid, 1, 7, role) for pid, role in self.roles.items()}
        moment = Moment(self.clock.now_ns, processes, frozenset(processes))
        self.lines += self.probe.look(moment)

    def of(self, kind: str) -> list[Line]:
        return [line for line in self.lines if line["kind"] == kind]

    def hows(self) -> list[str]:
        return [line["how"] for line in self.of("stacks.looks")]

    def _start(self, arguments: Sequence[str]) -> FakeRun:
        is_dump = arguments[0] == "dump"
        lasts_ns = self.lasts_ns if is_dump else 10 * SECOND
        ends_ns = None if lasts_ns is None else self.clock.now_ns + lasts_ns
        run = FakeRun(
            list(arguments), self.clock, ends_ns, self.dump if is_dump else self.samples, self.cost_ns
        )
        run.ok, run.words = not self.failing, self.failing
        self.runs.append(run)
        return run


def test_a_dump_gives_names_stacks_and_who_holds_the_gil(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path), dump=dump_of("MainThread", "trial-1"))
    bench.process(PID, threads=2)
    bench.run_for(0.5)
    assert [name for line in bench.of("threads.python") for name in line["name"]] == ["MainThread", "trial-1"]
    (stacks,) = bench.of("stacks")
    assert (stacks["tid"], stacks["active"], stacks["gil"]) == ([500, 501], [True, False], [True, False])
    (frames,) = bench.of("stacks.frames")
    assert frames["function"] == ["<module>", "work"]
    (chains,) = bench.of("stacks.chains")
    assert chains["frames"] == [[0, 1]]
    assert [problem for line in bench.lines for problem in complaints(line)] == []


def test_it_never_stops_the_program_unless_told(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path)).run_for(60)
    assert {run.arguments[0] for run in bench.runs} == {"dump", "record"}
    assert all("--nonblocking" in run.arguments for run in bench.runs)
    assert not any("--locals" in run.arguments or "-l" in run.arguments for run in bench.runs)
    blocking = Bench(machine(tmp_path / "b"), StacksOptions(blocking=True)).run_for(30)
    assert not any("--nonblocking" in run.arguments for run in blocking.runs)
    assert all(line["blocking"] for line in blocking.of("stacks.looks"))


def test_dumps_and_samples_take_turns(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path)).run_for(70)
    assert bench.hows()[:7] == ["dump", "active", "gil", "active", "dump", "gil", "active"]


def test_the_mean_cost_stays_within_the_allowance_whatever_a_look_costs(tmp_path: Path) -> None:
    for number, cost_ms in enumerate((1, 10, 80, 500)):
        bench = Bench(machine(tmp_path / str(number)), cost_ns=cost_ms * MS).run_for(600)
        spent_ns = sum(run.cost_ns for run in bench.runs)
        assert bench.own.helpers_ns <= spent_ns
        # What was saved at the start, and the last look, which is still to be paid off.
        assert spent_ns <= 0.003 * 600 * SECOND + SAVINGS_NS + cost_ms * MS
        assert len(bench.runs) >= 3


def test_dearer_looks_are_taken_more_seldom(tmp_path: Path) -> None:
    cheap = Bench(machine(tmp_path / "a"), cost_ns=10 * MS).run_for(300)
    dear = Bench(machine(tmp_path / "b"), cost_ns=80 * MS).run_for(300)
    assert len(dear.runs) < len(cheap.runs) / 2


def test_what_py_spy_uses_is_billed_at_once_and_deferred_for_the_governor(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path), cost_ns=80 * MS).run_for(0.5)
    assert bench.own() == 80 * MS
    assert 63 * MS < bench.own.deferred_ns <= 65 * MS
    assert bench.own.settled_ns() <= 17 * MS
    before = bench.own.deferred_ns
    bench.run_for(5)
    assert bench.own.deferred_ns < before


def test_the_governor_makes_stacks_cheaper_too(tmp_path: Path) -> None:
    usual = Bench(machine(tmp_path / "a"), cost_ns=80 * MS).run_for(400)
    slowed = Bench(machine(tmp_path / "b"), cost_ns=80 * MS)
    slowed.probe.period_ns *= 4
    slowed.run_for(400, step_ns=SECOND)
    assert len(slowed.runs) <= len(usual.runs) / 2


def test_a_budget_of_the_recorder_bounds_stacks() -> None:
    assert cores_for(0.02) == 0.003
    assert cores_for(None) == 0.02
    assert cores_for(5) == 0.02


def test_a_hanging_py_spy_is_killed_and_reported(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path), lasts_ns=None).run_for(LONGEST_DUMP_NS / SECOND - 1)
    assert [run.killed for run in bench.runs] == [False]
    bench.run_for(2)
    assert bench.runs[0].killed
    (gap,) = bench.of("gap")
    assert (gap["reason"], gap["pid"]) == ("late", PID)
    (look,) = bench.of("stacks.looks")
    assert look["failed"] == "it hung and was ended"


def test_without_py_spy_one_gap_says_how_to_get_it(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path))
    bench.probe = StacksProbe(StacksOptions(), bench.own, None, proc=bench.fake.proc)
    bench.run_for(2)
    (gap,) = bench.lines
    assert (gap["kind"], gap["reason"]) == ("gap", "unsupported")
    assert "pip install py-spy" in gap["detail"]


def test_failures_are_tried_again_ever_later_and_told_when_they_go_on(tmp_path: Path) -> None:
    words = "Error: Failed to get stack traces\n\nCaused by:\n  Bad address\n\nStack backtrace:\n 0: x"
    bench = Bench(machine(tmp_path), failing=words).run_for(5)
    assert bench.of("gap") == []
    bench.run_for(120)
    assert 4 <= len(bench.runs) <= 12
    (gap,) = bench.of("gap")
    assert gap["detail"] == "py-spy: Error: Failed to get stack traces; Caused by:; Bad address"
    assert {look["failed"] for look in bench.of("stacks.looks")} == {gap["detail"].removeprefix("py-spy: ")}


def test_a_torn_stack_and_a_stranger_are_dropped_and_counted(tmp_path: Path) -> None:
    strange = b"thread (500): MainThread;work (/m.py:9) 2\nthread (999): x;<module> (/m.py:1) 5\n"
    bench = Bench(machine(tmp_path), samples=OUTPUT_OF_SAMPLES + strange).run_for(12)
    (look,) = [line for line in bench.of("stacks.looks") if line["how"] == "active"]
    assert (look["samples"], look["dropped"]) == (20, 7)
    assert {tid for line in bench.of("stacks") for tid in line["tid"]} == {500}


def test_threads_in_a_pid_namespace_are_known_by_our_ids(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path), dump=dump_of("MainThread", "inner"))
    bench.process(PID, threads=2)
    # Inside they have each other's numbers.
    bench.fake.write(f"{PID}/status", "Name:\tx\nNSpid:\t500\t500\n")
    bench.fake.write(f"{PID}/task/500/status", "Name:\tx\nNSpid:\t500\t501\n")
    bench.fake.write(f"{PID}/task/501/status", "Name:\tx\nNSpid:\t501\t500\n")
    bench.run_for(0.5)
    (names,) = bench.of("threads.python")
    assert dict(zip(names["tid"], names["name"], strict=True)) == {501: "MainThread", 500: "inner"}
    (stacks,) = bench.of("stacks")
    assert stacks["active"] == [None, None]


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/usr/bin/python3.11", True),
        ("/opt/python", True),
        ("python3.11.7", True),
        ("/usr/bin/python3.13td", True),
        ("/usr/bin/python3.12 (deleted)", True),
        ("/usr/bin/python3-config", False),
        ("/usr/bin/pythonista", False),
        ("/usr/bin/bpython", False),
        ("/opt/python3/bash", False),
        ("", False),
    ],
)
def test_interpreters_by_name(path: str, named: bool) -> None:
    assert is_named_python(path) is named


def test_processes_that_are_no_python_are_left_alone(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path), roles={PID: "main", 600: "child"})
    bench.process(PID, exe="/bin/sleep")
    bench.fake.write(f"{PID}/maps", "7f00-7f01 r-xp 0 0:0 1 /usr/lib/libc.so.6\n")
    bench.process(600, exe="/opt/app/embeds")
    bench.fake.write("600/maps", "7f00-7f01 r-xp 0 0:0 1 /usr/lib/libpython3.12.so.1.0\n")
    bench.run_for(12)
    assert {run.arguments[-1] for run in bench.runs} == {"600"}


def test_a_process_that_executes_python_later_is_found(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path))
    bench.process(PID, exe="/bin/sh")
    bench.fake.write(f"{PID}/maps", "")
    assert bench.run_for(3).runs == []
    bench.process(PID, exe="/usr/bin/python3.13t")
    assert bench.run_for(6).runs != []


def test_a_process_whose_memory_is_closed_costs_nothing_and_is_told_of(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path), closed=True).run_for(20)
    assert bench.runs == []
    (gap,) = bench.of("gap")
    assert (gap["reason"], gap["pid"]) == ("forbidden", PID)


def test_many_alike_workers_take_turns_and_cost_no_more(tmp_path: Path) -> None:
    roles = {PID: "main"} | {1000 + 10 * number: "pool-worker-spawn" for number in range(128)}
    bench = Bench(machine(tmp_path), roles=roles, samples=b"").run_for(600)
    asked = Counter(run.arguments[-1] for run in bench.runs)
    assert max(asked.values()) <= 3
    assert str(PID) in asked
    assert len(asked) >= 40
    spent_ns = sum(run.cost_ns for run in bench.runs)
    assert spent_ns <= 0.003 * 600 * SECOND + SAVINGS_NS + bench.cost_ns
    assert bench.hows().count("dump") < len(bench.runs) / 2


def test_what_is_under_way_at_the_end_is_taken(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path)).run_for(4)
    assert bench.hows() == ["dump"]
    bench.lines += bench.probe.conclude(bench.clock.now_ns)
    assert bench.hows() == ["dump", "active"]
    bench.probe.close()
    assert not any(run.killed for run in bench.runs)


def test_what_hangs_at_the_end_is_killed(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path), lasts_ns=None).run_for(1)
    assert list(bench.probe.conclude(bench.clock.now_ns)) == []
    bench.probe.close()
    assert bench.runs[0].killed
    assert bench.own.helpers_ns == bench.runs[0].cost_ns


def test_new_threads_are_named_soon(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path)).run_for(1)
    assert bench.hows() == ["dump"]
    bench.process(PID, threads=3)
    bench.dump = dump_of("MainThread", "a", "b")
    bench.run_for(5)
    assert bench.hows() == ["dump", "active", "dump"]
    named = [name for line in bench.of("threads.python") for name in line["name"]]
    assert named == ["MainThread", "a", "b"]


def test_names_and_stacks_are_said_again_after_a_keyframe(tmp_path: Path) -> None:
    bench = Bench(machine(tmp_path)).run_for(75)
    assert [line["name"] for line in bench.of("threads.python")] == [["MainThread"]] * 3
    assert {tuple(line["stack"]) for line in bench.of("stacks.chains")} == {(0,)}
    assert 2 <= len(bench.of("stacks.chains")) <= 4
    assert {tuple(line["frame"]) for line in bench.of("stacks.frames")} == {(0, 1)}


def test_the_rate_fits_what_can_be_spent() -> None:
    means = Means(30 * MS, 0.003, 10.0)
    assert affordable_hz(1, "active", means) == 10
    assert affordable_hz(4, "active", means) == 7
    assert affordable_hz(20, "active", means) == 2
    assert affordable_hz(400, "active", means) == 0
    assert affordable_hz(400, "gil", means) == 10
    assert affordable_hz(4, "active", Means(-100 * MS, 0.003, 10.0)) == 0
    # A hundred samples of 4 threads for 40 ms beyond the start, where 70 ms were expected.
    means.costs.learn(Job(1, "active", 10, 10), 4, 10, 50 * MS)
    assert affordable_hz(4, "active", means) == 10
    means.costs.learn(Job(1, "active", 10, 10), 4, 10, 150 * MS)
    assert affordable_hz(4, "active", means) == 3


def test_what_cannot_be_sampled_is_dumped() -> None:
    known = Known(1, 1, "main", 0, dumped_ns=0, dumped_threads=400)
    means = Means(1, 0.003, 10.0)
    means.costs.ratios["gil"] = 1e6
    hows = [next_job(known, 400, means, SECOND, role_is_known=True).how for _ in range(4)]
    assert hows == ["dump"] * 4


def test_a_low_rate_means_dumps_alone() -> None:
    known = Known(1, 1, "main", 0, dumped_ns=0, dumped_threads=1)
    assert next_job(known, 1, Means(30 * MS, 0.003, 0.5), SECOND, role_is_known=True).how == "dump"


def test_a_new_role_comes_first_then_whoever_used_most_unseen() -> None:
    def candidate(role: str, seen_s: int, cpu_s: int, not_before_ns: int = 0) -> Candidate:
        known = Known(cpu_s, 1, role, 0, seen_s * SECOND, not_before_ns=not_before_ns)
        return Candidate(known, cpu_s * SECOND)

    busy, seen, new = candidate("worker", 0, 50), candidate("worker", 90, 100), candidate("main", 0, 1)
    assert choose([busy, seen, new], {"worker"}, 0) is new
    assert choose([busy, seen, new], {"worker", "main"}, 0) is busy
    later = candidate("worker", 0, 70, not_before_ns=10)
    assert choose([busy, later], {"worker"}, 5) is busy
    assert choose([busy, later], {"worker"}, 10) is later
    assert choose([], set(), 0) is None


def test_an_interpreter_that_has_only_begun_is_left_alone() -> None:
    young = Candidate(Known(1, 1, "main", 0), 5 * MS)
    assert choose([young], set(), 0) is None
    assert choose([young], set(), 2 * SECOND) is young


def test_an_allowance_fills_up_to_its_savings_and_debts_are_paid_off() -> None:
    allowance = Allowance(0.01, 5)
    allowance.accrue(0)
    allowance.accrue(10_000)
    assert (allowance.balance_ns, allowance.debt_ns) == (5, 0)
    allowance.spend(105)
    assert allowance.debt_ns == 100
    allowance.accrue(15_000, 0.5)
    assert allowance.debt_ns == 75
    allowance.accrue(1_000_000)
    assert allowance.balance_ns == 5
