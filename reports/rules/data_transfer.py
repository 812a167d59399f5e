"""Pickling and moving arguments or results costs more than the work.

What it sees: a thread of the parent keeps a core busy in pickling, unpickling, and reading and writing pipes; the
messages are large (bytes per write where these were recorded, otherwise the fresh pages that parent and workers touch
for each second on a core, and writers that wait for room in a pipe); workers wait for their arguments, or for room
for their results, and much of their own time is unpickling and the kernel's copying.

Why it costs: every byte is pickled, copied into the kernel, copied out and unpickled, on one core in the parent. A
bound method carries its whole object along with every task, and so do a closure, a `partial`, and a lambda what they
hold.

What to do: send large things once, not with every task: an `initializer` that builds or loads them in each worker, a
global that forked workers inherit, `multiprocessing.shared_memory`, a file opened with `np.load(mmap_mode="r")` or
`np.memmap`, `ray.put` once and the reference to each task. Submit a function and an index instead of a method of a
large object. Return what is needed of a result instead of all of it.

When it is wrong: a single large transfer at the start is not it. Programs whose parent and workers both allocate much
memory for their own work can look alike where no bytes and no stacks were recorded.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.crew import RAY, THREADS, crews
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.handing import PAGE_BYTES, Handing, handing, moves_much
from corelens.reports.facts.handing_costs import even_s, most_gain, overhead_s, wasted_s, work_s
from corelens.reports.findings import Evidence, Finding, Gain, Remedy

SLUG = "data-transfer"
_BOSS_CORES = 0.3
# Workers that get and send their messages promptly are not held up by them.
_HELD_UP = 0.15
_FEW, _MOVING_SHARE = 3, 0.5
_OVERHEAD = 1.0
# Results hold workers up more than arguments do.
_SENDING = 0.02


def check(facts: Facts) -> Iterator[Finding]:
    """Look at each crew whose boss is busy with large messages."""
    for crew in crews(facts):
        if crew.kind != THREADS:
            known = handing(facts, crew)
            if _is_heavy(known):
                yield _finding(facts, known)


def _is_heavy(known: Handing) -> bool:
    code = known.code
    working = code.seen >= _FEW and code.work > _MOVING_SHARE * code.seen
    return (
        known.lasts
        and known.time.boss_cores >= _BOSS_CORES
        and bool(moves_much(known))
        and (known.starved_share + known.sending_share >= _HELD_UP or _workers_move(known))
        and overhead_s(known) >= _OVERHEAD * work_s(known)
        and not working
        and _is_direct(known)
    )


def _workers_move(known: Handing) -> bool:
    """Workers that are busy with their messages are held up by them as well."""
    code = known.worker_code
    return code.moving >= _FEW and code.moving >= _MOVING_SHARE * code.seen


def _is_direct(known: Handing) -> bool:
    """Fresh pages alone may be anybody's: something must show that they are messages."""
    helper = known.busiest.tid != known.busiest.pid
    told = known.written_bytes_per_call is not None and known.crew.kind != RAY
    return told or known.code.moving > 0 or known.worker_code.moving > 0 or helper


def _finding(facts: Facts, known: Handing) -> Finding:
    crew, boss = known.crew, known.crew.boss
    lost = min(wasted_s(known), facts.capacity_core_s)
    results = known.sending_share >= _SENDING and known.sending_share * 4 > known.starved_share
    what = "results" if results else "arguments"
    direction = "unpickling results of" if results else "pickling and sending arguments to"
    return Finding(
        slug=SLUG,
        variant=f"large-{what}",
        cause=f"Process {boss.pid} ({boss.role}) spends its time{_thread(known)} on {direction}"
        f" {len(crew.workers)} {crew.title}: {overhead_s(known):.1f} core-s for moving, {work_s(known):.1f} at most for"
        " the work.",
        lost_core_s=lost,
        lost_share=lost / facts.capacity_core_s,
        confidence=_confidence(known),
        evidence=tuple(_evidence(known)),
        remedy=_remedy(known, results),
        gain=_gain(known),
        against=_against(known),
        excluded=(
            "fine-grained-tasks: the messages are large, not only many",
            f"slow-producer: {known.code.work} of {known.code.seen} samples of the parent show work of its own",
        ),
        explains=(
            "fine-grained-tasks", "load-imbalance", "gil-contention", "lock-contention", "serial-dispatch",
            "slow-producer", "memory-pressure",
        ),
    )  # fmt: skip


def _thread(known: Handing) -> str:
    name = known.busiest.name
    return f" (thread {name})" if name and known.busiest.tid != known.busiest.pid else ""


def _confidence(known: Handing) -> float:
    sure = 0.7 if known.written_bytes_per_call is None else 0.9
    code = known.code
    if code.moving >= _FEW and code.moving >= _MOVING_SHARE * code.seen:
        sure = max(sure, 0.9)
    elif code.work:
        sure -= 0.1
    return sure


def _evidence(known: Handing) -> Iterator[Evidence]:
    crew, time, busiest, code = known.crew, known.time, known.busiest, known.code
    if code.moving:
        yield Evidence(
            f"{code.moving} of {code.seen} samples of the parent show it pickling, unpickling, sending or receiving",
            float(code.moving), "samples", busiest.pid,
        )  # fmt: skip
    yield Evidence(
        f"the parent used {time.boss_cores:.2f} cores, {known.busiest_cores:.2f} of it in one thread, while"
        f" {len(crew.workers)} workers starved {known.starved_share:.0%} of the time and waited for room for a result"
        f" {known.sending_share:.0%}",
        time.boss_cores, "cores", busiest.pid, busiest.tid, crew.from_s, crew.until_s,
    )  # fmt: skip
    size, rate = known.written_bytes_per_call, known.moved_bytes_per_s
    if size is not None and rate is not None and crew.kind != RAY:
        yield Evidence(
            f"{rate / 1e6:.0f} MB a second went through pipes, {size / 1e3:.0f} kB with each write on average",
            rate, "bytes/s", busiest.pid,
        )  # fmt: skip
    mb = PAGE_BYTES / 1e6
    yield Evidence(
        f"for each second on a core the parent touched {known.boss_pages_per_core_s * mb:.0f} MB of fresh memory and"
        f" the workers {known.worker_pages_per_core_s * mb:.0f} MB",
        known.boss_pages_per_core_s * PAGE_BYTES, "bytes", busiest.pid,
    )  # fmt: skip


def _against(known: Handing) -> tuple[Evidence, ...]:
    if not known.code.work:
        return ()
    return (
        Evidence(f"{known.code.work} of {known.code.seen} samples of the parent show it at work of its own"),
    )


def _remedy(known: Handing, results: bool) -> Remedy:
    crew = known.crew
    if results:
        return Remedy(
            "Return what is needed of each result: reduce it in the worker, or write it to a file or to shared memory"
            " and return its name.",
            ("def task(item):", "    return summary(compute(item))  # instead of all of compute(item)"),
            "Python, in the function that workers run",
        )
    if crew.kind == RAY:
        return Remedy(
            "Put the large argument into the object store once and pass its reference to each task.",
            ("shared = ray.put(data)", "references = [task.remote(shared, x) for x in items]"),
            f"Python, in the driver (process {crew.boss.pid})",
        )
    count = len(crew.workers)
    return Remedy(
        f"Give the data to each of the {count} workers once, and send indices: a bound method (`obj.method`), a"
        " closure and a `partial` carry all they hold with every task.",
        (
            "def start(*what):",
            "    global DATA",
            "    DATA = load(*what)  # or np.load(path, mmap_mode='r')",
            "def task(i):",
            "    return DATA.metric(i)",
            f"ProcessPoolExecutor({count}, initializer=start, initargs=(...,))",
        ),
        f"Python, where process {crew.boss.pid} makes its pool",
    )


def _gain(known: Handing) -> Gain:
    span_s = known.time.span_s
    return Gain(
        most_gain(known),
        f"the workers used {work_s(known):.2f} core-s outside of the kernel, unpickling included: {even_s(known):.2f} s"
        f" on {known.time.room:.0f} cores at most, instead of {span_s:.1f} s",
        at_least=True,
    )
