"""What the rows of a comparison show, in sentences that hold measured values and nothing else.

Each function looks at one thing and returns None where the data do not show it. Ranges (minimum to maximum
over the repeats) must be apart before a sentence says that one is faster than the other.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from corelens.reports.compared import Row
from corelens.reports.report import Spread

_LOOK_CLOSER = 0.2
"""Complement of POP's line of 0.8 below which an efficiency is worth a closer look
(https://pop-coe.eu/node/69)."""
_BEYOND = 0.1
"""Larger caches per worker can lift an efficiency a little above 1; more than this wants an explanation."""
_OTHERS = 0.1
"""Share of the capacity in use by others from which their work may have slowed a run."""


def statements(rows: Sequence[Row], baseline: str | None, capacity_cores: float) -> tuple[str, ...]:
    """Say what the rows show: where trials ran, who is faster by how much, and what may mislead."""
    sound = [row for row in rows if row.trouble is None]
    found = (
        where_trials_ran(sound),
        processes_over_threads(sound, "trials_per_hour", "over the whole program"),
        processes_over_threads(sound, "trials_per_hour_in_trials", "in the trials alone, without start-up"),
        fastest(sound, baseline),
        beyond_its_workers(sound, baseline),
        ran_once(sound),
        slower_than(sound, baseline),
        dearer_trials(sound, baseline),
        waiting(sound),
        long_startup(sound),
        neighbours(sound, capacity_cores),
        without_result(rows),
    )
    return tuple(sentence for sentence in found if sentence is not None)


def where_trials_ran(rows: Sequence[Row]) -> str | None:
    """Say which rows ran their trials on one thread, on threads of one process, in several processes."""
    places: dict[str, list[str]] = {}
    for row in rows:
        place = _place(row)
        if place is not None:
            places.setdefault(place, []).append(row.name)
    parts = [f"{place}: {_list(names)}" for place, names in places.items()]
    return f"Trials ran {'; '.join(parts)}." if parts else None


def _place(row: Row) -> str | None:
    processes, threads = row.values["trial_processes"], row.values["trial_threads"]
    if processes is None or threads is None:
        return None
    if threads.maximum == 1:
        return "in one process on one thread"
    if processes.maximum == 1:
        return f"in one process on {_range(threads.minimum, threads.maximum)} threads"
    return f"in {_range(processes.minimum, processes.maximum)} processes"


def is_threaded(row: Row) -> bool:
    """Tell whether all trials shared one process and ran on several of its threads."""
    processes, threads = row.values["trial_processes"], row.values["trial_threads"]
    return processes is not None and threads is not None and processes.maximum == 1 < threads.minimum


def is_spread_over_processes(row: Row) -> bool:
    """Tell whether trials ran in more than one process."""
    processes = row.values["trial_processes"]
    return processes is not None and processes.minimum > 1


def processes_over_threads(rows: Sequence[Row], key: str, where: str) -> str | None:
    """Compare the rates of several processes with those of threads, among rows with as many workers."""
    alike = _by_workers(rows)
    parallel = [
        group for group in alike if any(map(is_threaded, group)) or any(map(is_spread_over_processes, group))
    ]
    sentences = [
        _processes_over_threads(group, key, where + (_with(group[0]) if len(parallel) > 1 else ""))
        for group in alike
    ]
    return " ".join(sentence for sentence in sentences if sentence is not None) or None


def _by_workers(rows: Sequence[Row]) -> list[list[Row]]:
    counts = dict.fromkeys((row.workers, row.limit) for row in rows)
    return [[row for row in rows if (row.workers, row.limit) == count] for count in counts]


def _with(row: Row) -> str:
    """Tell comparisons of several numbers of workers or kinds of limit apart."""
    workers = "an unknown number of" if row.workers is None else str(row.workers)
    return f", with {workers} workers" + (f" and limit {row.limit}" if row.limit is not None else "")


def _processes_over_threads(rows: Sequence[Row], key: str, where: str) -> str | None:
    threaded = [spread for row in rows if is_threaded(row) and (spread := row.values[key])]
    spread_out = [spread for row in rows if is_spread_over_processes(row) and (spread := row.values[key])]
    if not threaded or not spread_out:
        return None
    low, high = statistics.median(s.median for s in threaded), statistics.median(s.median for s in spread_out)
    apart = min(s.minimum for s in spread_out) > max(s.maximum for s in threaded)
    reverse = max(s.maximum for s in spread_out) < min(s.minimum for s in threaded)
    if low <= 0 or high <= 0:
        return None
    if not apart and not reverse:
        return (
            f"Processes and threads, {where}: the ranges overlap ({_interval(spread_out)} and"
            f" {_interval(threaded)} trials/h), so neither is shown to be faster."
        )
    first, second, ratio = (
        ("Processes", "threads", high / low) if apart else ("Threads", "processes", low / high)
    )
    return (
        f"{first} over {second}: {ratio:.2g}× the trials per hour {where}"
        f" (processes {_interval(spread_out)}, threads {_interval(threaded)} trials/h)."
    )


def fastest(rows: Sequence[Row], baseline: str | None) -> str | None:
    """Name the row of the largest speed-up, where it is above 1 in every repeat, and its equals."""
    candidates = [
        (speed_up, row)
        for row in rows
        if row.name != baseline and (speed_up := row.values["speed_up"]) and speed_up.minimum > 1
    ]
    if not candidates:
        return None
    speed_up, row = max(candidates, key=lambda pair: pair[0].median)
    efficiency = row.values["parallel_efficiency"]
    of = f", {efficiency.median:.2f} per worker" if efficiency is not None else ""
    others = [
        other.name for reach, other in candidates if other is not row and reach.maximum >= speed_up.minimum
    ]
    beside = f"; within its range: {_list(others)}" if others else ""
    return f"Fastest: {row.name}, {speed_up.median:.2f}× {baseline}{of}{beside}."


def beyond_its_workers(rows: Sequence[Row], baseline: str | None) -> str | None:
    """List the rows that gained more than their workers can give: a sign of a baseline that was slowed."""
    beyond = [
        f"{row.name} {efficiency.median:.2f}"
        for row in rows
        if row.name != baseline
        and (efficiency := row.values["parallel_efficiency"])
        and efficiency.minimum > 1 + _BEYOND
    ]
    if not beyond:
        return None
    return f"Efficiency above 1: {_list(beyond)}; {baseline} may have been slowed, so measure it again."


def ran_once(rows: Sequence[Row]) -> str | None:
    """Say that the spread is unknown where no configuration was repeated."""
    if len(rows) < 2 or any(len(row.runs) > 1 for row in rows):
        return None
    return "Each configuration ran once, so how much these figures vary from run to run is not known."


def slower_than(rows: Sequence[Row], baseline: str | None) -> str | None:
    """List the rows that were slower than the baseline in every repeat."""
    slower = [
        f"{row.name} {speed_up.median:.2f}×"
        for row in rows
        if row.name != baseline and (speed_up := row.values["speed_up"]) and speed_up.maximum < 1
    ]
    return f"Slower than {baseline}: {_list(slower)}." if slower else None


def dearer_trials(rows: Sequence[Row], baseline: str | None) -> str | None:
    """List the rows whose trials took clearly more CPU than those of the baseline: busy is not progress."""
    reference = next((row.values["core_s_per_trial"] for row in rows if row.name == baseline), None)
    if reference is None or reference.median <= 0:
        return None
    dearer = [
        f"{row.name} {cpu.median / reference.median:.2g}×"
        for row in rows
        if row.name != baseline
        and (cpu := row.values["core_s_per_trial"])
        and cpu.minimum > (1 + _LOOK_CLOSER) * reference.maximum
    ]
    return f"More CPU per trial than {baseline}: {_list(dearer)}." if dearer else None


def waiting(rows: Sequence[Row]) -> str | None:
    """List the rows whose threads were without a core for a large share of their runnable time."""
    waited = [
        f"{row.name} {share.median:.0%}"
        for row in rows
        if (share := row.values["run_queue_wait_share"]) and share.median > _LOOK_CLOSER
    ]
    return f"Runnable threads waited for a core: {_list(waited)} of their time." if waited else None


def long_startup(rows: Sequence[Row]) -> str | None:
    """List the rows whose start-up is a large part of a short run, which lowers their speed-up."""
    slow = [
        f"{row.name} {startup.median:.1f} of {wall.median:.1f} s"
        for row in rows
        if (startup := row.values["startup_s"])
        and (wall := row.values["wall_s"])
        and startup.median > _LOOK_CLOSER * wall.median
    ]
    if not slow:
        return None
    return f"Start-up before the first trial is a large part of these short runs: {_list(slow)}."


def neighbours(rows: Sequence[Row], capacity_cores: float) -> str | None:
    """List the rows that shared the machine with other programs."""
    shared = [
        f"{row.name} {others.maximum:.2g}"
        for row in rows
        if (others := row.values["others_cores_mean"]) and others.maximum > _OTHERS * capacity_cores
    ]
    if not shared:
        return None
    return f"Other programs used cores meanwhile, so these rows may be too slow: {_list(shared)} cores."


def without_result(rows: Sequence[Row]) -> str | None:
    """List the rows that have no result, with the reason."""
    lost = [f"{row.name} ({row.trouble})" for row in rows if row.trouble is not None]
    return f"Without a result: {_list(lost)}." if lost else None


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _range(low: float, high: float) -> str:
    return f"{low:.0f}" if low == high else f"{low:.0f}–{high:.0f}"


def _interval(spreads: Sequence[Spread]) -> str:
    return _range(min(s.minimum for s in spreads), max(s.maximum for s in spreads))
