"""Memory and packages: what is read from a made-up /proc, when again, and the truth on real ones."""

from __future__ import annotations

import mmap
import os
import sys
import time
from pathlib import Path

import pytest

from corelens.probes import memory, packages
from corelens.probes.memory import MemoryProbe
from corelens.probes.packages import PackagesProbe
from corelens.probes.probe import Moment, Process
from corelens.vocabulary import Line, columns
from tests.fakeproc import FakeMachine, machine

PID = 42
SECOND = 1_000_000_000
ROLLUP = """\
55d0-7ffc ---p 00000000 00:00 0                                  [rollup]
Rss:                9000 kB
Pss:                5000 kB
Pss_Dirty:          4000 kB
Private_Clean:       100 kB
Private_Dirty:      3000 kB
Swap:                 40 kB
SwapPss:              20 kB
"""


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    made = machine(tmp_path)
    made.write(f"{PID}/statm", "9000 2000 500 10 0 3000 0\n")
    made.write(f"{PID}/smaps_rollup", ROLLUP)
    return made


def look(probe: MemoryProbe | PackagesProbe, t_ns: int = 0, *pids: int, start: int = 1) -> list[Line]:
    processes = {pid: Process(pid, 1, start, "main") for pid in pids or (PID,)}
    return list(probe.look(Moment(t_ns, processes, frozenset(processes))))


def test_sizes_are_bytes_and_private_pages_are_the_processes_own(fake: FakeMachine) -> None:
    line = look(MemoryProbe(fake.proc))[0]
    assert line == {
        "kind": "memory",
        "t_ns": 0,
        "pid": [PID],
        "pss_bytes": [5000 * 1024],
        "uss_bytes": [3100 * 1024],
        "swap_bytes": [40 * 1024],
    }
    assert set(columns("memory")) == set(line) - {"kind", "t_ns"}


def test_a_process_is_asked_again_only_when_its_resident_set_changed(fake: FakeMachine) -> None:
    probe = MemoryProbe(fake.proc)
    assert len(look(probe)) == 1
    assert look(probe, 60 * SECOND) == []
    fake.write(f"{PID}/statm", "9000 2001 500 10 0 3000 0\n")
    assert len(look(probe, 61 * SECOND)) == 1


def test_the_distance_between_two_readings_grows(fake: FakeMachine) -> None:
    probe = MemoryProbe(fake.proc)
    read_at: list[int] = []
    for second in range(30):
        fake.write(f"{PID}/statm", f"9000 {second} 500 10 0 3000 0\n")
        if look(probe, second * SECOND):
            read_at.append(second)
    assert read_at == [0, 1, 2, 3, 4, 6, 8, 11, 15, 20, 25]


def test_dear_readings_are_spread_and_nobody_is_passed_over(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10**15, 4_000_000))
    monkeypatch.setattr(time, "thread_time_ns", lambda: next(clock))
    pids = [*range(100, 110)]
    for pid in pids:
        fake.write(f"{pid}/statm", "9000 2000 500 10 0 3000 0\n")
        fake.write(f"{pid}/smaps_rollup", ROLLUP)
    probe = MemoryProbe(fake.proc)
    read = [line["pid"] for second in range(10) for line in look(probe, second * SECOND, *pids)]
    # Each takes 4 ms here: a fifth of a second's rest for every millisecond.
    assert max(map(len, read)) == 2
    assert [pid for group in read for pid in group] == pids


def test_a_reused_pid_is_a_new_process(fake: FakeMachine) -> None:
    probe = MemoryProbe(fake.proc)
    assert len(look(probe)) == 1
    assert len(look(probe, 1, start=2)) == 1


def test_a_process_that_is_gone_is_silence_and_a_broken_file_one_gap(fake: FakeMachine) -> None:
    probe = MemoryProbe(fake.proc)
    assert look(probe, 0, PID + 1) == []
    fake.write(f"{PID}/statm", "nonsense\n")
    kinds = [line["kind"] for t in (1, 2) for line in look(probe, t * SECOND)]
    assert kinds == ["gap"]


def test_what_the_kernel_does_not_say_is_null() -> None:
    assert memory.shared_out(b"") == (None, None, None)
    assert memory.shared_out(b"Pss: 3 kB\nnonsense\nPrivate_Clean: x kB\n") == (3072, None, None)


def test_here_touched_pages_are_our_own() -> None:
    probe = MemoryProbe()
    before = look(probe, 0, os.getpid())[0]["uss_bytes"][0]
    with mmap.mmap(-1, 64 << 20) as block:
        for offset in range(0, len(block), mmap.PAGESIZE):
            block[offset] = 1
        after = look(probe, 60 * SECOND, os.getpid())[0]
    assert after["uss_bytes"][0] - before >= 63 << 20
    assert after["pss_bytes"][0] >= after["uss_bytes"][0]


def install(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
    return folder


def test_versions_are_read_from_folder_names(tmp_path: Path) -> None:
    first = install(
        tmp_path / "a", "torch-2.13.0+cpu.dist-info", "scikit_learn-1.5.dist-info", "requests-2.dist-info"
    )
    second = install(tmp_path / "b", "torch-1.0.dist-info", "loky-3.4-py3.11.egg-info", "numpy.libs")
    assert packages.versions((first, second, tmp_path / "none")) == {
        "torch": "2.13.0+cpu",
        "scikit-learn": "1.5",
        "loky": "3.4",
    }


def python_process(fake: FakeMachine, command: bytes, exe: str = "/usr/bin/python3.11") -> None:
    fake.write(f"{PID}/cmdline", command)
    link = fake.proc / str(PID) / "exe"
    link.unlink(missing_ok=True)
    link.symlink_to(exe)


def environment(root: Path, *names: str) -> Path:
    """A virtual environment with these packages; its interpreter."""
    install(root / "lib/python3.11/site-packages", *names)
    (root / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    python = root / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    return python


def test_the_environment_follows_from_how_the_interpreter_was_called(
    fake: FakeMachine, tmp_path: Path
) -> None:
    python = environment(tmp_path / "venv", "joblib-1.6.0.dist-info")
    python_process(fake, f"{python}\0-m\0work\0".encode())
    probe = PackagesProbe(fake.proc)
    assert look(probe) == [
        {"kind": "packages", "t_ns": 0, "exe": "/usr/bin/python3.11", "versions": {"joblib": "1.6.0"}}
    ]
    assert look(probe, SECOND) == []


def test_a_relative_call_and_one_found_on_the_path(fake: FakeMachine, tmp_path: Path) -> None:
    python = environment(tmp_path / "venv", "joblib-1.6.0.dist-info")
    site = python.parent.parent / "lib/python3.11/site-packages"
    (fake.proc / str(PID) / "cwd").symlink_to(python.parent.parent)
    assert packages.site_folders(PID, "/usr/bin/python3.11", b"bin/python\0x.py\0", fake.proc) == [site]
    fake.write(f"{PID}/environ", f"HOME=/\0PATH=/nowhere:{python.parent}\0")
    assert packages.site_folders(PID, "/usr/bin/python3.11", b"python\0x.py\0", fake.proc) == [site]


def test_a_process_that_wrote_over_its_command_is_known_by_its_modules(fake: FakeMachine) -> None:
    fake.write(
        f"{PID}/maps",
        "7f00-7f01 r-xp 00000000 08:01 1 /opt/e/lib/python3.11/site-packages/numpy/core/x.so\n"
        "7f01-7f02 r-xp 00000000 08:01 1 /opt/e/lib/python3.11/site-packages/torch/y.so\n",
    )
    folders = packages.site_folders(PID, "/usr/bin/python3.11", b"ray::task\0", fake.proc)
    assert folders == [Path("/opt/e/lib/python3.11/site-packages")]


def test_without_modules_such_a_process_is_not_guessed(fake: FakeMachine) -> None:
    fake.write(f"{PID}/maps", "7f00-7f01 r-xp 00000000 08:01 1 /usr/lib/libc.so.6\n")
    assert packages.site_folders(PID, "/usr/bin/python3.11", b"ray::task\0", fake.proc) == []


def test_a_program_that_is_not_python_has_no_packages(fake: FakeMachine) -> None:
    python_process(fake, b"sleep\09\0", exe="/usr/bin/sleep")
    assert look(PackagesProbe(fake.proc)) == []


def test_a_program_executed_later_is_found(fake: FakeMachine, tmp_path: Path) -> None:
    probe = PackagesProbe(fake.proc)
    python_process(fake, b"sh\0-c\0python\0", exe="/usr/bin/dash")
    assert look(probe) == []
    python_process(fake, f"{environment(tmp_path / 'v', 'ray-2.60.dist-info')}\0".encode())
    assert [line["versions"] for line in look(probe, SECOND)] == [{"ray": "2.60"}]


def test_here_the_versions_are_those_of_the_metadata() -> None:
    from importlib.metadata import version

    lines = look(PackagesProbe(), 0, os.getpid())
    assert [line["versions"]["threadpoolctl"] for line in lines] == [version("threadpoolctl")]
    assert lines[0]["exe"] == str(Path(sys.executable).resolve())
