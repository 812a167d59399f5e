"""Verdicts on limits from whole recordings made of values: which process, which library, which moment."""

from __future__ import annotations

from collections.abc import Iterable

from corelens.reports import limit_rows
from corelens.reports.facts import teams
from corelens.reports.report import Limit, PoolView
from corelens.vocabulary import Line
from tests import made_reports
from tests.made_limits import (
    GOMP,
    NUMPY,
    all_threads,
    born,
    limits,
    load,
    openblas,
    owners,
    recording,
    threads_born,
    threads_died,
    threads_ran,
    told,
)

OMP, BLAS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"
Brief = tuple[int, str | None, str | None, str | None, str | None]


def brief(found: Iterable[Limit]) -> list[Brief]:
    return [(row.pid, row.library, row.limit, row.asked, row.verdict) for row in found]


def test_the_variables_of_the_load_decide_and_later_ones_come_too_late() -> None:
    made = recording(
        born(variables={OMP: "8"}),
        told(0, "start", {OMP: "8"}),
        told(
            2, "exit", {OMP: "1"}, libraries=[openblas(8)], loads=[load("numpy", 1, {OMP: "8"})],
        ),
    )  # fmt: skip
    assert brief(limits(made)) == [
        (10, "OpenBLAS (numpy)", OMP, "8", "took-effect"),
        (10, "OpenBLAS (numpy)", OMP, "1", "set-too-late"),
    ]
    assert [(row.loaded_at_s, row.seen_at_s) for row in limits(made)] == [(1, 0), (1, 2)]


def seen_in_memory(t_s: float, variables: dict[str, str], pid: int = 10) -> Line:
    return {"kind": "variables", "t_ns": int(t_s * 1_000_000_000), "pid": [pid], "variables": [variables]}


def test_without_an_agent_a_larger_pool_says_that_a_variable_came_too_late() -> None:
    made = recording(
        born(variables={}), threads_born(10, 11, 12, 13), seen_in_memory(1, {BLAS: "1", OMP: "8"})
    )
    kinds: dict[int, tuple[str, str | None, int | None]] = dict.fromkeys(
        (11, 12, 13), ("openblas", NUMPY, None)
    )
    found = [(row.limit, row.asked, row.observed_threads, row.verdict) for row in limits(made, kinds)]
    assert found == [(BLAS, "1", 4, "set-too-late"), (OMP, "8", 4, "took-effect")]


def test_a_value_that_the_program_replaced_in_time_is_overridden() -> None:
    made = recording(
        born(variables={OMP: "8"}),
        told(0, "start", {OMP: "8"}),
        told(2, "exit", {OMP: "1"}, libraries=[openblas(1)], loads=[load("numpy", 1, {OMP: "1"})]),
    )
    assert brief(limits(made)) == [
        (10, "OpenBLAS (numpy)", OMP, "8", "overridden"),
        (10, "OpenBLAS (numpy)", OMP, "1", "took-effect"),
    ]


def test_openblas_over_openmp_does_not_read_its_own_variable() -> None:
    made = recording(
        born(variables={BLAS: "1"}),
        told(0, "start", {BLAS: "1"}),
        told(
            1, "exit", {BLAS: "1"}, libraries=[openblas(64, layer="openmp")],
            loads=[load("numpy", 1, {BLAS: "1"})],
        ),
    )  # fmt: skip
    assert [(row.limit, row.verdict) for row in limits(made)] == [(None, None), (BLAS, "ignored")]


def test_a_shared_library_is_judged_where_all_modules_found_the_same() -> None:
    path = "/usr/lib/libopenblas.so.0"
    alike = [load("numpy", 1, {OMP: "1"}), load("scipy.linalg", 2, {OMP: "1"})]
    apart = [load("numpy", 1, {}), load("scipy.linalg", 2, {OMP: "1"})]
    for loads, size, verdict in ((alike, 1, "took-effect"), (apart, 64, "unknown")):
        made = recording(
            born(variables={}),
            told(0, "start", {}),
            told(3, "exit", {OMP: "1"}, libraries=[openblas(size, path)], loads=loads),
        )
        assert [row.verdict for row in limits(made)] == [verdict]


def test_a_recording_without_loads_is_judged_where_nothing_changed() -> None:
    for at_exec, verdict in (({OMP: "1"}, "took-effect"), ({}, "unknown")):
        report = told(1, "exit", {OMP: "1"}, libraries=[openblas(1 if at_exec else 64)])
        del report["loads"], report["module_threads"]
        made = recording(born(variables=at_exec), told(0, "start", at_exec), report)
        assert [row.verdict for row in limits(made)] == [verdict]


def test_a_report_that_makes_no_sense_is_passed_over() -> None:
    strange = [3, {"internal_api": "openblas"}, {**openblas(1), "internal_api": "later"}]
    made = recording(
        born(variables={}),
        told(0, "start", {}),
        told(1, "exit", {}, libraries=strange, module_threads={"later": 3, "numexpr": "many"}),
    )
    assert limits(made) == ()


def test_torchs_own_libgomp_is_told_as_torch() -> None:
    gomp = {"internal_api": "openmp", "filepath": GOMP, "num_threads": 64, "version": None}
    made = recording(
        born(variables={OMP: "1"}),
        told(0, "start", {OMP: "1"}),
        told(
            1, "exit", {OMP: "1"}, libraries=[gomp], torch_threads=1, versions={"torch": "2.13.0"},
            loads=[load("torch", 1, {OMP: "1"})],
        ),
    )  # fmt: skip
    (row,) = limits(made)
    assert (row.library, row.version, row.verdict) == ("torch intra-op", "2.13.0", "took-effect")


def test_a_child_that_was_handed_another_environment_did_not_inherit() -> None:
    child: Line = {"pid": 11, "ppid": 10, "role": "child", "joined_by": "child"}
    parts = [
        born(variables={OMP: "1"}),
        told(0, "start", {OMP: "1"}),
        told(3, "interval", {OMP: "1"}),
        {**born(variables={}), **child},
        told(2, "start", {}, pid=11),
        told(2.5, "exit", {}, pid=11, libraries=[openblas(64)], loads=[load("numpy", 2, {})]),
    ]
    assert (11, "OpenBLAS (numpy)", OMP, "1", "not-inherited") in brief(limits(recording(*parts)))
    inherits = [{**born(variables={OMP: "1"}), **child}, told(2, "start", {OMP: "1"}, pid=11)]
    fine = told(
        2.5, "exit", {OMP: "1"}, pid=11, libraries=[openblas(1)], loads=[load("numpy", 2, {OMP: "1"})]
    )
    found = brief(limits(recording(*parts[:3], *inherits, fine)))
    assert [row for row in found if row[0] == 11] == [(11, "OpenBLAS (numpy)", OMP, "1", "took-effect")]


def test_what_the_parent_sets_when_a_child_is_over_concerns_no_child() -> None:
    child: Line = {"pid": 11, "ppid": 10, "role": "child", "joined_by": "child"}
    died = {"kind": "process.died", "pid": 11, "exit_code": 0, "signal": None, "cpu_ns": 0, "how": "pidfd"}
    parts = [
        born(variables={}),
        told(0, "start", {}),
        told(3, "interval", {}),
        told(9, "exit", {OMP: "1"}),
        {**born(variables={}), **child},
        told(1, "start", {}, pid=11),
        told(1.5, "exit", {}, pid=11, libraries=[openblas(64)], loads=[load("numpy", 1, {})]),
        {**died, "t_ns": 2_000_000_000},
    ]
    found = brief(limits(recording(*parts)))
    assert [row for row in found if row[0] == 11] == [(11, "OpenBLAS (numpy)", None, None, None)]


def test_behind_a_ray_worker_stands_the_driver() -> None:
    made = recording(
        born(variables={OMP: "1"}, role="ray-driver"),
        told(0, "start", {OMP: "1"}),
        born(variables={}, pid=11, role="raylet"),
        born(variables={}, pid=12, ppid=11, role="ray-worker"),
        told(1, "start", {}, pid=12),
        told(2, "exit", {}, pid=12, libraries=[openblas(64)], loads=[load("numpy", 1, {})]),
    )
    assert (12, "OpenBLAS (numpy)", OMP, "1", "not-inherited") in brief(limits(made))


def test_a_fork_is_judged_by_what_its_parent_loaded() -> None:
    loads = [load("numpy", 1, {})]
    child = born(variables={}, pid=11, ppid=10, role="pool-worker-fork")
    taken = [{**each, "inherited": True} for each in loads]
    made = recording(
        born(variables={}),
        told(0, "start", {}),
        told(2, "exit", {OMP: "1"}, libraries=[openblas(64)], loads=loads),
        child,
        told(2, "fork", {OMP: "1"}, pid=11, libraries=[openblas(64)], loads=taken),
        told(3, "exit", {OMP: "1", BLAS: "2"}, pid=11, libraries=[openblas(64)], loads=taken),
    )
    assert brief(limits(made)) == [
        (10, "OpenBLAS (numpy)", OMP, "1", "set-too-late"),
        (11, "OpenBLAS (numpy)", BLAS, "2", "set-too-late"),
        (11, "OpenBLAS (numpy)", OMP, "1", "not-inherited"),
    ]


TEAM = {12: ("openmp-gnu", GOMP, 11), 13: ("openmp-gnu", GOMP, 11), 14: ("openmp-gnu", GOMP, 11)}


def test_from_outside_teams_and_the_environment_at_exec_give_the_verdict() -> None:
    parts = [threads_born(10, 11, 12, 13, 14, 15)]
    kinds = {**TEAM, 15: ("openblas", NUMPY, None)}
    found = limits(recording(born(variables={OMP: "4", BLAS: "8"}), *parts), kinds)
    assert [(row.library, row.limit, row.observed_threads, row.verdict) for row in found] == [
        ("torch intra-op", OMP, 4, "took-effect"),
        ("OpenBLAS (numpy)", BLAS, 2, "unknown"),
        ("OpenBLAS (numpy)", OMP, 2, "overridden"),
    ]
    assert all(row.configured_threads is None for row in found)
    found = limits(recording(born(variables={OMP: "1"}), *parts), TEAM)
    assert [(row.library, row.verdict) for row in found] == [("torch intra-op", "overridden")]
    assert "--agent" in str(found[0].fix)


def test_from_outside_a_limit_whose_library_has_no_thread_stays_unknown() -> None:
    (row,) = limits(recording(born(variables={OMP: "1"}), threads_born(10)), {})
    assert (row.library, row.limit, row.verdict) == (None, OMP, "unknown")
    assert limits(recording(born(variables=None), threads_born(10)), {}) == ()


def test_from_outside_torchs_pthreadpool_shows_that_its_size_was_set() -> None:
    kinds = {**TEAM, 15: ("torch-pthreadpool", "/v/torch/lib/libtorch_cpu.so", None)}
    kinds |= dict.fromkeys((16, 17), kinds[15])
    found = limits(recording(born(variables={}), threads_born(*range(10, 18))), kinds)
    assert brief(found) == [(10, "torch intra-op", "torch.set_num_threads", "4", "took-effect")]


def test_torch_without_a_runtime_of_its_own_works_in_teams_of_the_shared_one() -> None:
    for path, observed in (("/usr/lib/libgomp.so.1", 4), ("/v/scikit_learn.libs/libgomp-a3.so.1", None)):
        made = recording(
            born(variables={}),
            threads_born(10, 11, 12, 13, 14),
            told(0, "start", {}),
            told(2, "exit", {}, torch_threads=64, loads=[load("torch", 1, {})]),
        )
        found = limits(made, dict.fromkeys((12, 13, 14), ("openmp-gnu", path, 11)))
        assert [row.observed_threads for row in found if row.library == "torch intra-op"] == [observed]


def torch_set_to_one(*ran: float) -> tuple[Limit, ...]:
    loads = [load("torch", 1, {})]
    made = recording(
        born(variables={}),
        threads_born(10, 11, 12, 13, 14),
        told(0, "start", {}),
        told(2, "libraries", {}, torch_threads=4, loads=loads),
        told(3, "interval", {}, torch_threads=1, loads=loads),
        *(threads_ran(t_s, {12: int(t_s * 1000)}) for t_s in ran),
    )
    return limits(made, TEAM)


def test_an_old_team_counts_only_while_it_works() -> None:
    (idle,) = torch_set_to_one(2.5, 3.5)
    assert (idle.limit, idle.asked, idle.verdict) == ("torch.set_num_threads", "1", "took-effect")
    (working,) = torch_set_to_one(2.5, 3.5, 4.5)
    assert (working.verdict, working.observed_threads) == ("set-too-late", 4)


def test_a_team_is_as_large_as_it_was_at_one_time() -> None:
    made = recording(
        born(),
        threads_born(10, 11, 12, 13),
        threads_died(12, 13, t_s=2),
        threads_born(14, t_s=2),
        threads_born(15, 16, t_s=3),
    )
    _, everyone = all_threads(made)
    kinds = dict.fromkeys((12, 13, 14), ("openmp-gnu", GOMP, 11))
    # libgomp threads whose master was not found are not put together by guessing.
    kinds |= {15: ("openmp-gnu", GOMP, None), 16: ("openblas", NUMPY, None)}
    ((life, found),) = teams.teams(made, owners(everyone, kinds)).items()
    sizes = {(team.kind, team.master.tid if team.master else None): team.threads for team in found}
    assert life.pid == 10
    assert sizes == {("openmp-gnu", 11): 3, ("openblas", None): 2, ("unknown", None): 3}


ONE = Limit(10, "main", "OpenBLAS (numpy)", "0.3.31", OMP, "1", 64, None, "set-too-late", "late", "do this")


def test_alike_limits_make_one_row_and_the_worst_come_first() -> None:
    fine = Limit(11, "child", "torch intra-op", None, OMP, "1", 1, 1, "took-effect", "read", None)
    code = Limit(
        12, "child", "torch intra-op", None, "torch.set_num_threads", "1", 1, 16, "overridden", "w", None
    )
    free = Limit(13, "child", "torch inter-op", None, None, None, 64, None, None, "no variable", None)
    rows = limit_rows.limit_rows([fine, fine, free, code, ONE])
    assert rows == (
        ("main", "OpenBLAS (numpy)", "OMP_NUM_THREADS=1", "64", "—", "set-too-late", "1"),
        ("child", "torch intra-op", "torch.set_num_threads(1)", "1", "16", "overridden", "2"),
        ("child", "torch inter-op", "—", "64", "—", "—", "3"),
        ("2 × child", "torch intra-op", "OMP_NUM_THREADS=1", "1", "1", "took-effect", "4"),
    )
    assert all(len(row) == len(limit_rows.COLUMNS) == len(limit_rows.NUMERIC) for row in rows)


def test_the_sentences_beneath_say_why_once_and_what_each_role_believes() -> None:
    from dataclasses import replace

    view = PoolView(10, "main", 128, {OMP: "8"}, {OMP: "1"}, (OMP,), 64, 2.5)
    notes = limit_rows.limit_notes(replace(made_reports.report(), limits=(ONE, ONE), views=(view, view)))
    assert notes == (
        "(1) late; do this",
        "versions: OpenBLAS (numpy) 0.3.31",
        "2 × main: os.cpu_count() 128, affinity 64 cores, quota 2.5 cores;"
        " variables at exec OMP_NUM_THREADS=8, now OMP_NUM_THREADS=1",
    )
