"""What the program may use: bounds on a made-up machine, and a real quota on the parent group alone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from corelens.probes import environment
from corelens.probes.limits import LimitsProbe, capacity_cores
from corelens.probes.probe import Moment
from corelens.vocabulary import KINDS, LIMIT_VARIABLES
from tests.fakeproc import FakeMachine, machine, unified
from tests.fakeprocesses import stat_line

PID = 42
SECOND = 1_000_000_000


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    made = machine(tmp_path)
    made.write(f"{PID}/status", "Name:\tx\nCpus_allowed_list:\t0-1\n")
    made.write(f"{PID}/stat", stat_line(PID, "x", 1, 100))
    made.group("/")
    return made


def look(probe: LimitsProbe, t_ns: int = 0) -> list[dict[str, Any]]:
    return list(probe.look(Moment(t_ns, {}, frozenset())))


def test_limits_are_written_once_and_again_when_they_change(fake: FakeMachine) -> None:
    fake.group("/job", cpu__max="150000 100000")
    unified(fake, PID, "/job")
    probe = LimitsProbe(PID, fake.proc, sys=fake.sys)
    first = look(probe)[0]
    assert (first["kind"], first["capacity_cores"], first["capacity_because"]) == ("limits", 1.5, "quota")
    assert {field.name for field in KINDS["limits"].fields} == set(first) - {"kind"}
    assert [line["kind"] for line in look(probe, SECOND)] == ["cgroup"]
    fake.group("/job", cpu__max="50000 100000")
    changed = look(probe, 10 * SECOND)
    assert [line["kind"] for line in changed] == ["limits", "cgroup"]
    assert changed[0]["quota_cores"] == 0.5
    probe.close()


def test_a_process_moved_to_another_group_is_followed(fake: FakeMachine) -> None:
    fake.group("/job", cpu__max="150000 100000", cpu__stat="nr_periods 7\nnr_throttled 1\nthrottled_usec 5")
    unified(fake, PID, "/")
    probe = LimitsProbe(PID, fake.proc, sys=fake.sys)
    assert look(probe)[0]["quota_cores"] is None
    fake.write(f"{PID}/cgroup", "0::/job\n")
    limits, counters = look(probe, SECOND // 2)
    assert limits["quota_cores"] == 1.5
    assert (counters["path"], counters["periods"], counters["throttled_ns"]) == ("/job", 7, 5000)
    assert {field.name for field in KINDS["cgroup"].fields} == set(counters) - {"kind"}
    probe.close()


def test_a_zombie_that_is_shown_at_the_root_keeps_the_limits_it_had(fake: FakeMachine) -> None:
    fake.group("/job", cpu__max="150000 100000")
    unified(fake, PID, "/job")
    probe = LimitsProbe(PID, fake.proc, sys=fake.sys)
    look(probe)
    fake.write(f"{PID}/stat", stat_line(PID, "x", 1, 100, state="Z"))
    fake.write(f"{PID}/cgroup", "0::/\n")
    assert [line["kind"] for line in look(probe, SECOND)] == ["cgroup"]
    probe.close()


def test_levels_that_set_nothing_are_described_and_not_counted(fake: FakeMachine) -> None:
    fake.group("/job", memory__max="1000", memory__current="600", memory__events="oom_kill 2")
    fake.group("/job/step", cpuset__cpus__effective="0-1")
    unified(fake, PID, "/job/step")
    probe = LimitsProbe(PID, fake.proc, sys=fake.sys)
    limits, counters = look(probe)
    assert [level["path"] for level in limits["cgroups"]] == ["/job/step", "/job", "/"]
    assert limits["cgroups"][0]["cpuset"] is None
    assert limits["memory_limit_bytes"] == 1000
    assert (counters["path"], counters["memory_bytes"], counters["oom_kills"]) == ("/job", 600, 2)
    assert counters["periods"] is None
    probe.close()


def test_a_group_whose_files_vanish_sets_nothing(fake: FakeMachine) -> None:
    folder = fake.group("/job", memory__max="1000", memory__current="600")
    unified(fake, PID, "/job")
    probe = LimitsProbe(PID, fake.proc, sys=fake.sys)
    look(probe)
    probe.close()
    for path in folder.iterdir():
        path.unlink()
    probe = LimitsProbe(PID, fake.proc, sys=fake.sys)
    assert [line["kind"] for line in look(probe)] == ["limits"]


def test_an_unreadable_process_still_has_the_machines_limits(fake: FakeMachine) -> None:
    unified(fake, PID + 1, "/")
    probe = LimitsProbe(PID + 2, fake.proc, sys=fake.sys)
    gap, limits = look(probe)
    assert (gap["kind"], gap["reason"], gap["pid"]) == ("gap", "gone", PID + 2)
    assert (limits["capacity_cores"], limits["affinity_cores"]) == (2.0, None)
    assert look(probe, 10 * SECOND) == []


def test_a_group_that_cannot_be_seen_is_a_gap(fake: FakeMachine) -> None:
    unified(fake, PID, "/../elsewhere")
    gap, limits = look(LimitsProbe(PID, fake.proc, sys=fake.sys))
    assert (gap["kind"], gap["reason"]) == ("gap", "unsupported")
    assert limits["cgroups"] == []


def test_online_cores_come_from_stat_where_sys_is_not_mounted(fake: FakeMachine, tmp_path: Path) -> None:
    unified(fake, PID, "/")
    limits = look(LimitsProbe(PID, fake.proc, sys=tmp_path / "nowhere"))[0]
    assert limits["online_cores"] == [0, 1]


EIGHT = [*range(8)]


@pytest.mark.parametrize(
    ("allowed", "cpusets", "quota", "expected"),
    [
        (EIGHT, [], None, (8.0, "online")),
        (EIGHT, [EIGHT], None, (8.0, "online")),
        ([0, 1], [EIGHT], None, (2.0, "affinity")),
        ([0, 1], [[0, 1], EIGHT], None, (2.0, "cpuset")),
        ([0], [[0, 1]], None, (1.0, "affinity")),
        (EIGHT, [], 2.5, (2.5, "quota")),
        ([0, 1], [], 2.5, (2.0, "affinity")),
        (EIGHT, [], 8.0, (8.0, "online")),
        (EIGHT, [], 0.25, (0.25, "quota")),
        (None, [], 3.0, (3.0, "quota")),
        ([6, 7, 8, 9], [], None, (2.0, "affinity")),
    ],
)
def test_capacity_is_the_smallest_bound(
    allowed: list[int] | None, cpusets: list[list[int]], quota: float | None, expected: tuple[float, str]
) -> None:
    assert capacity_cores(EIGHT, allowed, cpusets, quota) == expected


def test_only_limit_variables_are_read(fake: FakeMachine) -> None:
    fake.write(
        f"{PID}/environ", b"OMP_NUM_THREADS=4\0SECRET_TOKEN=x\0MKL_NUM_THREADS=a=b\0OMP_PLACES\0\xff=1\0"
    )
    assert environment.limit_variables(PID, fake.proc) == {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "a=b"}


def test_an_endless_value_is_cut() -> None:
    found = environment.parse_limit_variables(b"OMP_PLACES=" + b"{0}," * 1000)
    assert len(found["OMP_PLACES"]) == 256


def test_an_empty_environment_is_not_a_lost_one(fake: FakeMachine) -> None:
    fake.write(f"{PID}/environ", b"")
    assert environment.limit_variables(PID, fake.proc) is None
    (fake.proc / str(PID) / "exe").symlink_to("/bin/true")
    assert environment.limit_variables(PID, fake.proc) == {}
    assert environment.limit_variables(PID + 1, fake.proc) is None


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        (b"0-3,8\n", [0, 1, 2, 3, 8]),
        (b"5\n", [5]),
        (b"\n", None),
        (b"x", None),
        (b"3-", None),
        (b"4-2", None),
    ],
)
def test_core_lists(text: bytes, cores: list[int] | None) -> None:
    assert environment.parse_core_list(text) == cores


def test_affinity_is_what_the_kernel_says() -> None:
    assert environment.affinity(os.getpid()) == sorted(os.sched_getaffinity(0))
    assert environment.affinity(2**22 + 1) is None


def test_the_environment_at_exec_is_not_the_present_one() -> None:
    program = "import os; os.environ['OMP_NUM_THREADS'] = '9'; print('ready', flush=True); input()"
    with running(program, {"OMP_NUM_THREADS": "3", "HOME": "/"}) as process:
        assert environment.limit_variables(process.pid) == {"OMP_NUM_THREADS": "3"}


def test_every_limit_variable_is_unique() -> None:
    assert len(set(LIMIT_VARIABLES)) == len(LIMIT_VARIABLES)


SPINNER = "print('ready', flush=True)\nwhile True: pass"


def test_a_real_quota_on_the_parent_alone_is_seen_and_its_throttling_counted() -> None:
    with nested_groups() as (parent, child), running(SPINNER) as process:
        set_quota(parent, 0.2)
        (child / "cgroup.procs").write_text(str(process.pid))
        probe = LimitsProbe(process.pid)
        limits, *_ = look(probe)
        assert limits["quota_cores"] == pytest.approx(0.2)
        assert (limits["capacity_cores"], limits["capacity_because"]) == (pytest.approx(0.2), "quota")
        setting = [level for level in limits["cgroups"] if level["quota_cores"] is not None]
        assert [Path(level["path"]).name for level in setting] == [parent.name]
        throttled = wait_for_throttling(probe, parent.name)
        assert 0 < throttled["throttled_periods"] <= throttled["periods"]
        assert throttled["throttled_ns"] > 0
        probe.close()


def wait_for_throttling(probe: LimitsProbe, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for line in look(probe, SECOND):
            if line["kind"] == "cgroup" and line["path"].endswith(name) and line["throttled_ns"]:
                return line
    raise AssertionError("a spinner under a quota of 0.2 cores was never throttled")


@contextlib.contextmanager
def nested_groups() -> Generator[tuple[Path, Path]]:
    """A group and one inside it, where this machine lets us make them."""
    for root in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")):
        parent = root / f"corelens-test-{os.getpid()}"
        child = parent / "inner"
        with contextlib.suppress(OSError):
            parent.mkdir()
            break
    else:
        pytest.skip("needs a writable cgroup with the cpu controller")
    try:
        if (parent / "cgroup.subtree_control").is_file():
            with contextlib.suppress(OSError):
                (parent.parent / "cgroup.subtree_control").write_text("+cpu")
                (parent / "cgroup.subtree_control").write_text("+cpu")
        child.mkdir()
        if not quota_file(parent).is_file():
            pytest.skip("needs a writable cgroup with the cpu controller")
        yield parent, child
    finally:
        for folder in (child, parent):
            if folder.is_dir():
                folder.rmdir()


def quota_file(group: Path) -> Path:
    two = group / "cpu.max"
    return two if two.is_file() else group / "cpu.cfs_quota_us"


def set_quota(group: Path, cores: float) -> None:
    file = quota_file(group)
    quota = int(cores * 100_000)
    file.write_text(f"{quota} 100000" if file.name == "cpu.max" else str(quota))


@contextlib.contextmanager
def running(program: str, env: dict[str, str] | None = None) -> Generator[subprocess.Popen[str]]:
    """A Python program that has said that it is ready; gone again afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()
