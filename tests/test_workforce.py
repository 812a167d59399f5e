"""Who worked and when: workers by role and behaviour, phases, waves, and the efficiencies made of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corelens.recording import Recording
from corelens.reports.core_time import NOBODY, PROCESSES, THREADS, Efficiency, Phases, Worker, Workforce
from corelens.reports.facts.phases import waves
from corelens.reports.facts.summary import facts
from corelens.vocabulary import Line, columnar_line
from tests.made_recordings import (
    ROOT,
    born,
    changed,
    died,
    footer,
    limits,
    ns,
    recording,
    threads,
    threads_born,
)
from tests.test_core_time import LENGTH_S, TENTHS, pool, program, running, waits

PYTHON, BLAS = 1, 2


def owned(*rows: tuple[int, int, int | None]) -> list[Line]:
    """Rows of (pid, tid, module that made the thread; None for the first of a process)."""
    paths = ((PYTHON, "/usr/lib/libpython3.11.so.1.0"), (BLAS, "/usr/lib/libopenblas.so.0"))
    return [
        columnar_line("modules", 0, [(number, path, None, False) for number, path in paths]),
        columnar_line(
            "threads.owned",
            0,
            [
                (
                    pid,
                    tid,
                    "main" if module is None else "start-routine",
                    module,
                    module and 16,
                    None,
                    None,
                    None,
                )
                for pid, tid, module in rows
            ],
        ),
    ]


def workforce(made: Recording) -> Workforce:
    found = facts(made).report.workforce
    assert found is not None
    return found


def phases(made: Recording) -> Phases:
    found = facts(made).report.phases
    assert found is not None
    return found


def efficiency(made: Recording) -> Efficiency:
    found = facts(made).report.efficiency
    assert found is not None
    return found


def with_threads(*tids: int) -> list[Line]:
    return [
        threads_born(0.1, *((ROOT, tid) for tid in tids)),
        *owned((ROOT, ROOT, None), *((ROOT, tid, PYTHON) for tid in tids)),
    ]


def test_pool_processes_are_the_workers_and_their_parent_hands_out_the_tasks() -> None:
    found = workforce(program(*pool(201, 202), *running({201: 0.5, 202: 1.0, ROOT: 0.1})))
    assert (found.form, found.at_once, found.coordinator.pid) == (PROCESSES, 2, ROOT)
    assert [worker.pid for worker in found.workers] == [201, 202]
    assert found.run_s is not None
    assert (found.run_s.minimum, found.run_s.maximum) == pytest.approx((5, 10), abs=0.1)


def test_python_threads_that_share_the_work_are_the_workers() -> None:
    found = workforce(program(*with_threads(301, 302), *running({301: 0.5, 302: 0.5})))
    assert (found.form, [worker.tid for worker in found.workers]) == (THREADS, [301, 302])


def test_threads_that_wait_for_sockets_work_as_well() -> None:
    lines = [*with_threads(301, 302), *running({301: 0.001, 302: 0.001})]
    lines.append(waits(0.2, (ROOT, 301, "recvfrom", None, "socket"), (ROOT, 302, "recvfrom", None, "socket")))
    assert workforce(program(*lines)).form == THREADS


def test_one_thread_beside_a_pool_of_processes_feeds_it() -> None:
    """It may use more than all workers, as a slow producer does."""
    lines = [*pool(201, 202), *with_threads(301), *running({301: 0.9, 201: 0.1, 202: 0.1})]
    assert workforce(program(*lines)).form == PROCESSES


def test_threads_that_share_the_work_beside_a_small_process_are_the_workers() -> None:
    lines = [*pool(201), *with_threads(301, 302), *running({301: 0.9, 302: 0.8, 201: 0.1})]
    assert workforce(program(*lines)).form == THREADS


def test_a_main_thread_with_a_native_pool_has_no_workers() -> None:
    lines = [threads_born(0.1, (ROOT, 301)), *owned((ROOT, ROOT, None), (ROOT, 301, BLAS))]
    found = workforce(program(*lines, *running({ROOT: 1.0, 301: 1.0})))
    assert (found.form, found.workers, found.idle_pools) == (NOBODY, (), ())


def test_a_native_pool_that_only_started_is_an_idle_pool() -> None:
    lines = [threads_born(0.1, (ROOT, 301)), *owned((ROOT, ROOT, None), (ROOT, 301, BLAS))]
    found = workforce(
        program(*lines, threads(0.3, (ROOT, 0.2, 0), (301, 0.05, 0)), *running({ROOT: 1.0}, 0.4))
    )
    assert [(pool.pid, pool.members) for pool in found.idle_pools] == [(ROOT, 1)]


def test_the_only_child_that_answers_others_is_a_helper() -> None:
    """Its loop waits for clients; of several that do so, each is a worker."""
    serving = [waits(0.2, (201, 201, "epoll_wait", None, None))]
    found = workforce(program(*pool(201, 202), *serving, *running({201: 0.1, 202: 0.9})))
    assert (found.helpers, [worker.pid for worker in found.workers]) == ((201,), [202])
    serving.append(waits(0.3, (202, 202, "epoll_wait", None, None)))
    found = workforce(program(*pool(201, 202), *serving, *running({201: 0.1, 202: 0.9})))
    assert (found.helpers, len(found.workers)) == ((), 2)


def test_a_worker_whose_own_workers_do_the_work_is_none() -> None:
    inner = [born(0.1, pid, 201, role="loky-worker") for pid in (211, 212)]
    inner += [threads_born(0.1, (211, 211), (212, 212))]
    found = workforce(program(*pool(201), *inner, *running({201: 0.1, 211: 0.9, 212: 0.9})))
    assert ([worker.pid for worker in found.workers], found.coordinator.pid) == ([211, 212], 201)


def test_ray_workers_without_a_task_are_a_warm_pool() -> None:
    lines = [born(0, pid, ROOT, role="ray-worker", argv=["ray::IDLE"]) for pid in (201, 202)]
    lines += [
        threads_born(0, (201, 201), (202, 202)),
        changed(1, 202, argv=["ray::fit()"], role="ray-worker"),
    ]
    found = workforce(program(*lines, *running({202: 0.9, 201: 0.05})))
    assert [worker.pid for worker in found.workers] == [202]
    assert [pool.pid for pool in found.idle_pools] == [201]


def test_the_tail_begins_when_fewer_workers_have_work_than_there_are_cores() -> None:
    lines = [threads(at_s, (201, min(at_s, 4.0), 0.0), (202, at_s, 0.0)) for at_s in TENTHS]
    found = phases(program(*pool(201, 202), *lines))
    assert found.parallel_until_s == pytest.approx(4, abs=0.2)
    assert found.tail_until_s == pytest.approx(LENGTH_S, abs=0.2)
    assert found.tail_s == pytest.approx(6, abs=0.3)


def test_a_fresh_interpreter_is_ready_when_it_has_imported_what_the_program_had() -> None:
    """The program ran for two seconds before it started its workers; each of them takes as long again."""
    lines = running({ROOT: 1.0}, until_s=2.0)
    for pid in (201, 202):
        lines += [
            born(2, pid, ROOT, role="pool-worker-spawn"),
            threads_born(2, (pid, pid)),
            died(LENGTH_S, pid),
        ]
    lines += [threads(at_s, (201, at_s - 2, 0.0), (202, at_s - 2, 0.0)) for at_s in TENTHS if at_s > 2]
    found = facts(program(*lines)).report
    assert found.phases is not None
    assert found.phases.startup_until_s == pytest.approx(4, abs=0.3)
    assert found.phases.startup_core_s == pytest.approx(6, abs=0.5)


def test_the_first_wait_for_a_task_ends_the_start_up_of_a_fresh_interpreter() -> None:
    lines = running({ROOT: 1.0}, until_s=2.0)
    lines += [born(2, 201, ROOT, role="pool-worker-spawn"), threads_born(2, (201, 201)), died(LENGTH_S, 201)]
    lines += [threads(at_s, (201, at_s - 2, 0.0)) for at_s in TENTHS if at_s > 2]
    lines += [waits(2.5, (201, 201, "read", None, "pipe")), waits(2.6, (201, 201, "running", None, None))]
    assert phases(program(*lines)).startup_until_s == pytest.approx(2.5, abs=0.1)


def worker(pid: int, born_s: float, died_s: float | None, last_s: float) -> Worker:
    return Worker(pid, pid, "child", None, born_s, died_s, born_s, last_s, last_s - born_s, 0.0, 0.0)


def test_workers_that_come_when_all_others_have_gone_are_another_wave() -> None:
    crew = [worker(1, 0, 1, 0.9), worker(2, 0.1, 1.1, 0.8), worker(3, 1.2, 2, 1.9), worker(4, 2.5, None, 3)]
    found = waves(crew, 2.0)
    assert [(wave.begin_s, wave.workers) for wave in found] == [(0, 2), (1.2, 1), (2.5, 1)]
    assert (found[0].tail_s, found[0].end_s) == (0.8, 0.9)


def test_a_worker_that_replaces_a_dead_one_is_of_the_same_wave() -> None:
    crew = [worker(1, 0, 1, 0.9), worker(2, 0, 9, 8), worker(3, 1.2, 9, 8)]
    assert [wave.workers for wave in waves(crew, 2.0)] == [3]


def test_more_workers_than_cores_are_in_their_tail_when_cores_run_out_of_them() -> None:
    crew = [replace(worker(pid, 0, 9, 1.0 + pid)) for pid in range(4)]
    assert waves(crew, 2.0)[0].tail_s == 3.0


def test_parallel_efficiency_is_load_balance_times_serialisation_and_transfer() -> None:
    lines = [threads(at_s, (201, 0.8 * at_s, 0.0), (202, 0.4 * at_s, 0.0)) for at_s in TENTHS]
    found = efficiency(program(*pool(201, 202), *lines))
    assert found.load_balance == pytest.approx(0.75, abs=0.01)
    assert found.serialisation_transfer == pytest.approx(0.8, abs=0.02)
    assert found.parallel_efficiency == pytest.approx(0.6, abs=0.02)
    assert found.note is None
    assert found.useful_share is not None
    assert (found.useful_share.minimum, found.useful_share.maximum) == pytest.approx((0.4, 0.8), abs=0.02)


def test_efficiencies_say_where_their_definition_is_not_that_of_pop() -> None:
    crowd = list(range(201, 205))
    found = efficiency(program(*pool(*crowd), *running(dict.fromkeys(crowd, 0.5))))
    assert found.core_efficiency == pytest.approx(1, abs=0.02)
    assert found.note is not None
    assert "4 workers share 2 cores" in found.note


def test_nobody_has_no_efficiency_and_a_moment_has_none_either() -> None:
    assert efficiency(program(*running({ROOT: 1.0}))).parallel_efficiency is None
    short = recording(
        limits(0, 2.0), born(0), threads_born(0, (ROOT, ROOT)), born(0.1, 201, ROOT, role="pool-worker-fork"),
        threads_born(0.1, (201, 201)), threads(0.3, (201, 0.2, 0.0)), died(0.4, 201), died(0.4), footer(0.4),
    )  # fmt: skip
    found = efficiency(short)
    assert (found.parallel_efficiency, found.note is not None) == (None, True)


@pytest.mark.parametrize(
    ("demand", "name"),
    [(0.0, "idle_s"), (0.4, "poor_s"), (0.7, "ok_s"), (1.0, "ideal_s"), (1.6, "over_s")],
)
def test_time_is_classed_by_runnable_threads_against_capacity(demand: float, name: str) -> None:
    """Two threads that wait for a core half of their time want as much again as they get."""
    each = demand / 2 * 2
    lines = [
        threads(at_s, (201, at_s * each / 2, at_s * each / 2), (202, at_s * each / 2, at_s * each / 2))
        for at_s in TENTHS
    ]
    found = efficiency(program(*pool(201, 202), *lines)).concurrency
    assert getattr(found, name) == pytest.approx(LENGTH_S, abs=0.3)


def test_the_line_of_a_footer_is_where_the_phases_end() -> None:
    found = phases(program(*pool(201, 202), *running({201: 1.0, 202: 1.0})))
    assert found.end_s == ns(LENGTH_S) / 1e9
