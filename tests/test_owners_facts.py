"""Owners on reading: rows of a recording in, names and masters out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corelens.recording import Recording
from corelens.reports.facts import bins, clocks, owned, processes, threads
from corelens.reports.facts.owned import Owned
from corelens.reports.facts.owner_rules import Clue, copy_of, helper_of, library_name, owner_of
from corelens.reports.facts.owners import Symbols, no_symbols, owners
from corelens.reports.facts.short_lived import ShortLived, short_lived
from corelens.vocabulary import Line, columnar_line

MS = 1_000_000
S = 1_000 * MS
PACKAGES = "/venv/lib/python3.11/site-packages"
TORCH = f"{PACKAGES}/torch/lib/libtorch_cpu.so"
INTER_OP = (
    "NSt6thread11_State_implINS_8_InvokerISt5tupleIJZN3c1010ThreadPoolC4EiiSt8functionIFvvEEEUlvE_EEEEEE"
)
HEADER: Line = {
    "kind": "header",
    "t0_boottime_ns": 1_000 * S,
    "host": {"clock_ticks_per_s": 100, "logical_cores": 2},
    "target": {"how": "started", "pid": 10, "argv": []},
    "periods_ns": {"tree": 100 * MS, "threads": 100 * MS, "owners": 100 * MS},
    "sees": [],
}


def ticks(t_ns: int) -> int:
    """Start time in clock ticks of something that began at this time of the recording."""
    return (1_000 * S + t_ns) // (10 * MS)


def process(pid: int, t_ns: int = 0, comm: str = "python") -> Line:
    return {
        "kind": "process.born", "t_ns": t_ns, "pid": pid, "ppid": 1, "start_ticks": ticks(t_ns), "comm": comm,
        "argv": None, "exe": None, "role": "main", "joined_by": "root", "uid": 0, "affinity": None,
        "variables": None, "cpu_ns": 0, "again": False,
    }  # fmt: skip


def born(t_ns: int, *tids: int, comm: str = "python", began_ns: int | None = None) -> Line:
    begun = ticks(t_ns if began_ns is None else began_ns)
    return columnar_line("threads.born", t_ns, [(10, tid, begun, comm) for tid in tids])


def died(t_ns: int, *tids: int) -> Line:
    return columnar_line("threads.died", t_ns, [(tid,) for tid in tids])


def modules(*paths: str) -> Line:
    return columnar_line("modules", 0, [(n, path, f"id{n}", False) for n, path in enumerate(paths)])


def row(tid: int, module: int | None, how: str = "start-routine", **more: Any) -> tuple[Any, ...]:
    """A row of a `threads.owned` line."""
    offset = None if module is None else more.get("offset", 64)
    return (10, tid, how, module, offset, more.get("rtti"), more.get("master"), more.get("reason"))


def told(t_ns: int, *rows: tuple[Any, ...]) -> Line:
    return columnar_line("threads.owned", t_ns, list(rows))


def recorded(*lines: Line, header: Line = HEADER) -> Recording:
    by_kind: dict[str, list[Line]] = {"header": [header]}
    for line in (process(10), *lines):
        by_kind.setdefault(line["kind"], []).append(line)
    return Recording(Path("made.corelens"), header, by_kind, None)


def everyone(recording: Recording, symbols: Symbols = no_symbols) -> list[Owned]:
    """The owner of every thread in the order of birth."""
    lives = processes.lives(recording)
    followed = threads.threads(recording, lives, bins.grid_for(S, 100 * MS)).all
    found = owners(recording, lives, followed, symbols)
    assert list(found) == list(followed)
    return list(found.values())


def only(recording: Recording, symbols: Symbols = no_symbols) -> Owned:
    """The owner of the one thread beside the first."""
    first, other = everyone(recording, symbols)
    assert first.owner.kind == owned.MAIN
    return other


LIBRARIES = [
    (f"{PACKAGES}/torch/lib/libgomp.so.1", owned.OPENMP_GNU, "libgomp (torch)"),
    (f"{PACKAGES}/scikit_learn.libs/libgomp-a34b3233.so.1.0.0", owned.OPENMP_GNU, "libgomp (scikit-learn)"),
    ("/usr/lib/x86_64-linux-gnu/libgomp.so.1.0.0", owned.OPENMP_GNU, "libgomp (system)"),
    ("/opt/conda/envs/lab/lib/libomp.so", owned.OPENMP_LLVM, "libomp (conda)"),
    (f"{PACKAGES}/functorch/.dylibs/libiomp5.so", owned.OPENMP_INTEL, "libiomp5 (functorch)"),
    ("/home/me/venv/lib/libiomp5.so", owned.OPENMP_INTEL, "libiomp5 (environment)"),
    (f"{PACKAGES}/numpy.libs/libscipy_openblas64_-32a4b2a6.so", owned.OPENBLAS, "OpenBLAS (numpy)"),
    (f"{PACKAGES}/scipy.libs/libscipy_openblas-6cdc3b4a.so", owned.OPENBLAS, "OpenBLAS (scipy)"),
    ("/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0", owned.OPENBLAS, "OpenBLAS (system)"),
    ("/opt/intel/lib/libmkl_tbb_thread.so.2", owned.MKL, "MKL (environment)"),
    ("/usr/lib/libblis.so.4", owned.BLIS, "BLIS (system)"),
    ("/usr/lib/libtbb.so.12", owned.TBB, "TBB (system)"),
    (TORCH, owned.TORCH_OTHER, "torch"),
    (f"{PACKAGES}/ray/_raylet.so", owned.RAY, "Ray core worker"),
    (f"{PACKAGES}/ray/core/src/ray/raylet/raylet", owned.RAY, "Ray raylet"),
    (f"{PACKAGES}/ray/core/src/ray/gcs/gcs_server", owned.RAY, "Ray GCS"),
    (f"{PACKAGES}/grpc/_cython/cygrpc.cpython-311-x86_64-linux-gnu.so", owned.GRPC, "gRPC"),
    (f"{PACKAGES}/pyarrow/libarrow.so.2600", owned.ARROW, "Arrow"),
    (f"{PACKAGES}/_duckdb.cpython-311-x86_64-linux-gnu.so", owned.DUCKDB, "DuckDB"),
    (f"{PACKAGES}/_polars_runtime_32/_polars_runtime.abi3.so", owned.POLARS, "polars"),
    (f"{PACKAGES}/numba/np/ufunc/workqueue.cpython-311-x86_64-linux-gnu.so", owned.NUMBA_WORKQUEUE, "numba workqueue"),
    ("/usr/lib/libcuda.so.550.54", owned.OTHER_LIBRARY, "CUDA (libcuda)"),
    (f"{PACKAGES}/zmq/backend/libzmq-1d2c3b4a.so.5.2.5", owned.OTHER_LIBRARY, "libzmq"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "kind", "label"), LIBRARIES, ids=[Path(path).name for path, *_ in LIBRARIES]
)
def test_the_file_tells_the_library_and_whose_copy_it_is(path: str, kind: str, label: str) -> None:
    found = only(recorded(born(0, 10, 11), modules(path), told(0, row(10, None, "main"), row(11, 0)))).owner
    assert (found.kind, found.label, found.library, found.reason) == (kind, label, path, None)


@pytest.mark.parametrize(
    ("rtti", "kind"),
    [
        (INTER_OP, owned.TORCH_INTER_OP),
        ("NSt6thread11_State_implI...5torch8autograd6Engine...", owned.TORCH_AUTOGRAD),
        ("NSt6thread11_State_implI...N4gloo9transport3tcp4LoopE...", owned.TORCH_DISTRIBUTED),
        ("NSt6thread11_State_implI...N4c10d15ProcessGroupWrapperE...", owned.TORCH_DISTRIBUTED),
        ("NSt6thread11_State_implI...something else...", owned.TORCH_OTHER),
    ],
)
def test_the_type_tells_pools_of_torch_apart(rtti: str, kind: str) -> None:
    assert owner_of(Clue(TORCH, rtti, None)).kind == kind


def test_the_function_is_asked_for_only_where_there_is_no_type() -> None:
    asked: list[tuple[str, str | None, int]] = []

    def symbols(path: str, build_id: str | None, offset: int) -> str | None:
        asked.append((path, build_id, offset))
        return "thread_main"

    lines = (
        modules(TORCH),
        told(0, row(11, 0, offset=5), row(12, 0, offset=5), row(13, 0, "rtti", rtti=INTER_OP)),
    )
    found = everyone(recorded(born(0, 10, 11, 12, 13), *lines), symbols)
    kinds = [each.owner.kind for each in found]
    assert kinds == [owned.MAIN, *[owned.TORCH_PTHREADPOOL] * 2, owned.TORCH_INTER_OP]
    assert asked == [(TORCH, "id0", 5)]


def test_an_interpreter_under_another_name_is_known_by_its_function() -> None:
    assert owner_of(Clue("/usr/bin/uwsgi", None, "pythread_wrapper")).kind == owned.PYTHON
    assert owner_of(Clue("/usr/bin/uwsgi", None, "worker")).kind == owned.OTHER_LIBRARY


PYTHON_LINES = (modules("/usr/lib/libpython3.11.so.1.0"), told(0, row(11, 0)))


def named(name: str, kind: str = "threads.python") -> Line:
    if kind == "threads.python":
        return columnar_line(kind, MS, [(10, 11, name)])
    return {"kind": "pools", "t_ns": MS, "pid": 10, "python_threads": {"11": name}, "agent_tid": None}


def test_a_python_thread_has_the_name_that_the_interpreter_gave_it() -> None:
    nameless = only(recorded(born(0, 10, 11), *PYTHON_LINES)).owner
    assert (nameless.kind, nameless.label, nameless.library) == (owned.PYTHON, "Python thread", None)
    by_agent = only(recorded(born(0, 10, 11), *PYTHON_LINES, named("trial-1", "pools"))).owner
    assert by_agent.label == "Python thread trial-1"
    both = recorded(born(0, 10, 11), *PYTHON_LINES, named("old", "pools"), named("trial-2"))
    assert only(both).owner.label == "Python thread trial-2"


def test_a_name_of_its_own_stands_in_and_an_inherited_one_does_not() -> None:
    own = recorded(born(0, 10), born(0, 11, comm="trial-3"), *PYTHON_LINES)
    assert only(own).owner.label == "Python thread trial-3"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("QueueFeederThread", "multiprocessing queue feeder"),
        ("ExecutorManagerThread", "process pool manager"),
        ("Thread-2 (_handle_workers)", "multiprocessing pool: workers"),
        ("tqdm_monitor", "tqdm monitor"),
        ("ray_print_logs", "Ray driver"),
        ("Thread-5 (_record_heartbeat)", "Optuna heartbeat"),
    ],
)
def test_threads_that_serve_a_library_are_helpers(name: str, label: str) -> None:
    found = only(recorded(born(0, 10, 11), *PYTHON_LINES, named(name))).owner
    assert (found.kind, found.label) == (owned.PYTHON_HELPER, label)


def stacks(*frames: tuple[str, str]) -> tuple[Line, ...]:
    """One stack of the second thread, outermost frame first."""
    return (
        {
            "kind": "stacks.frames", "t_ns": MS, "frame": list(range(len(frames))),
            "file": [file for file, _ in frames], "function": [name for _, name in frames], "line": [1] * len(frames),
        },
        {"kind": "stacks.chains", "t_ns": MS, "stack": [0], "frames": [list(range(len(frames)))]},
        {"kind": "stacks", "t_ns": MS, "pid": [10], "tid": [11], "stack": [0]},
    )  # fmt: skip


THREADING = [
    ("/usr/lib/python3.11/threading.py", name) for name in ("Thread._bootstrap", "Thread._bootstrap_inner")
]


def test_a_helper_without_a_name_is_told_by_the_function_that_it_runs() -> None:
    monitor = stacks(*THREADING, (f"{PACKAGES}/tqdm/_monitor.py", "TMonitor.run"), THREADING[0])
    found = only(recorded(born(0, 10, 11), *PYTHON_LINES, named("Thread-1"), *monitor)).owner
    assert (found.kind, found.label) == (owned.PYTHON_HELPER, "tqdm monitor")
    working = stacks(
        *THREADING, ("/home/me/search.py", "trial"), (f"{PACKAGES}/tqdm/_monitor.py", "TMonitor.run")
    )
    assert only(recorded(born(0, 10, 11), *PYTHON_LINES, *working)).owner.kind == owned.PYTHON


@pytest.mark.parametrize("name", ["Thread-1", "Thread-7 (worker)", "ThreadPoolExecutor-0_3", "trial-1"])
def test_a_thread_that_may_work_is_no_helper(name: str) -> None:
    assert helper_of(name) is None


def test_a_native_thread_that_entered_the_interpreter_stays_the_librarys() -> None:
    lines = (modules(TORCH), told(0, row(11, 0, "rtti", rtti=INTER_OP)), named("Dummy-1"))
    assert only(recorded(born(0, 10, 11), *lines)).owner.kind == owned.TORCH_INTER_OP


def test_unknown_stays_unknown_with_its_reason_unless_the_interpreter_names_it() -> None:
    unread = told(0, row(11, None, "unknown", reason="the memory of its process may not be read"))
    found = only(recorded(born(0, 10, 11), unread)).owner
    assert (found.kind, found.reason) == (owned.UNKNOWN, "the memory of its process may not be read")
    assert only(recorded(born(0, 10, 11), unread, named("trial-1"))).owner.kind == owned.PYTHON
    assert only(recorded(born(0, 10, 11), unread, named("Dummy-1"))).owner.kind == owned.UNKNOWN


def test_what_becomes_known_later_counts_and_is_not_lost_again() -> None:
    unread = row(11, None, "unknown", reason="running")
    lines = (modules(TORCH), told(0, unread), told(S, row(11, 0)), told(2 * S, unread))
    assert only(recorded(born(0, 10, 11), *lines)).owner.kind == owned.TORCH_OTHER


def test_without_a_reading_the_reason_says_why() -> None:
    older: Line = {**HEADER, "periods_ns": {}}
    assert "holds no owners" in str(only(recorded(born(0, 10, 11), header=older)).owner.reason)
    assert "never asked" in str(only(recorded(born(0, 10, 11))).owner.reason)
    assert "damaged" in str(only(recorded(born(0, 10, 11), told(0, row(11, 3)))).owner.reason)


def test_a_thread_that_ended_before_it_could_be_asked_was_short_lived() -> None:
    short = only(recorded(born(S, 10, 11), died(S + 100 * MS, 11))).owner
    assert (short.kind, short.reason) == (owned.SHORT_LIVED, "it ended before it could be asked for")
    assert only(recorded(born(S, 10, 11), died(3 * S, 11))).owner.kind == owned.UNKNOWN


def test_a_thread_keeps_its_owner_after_its_end_and_its_number_tells_nothing_of_the_next() -> None:
    lines = (
        born(0, 10, 11),
        modules(TORCH, "/usr/lib/libpython3.11.so.1.0"),
        told(0, row(11, 0)),
        died(S, 11),
        born(2 * S, 11),
        told(2 * S, row(11, 1)),
    )
    kinds = [each.owner.kind for each in everyone(recorded(*lines))]
    assert kinds == [owned.MAIN, owned.TORCH_OTHER, owned.PYTHON]


def test_a_worker_of_a_team_has_its_master() -> None:
    lines = (modules(f"{PACKAGES}/torch/lib/libgomp.so.1"), told(0, row(11, 0, master=10), row(12, 0)))
    first, worker, lost = everyone(recorded(born(0, 10, 11, 12), *lines))
    assert worker.master is first.thread
    assert lost.master is None


def test_the_thread_of_the_agent_is_its_own() -> None:
    agent: Line = {
        "kind": "pools",
        "t_ns": MS,
        "pid": 10,
        "python_threads": {"11": "corelens"},
        "agent_tid": 11,
    }
    assert only(recorded(born(0, 10, 11), *PYTHON_LINES, agent)).owner.kind == owned.AGENT


def test_names_of_files() -> None:
    assert copy_of(f"{PACKAGES}/pyarrow/libarrow.so") == "pyarrow"
    assert copy_of("libx.so") == "libx.so"
    assert library_name("/x/_ssl.cpython-311-x86_64-linux-gnu.so") == "_ssl"
    assert library_name("/x/libuv.so.1.0.0") == "libuv"


# what was born and ended unseen


def host(t_ns: int, forks: int) -> Line:
    return {"kind": "host", "t_ns": t_ns, "forks": forks}


def missed(recording: Recording) -> ShortLived:
    lives = processes.lives(recording)
    grid = bins.grid_for(10 * S, 100 * MS)
    followed = threads.threads(recording, lives, grid).all
    return short_lived(recording, lives, followed, clocks.clocks(recording, lives, grid))


def test_where_all_that_the_kernel_made_was_seen_nothing_was_missed() -> None:
    found = missed(recorded(host(0, 1000), born(0, 10, began_ns=-S), born(S, 11, 12), host(5 * S, 1002)))
    assert (found.made_on_machine, found.seen_in_tree, found.unseen_at_most) == (2, 2, 0)
    assert (found.per_process, found.reason) == (0, None)


def test_what_else_the_kernel_made_bounds_what_was_missed_and_belongs_to_no_process() -> None:
    found = missed(recorded(host(0, 1000), born(S, 11), host(5 * S, 1041)))
    assert (found.unseen_at_most, found.per_process) == (40, None)
    assert found.reason == "the kernel counts births for the whole machine only"


def test_births_at_the_edges_make_the_bound_no_smaller() -> None:
    lines = (
        born(0, 10, began_ns=-S),
        born(100 * MS, 11, began_ns=95 * MS),
        born(900 * MS, 12, began_ns=895 * MS),
    )
    found = missed(recorded(host(97 * MS, 50), *lines, host(897 * MS, 51)))
    assert (found.seen_in_tree, found.unseen_at_most) == (0, 1)


def test_a_process_whose_threads_were_never_seen_was_seen_itself() -> None:
    assert (
        missed(recorded(host(0, 7), process(20, S), born(0, 10, began_ns=-S), host(5 * S, 8))).unseen_at_most
        == 0
    )


def test_one_reading_of_the_counter_is_none() -> None:
    found = missed(recorded(host(0, 1000)))
    assert (found.made_on_machine, found.unseen_at_most, found.per_process) == (None, None, None)
    assert found.reason is not None


def test_cpu_that_no_thread_shows_is_told_by_process() -> None:
    counts = columnar_line("processes", 2 * S, [(10, 900 * MS, 1)])
    read = columnar_line("threads", 2 * S, [(10, 600 * MS, 0, 5)])
    found = missed(recorded(born(0, 10), counts, read))
    ((life, hidden_ns),) = found.cpu_at_most_ns.items()
    assert (life.pid, hidden_ns) == (10, 300 * MS)
