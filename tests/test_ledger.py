"""The thread ledger: owners add up to the kernel's count, teams have masters, the model stands beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from corelens.reports.facts import owned
from corelens.reports.facts.owned import Owner
from corelens.reports.report import LedgerLine, LedgerTeams, ProcessLedger, ThreadLedger
from corelens.vocabulary import Line
from tests.made_ledgers import (
    BLAS,
    GOMP,
    OPENBLAS,
    PTHREADPOOL,
    TQDM,
    UNKNOWN,
    accounted,
    of_search,
    running,
    search,
    worker,
)
from tests.made_threads import (
    MS,
    SECOND,
    agent,
    born,
    counted,
    died,
    ended,
    header,
    listed,
    ran,
    recording,
)

OPTUNA = {"backend": "optuna-threads", "workers": "5"}


def line(process: ProcessLedger, label: str) -> LedgerLine:
    (found,) = [each for each in process.lines if each.label == label]
    return found


def given_input(process: ProcessLedger, name: str) -> tuple[int | None, str]:
    (found,) = [each for each in process.inputs if each.name == name]
    return found.value, found.source


def adds_up(ledger: ThreadLedger) -> bool:
    return ledger.threads == sum(process.threads for process in ledger.processes) and all(
        process.threads == sum(each.threads for each in process.lines)
        for process in (*ledger.processes, *ledger.own_peaks)
    )


def test_the_story_is_told_to_the_thread() -> None:
    ledger = of_search(search(), head=header(labels=OPTUNA))
    (process,) = ledger.processes
    assert ledger.equation == (
        "385 = 1 main + 5 Optuna workers + 1 tqdm monitor + 5 x 63 libgomp (torch) + 63 OpenBLAS (numpy)"
    )
    assert line(process, "libgomp (torch)").teams == (LedgerTeams(5, 63, "Optuna worker"),)
    assert (process.predicted, process.difference, process.differences, process.reason) == (385, 0, (), None)
    assert given_input(process, "workers") == (5, "the label workers=5")
    assert given_input(process, "threads of a region (torch)") == (64, "64 physical cores")
    assert adds_up(ledger)


def test_two_helpers_that_nobody_names_are_the_difference() -> None:
    ledger = of_search(
        search(more=((TQDM, None), (UNKNOWN, None), (UNKNOWN, None))), head=header(labels=OPTUNA)
    )
    (process,) = ledger.processes
    assert (ledger.threads, process.predicted, process.difference) == (387, 385, 2)
    assert line(process, "unknown").reason == UNKNOWN.reason
    assert line(process, "unknown").predicted is None


def test_the_term_that_differs_is_named() -> None:
    owners = search()
    main_team = dict.fromkeys(range(1000, 1031), (GOMP, 100))
    (process,) = of_search({**owners, **main_team}, head=header(labels=OPTUNA)).processes
    assert process.differences == (
        "libgomp (torch): 346 seen, 378 predicted (32 fewer): 5 teams of 63 and 1 team of 31,"
        " where 6 of 63 were predicted",
    )
    assert line(process, "libgomp (torch)").teams[1] == LedgerTeams(1, 31, "main thread")


def test_a_library_that_the_model_does_not_know_is_said_to_be_outside() -> None:
    arrow = Owner(owned.ARROW, "Arrow", "libarrow.so", None)
    (process,) = of_search(search(more=((arrow, None), (arrow, None)))).processes
    assert process.differences == ("2 threads of Arrow: outside the model",)
    assert process.difference == 2


def test_variables_at_exec_decide_what_is_predicted() -> None:
    variables = {"OMP_NUM_THREADS": "8", "MKL_NUM_THREADS": "4"}
    (process,) = of_search(search(team=3, blas=7), variables=variables).processes
    assert given_input(process, "threads of a region (torch)") == (4, "MKL_NUM_THREADS=4 at exec")
    assert given_input(process, "OpenBLAS threads (numpy)") == (8, "OMP_NUM_THREADS=8 at exec")
    assert process.difference == 0


def test_a_pool_that_set_num_threads_left_tells_the_size_of_teams() -> None:
    more = [(PTHREADPOOL, None)] * 63
    (process,) = of_search(search(blas=1, more=more), affinity=2).processes
    assert given_input(process, "torch.set_num_threads")[0] == 64
    assert (process.threads, process.predicted) == (385, 385)


def test_the_agent_is_believed_before_any_default() -> None:
    libraries = [{"internal_api": "openblas", "filepath": BLAS, "num_threads": 16}]
    said = agent(2 * SECOND, torch_threads=16, libraries=libraries)
    (process,) = of_search(search(team=15, blas=15), said).processes
    assert given_input(process, "threads of a region (torch)") == (16, "the agent, inside the process")
    assert given_input(process, "OpenBLAS threads (numpy)") == (16, "the agent, inside the process")
    assert process.difference == 0


def test_the_agents_thread_is_counted_nowhere() -> None:
    owners = search(
        workers=0, team=0, blas=1, more=((Owner(owned.AGENT, "corelens agent", None, None), None),)
    )
    ledger = of_search(owners, agent(2 * SECOND, agent_tid=102), affinity=2)
    assert (ledger.threads, ledger.equation) == (2, "2 = 1 main + 1 OpenBLAS (numpy)")


def test_an_unknown_input_leaves_the_total_unpredicted_and_says_why() -> None:
    (process,) = of_search(search(), head=header(physical_cores=None)).processes
    assert process.predicted is None
    assert process.reason == "torch: the number of physical cores is not recorded"
    assert line(process, "OpenBLAS (numpy)").predicted == 63
    assert line(process, "libgomp (torch)").reason == "the number of physical cores is not recorded"


def test_a_predicted_pool_that_is_missing_is_a_line_of_zero() -> None:
    owners = search(more=())
    (process,) = of_search(
        owners, head=header(labels={"backend": "joblib-threads", "workers": "5"})
    ).processes
    assert line(process, "pool handlers").threads == 0
    assert "pool handlers: 0 seen, 3 predicted (3 fewer)" in process.differences
    assert "5 joblib workers" in process.equation


def test_handlers_of_one_pool_are_one_line() -> None:
    handlers = [
        (Owner(owned.PYTHON_HELPER, f"multiprocessing pool: {part}", None, None), None)
        for part in ("workers", "tasks", "results")
    ]
    head = header(labels={"backend": "joblib-threads", "workers": "5"})
    (process,) = of_search(search(more=handlers), head=head).processes
    assert (line(process, "pool handlers").threads, process.threads, process.difference) == (3, 387, 0)


def test_without_marks_or_labels_python_threads_keep_their_names() -> None:
    (process,) = of_search(
        {**search(), 2000: (Owner(owned.PYTHON, "Python thread web", None, None), None)}
    ).processes
    assert line(process, "Python threads ThreadPoolExecutor-0_*").threads == 5
    assert line(process, "Python thread web").threads == 1
    assert given_input(process, "workers") == (6, "Python threads seen")
    assert line(process, "libgomp (torch)").teams[0].opened_by == "Python thread ThreadPoolExecutor-0_*"
    assert process.difference == 0


def test_threads_that_ran_marked_trials_are_the_workers() -> None:
    marks = [
        {
            "kind": "mark", "t_ns": 2 * SECOND, "pid": 100, "tid": 101 + number, "name": "trial",
            "phase": "begin", "span": str(number), "attributes": {"number": number},
        }
        for number in range(5)
    ]  # fmt: skip
    owners = {**search(), 2000: (Owner(owned.PYTHON, "Python thread web", None, None), None)}
    (process,) = of_search(owners, *marks).processes
    assert given_input(process, "workers") == (5, "Python threads that ran trials, by marks or stacks")
    assert line(process, "Python workers").threads == 5
    assert process.differences == ("1 thread of Python thread web: outside the model",)


def stacks(*tids: int, file: str, function: str) -> list[Line]:
    """Made stacks that show threads in one function of a library."""
    t_ns = 2 * SECOND
    return [
        {
            "kind": "stacks.frames",
            "t_ns": t_ns,
            "frame": [7],
            "file": [file],
            "function": [function],
            "line": [1],
        },
        {"kind": "stacks.chains", "t_ns": t_ns, "stack": [3], "frames": [[7]]},
        {"kind": "stacks", "t_ns": t_ns, "tid": list(tids), "stack": [3] * len(tids)},
    ]


def test_stacks_tell_the_workers_of_a_program_that_marks_nothing() -> None:
    owners = {**search(), 2000: (Owner(owned.PYTHON, "Python thread web", None, None), None)}
    file = "/site-packages/optuna/study/_optimize.py"
    (process,) = of_search(
        owners, *stacks(*range(101, 106), file=file, function="_optimize_sequential")
    ).processes
    assert line(process, "Optuna workers").threads == 5
    assert line(process, "libgomp (torch)").teams == (LedgerTeams(5, 63, "Optuna worker"),)
    assert process.differences == ("1 thread of Python thread web: outside the model",)


def test_a_thread_of_the_same_pool_is_a_worker_too() -> None:
    file = "/site-packages/optuna/study/_optimize.py"
    other = Owner(owned.PYTHON, "Python thread ThreadPoolExecutor-1_0", None, None)
    owners = {**search(), 2000: (other, None)}
    (process,) = of_search(owners, *stacks(101, file=file, function="_optimize_sequential")).processes
    assert line(process, "Optuna workers").threads == 5
    assert line(process, other.label).threads == 1


def test_who_waits_for_workers_is_none() -> None:
    file = "/site-packages/joblib/parallel.py"
    for function, count in (("Parallel.__call__", 0), ("BatchedCalls.__call__", 1)):
        (process,) = of_search(search(workers=1), *stacks(101, file=file, function=function)).processes
        assert sum(each.threads for each in process.lines if each.label == "joblib worker") == count


def test_masters_that_were_not_found_are_said_to_be_missing() -> None:
    owners = {tid: (owner, None) for tid, (owner, _) in search().items()}
    (process,) = of_search(owners).processes
    assert line(process, "libgomp (torch)").teams == (LedgerTeams(None, 315, None),)
    assert "315 libgomp (torch)" in process.equation


def test_without_owners_only_the_main_thread_is_known() -> None:
    made = recording(running(search()))
    ledger = accounted(made, {})
    assert ledger.equation == "385 = 1 main + 384 unknown"
    assert ledger.processes[0].predicted is None
    assert "no owner of its threads is known" in (ledger.processes[0].reason or "")


def test_busy_and_idle_are_told_apart_per_owner() -> None:
    owners = search(workers=2, team=0, blas=2, more=())
    readings = [
        ran(SECOND, [(tid, 0, 0) for tid in (100, *owners)]),
        ran(2 * SECOND, [(101, 500 * MS, 0), (102, 0, 900 * MS), (103, MS, 0)]),
    ]
    (process,) = of_search(owners, *readings).processes
    assert [(each.label, each.busy, each.idle) for each in process.lines] == [
        ("main", 0, 1),
        ("Python threads ThreadPoolExecutor-0_*", 2, 0),
        ("OpenBLAS (numpy)", 0, 2),
    ]


def test_raylets_are_counted_and_not_predicted() -> None:
    ray = Owner(owned.RAY, "Ray", "raylet", None)
    owners = dict.fromkeys(range(101, 128), (ray, None))
    (process,) = of_search(owners, role="raylet").processes
    assert (process.threads, process.predicted, process.reason) == (
        28, None, "Ray decides how many threads its raylet has",
    )  # fmt: skip


def test_a_fork_explains_an_openblas_that_is_gone() -> None:
    child = born(2 * SECOND, 900, 100, "pool-worker-fork")
    (process, _) = of_search(
        search(blas=0, workers=0, more=()), child, counted(2 * SECOND, (900, 1))
    ).processes
    assert process.threads == process.predicted == 1


def test_each_process_is_shown_at_its_own_peak_too() -> None:
    big, small = search(), search(pid=5000, workers=0, team=0, blas=9, more=())
    lines = [
        *running(big),
        *running(small, 5000, 2 * SECOND, ppid=100, role="loky-worker", affinity=10),
        ended(1500 * MS, [*big][5:]),
        counted(1500 * MS, (100, 6)),
    ]
    ledger = accounted(recording(lines), {**big, **small})
    assert (ledger.threads, ledger.equation) == (386, "386 = 385 main + 1 loky-worker")
    (alone,) = ledger.own_peaks
    assert (alone.pid, alone.at_s, alone.threads, alone.predicted) == (5000, 2.0, 10, 10)
    assert adds_up(ledger)


def test_what_was_never_listed_is_a_line_with_its_reason() -> None:
    (process,) = of_search(search(), counted(3 * SECOND, (100, 390))).processes
    assert line(process, "not listed").threads == 5
    assert "shorter than a look" in (line(process, "not listed").reason or "")
    assert process.equation.endswith("+ 5 not listed")


def test_what_was_listed_beyond_the_count_is_taken_back() -> None:
    lines = [*running(search(more=())), counted(SECOND, (100, 380))]
    (process,) = accounted(recording(lines), search(more=())).processes
    assert process.threads == 380
    assert sum(each.threads for each in process.lines) == 380


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[Line], dict[int, tuple[Owner, int | None]]]:
    """A few processes whose threads come and go, owned by anything, and counts that need not agree."""
    kinds = [worker(0), worker(1), OPENBLAS, GOMP, TQDM, PTHREADPOOL, UNKNOWN]
    owners: dict[int, tuple[Owner, int | None]] = {}
    lines: list[Line] = []
    for pid in (100, 200, 300)[: draw(st.integers(1, 3))]:
        since = draw(st.integers(0, 20)) * 100 * MS
        role = "main" if pid == 100 else draw(st.sampled_from(["loky-worker", "raylet", "pool-worker-fork"]))
        lines += [born(since, pid, 1 if pid == 100 else 100, role), listed(since, [pid], pid)]
        for step in range(draw(st.integers(0, 6))):
            t_ns = since + (step + 1) * 300 * MS
            coming = draw(st.sets(st.integers(pid + 1, pid + 9)))
            for tid in coming:
                owners[tid] = (draw(st.sampled_from(kinds)), draw(st.sampled_from([None, pid, pid + 1])))
            lines += [listed(t_ns, sorted(coming), pid), counted(t_ns, (pid, draw(st.integers(1, 12))))]
            lines.append(ended(t_ns + 100 * MS, sorted(draw(st.sets(st.integers(pid + 1, pid + 9))))))
        if draw(st.booleans()):
            lines.append(died(since + 3 * SECOND, pid))
    return lines, owners


@given(trees())
def test_owners_add_up_to_the_kernels_count_at_every_moment(tree: tuple[list[Line], Any]) -> None:
    from corelens.reports.facts.bins import grid_for, largest
    from corelens.reports.facts.population import population
    from corelens.reports.facts.processes import lives
    from corelens.reports.facts.threads import threads

    lines, owners = tree
    made = recording(sorted(lines, key=lambda each: each["t_ns"]))
    ledger = accounted(made, owners)
    assert adds_up(ledger)
    alive, grid = lives(made), grid_for(10 * SECOND, 100 * MS)
    counts = largest(population(made, alive, threads(made, alive, grid).all).threads, grid)
    series = [each.threads for each in ledger.over_time]
    assert [sum(value or 0 for value in column) for column in zip(*series, strict=True)] == counts
    for process in (*ledger.processes, *ledger.own_peaks):
        assert process.difference in (None, process.threads - (process.predicted or 0))
        for each in process.lines:
            assert each.difference is None or each.difference == each.threads - (each.predicted or 0)
            assert sum((team.teams or 1) * team.threads_each for team in each.teams) in (0, each.threads)


def test_every_process_has_its_owners_over_time() -> None:
    big, small = search(), search(pid=5000, workers=0, team=0, blas=9, more=())
    lines = [*running(big), *running(small, 5000, 2 * SECOND, ppid=100, role="loky-worker")]
    ledger = accounted(recording([*lines, died(5 * SECOND, 5000)]), {**big, **small})
    first, second = ledger.by_process
    assert (first.pid, second.pid, second.role) == (100, 5000, "loky-worker")
    blas = {each.owner: each.threads for each in second.over_time}[owned.OPENBLAS]
    assert (blas[7], blas[15], blas[30]) == (0, 9, 0)
    for place in range(len(blas)):
        parts = [each.threads[place] or 0 for process in ledger.by_process for each in process.over_time]
        assert sum(parts) == sum(each.threads[place] or 0 for each in ledger.over_time)


def test_alike_processes_differ_in_their_pids_alone() -> None:
    workers = {pid: search(pid=pid, workers=0, team=0, blas=3, more=()) for pid in (1000, 2000, 3000)}
    lines = running({})
    for pid, owners in workers.items():
        lines += running(owners, pid, ppid=100, role="loky-worker", affinity=4)
    everyone = {tid: each for owners in workers.values() for tid, each in owners.items()}
    ledger = accounted(recording(lines), everyone)
    assert ledger.equation == "13 = 1 main + 3 x 4 loky-worker"
    first, *others = ledger.processes[1:]
    assert all(replace(each, pid=first.pid) == first for each in others)
