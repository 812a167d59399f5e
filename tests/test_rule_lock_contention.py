"""Queues for one thing: a write lock, a file, a lock in memory, a server; and a task queue, which is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts.facts import Facts, ProcessFacts
from corelens.reports.facts.lock_waits import waits_for_work
from corelens.reports.facts.stack_samples import DUMP, Frame, StackSample
from corelens.reports.report import Lock
from corelens.reports.rules.lock_contention import SLUG, check
from tests.made_crews import BOSS, PROGRAM, STANDARD, facts, process, thread, worker
from tests.rule_recordings import fires, nearly

LOCK = Lock(
    pids=(BOSS,), address=4096, shared=False, path=None, pattern="convoy", threads=3, waiters_mean=2.0,
    waiters_peak=2, blocked_s=19.0, blocked_share=0.9, wakeups_per_s=50.0,
)  # fmt: skip


def test_workers_that_sleep_until_one_lets_them_write_are_found() -> None:
    (finding,) = check(fires(SLUG))
    assert finding.variant == "sqlite-write-lock"
    assert finding.cause.startswith("4 workers take turns")
    assert finding.confidence >= 0.75
    assert finding.gain.factor == pytest.approx(2.1, abs=0.2)
    assert any("journal_mode=WAL" in line for line in finding.remedy.paste)


def test_a_task_queue_is_no_lock_of_the_program() -> None:
    assert not list(check(nearly(SLUG)))


def in_turn(doing: dict[str, float], calls: dict[tuple[str, str | None], float] | None = None) -> Facts:
    """Three threads of which one runs at a time."""
    threads = [
        thread(
            tid=BOSS + n, kind="python", busy=dict.fromkeys(range(n, 20, 3), 1.0), doing=doing, calls=calls
        )
        for n in (1, 2, 3)
    ]
    return facts(process(thread(), *threads))


def locked(known: Facts) -> Facts:
    return replace(known, report=replace(known.report, locks=(LOCK,)))


def test_threads_behind_one_lock_are_found() -> None:
    (finding,) = check(locked(in_turn({"lock": 6.5})))
    assert finding.variant == "threading-lock"
    assert finding.lost_core_s == pytest.approx(10.0, abs=0.6)
    assert finding.gain.factor == pytest.approx(2.1, abs=0.1)


def test_threads_that_read_meanwhile_wait_for_work() -> None:
    assert not list(check(locked(in_turn({"lock": 4.0, "pipe": 2.5}))))


def stack(known: Facts, *frames: tuple[str, str]) -> StackSample:
    made = tuple(Frame(function, file, 1) for function, file in frames)
    return StackSample(0, 1, known.root.life, BOSS + 1, made, 1, False, None, DUMP)


def test_stacks_that_end_in_a_queue_wait_for_work() -> None:
    known = locked(in_turn({"lock": 6.5}))
    idle = stack(known, ("_worker", f"{STANDARD}/concurrent/futures/thread.py"))
    assert not list(check(replace(known, samples=(idle,))))


def test_stacks_that_end_in_the_program_add_confidence() -> None:
    known = locked(in_turn({"lock": 6.5}))
    wanted = stack(known, ("run", f"{STANDARD}/threading.py"), ("update", PROGRAM))
    (without,), (with_it,) = check(known), check(replace(known, samples=(wanted,)))
    assert without.confidence < with_it.confidence
    assert "update (program.py)" in with_it.cause


def test_a_semaphore_of_the_program_is_a_lock_though_it_is_written_in_python() -> None:
    known = in_turn({"lock": 6.5})
    wait = ("Condition.wait", f"{STANDARD}/threading.py")
    assert not waits_for_work(
        stack(known, ("f", PROGRAM), ("Semaphore.acquire", f"{STANDARD}/threading.py"), wait)
    )
    assert waits_for_work(stack(known, ("Queue.get", f"{STANDARD}/queue.py"), wait))


def test_a_lock_that_is_held_for_a_part_of_the_work_is_less_certain() -> None:
    threads = [
        thread(tid=BOSS + n, kind="python", busy=dict.fromkeys(range(20), 0.6), doing={"lock": 4.0})
        for n in (1, 2, 3)
    ]
    crowded = locked(facts(process(thread(), *threads)))
    (alone,), (beside,) = check(locked(in_turn({"lock": 6.5}))), check(crowded)
    assert beside.confidence < alone.confidence
    assert beside.against


def test_a_lock_on_a_file_is_named() -> None:
    (finding,) = check(in_turn({"lock": 6.5}, {("flock", "file"): 6.5}))
    assert finding.variant == "file-lock"
    assert finding.confidence >= 0.9


def served_pair() -> Facts:
    """Two workers that ask a server process all the time."""
    readers = [
        thread(1, 10 + n, kind="python", busy=dict.fromkeys(range(20), 0.4), calls={("read", "socket"): 4.0})
        for n in (1, 2)
    ]
    server = process(thread(1, busy={}), *readers, parent=BOSS)
    return facts(process(thread()), server, client(2), client(3))


def test_workers_that_wait_for_one_server_are_found() -> None:
    (finding,) = check(served_pair())
    assert finding.variant == "manager-process"
    assert finding.confidence == pytest.approx(0.6)
    assert finding.gain.at_least


def test_clients_that_seldom_ask_have_another_cause() -> None:
    known = served_pair()
    seldom = [
        replace(each, threads=tuple(replace(one, voluntary=100) for one in each.threads))
        for each in known.processes
    ]
    assert not list(check(replace(known, processes=tuple(seldom))))


def client(pid: int) -> ProcessFacts:
    made = worker(pid, dict.fromkeys(range(20), 0.1), calls={("read", "socket"): 8.0})
    (main,) = made.threads
    return replace(made, threads=(replace(main, voluntary=20_000),))
