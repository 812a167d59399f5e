"""Serial dispatch: one task in flight, a Ray driver that is woken for each, an event loop that is held up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.reports.facts import owned
from corelens.reports.facts.facts import Facts, ProcessFacts
from corelens.reports.facts.stack_samples import StackSample
from corelens.reports.rules.serial_dispatch import SLUG, check
from tests.made_crews import BOSS, PROGRAM, STANDARD, facts, process, sample, thread, worker
from tests.rule_recordings import fires, nearly

PIPE = ("read", "pipe")
LOOP = ("BaseEventLoop._run_once", f"{STANDARD}/asyncio/base_events.py")


def turns(boss: ProcessFacts, wait_s: float = 5.0) -> Facts:
    """Two workers that have a task in turn."""
    odd, even = (dict.fromkeys(range(start, 20, 2), 1.0) for start in (0, 1))
    return facts(boss, worker(1, odd, calls={PIPE: wait_s}), worker(2, even, calls={PIPE: wait_s}))


def test_a_caller_that_waits_for_each_piece_is_found() -> None:
    (finding,) = check(fires(SLUG))
    assert (finding.variant, finding.contributing) == ("result-in-loop", False)
    assert finding.confidence >= 0.75
    assert finding.lost_share > 0.3
    assert finding.gain.factor == pytest.approx(1.8, abs=0.25)
    assert any("submit" in line for line in finding.remedy.paste)


def test_what_only_looks_like_it_is_left_alone() -> None:
    assert not list(check(nearly(SLUG)))


def test_a_stack_that_waits_for_a_result_adds_confidence() -> None:
    known = turns(process(thread()))
    waiting = sample(
        known.root,
        ("main", PROGRAM),
        ("Future.result", f"{STANDARD}/concurrent/futures/_base.py"),
        active=False,
    )
    (without,), (with_it,) = check(known), check(replace(known, samples=(waiting,)))
    assert without.confidence < with_it.confidence
    assert "main (program.py:7)" in with_it.cause


def test_a_caller_with_work_of_its_own_is_another_cause() -> None:
    assert not list(check(turns(process(thread(busy=dict.fromkeys(range(20), 0.8))))))


def test_workers_that_do_not_wait_for_tasks_may_wait_for_a_lock() -> None:
    assert not list(check(turns(process(thread()), wait_s=0.5)))


def held_up(doing: dict[str, float], *, active: bool, busy: float) -> Facts:
    """A process with an event loop, in whose callback its thread was seen."""
    boss = process(thread(doing=doing, busy=dict.fromkeys(range(20), busy)))
    return facts(boss, samples=[seen(boss, active)])


def seen(boss: ProcessFacts, active: bool) -> StackSample:
    return sample(boss, ("<module>", PROGRAM), LOOP, ("handle", PROGRAM), ("query", PROGRAM), active=active)


def test_a_loop_that_sleeps_in_its_callback_is_blocked() -> None:
    (finding,) = check(held_up({"sleep": 9.5, "poll": 0.3}, active=False, busy=0.01))
    assert finding.variant == "blocking-call-in-event-loop"
    assert "query (program.py:7)" in finding.cause
    assert finding.gain.factor == pytest.approx(5.0)
    assert finding.gain.at_least


def test_a_loop_that_waits_for_its_files_is_idle() -> None:
    assert not list(check(held_up({"sleep": 0.5, "poll": 9.2}, active=False, busy=0.01)))


def test_a_loop_that_computes_serves_nobody() -> None:
    (finding,) = check(held_up({"running": 9.9}, active=True, busy=0.98))
    assert finding.variant == "cpu-bound-handler"
    assert finding.gain.factor == pytest.approx(2.0, abs=0.1)


def ray(handled_s: float) -> Facts:
    """A Ray driver, a worker that is busy all along, and one in reserve."""
    woken = dict.fromkeys(range(20), handled_s / 0.5)
    driver = process(thread(busy=woken, role="ray-driver"))
    busy = worker(1, dict.fromkeys(range(20), 1.0), role="ray-worker")
    return facts(driver, busy, worker(2, {0: 0.5}, role="ray-worker"))


def test_a_ray_driver_that_is_woken_for_each_task() -> None:
    (finding,) = check(ray(0.002))
    assert finding.variant == "result-in-loop"
    assert any("ray.get(references)" in line for line in finding.remedy.paste)


def test_a_ray_driver_that_waits_for_all_of_them() -> None:
    assert not list(check(ray(0.00003)))


def pooled(*, parked: bool) -> Facts:
    """Two threads that have a task in turn; whether the idle one waits for a task shows in its stack."""
    odd, even = (dict.fromkeys(range(start, 20, 2), 1.0) for start in (0, 1))
    threads = [
        thread(BOSS, tid, kind=owned.PYTHON, busy=busy, doing={"lock": 5.0})
        for tid, busy in ((101, odd), (102, even))
    ]
    boss = process(thread(), *threads)
    inside = [] if parked else [("task", PROGRAM)]
    waiting = [("_worker", f"{STANDARD}/concurrent/futures/thread.py"), *inside]
    return facts(boss, samples=[sample(boss, *waiting, active=False, tid=101)])


def test_threads_that_are_parked_wait_for_tasks() -> None:
    assert [finding.variant for finding in check(pooled(parked=True))] == ["result-in-loop"]


def test_threads_that_wait_inside_of_their_task_wait_for_a_lock() -> None:
    assert not list(check(pooled(parked=False)))


def idle_pool(wakes: int) -> Facts:
    """A parent that computes, and two workers that started and stopped `wakes` times."""
    workers = [
        process(
            thread(pid, busy={0: 0.1}, role="pool-worker-fork", calls={PIPE: 9.9}, voluntary=wakes),
            parent=BOSS,
        )
        for pid in (1, 2)
    ]
    boss = process(thread(busy=dict.fromkeys(range(20), 0.99)))
    return facts(boss, *workers, samples=[sample(boss, ("main", PROGRAM), ("fit", PROGRAM), count=6)])


def test_a_pool_that_never_gets_a_task() -> None:
    (finding,) = check(idle_pool(wakes=1))
    assert finding.variant == "runs-it-itself"
    assert "fit (program.py:7)" in finding.cause
    assert finding.gain.factor == pytest.approx(2.0, abs=0.1)


def test_a_pool_that_got_tasks_is_not_forgotten() -> None:
    assert not list(check(idle_pool(wakes=40)))


def test_a_loop_without_frames_of_its_own_is_recognised() -> None:
    boss = process(thread(doing={"socket": 9.8}, busy=dict.fromkeys(range(20), 0.01)))
    runner = ("Runner.run", f"{STANDARD}/asyncio/runners.py")
    stack = sample(boss, ("<module>", PROGRAM), runner, ("handle", PROGRAM), active=False)
    assert [one.variant for one in check(facts(boss, samples=[stack]))] == ["blocking-call-in-event-loop"]
