"""What can be seen from here: each closed door on a made-up machine has its reason and its key."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from corelens.probes import perf_events
from corelens.probes.capabilities import Capability, capabilities, examine
from tests.fakeproc import FakeMachine, machine, unified

PID = os.getpid()
NAMES = [
    "schedstat", "cpu-clock", "memory-access", "thread-owners", "cgroup", "quota", "pressure", "pidfd",
    "exit-status", "smaps", "perf-events", "open-files", "py-spy", "agent", "other-processes",
]  # fmt: skip


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    """A machine on which everything that /proc decides can be seen."""
    made = machine(tmp_path)
    made.group("/")
    unified(made, PID, "/")
    made.write(f"{PID}/schedstat", "1 2 3\n")
    made.write(f"{PID}/smaps_rollup", "Pss: 1 kB\n")
    made.write(f"{PID}/mem", "")
    made.write("pressure/cpu", "some total=0\n")
    made.write("self/status", "CapEff:\t0000000000000000\n")
    made.write("self/mounts", f"proc {made.proc} proc rw,nosuid 0 0\n")
    namespaces = made.proc / "self" / "ns"
    namespaces.mkdir()
    (namespaces / "pid").symlink_to("pid:[4026531836]")
    return made


def found(fake: FakeMachine, name: str, pid: int | None = PID) -> Capability:
    return next(each for each in examine(pid, fake.proc) if each.name == name)


def test_all_is_well_where_all_is_there(fake: FakeMachine) -> None:
    from_proc = {"perf-events", "open-files", "py-spy", "pidfd", "exit-status", "cpu-clock"}
    closed = [each for each in examine(PID, fake.proc) if not each.ok and each.name not in from_proc]
    assert closed == []


def test_the_names_are_stable_and_each_has_a_sentence(fake: FakeMachine) -> None:
    everything = examine(PID, fake.proc)
    assert [each.name for each in everything] == NAMES
    assert all(each.reason and not each.reason.endswith(".") for each in everything)
    assert all(each.remedy for each in everything if not each.ok)
    assert not any(each.remedy for each in everything if each.ok)


@pytest.mark.parametrize(
    ("name", "path", "remedy"),
    [
        ("schedstat", f"{PID}/schedstat", "CONFIG_SCHED_INFO"),
        ("memory-access", f"{PID}/mem", "SYS_PTRACE"),
        ("smaps", f"{PID}/smaps_rollup", "Linux 4.14"),
        ("pressure", "pressure/cpu", "CONFIG_PSI"),
        ("quota", f"{PID}/cgroup", "as root"),
        ("cgroup", "self/mountinfo", "mount /proc"),
    ],
)
def test_what_is_absent_says_how_to_get_it(fake: FakeMachine, name: str, path: str, remedy: str) -> None:
    assert found(fake, name).ok
    (fake.proc / path).unlink()
    each = found(fake, name)
    assert not each.ok
    assert remedy in each.remedy


@pytest.mark.parametrize(
    ("scope", "capability", "ok", "words"),
    [
        (None, 0, True, "of this user"),
        (0, 0, True, "of this user"),
        (1, 0, False, "only programs that corelens starts"),
        (2, 0, False, "ptrace_scope = 2"),
        (3, 0, False, "ptrace_scope = 3"),
        (1, 1 << 19, True, "any process"),
    ],
)
def test_yama_and_the_capability_decide_in_general(
    fake: FakeMachine, scope: int | None, capability: int, ok: bool, words: str
) -> None:
    if scope is not None:
        fake.write("sys/kernel/yama/ptrace_scope", f"{scope}\n")
    fake.write("self/status", f"CapEff:\t{capability:016x}\n")
    each = found(fake, "memory-access", pid=None)
    assert each.ok is ok
    assert words in each.reason
    assert ok or "sysctl kernel.yama.ptrace_scope=0" in each.remedy
    assert ok or "corelens record --" in each.remedy


def test_a_quota_names_its_level(fake: FakeMachine) -> None:
    fake.group("/slice", cpu__max="150000 100000")
    fake.group("/slice/job", cpu__max="max 100000")
    unified(fake, PID, "/slice/job")
    assert found(fake, "quota").reason == "1.5 cores, set at /slice"


def test_a_group_out_of_sight_is_not_taken_for_no_quota(fake: FakeMachine) -> None:
    unified(fake, PID, "/../elsewhere")
    assert not found(fake, "quota").ok


def test_no_control_groups_at_all(fake: FakeMachine) -> None:
    fake.write("self/mountinfo", "")
    assert not found(fake, "cgroup").ok


def test_a_container_and_hidden_processes_are_told_apart(fake: FakeMachine) -> None:
    link = fake.proc / "self" / "ns" / "pid"
    link.unlink()
    link.symlink_to("pid:[4026532000]")
    assert "--pid=host" in found(fake, "other-processes").remedy
    fake.write("self/mounts", f"proc {fake.proc} proc rw,hidepid=2 0 0\n")
    assert "hidepid=0" in found(fake, "other-processes").remedy


def test_few_open_files_are_said_with_the_command_that_mends_it(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(_: int) -> tuple[int, int]:
        return (256, 1024)

    monkeypatch.setattr(resource, "getrlimit", small)
    each = found(fake, "open-files")
    assert (each.ok, each.remedy) == (False, "raise it with: ulimit -Hn 65536")


def test_the_header_has_three_words_for_each(fake: FakeMachine) -> None:
    assert [set(each) for each in capabilities(PID, fake.proc)] == [{"name", "ok", "reason"}] * len(NAMES)


def test_here_our_own_process_can_be_seen() -> None:
    seen = {each.name: each.ok for each in examine(PID)}
    assert seen["schedstat"]
    assert seen["cpu-clock"]
    assert seen["agent"]


def test_another_users_process_closes_what_belongs_to_it() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    program = (
        # Imported before: another user may not be allowed to read this checkout.
        "import ctypes, os, sys; from corelens.probes.capabilities import examine; examine();"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "print(*(each.name for each in examine(int(sys.argv[1])) if not each.ok))"
    )
    command = [sys.executable, "-c", program, str(PID)]
    closed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {"memory-access", "smaps"} <= set(closed)
    assert "schedstat" not in closed


def test_an_event_counter_is_tried_and_closed_again() -> None:
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert perf_events.trouble() is None or isinstance(perf_events.trouble(), str)
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_looking_around_imports_nothing_heavy_and_sets_nothing() -> None:
    program = (
        "import os, sys; before = dict(os.environ);"
        "from corelens.probes.capabilities import examine; examine();"
        "heavy = {'numpy', 'torch', 'ray', 'rich', 'threadpoolctl'} & set(sys.modules);"
        "assert not heavy, heavy; assert dict(os.environ) == before"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
