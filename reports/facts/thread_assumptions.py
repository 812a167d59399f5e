"""Questions about a program whose threads somebody counted, with the answers that may be assumed.

Each choice changes a guess by an assumption, or by none where it is what was given, and says how to check it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from corelens.reports.facts.thread_guesses import BLAS_LIBRARIES, Assumption, Given, Guess, first
from corelens.reports.facts.thread_model import POOL_THREADS, TQDM_MONITOR, Helper, rdb_heartbeats

RECORD = "corelens record -p PID"
"""Names the opener of every team and tells pools apart, while the program runs."""
# Ray's worker processes hold threads of its own that no closed form gives.
_MODELLED_PROCESSES = frozenset({"process-pool", "process-executor", "joblib-loky"})
# How far the number of workers may be from what was said.
_WORKERS_OFF = 2

Change = Callable[[Guess], Guess]
Choice = tuple[Change, tuple[Assumption, ...]]
"""A change of the guess and what it assumes."""


def dimensions(given: Given) -> Iterator[list[Choice]]:
    """Independent questions about the program, each with its possible answers; the first assumes nothing."""
    start = first(given)
    yield list(_sizes(given))
    yield list(_workers(start))
    yield list(_regions(start))
    yield list(_main(start))
    yield list(_libraries(given))
    yield list(_calls(given))
    yield list(_helpers(given, start))
    yield list(_processes(given))


def _as_given(guess: Guess) -> Guess:
    return guess


def _sizes(given: Given) -> Iterator[Choice]:
    cores = given.cores
    yield _as_given, ()
    lscpu = "lscpu | grep 'Thread(s) per core'"
    if cores % 2 == 0:
        half = Assumption(
            f"{cores} are logical cores, two to a physical one, and torch counts {cores // 2}", lscpu
        )
        yield lambda guess: replace(guess, region=cores // 2), (half,)
    double = Assumption(f"{cores} are physical cores, and {2 * cores} logical ones are seen", lscpu)
    yield lambda guess: replace(guess, seen=2 * cores), (double,)
    environ = "tr '\\0' '\\n' < /proc/PID/environ | grep NUM_THREADS"
    limited = Assumption("OMP_NUM_THREADS=1 or the like was set before Python started", environ)
    yield lambda guess: replace(guess, region=1, blas_limit=1), (limited,)
    one = Assumption(
        "torch was held to one thread, by torch.set_num_threads(1) before the workers or MKL_NUM_THREADS=1",
        "print(torch.get_num_threads()) in a worker",
    )
    yield lambda guess: replace(guess, region=1), (one,)


def _workers(start: Guess) -> Iterator[Choice]:
    yield _as_given, ()
    if not start.workers:
        return
    for off in range(1, _WORKERS_OFF + 1):
        for count in (start.workers - off, start.workers + off):
            if count > 0:
                check = "py-spy dump --nonblocking --pid PID | grep '^Thread'"
                # Each one more or less is an assumption of its own.
                told = Assumption(f"{_workers_word(count)}, not {start.workers}", check, against=True)
                yield _with_workers(count), (told,) * off


def _with_workers(count: int) -> Change:
    return lambda guess: replace(guess, workers=count, opened=count)


def _workers_word(count: int) -> str:
    return "1 worker thread" if count == 1 else f"{count} worker threads"


def _regions(start: Guess) -> Iterator[Choice]:
    yield _as_given, ()
    if start.workers:
        none = Assumption(
            "no worker opened a parallel region, their operations being too small to be split", RECORD
        )
        yield lambda guess: replace(guess, opened=0), (none,)
        late = Assumption("one worker has not opened a parallel region yet", RECORD)
        yield lambda guess: replace(guess, opened=max(guess.workers - 1, 0)), (late,)


def _main(start: Guess) -> Iterator[Choice]:
    yield _as_given, ()
    if start.main:
        no = Assumption("the main thread opened no parallel region", RECORD)
        yield lambda guess: replace(guess, main=False), (no,)
    else:
        yes = Assumption(
            "the main thread opened a parallel region too, as a warm-up or a last evaluation does", RECORD
        )
        yield lambda guess: replace(guess, main=True), (yes,)


def _libraries(given: Given) -> Iterator[Choice]:
    yield _as_given, ()
    maps = "grep -o '/[^ ]*openblas[^ ]*' /proc/PID/maps | sort -u"
    if given.libraries is None:
        more = Assumption("scipy.linalg is loaded and brings an OpenBLAS of its own", maps)
        yield lambda guess: replace(guess, libraries=(*guess.libraries, "scipy")), (more,)
    for name in BLAS_LIBRARIES:
        if name in given.loaded:
            less = Assumption(
                f"{name}'s OpenBLAS is not loaded, or a fork has ended its threads", maps, against=True
            )
            yield _without(name), (less,)


def _without(name: str) -> Change:
    return lambda guess: replace(guess, libraries=tuple(each for each in guess.libraries if each != name))


def _calls(given: Given) -> Iterator[Choice]:
    yield _as_given, ()
    if "torch" not in given.loaded:
        return
    cores = given.cores
    # Whatever the machine gives, the call decides both the teams and the pthreadpool.
    called = Assumption(
        f"torch.set_num_threads({cores}) was called, which builds a pthreadpool as well", RECORD
    )
    yield lambda guess: replace(guess, told=cores, region=cores), (called,)
    forked = Assumption(f"torch.jit.fork started torch's inter-op pool of {cores}", RECORD)
    yield lambda guess: replace(guess, inter_op=cores), (forked,)


def _helpers(given: Given, start: Guess) -> Iterator[Choice]:
    yield _as_given, ()
    dump = "py-spy dump --nonblocking --pid PID"
    bar = Assumption("a tqdm progress bar is shown", f"{dump} | grep tqdm_monitor")
    pool = Assumption(
        "the workers run on multiprocessing's ThreadPool, as with joblib's threading backend",
        f"{dump} | grep '(_handle_'",
    )
    beats = Assumption("Optuna's RDBStorage has a heartbeat_interval", f"{dump} | grep _heartbeat.py")
    with_pool: list[tuple[tuple[Helper, ...], tuple[Assumption, ...]]] = [((), ())]
    if start.workers and given.backend is None:
        with_pool.append(((POOL_THREADS,), (pool,)))
    for helpers, assumed in with_pool:
        if assumed:
            yield _with_helpers(*helpers), assumed
        yield _with_helpers(TQDM_MONITOR, *helpers), (bar, *assumed)
    if start.workers and given.backend in (None, "optuna-threads"):
        yield _with_heartbeats(), (beats,)
        yield _with_heartbeats(TQDM_MONITOR), (bar, beats)


def _with_helpers(*more: Helper) -> Change:
    return lambda guess: replace(guess, helpers=(*more, *guess.helpers))


def _with_heartbeats(*more: Helper) -> Change:
    return lambda guess: replace(guess, helpers=(*more, rdb_heartbeats(guess.workers), *guess.helpers))


def _processes(given: Given) -> Iterator[Choice]:
    """Of a pool of processes: the one that started them, one of them, or all together."""
    yield _as_given, ()
    if given.backend in _MODELLED_PROCESSES:
        tree = "ps --ppid PID -o pid,nlwp,args"
        one = Assumption("the count is that of one worker process", tree)
        yield lambda guess: _worker_process(given, guess), (one,)
        whole = Assumption(f"the count is that of all {given.workers + 1} processes together", tree)
        yield lambda guess: _together(given, guess), (whole,)


def _worker_process(given: Given, guess: Guess) -> Guess:
    """A worker process does its work in its main thread; loky divides the cores among its workers."""
    alone = replace(guess, workers=0, opened=0, main=True, helpers=())
    if given.backend != "joblib-loky":
        return alone
    share = max(1, given.cores // given.workers)
    return replace(alone, region=min(alone.region, share), blas_limit=min(alone.blas_limit or share, share))


def _together(given: Given, guess: Guess) -> Guess:
    return replace(guess, children=given.workers, child=_worker_process(given, guess).inputs())
