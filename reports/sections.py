"""The parts of one report as titled tables and lines, shared by the writers that lay them out.

Texts are still as the recorded program gave them: a writer makes them safe for its own medium.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from corelens.reports import (
    core_time_rows,
    diagnosis_rows,
    interlock_rows,
    ledger_rows,
    limit_rows,
    standstill_rows,
)
from corelens.reports.diagnosis_rows import Passage
from corelens.reports.formatting import tree_lines
from corelens.reports.python_stacks import PythonFunction, PythonStacks
from corelens.reports.report import Report, Spread, Trial

ABSENT = "—"
MOST_TRIALS = 40
MOST_UNSEEN = 30
# Of each role.
MOST_FUNCTIONS = 6
MOST_PLACES = 20
LONGEST_TITLE = 160
_MIB = 1 << 20
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Section:
    """One titled part: a table, lines beneath it, lines whose spacing matters, passages. Empty parts are left out.

    `numeric` says of each column whether it is aligned to the right.
    """

    title: str
    columns: tuple[str, ...] = ()
    numeric: tuple[bool, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    drawing: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()


def headline(report: Report) -> tuple[tuple[str, str, str], ...]:
    """The numbers that tell most of a run: (label, value, what puts it in proportion)."""
    cpu, threads = report.cpu, report.threads
    first = (
        ("wall time", seconds(report.wall_s), _ending(report)),
        ("capacity", f"{report.capacity.cores:g} cores", f"decided by {report.capacity.because}"),
        ("busy cores", f"{cpu.busy_cores_mean:.2f} mean", f"{cpu.busy_cores_peak:.2f} peak"),
        ("utilisation", percent(cpu.utilisation), f"{cpu.used_core_s:.1f} core-seconds used"),
        ("run-queue wait", percent(cpu.run_queue_wait_share), _waiting(report)),
        ("threads", f"{threads.peak} peak", f"{threads.mean:.1f} mean, {threads.born} in all"),
        ("processes", f"{report.processes_peak} peak", f"{report.processes_total} in all"),
    )
    return (
        *first,
        *_owner_headline(report),
        *_trial_headline(report),
        *_memory_headline(report),
        _neighbours(report),
    )


def sections(report: Report) -> list[Section]:
    """Every part of the report that has something to say, in reading order."""
    return [*first_sections(report), *other_sections(report)]


def first_sections(report: Report) -> list[Section]:
    """What stands directly under the verdict: the ledgers, then the other findings."""
    return _told((core_time_section(report), ledger_section(report), _findings(report)))


def other_sections(report: Report) -> list[Section]:
    """The rest in reading order; what could not be seen closes the report."""
    return _told(
        (
            _standstill(report), _workers(report), _phases(report), _efficiency(report), _roles(report), _tree(report),
            _limits(report), _gil(report), _waits(report), _locks(report), _trials(report), _python(report),
            _native(report), _capacity(report), _recorder(report), _unseen(report),
        )
    )  # fmt: skip


def _told(parts: Iterable[Section]) -> list[Section]:
    return [part for part in parts if part.rows or part.notes or part.drawing or part.passages]


def _standstill(report: Report) -> Section:
    still = report.standstill
    if still is None:
        return Section("Standstill")
    return Section(
        standstill_rows.title(still),
        standstill_rows.COLUMNS,
        standstill_rows.NUMERIC,
        tuple(standstill_rows.rows(still)),
        tuple(standstill_rows.notes(still)),
    )


def title(report: Report) -> str:
    """What was recorded, in one line; a program given as text is cut short."""
    named = [f"{key} {value}" for key, value in report.source.labels.items() if key in ("backend", "scale")]
    command = " ".join(" ".join(report.source.argv).split()) or report.source.path
    command = command if len(command) <= LONGEST_TITLE else f"{command[:LONGEST_TITLE]}…"
    return f"{command} ({', '.join(named)})" if named else command


def place(report: Report) -> str:
    """Where it was recorded, in one line."""
    host = report.host
    physical = "" if host.physical_cores is None else f", {host.physical_cores} physical"
    return (
        f"{host.hostname}: {host.cpu_model}, {host.logical_cores} logical cores{physical},"
        f" {memory(host.memory_bytes)}, Linux {host.kernel}; recorded by corelens {report.source.corelens}"
    )


def troubles(report: Report) -> list[str]:
    """What a reader must know before believing the numbers."""
    cut = [] if report.source.complete else ["the recording was cut: numbers cover what could be read"]
    return cut + list(report.source.damage)


def seconds(value: float | None) -> str:
    """A duration at the precision that can be read off it."""
    if value is None:
        return ABSENT
    if value < 60:
        return f"{value:.2f} s"
    minutes, rest = divmod(round(value, 1), 60)
    return f"{int(minutes)} min {rest:04.1f} s"


def percent(share: float | None) -> str:
    """A share of one; never used for cores."""
    return ABSENT if share is None else f"{100 * share:.1f} %"


def memory(value: float | None) -> str:
    """Bytes in MiB or GiB."""
    if value is None:
        return ABSENT
    return f"{value / _GIB:.1f} GiB" if value >= _GIB else f"{value / _MIB:.0f} MiB"


def spread(value: Spread | None, show: Callable[[float], str]) -> str:
    """Minimum, median and maximum, or the one value there is."""
    if value is None:
        return ABSENT
    if value.count == 1:
        return show(value.median)
    return f"{show(value.minimum)} / {show(value.median)} / {show(value.maximum)}"


def _ending(report: Report) -> str:
    source = report.source
    if source.exit_code is not None:
        return f"exit code {source.exit_code}"
    return f"ended by signal {source.signal}" if source.signal is not None else source.end_reason


def _waiting(report: Report) -> str:
    if report.cpu.run_queue_wait_share is None:
        return "no thread ran while it was looked at"
    return f"of runnable time; {report.cpu.run_queue_wait_s:.1f} thread-seconds without a core"


def _owner_headline(report: Report) -> Iterator[tuple[str, str, str]]:
    sum_in_words = None if report.ledger is None else ledger_rows.short_equation(report.ledger)
    if report.ledger is not None and sum_in_words is not None:
        total, _, parts = sum_in_words.partition(" = ")
        yield "threads by owner", f"{total} at peak", f"= {parts}"


def _trial_headline(report: Report) -> Iterator[tuple[str, str, str]]:
    trials = report.trials
    if trials is not None:
        rate = ABSENT if trials.per_hour is None else f"{trials.per_hour:.1f} per hour"
        overlap = "" if trials.overlap_mean is None else f", {trials.overlap_mean:.2f} at once"
        yield "trials", rate, f"{trials.complete} complete{overlap}"


def _memory_headline(report: Report) -> Iterator[tuple[str, str, str]]:
    found = report.memory
    if found.rss_bytes is not None:
        of = f"{found.workers} workers" if found.of == "workers" else found.of
        peak = f"whole tree {memory(found.tree_peak_rss_bytes)} at its peak"
        share = "" if found.pss_bytes is None else f", {memory(found.pss_bytes.median)} PSS"
        yield "memory", f"{memory(found.rss_bytes.median)} RSS", f"median of {of}{share}; {peak}"


def _neighbours(report: Report) -> tuple[str, str, str]:
    others, steal = report.cpu.others_cores_mean, report.cpu.steal_cores_mean
    shown = ABSENT if others is None else f"{others:.2f} cores"
    return "other programs", shown, "" if steal is None else f"{steal:.2f} cores taken by the hypervisor"


def _findings(report: Report) -> Section:
    if report.diagnosis is None:
        return Section("Other findings")
    more = diagnosis_rows.left_out(report.diagnosis)
    notes = (f"{more} more are in the JSON report",) if more else ()
    return Section("Other findings", notes=notes, passages=diagnosis_rows.other_findings(report.diagnosis))


def _roles(report: Report) -> Section:
    return Section(
        "Processes by role",
        ("role", "processes", "core-s", "core-s per process (min / median / max)", "threads at peak"),
        (False, True, True, True, True),
        tuple(
            (
                role.role,
                str(role.processes),
                f"{role.used_core_s:.2f}",
                spread(role.used_core_s_spread, lambda value: f"{value:.2f}"),
                str(role.threads_peak),
            )
            for role in report.roles
        ),
    )


def _tree(report: Report) -> Section:
    return Section(
        f"Process tree at its peak of {report.threads.peak} threads, at {report.tree_at_s:.1f} s",
        drawing=tuple(tree_lines(report.tree)),
    )


def ledger_section(report: Report) -> Section:
    ledger = report.ledger
    if ledger is None or ledger_rows.short_equation(ledger) is None:
        return Section("Thread ledger")
    return Section(
        f"Thread ledger: the {ledger.threads} threads at {ledger.at_s:.1f} s by owner",
        ledger_rows.COLUMNS,
        ledger_rows.NUMERIC,
        tuple(ledger_rows.rows(ledger)),
        (*ledger_rows.notes(ledger), *_short_lived(report)),
        tuple(ledger_rows.equations(ledger)),
    )


def core_time_section(report: Report) -> Section:
    """The core-time ledger; empty where it was not made."""
    ledger = report.core_time_ledger
    if ledger is None:
        return Section("Core-time ledger")
    return Section(
        core_time_rows.ledger_title(ledger),
        core_time_rows.LEDGER_COLUMNS,
        core_time_rows.LEDGER_NUMERIC,
        core_time_rows.ledger_rows(ledger),
        core_time_rows.ledger_notes(ledger),
    )


def _workers(report: Report) -> Section:
    found = report.workforce
    if found is None:
        return Section("Workers")
    return Section(
        "Workers",
        core_time_rows.WORKER_COLUMNS,
        core_time_rows.WORKER_NUMERIC,
        core_time_rows.worker_rows(found),
        tuple(core_time_rows.worker_notes(found)),
    )


def _phases(report: Report) -> Section:
    found = report.phases
    if found is None:
        return Section("Phases")
    return Section(
        "Phases",
        core_time_rows.PHASE_COLUMNS,
        core_time_rows.PHASE_NUMERIC,
        core_time_rows.phase_rows(found),
        tuple(core_time_rows.phase_notes(found)),
    )


def _efficiency(report: Report) -> Section:
    found = report.efficiency
    if found is None:
        return Section("Efficiency")
    notes = () if found.note is None else (found.note,)
    return Section(
        "Efficiency",
        core_time_rows.EFFICIENCY_COLUMNS,
        core_time_rows.EFFICIENCY_NUMERIC,
        core_time_rows.efficiency_rows(found),
        notes,
    )


def _short_lived(report: Report) -> Iterator[str]:
    found = report.short_lived
    if found is None:
        return
    if found.unseen_at_most is None:
        yield f"short-lived: unknown, {found.reason}"
    elif found.unseen_at_most:
        yield (
            f"short-lived: at most {found.unseen_at_most} threads and processes began and ended between two looks"
            f" ({found.made_on_machine} were made on the machine, {found.seen_in_tree} of them were seen here);"
            f" they used at most {found.used_at_most_core_s:.2f} core-seconds"
        )
    else:
        yield "short-lived: none; every thread and process that the machine made meanwhile was seen here"


def _limits(report: Report) -> Section:
    rows, notes = limit_rows.limit_rows(report.limits), limit_rows.limit_notes(report)
    return Section(limit_rows.TITLE, limit_rows.COLUMNS, limit_rows.NUMERIC, rows, notes)


def _gil(report: Report) -> Section:
    rows, notes = tuple(interlock_rows.gil_rows(report.gil)), tuple(interlock_rows.gil_notes(report.gil))
    return Section("The GIL", interlock_rows.GIL_COLUMNS, interlock_rows.GIL_NUMERIC, rows, notes)


def _waits(report: Report) -> Section:
    return Section(
        "What blocked threads wait for",
        interlock_rows.WAIT_COLUMNS,
        interlock_rows.WAIT_NUMERIC,
        tuple(interlock_rows.wait_rows(report.waits)),
    )


def _locks(report: Report) -> Section:
    rows, notes = (
        tuple(interlock_rows.lock_rows(report.locks)),
        tuple(interlock_rows.lock_notes(report.locks)),
    )
    return Section("Locks", interlock_rows.LOCK_COLUMNS, interlock_rows.LOCK_NUMERIC, rows, notes)


def _trials(report: Report) -> Section:
    if report.trials is None:
        return Section("Trials")
    found = report.trials
    lasted = f"duration (min / median / max): {spread(found.duration_s, lambda value: f'{value:.2f} s')}"
    left_out = len(found.trials) - MOST_TRIALS
    more = [f"{left_out} more trials are in the JSON report"] if left_out > 0 else []
    lost = (
        [f"{found.failed} failed, {found.unfinished} unfinished"] if found.failed or found.unfinished else []
    )
    return Section(
        "Trials",
        ("trial", "process", "thread", "began", "took", "value", "state"),
        (True, True, True, True, True, True, False),
        tuple(_trial(trial) for trial in found.trials[:MOST_TRIALS]),
        (lasted, *lost, *more),
    )


def _trial(trial: Trial) -> tuple[str, ...]:
    took = None if trial.end_s is None else trial.end_s - trial.begin_s
    return (
        ABSENT if trial.number is None else str(trial.number),
        str(trial.pid),
        str(trial.tid),
        seconds(trial.begin_s),
        seconds(took),
        ABSENT if trial.value is None else f"{trial.value:.6g}",
        trial.state,
    )


def _native(report: Report) -> Section:
    found = report.perf
    if found is None:
        return Section("Native code on a core")
    rows = tuple(
        (
            str(one.pid),
            one.place.library or "unknown",
            one.place.function or ABSENT,
            percent(one.process_share),
            "waits" if one.place.waiting else "",
            str(one.threads),
        )
        for one in found.places[:MOST_PLACES]
    )
    return Section(
        "Native code on a core",
        ("process", "library", "function", "of its samples", "does", "threads"),
        (True, False, False, True, False, True),
        rows,
        (
            f"{found.samples} samples of user code; at least {percent(found.waiting_share)} of them waited actively, or"
            f" were in a runtime of parallel regions; {percent(found.unknown_share)} lie in no file that is known",
        ),
    )


def _python(report: Report) -> Section:
    found = report.stacks
    if found is None:
        return Section("Where the Python code was")
    rows = [
        (
            role,
            doing,
            f"{one.function} ({_place(one)})",
            percent(one.seen_share),
            _sure(one),
            str(one.samples),
        )
        for doing, functions in (
            ("active", found.functions),
            ("holding the GIL", found.holders),
            ("waiting for the GIL", found.gil_waiters),
            ("waiting for a lock", found.lock_waiters),
        )
        for role, group in groupby(functions, key=lambda one: one.role)
        for one in islice(group, MOST_FUNCTIONS)
    ]
    return Section(
        "Where the Python code was",
        ("role", "threads", "innermost function", "of samples", "95 % interval", "samples"),
        (False, False, False, True, True, True),
        tuple(rows),
        tuple(_about_stacks(found)),
    )


def _about_stacks(found: PythonStacks) -> Iterator[str]:
    how = "stopping it for each sample" if found.blocking else "without stopping it"
    yield (
        f"{found.active_samples} samples of active threads, {found.gil_samples} of holders of the GIL,"
        f" {found.idle_samples} of idle threads, in {found.looks} looks by py-spy (processes: {found.processes}),"
        f" {how}; it used {found.own_core_s:.2f} core-seconds"
    )
    if found.unknown_samples:
        why = "Python before 3.11, or a container"
        yield f"{found.unknown_samples} samples do not say whether the thread was active ({why})"
    if found.dropped_samples or found.failed_looks:
        yield f"left out: {found.dropped_samples} torn samples; {found.failed_looks} looks failed"


def _place(one: PythonFunction) -> str:
    file = "/".join(one.file.split("/")[-2:])
    return file if one.line is None else f"{file}:{one.line}"


def _sure(one: PythonFunction) -> str:
    return f"{100 * one.low_share:.0f} – {100 * one.high_share:.0f} %"


def _capacity(report: Report) -> Section:
    found = report.capacity
    told = [
        ("online", f"{found.online_cores} cores"),
        ("affinity of the main process", _cores(found.affinity_cores)),
        ("smallest CPU quota", _cores(found.quota_cores)),
        ("throttled", seconds(found.throttled_s)),
        ("memory limit", memory(found.memory_limit_bytes)),
    ]
    return Section("Limits", ("limit", "value"), (False, True), tuple(told))


def _cores(value: float | None) -> str:
    return ABSENT if value is None else f"{value:g} cores"


def _recorder(report: Report) -> Section:
    own = report.recorder
    budget = "no budget" if own.budget_cores is None else f"budget {own.budget_cores:g} cores"
    missed = f"{own.ticks} rounds at {own.rate_hz:g} Hz, {own.ticks_missed} skipped for lateness"
    cost = (
        f"recording cost {own.own_cores:.4f} cores ({own.own_core_s:.2f} core-seconds; {budget}),"
        f" {memory(own.rss_bytes)} RSS"
    )
    return Section("The recorder's own cost", notes=(cost, missed, *own.rate_changes))


def _unseen(report: Report) -> Section:
    rows: Sequence[tuple[str, ...]] = [
        (one.what, one.reason, str(one.times)) for one in report.unseen[:MOST_UNSEEN]
    ]
    left_out = len(report.unseen) - MOST_UNSEEN
    more = (f"{left_out} more are in the JSON report",) if left_out > 0 else ()
    return Section(
        "What could not be seen", ("what", "why", "times"), (False, False, True), tuple(rows), more
    )
