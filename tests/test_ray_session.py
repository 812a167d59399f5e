"""Ray sessions: whose workers are ours, when the cluster was started by somebody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from corelens.probes import procfs, ray_session
from corelens.probes.ray_session import Driver, RaySessions
from tests.fakeprocesses import FakeProcesses, fake_processes

OURS, THEIRS = "/tmp/ray/session_2026-01-01_1", "/tmp/ray/session_2026-01-01_2"
DRIVER, RAYLET, WORKER = 10, 20, 30
WORKER_ARGV = ("python", "-u", "/site/ray/_private/workers/default_worker.py", "--node-ip-address=10.0.0.1")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProcesses:
    made = fake_processes(tmp_path, monkeypatch)
    made.start(DRIVER, argv=("python", "train.py"))
    opens(made, DRIVER, f"{OURS}/logs/python-core-driver-01000000ffff_10.log")
    raylet(made, RAYLET, OURS)
    return made


def opens(fake: FakeProcesses, pid: int, *paths: str) -> None:
    folder = fake.proc / f"{pid}/fd"
    folder.mkdir()
    for number, path in enumerate(("/dev/null", "socket:[123]", *paths)):
        (folder / str(number)).symlink_to(path)


def raylet(fake: FakeProcesses, pid: int, session: str) -> None:
    argv = ("/site/ray/raylet", f"--raylet_socket_name={session}/sockets/raylet", "--resource=CPU")
    fake.start(pid, comm="raylet", argv=argv)


def worker(
    fake: FakeProcesses,
    pid: int = WORKER,
    *,
    job: str | None = "01000000",
    of: int = RAYLET,
    argv: tuple[str, ...] = WORKER_ARGV,
) -> None:
    environ = ("PATH=/bin",) if job is None else ("PATH=/bin", f"RAY_JOB_ID={job}")
    fake.start(pid, of, comm="python", argv=argv, environ=environ)


def sessions(fake: FakeProcesses, *pids: int, drivers: tuple[int, ...] = (DRIVER,)) -> RaySessions:
    """Sessions that noticed these processes, in this order, and were asked about the drivers."""
    made = RaySessions(fake.proc)
    for pid in pids:
        made.notice(procfs.read_stat(fake.proc, pid))
    for pid in drivers:
        made.drives(pid)
    return made


def test_a_driver_has_its_log_open(fake: FakeProcesses) -> None:
    assert ray_session.driver_of(fake.proc, DRIVER) == Driver(OURS, "01000000")


def test_who_drives_nothing(fake: FakeProcesses) -> None:
    fake.start(11)
    assert ray_session.driver_of(fake.proc, 11) is None
    opens(fake, 11, f"{OURS}/logs/python-core-worker-01000000_11.log", f"{OURS}/logs/python-core-driver-x")
    assert ray_session.driver_of(fake.proc, 11) is None
    assert ray_session.driver_of(fake.proc, 12) is None


def test_a_descriptor_that_was_closed_meanwhile_is_passed_over(fake: FakeProcesses) -> None:
    fake.forbidden = {f"{DRIVER}/fd/{number}" for number in (0, 1)}
    assert ray_session.driver_of(fake.proc, DRIVER) == Driver(OURS, "01000000")
    fake.forbidden = {f"{DRIVER}/fd/2"}
    assert ray_session.driver_of(fake.proc, DRIVER) is None


def test_a_raylet_names_its_session(fake: FakeProcesses) -> None:
    assert ray_session.session_of_raylet(fake.proc, RAYLET) == OURS
    assert ray_session.session_of_raylet(fake.proc, DRIVER) is None
    assert ray_session.session_of_raylet(fake.proc, 99) is None
    fake.forbidden = {f"{RAYLET}/cmdline"}
    assert ray_session.session_of_raylet(fake.proc, RAYLET) is None


@pytest.mark.parametrize("job", ["01000000", "ffffffff", None])
def test_the_job_of_a_worker(fake: FakeProcesses, job: str | None) -> None:
    worker(fake, job=job)
    assert ray_session.job_of_worker(fake.proc, WORKER) == job
    fake.forbidden = {f"{WORKER}/environ"}
    assert ray_session.job_of_worker(fake.proc, WORKER) is None


def test_workers_of_our_job_and_of_no_job_yet_are_ours(fake: FakeProcesses) -> None:
    worker(fake)
    worker(fake, 31, job="ffffffff")
    assert sorted(sessions(fake, RAYLET, WORKER, 31).workers()) == [WORKER, 31]


def test_workers_of_another_job_are_not(fake: FakeProcesses) -> None:
    worker(fake, job="02000000")
    assert sessions(fake, RAYLET, WORKER).workers() == []


def test_workers_of_another_session_are_not(fake: FakeProcesses) -> None:
    """Jobs are numbered in each session: the same number is another job there."""
    raylet(fake, 21, THEIRS)
    worker(fake, of=21)
    worker(fake, 31, of=21, job="ffffffff")
    assert sessions(fake, RAYLET, 21, WORKER, 31).workers() == []


def test_two_drivers_in_one_session_each_have_their_own(fake: FakeProcesses) -> None:
    fake.start(11)
    opens(fake, 11, f"{OURS}/logs/python-core-driver-02000000ffff_11.log")
    worker(fake, job="02000000")
    assert sessions(fake, RAYLET, WORKER).workers() == []
    assert sessions(fake, RAYLET, WORKER, drivers=(DRIVER, 11)).workers() == [WORKER]


def test_nobody_works_for_us_without_a_driver_or_a_raylet(fake: FakeProcesses) -> None:
    worker(fake)
    assert sessions(fake, RAYLET, WORKER, drivers=()).workers() == []
    assert sessions(fake, RAYLET, WORKER, drivers=(RAYLET,)).workers() == []
    without = sessions(fake, WORKER)
    assert (without.workers(), without.any_raylet) == ([], False)


def test_a_process_named_raylet_that_serves_no_session_is_none(fake: FakeProcesses) -> None:
    fake.start(22, comm="raylet", argv=("/bin/raylet", "--help"))
    assert not sessions(fake, 22).any_raylet
    assert sessions(fake, RAYLET).any_raylet


def test_services_of_the_raylet_are_not_workers(fake: FakeProcesses) -> None:
    worker(fake, argv=("python", "/site/ray/dashboard/agent.py"))
    worker(fake, 31, argv=("ray::DashboardAgent",))
    worker(fake, 32, argv=("ray::IDLE",))
    assert sessions(fake, RAYLET, WORKER, 31, 32).workers() == [32]


def test_one_that_has_not_executed_its_program_is_asked_again(fake: FakeProcesses) -> None:
    worker(fake, job=None, argv=("/site/ray/raylet",))
    found = sessions(fake, RAYLET, WORKER)
    assert found.workers() == []
    fake.machine.write(f"{WORKER}/environ", "RAY_JOB_ID=01000000\0")
    fake.machine.write(f"{WORKER}/cmdline", "".join(f"{word}\0" for word in WORKER_ARGV))
    assert found.workers() == [WORKER]


def test_one_that_is_followed_is_not_offered_again(fake: FakeProcesses) -> None:
    worker(fake)
    found = sessions(fake, RAYLET, WORKER)
    assert found.workers() == [WORKER]
    found.joined(WORKER)
    assert found.workers() == []


def test_a_worker_that_is_gone_is_forgotten(fake: FakeProcesses) -> None:
    worker(fake, job="02000000")
    found = sessions(fake, RAYLET, WORKER)
    fake.end(WORKER)
    assert found.workers() == []
    # Its id comes round to a process that the raylet did not start.
    fake.start(WORKER, argv=WORKER_ARGV, environ=("RAY_JOB_ID=01000000",))
    assert found.workers() == []


def test_a_worker_that_ends_while_it_is_asked(fake: FakeProcesses) -> None:
    worker(fake)
    found = sessions(fake, RAYLET, WORKER)
    fake.forbidden = {f"{WORKER}/stat"}
    assert found.workers() == []


def test_an_ended_driver_drives_no_more(fake: FakeProcesses) -> None:
    worker(fake)
    found = sessions(fake, RAYLET, WORKER)
    assert found.drives(DRIVER)
    found.forget(DRIVER)
    fake.end(DRIVER)
    assert not found.drives(DRIVER)
    assert found.workers() == []


def test_a_driver_stays_one_when_its_log_is_closed(fake: FakeProcesses) -> None:
    found = sessions(fake, RAYLET)
    (fake.proc / f"{DRIVER}/fd/2").unlink()
    assert found.drives(DRIVER)


def test_only_raylets_of_followed_drivers_and_followed_raylets_are_ours(fake: FakeProcesses) -> None:
    raylet(fake, 21, THEIRS)
    made = sessions(fake, RAYLET, 21)
    assert made.raylets(set[int]()) == {RAYLET: OURS}
    assert made.raylets({21}) == {RAYLET: OURS, 21: THEIRS}
    assert sessions(fake, RAYLET, 21, drivers=()).raylets(set[int]()) == {}
