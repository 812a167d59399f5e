"""Crews: who hands work out, who takes it, and how its time was spent."""

from __future__ import annotations

import pytest

from corelens.reports.facts import owned
from corelens.reports.facts.code_places import caller, is_moving, loop_callback, place, tally, work
from corelens.reports.facts.crew import PROCESSES, THREADS, crews
from corelens.reports.facts.crew_ends import ends, is_clean
from corelens.reports.facts.crew_time import crew_time
from tests.made_crews import BOSS, PROGRAM, STANDARD, facts, process, sample, thread, worker

PIPE = ("read", "pipe")
BUSY = dict.fromkeys(range(1, 19), 1.0)


def test_worker_processes_and_their_parent_are_a_crew() -> None:
    known = facts(process(thread()), worker(1, BUSY), worker(2, BUSY))
    (crew,) = crews(known)
    assert (crew.kind, crew.boss.pid, len(crew.workers)) == (PROCESSES, BOSS, 2)


def test_a_server_with_a_thread_for_each_client_takes_no_tasks() -> None:
    served = thread(3, busy={1: 0.1}, role="pool-worker-fork")
    server = process(
        served, thread(3, 31, kind=owned.PYTHON, busy=BUSY, role="pool-worker-fork"), parent=BOSS
    )
    (crew,) = crews(facts(process(thread()), worker(1, BUSY), worker(2, BUSY), server))
    assert {one.process.pid for one in crew.workers} == {1, 2}


def test_workers_that_come_one_after_another_are_no_crew() -> None:
    lives = [(start, start + 2.0) for start in (0.0, 2.5, 5.0, 7.5)]
    workers = [
        worker(pid, {int(life[0] * 2) + 1: 1.0}, life_s=life)
        for pid, life in enumerate((life for life in lives for _ in range(2)), start=1)
    ]
    assert not crews(facts(process(thread()), *workers))


def test_python_threads_are_a_crew_where_there_are_no_worker_processes() -> None:
    pair = [thread(BOSS, tid, kind=owned.PYTHON, busy=BUSY) for tid in (101, 102)]
    (crew,) = crews(facts(process(thread(), *pair)))
    assert (crew.kind, [one.tid for one in crew.bosses]) == (THREADS, [BOSS])
    mixed = facts(process(thread(), *pair), worker(1, BUSY), worker(2, BUSY))
    assert [crew.kind for crew in crews(mixed)] == [PROCESSES]


def test_time_of_a_crew_that_takes_turns() -> None:
    odd, even = (dict.fromkeys(range(start, 20, 2), 1.0) for start in (0, 1))
    known = facts(process(thread()), worker(1, odd, calls={PIPE: 5.0}), worker(2, even, calls={PIPE: 5.0}))
    time = crew_time(known, crews(known)[0])
    assert time.in_flight == pytest.approx(1.0)
    assert time.single_share == 1.0
    assert time.task_wait == pytest.approx(1.0)
    assert time.returns == 18
    assert time.idle_core_s == pytest.approx(10.0)


def test_waiting_before_and_after_the_work_is_not_starving() -> None:
    early = dict.fromkeys(range(4), 1.0)
    known = facts(process(thread()), worker(1, early, calls={PIPE: 8.0}), worker(2, early, calls={PIPE: 8.0}))
    assert crew_time(known, crews(known)[0]).task_wait == pytest.approx(0.0)


def test_the_end_of_a_crew_with_a_straggler() -> None:
    known = facts(
        process(thread()),
        worker(1, dict.fromkeys(range(8), 1.0), calls={PIPE: 6.0}),
        worker(2, dict.fromkeys(range(20), 1.0)),
    )
    tail = ends(known, crews(known)[0])
    assert tail is not None
    assert is_clean(tail)
    assert (tail.from_s, tail.until_s) == (4.0, 10.0)
    assert [one.process.pid for one in tail.alone] == [2]
    assert tail.idle_core_s == pytest.approx(6.0)
    assert tail.body_share == pytest.approx(1.0)


def test_no_end_where_all_end_together() -> None:
    known = facts(process(thread()), worker(1, BUSY), worker(2, BUSY))
    assert ends(known, crews(known)[0]) is None


def test_a_generator_that_the_machinery_drains_is_work() -> None:
    boss = process(thread())
    lazy = sample(
        boss,
        ("<module>", PROGRAM),
        ("Parallel.dispatch_one_batch", "/opt/python/lib/python3.11/site-packages/joblib/parallel.py"),
        ("<genexpr>", PROGRAM),
        ("prepare", PROGRAM),
        ("loads", f"{STANDARD}/json/__init__.py"),
    )
    found = work(lazy)
    assert found is not None
    assert place(found) == "prepare (program.py:7)"


def test_pickling_and_waiting_are_not_work() -> None:
    boss = process(thread())
    pickling = sample(
        boss,
        ("Thread.run", f"{STANDARD}/threading.py"),
        ("Queue._feed", f"{STANDARD}/multiprocessing/queues.py"),
        ("ForkingPickler.dumps", f"{STANDARD}/multiprocessing/reduction.py"),
    )
    waiting = sample(
        boss,
        ("main", PROGRAM),
        ("Future.result", f"{STANDARD}/concurrent/futures/_base.py"),
        ("Condition.wait", f"{STANDARD}/threading.py"),
        active=False,
    )
    assert is_moving(pickling)
    assert not is_moving(waiting)
    where = caller(waiting)
    assert where is not None
    assert where.function == "main"
    counted = tally([pickling, waiting])
    assert (counted.work, counted.moving, counted.machinery) == (0, 1, 0)


def test_importing_tells_nothing() -> None:
    boss = process(thread())
    importing = sample(boss, ("_find_and_load", "<frozen importlib._bootstrap>"), ("<module>", PROGRAM))
    assert tally([importing]).seen == 0


def test_a_callback_of_an_event_loop_is_what_the_loop_runs_last() -> None:
    boss = process(thread())
    loop = ("BaseEventLoop._run_once", f"{STANDARD}/asyncio/base_events.py")
    blocked = sample(boss, ("main", PROGRAM), loop, ("handle", PROGRAM), ("query", PROGRAM), active=False)
    idle = sample(boss, ("main", PROGRAM), loop, ("EpollSelector.select", f"{STANDARD}/selectors.py"))
    found = loop_callback(blocked)
    assert found is not None
    assert found.function == "query"
    assert loop_callback(idle) is None
