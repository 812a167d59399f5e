"""The host probe on a made-up machine, and against the kernel's own numbers on this one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from corelens.probes import host, procfs
from corelens.probes.host import HostProbe, describe_host
from corelens.probes.keptfile import KeptFile
from corelens.probes.probe import Moment
from corelens.vocabulary import KINDS, columns
from tests.fakeproc import FakeMachine, machine


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    return machine(tmp_path)


def look(probe: HostProbe) -> list[dict[str, Any]]:
    try:
        return list(probe.look(Moment(t_ns=7, processes={}, moved=frozenset())))
    finally:
        probe.close()


def test_cores_are_columns_of_raw_ticks(fake: FakeMachine) -> None:
    cores = look(HostProbe(fake.proc))[0]
    assert cores == {
        "kind": "cores",
        "t_ns": 7,
        "core": [0, 1],
        "user_ticks": [10, 20],
        "nice_ticks": [1, 2],
        "system_ticks": [5, 15],
        "idle_ticks": [100, 300],
        "iowait_ticks": [3, 4],
        "irq_ticks": [1, 3],
        "steal_ticks": [2, 0],
    }
    assert set(columns("cores")) == set(cores) - {"kind", "t_ns"}


def test_host_counters_have_bytes_and_no_rates(fake: FakeMachine) -> None:
    fake.write("pressure/cpu", "some avg10=1.00 avg60=0.50 avg300=0.10 total=111\n")
    fake.write(
        "pressure/io", "some avg10=0 avg60=0 avg300=0 total=5\nfull avg10=0 avg60=0 avg300=0 total=4\n"
    )
    fake.write("pressure/memory", "some avg10=0 avg60=0 avg300=0 total=0\nfull avg10=0 total=0\n")
    line = look(HostProbe(fake.proc))[1]
    assert line == {
        "kind": "host",
        "t_ns": 7,
        "load1": 0.5,
        "runnable": 3,
        "tasks": 456,
        "forks": 4321,
        "switches": 987654,
        "memory_available_bytes": 8_000_000 * 1024,
        "swap_used_bytes": 500_000 * 1024,
        "pressure_us": {
            "cpu": {"some": 111, "full": None},
            "io": {"some": 5, "full": 4},
            "memory": {"some": 0, "full": 0},
        },
    }
    assert {field.name for field in KINDS["host"].fields} == set(line) - {"kind"}


def test_a_kernel_without_pressure_is_null_and_no_gap(fake: FakeMachine) -> None:
    lines = look(HostProbe(fake.proc))
    assert lines[1]["pressure_us"] is None
    assert len(lines) == 2


@pytest.mark.parametrize("name", ["stat", "loadavg", "meminfo"])
@pytest.mark.parametrize("text", [None, "", "nonsense\n", "cpu0 1 2 x\n"])
def test_a_broken_file_is_one_gap_and_no_crash(fake: FakeMachine, name: str, text: str | None) -> None:
    if text is None:
        (fake.proc / name).unlink()
    else:
        fake.write(name, text)
    probe = HostProbe(fake.proc)
    first = [line["kind"] for line in look(probe)]
    second = [line["kind"] for line in look(probe)]
    assert first.count("gap") == 1
    assert "host" not in first
    assert second.count("gap") == 0


def test_files_stay_open_between_looks_and_are_given_back() -> None:
    probe = HostProbe()
    before = open_descriptors()
    moment = Moment(0, {}, frozenset())
    list(probe.look(moment))
    while_open = open_descriptors()
    list(probe.look(moment))
    assert open_descriptors() == while_open > before
    probe.close()
    assert open_descriptors() == before


def test_a_kept_file_is_read_whole_however_long_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    path.write_bytes(b"short")
    file = KeptFile(str(path))
    assert file.read() == b"short"
    path.write_bytes(b"x" * 50_000)
    assert file.read() == b"x" * 50_000
    file.close()


def test_a_kept_file_that_is_not_there_says_why(tmp_path: Path) -> None:
    with pytest.raises(procfs.Unreadable) as caught:
        KeptFile(str(tmp_path / "none")).read()
    assert caught.value.reason == "gone"


def test_here_the_numbers_are_the_kernels() -> None:
    cores, line = look(HostProbe())
    online = os.sched_getaffinity(0)
    assert online <= set(cores["core"])
    assert line["tasks"] >= line["runnable"] >= 1
    assert 0 < line["memory_available_bytes"] < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert line["forks"] > 0


def test_this_machine_is_described() -> None:
    described = describe_host()
    documented = next(field for field in KINDS["header"].fields if field.name == "host").meaning
    assert set(described) == set(documented.replace(" ", "").split(","))
    assert described["logical_cores"] == os.cpu_count()
    assert described["kernel"] == os.uname().release
    assert described["memory_bytes"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_smt_siblings_are_one_physical_core(fake: FakeMachine) -> None:
    for core, (package, number) in enumerate([(0, 0), (0, 1), (0, 0), (0, 1), (1, 0), (1, 0)]):
        fake.write_sys(f"devices/system/cpu/cpu{core}/topology/physical_package_id", f"{package}\n")
        fake.write_sys(f"devices/system/cpu/cpu{core}/topology/core_id", f"{number}\n")
    fake.write_sys("devices/system/node/node0/cpulist", "0-3\n")
    fake.write_sys("devices/system/node/node1/cpulist", "4-5\n")
    fake.write("cpuinfo", "processor\t: 0\nmodel name\t: Made Up 9000\n")
    described = describe_host(fake.proc, fake.sys)
    assert described["physical_cores"] == 3
    assert described["numa_nodes"] == 2
    assert described["cpu_model"] == "Made Up 9000"


def test_what_a_kernel_does_not_describe_is_null(tmp_path: Path) -> None:
    described = describe_host(tmp_path / "proc", tmp_path / "sys")
    unknown = ("physical_cores", "numa_nodes", "cpu_model", "memory_bytes")
    assert [described[name] for name in unknown] == [None] * 4


def test_pressure_that_cannot_be_understood_is_null() -> None:
    assert host.parse_pressure(b"some avg10=0 total=\nfull nonsense\n") == {"some": None, "full": None}


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
