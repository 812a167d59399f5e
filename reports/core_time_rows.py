"""Workers, phases, the core-time ledger and the efficiencies, as rows of tables and lines beneath them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from corelens.reports.core_time import (
    NOBODY,
    CoreTimeLedger,
    Efficiency,
    Phases,
    Worker,
    Workforce,
)
from corelens.reports.spreads import Spread

ABSENT = "—"
MOST_WORKERS = 16

Rows = tuple[tuple[str, ...], ...]

LEDGER_COLUMNS = ("core time", "core-s", "of capacity", "of it in the kernel", "threads")
LEDGER_NUMERIC = (False, True, True, True, True)
WORKER_COLUMNS = ("worker", "role", "born", "ready after", "last work", "core-s", "run-queue wait")
WORKER_NUMERIC = (False, False, True, True, True, True, True)
PHASE_COLUMNS = ("phase", "from", "to", "lasts")
PHASE_NUMERIC = (False, True, True, True)
EFFICIENCY_COLUMNS = ("efficiency", "value")
EFFICIENCY_NUMERIC = (False, True)


def ledger_title(ledger: CoreTimeLedger) -> str:
    """The equation: what was there is what was used and what lay idle."""
    beyond = ledger.beyond_capacity_core_s
    less = f" - {beyond:.1f} beyond capacity" if beyond >= 0.05 else ""
    return (
        f"Core-time ledger: {ledger.capacity_core_s:.1f} core-seconds = {ledger.on_core_core_s:.1f} on a core"
        f" + {ledger.idle_core_s:.1f} idle{less}"
    )


def ledger_rows(ledger: CoreTimeLedger) -> Rows:
    """What used the cores, then why the rest lay idle; lines that round to nothing are left to the JSON."""
    used = [
        (
            f"on a core: {one.label}",
            f"{one.core_s:.2f}",
            _percent(one.capacity_share),
            _kernel(one.system_core_s),
            str(one.threads),
        )
        for one in ledger.on_core
        if one.core_s >= 0.005
    ]
    idle = [
        (f"idle: {one.label}", f"{one.core_s:.2f}", _percent(one.capacity_share), "", "")
        for one in ledger.idle
        if one.core_s >= 0.005
    ]
    return (*used, *idle)


def ledger_notes(ledger: CoreTimeLedger) -> tuple[str, ...]:
    """The other side: demand beyond the cores."""
    wait_s = ledger.run_queue_wait_thread_s
    times = f", {wait_s / ledger.capacity_core_s:.2f} times the capacity" if ledger.capacity_core_s else ""
    return (f"beside it, demand beyond the cores: {wait_s:.1f} thread-seconds of run-queue wait{times}",)


def worker_rows(workforce: Workforce) -> Rows:
    """The workers that used most; where there are many, the rest is in the JSON report."""
    dearest = sorted(workforce.workers, key=lambda worker: -worker.run_s)[:MOST_WORKERS]
    return tuple(_worker(worker, workforce) for worker in dearest)


def _worker(worker: Worker, workforce: Workforce) -> tuple[str, ...]:
    named = f"{worker.name} " if worker.name else ""
    place = f"process {worker.pid}" if workforce.form == "processes" else f"thread {named}{worker.tid}"
    return (
        place,
        worker.role,
        f"{worker.born_s:.2f} s",
        f"{worker.ready_s - worker.born_s:.2f} s",
        f"{worker.last_work_s:.2f} s",
        f"{worker.run_s:.2f}",
        f"{worker.queue_s:.2f} s",
    )


def worker_notes(workforce: Workforce) -> Iterator[str]:
    """Who they are, who hands out the work, and who was there for nothing."""
    at = workforce.coordinator
    if workforce.form == NOBODY:
        yield f"no workers: {workforce.why}"
        return
    count, spread = len(workforce.workers), workforce.run_s
    lasted = "" if spread is None else f"; core-s each (min / median / max): {_spread(spread, _two)}"
    yield f"{count} workers, {workforce.at_once} at once: {workforce.why}{lasted}"
    yield f"handed out by process {at.pid} ({at.role}), which used {at.run_s:.2f} core-seconds"
    if count > MOST_WORKERS:
        yield f"{count - MOST_WORKERS} more workers are in the JSON report"
    idle = sum(pool.members for pool in workforce.idle_pools)
    if idle:
        used = sum(pool.run_s for pool in workforce.idle_pools)
        yield (
            f"idle pools: {idle} threads or processes that had nothing to do after their start, which took"
            f" {used:.2f} core-seconds"
        )


def phase_rows(phases: Phases) -> Rows:
    """The phases that lasted."""
    bounds = (
        ("start-up", 0.0, phases.startup_until_s),
        ("parallel part", phases.startup_until_s, phases.parallel_until_s),
        ("tail", phases.parallel_until_s, phases.tail_until_s),
        ("teardown", phases.tail_until_s, phases.end_s),
    )
    return tuple(
        (name, f"{begin:.2f} s", f"{end:.2f} s", f"{end - begin:.2f} s")
        for name, begin, end in bounds
        if end - begin >= 0.005
    )


def phase_notes(phases: Phases) -> Iterator[str]:
    """Start-up in core-seconds, and waves."""
    yield f"start-up and imports of the program and its workers: {phases.startup_core_s:.2f} core-seconds"
    if phases.wave_period_s is not None:
        yield (
            f"workers came in {len(phases.waves)} waves, one every {phases.wave_period_s:.2f} s (median): each was"
            " gone before the next was made"
        )


def efficiency_rows(found: Efficiency) -> Rows:
    """POP's factors where they apply, and time by concurrency."""
    classes = found.concurrency
    rows = (
        (
            "parallel efficiency (POP) = load balance x serialisation/transfer",
            _share(found.parallel_efficiency),
        ),
        ("load balance", _share(found.load_balance)),
        ("serialisation and transfer", _share(found.serialisation_transfer)),
        ("of all cores, in the parallel part", _share(found.core_efficiency)),
        ("useful, per worker (min / median / max)", _spread(found.useful_share, _two)),
        ("run-queue wait, per worker (min / median / max)", _spread(found.run_queue_wait_share, _percent)),
    )
    told = tuple(row for row in rows if row[1] != ABSENT)
    spent = (
        f"{classes.idle_s:.1f} / {classes.poor_s:.1f} / {classes.ok_s:.1f} / {classes.ideal_s:.1f} /"
        f" {classes.over_s:.1f} s"
    )
    return (
        *told,
        ("time idle / poor / ok / ideal / oversubscribed, by runnable threads (VTune's classes)", spent),
    )


def _kernel(core_s: float | None) -> str:
    return ABSENT if core_s is None else f"{core_s:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _two(value: float) -> str:
    return f"{value:.2f}"


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}"


def _spread(value: Spread | None, show: Callable[[float], str]) -> str:
    if value is None:
        return ABSENT
    return f"{show(value.minimum)} / {show(value.median)} / {show(value.maximum)}"
