"""The thread ledger: every thread of every process with its owner, at the peaks and over time.

Whatever is listed, the lines of a process add up to the kernel's count of that moment: `presence` says how what
was listed and what was counted are reconciled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts import ledger_check, owned
from corelens.reports.facts.activity import Activity, activity
from corelens.reports.facts.bins import Grid, Levels, value_at, when_largest
from corelens.reports.facts.ledger_check import Observed
from corelens.reports.facts.ledger_inputs import Inference
from corelens.reports.facts.ledger_lines import Group, groups, owner_of, reading_order
from corelens.reports.facts.ledger_program import Program, program, workers
from corelens.reports.facts.owned import Owned
from corelens.reports.facts.population import Population, agent_threads
from corelens.reports.facts.presence import Present, present
from corelens.reports.facts.processes import Life, Lives
from corelens.reports.facts.thread_model import predict
from corelens.reports.facts.threads import Thread
from corelens.reports.facts.tree import label
from corelens.reports.report import OwnerSeries, ProcessLedger, ProcessSeries, ThreadLedger, Trial

# A row of numbers per owner and process: enough for a pool of workers, and no burden in the JSON of a large tree.
MOST_SERIES = 16
_NS_PER_S = 1_000_000_000
_UNMODELLED = {
    "raylet": "Ray decides how many threads its raylet has",
    "gcs-server": "Ray decides how many threads its GCS has",
    "ray-service": "Ray decides how many threads its services have",
    "ray-worker": "Ray decides how many threads its workers have; 22 or 23 were counted in idle ones of Ray 2.60",
}

Rolls = dict[Life, dict[int, Present]]
"""Who was there: by process and moment."""


def ledger(
    recording: Recording,
    lives: Lives,
    people: Population,
    threads: Iterable[Thread],
    owned_by: Mapping[Thread, Owned],
    grid: Grid,
    counted: Sequence[int | None] = (),
    trials: Iterable[Trial] = (),
) -> ThreadLedger:
    """Account for every thread. `counted` are the timeline's threads per bin: None where nobody looked."""
    everyone = list(threads)
    own = _own_peaks(people)
    bins = when_largest(people.threads, grid)
    rolls = _rolls(recording, lives, people, everyone, [people.peak_ns, *(t_ns for t_ns, _ in bins)], own)
    at_peak = [(life, people.peak_ns) for life in lives.all if life in people.peak_threads]
    alone = [(life, t_ns) for life, t_ns in own.items() if t_ns != people.peak_ns]
    made = _processes(
        _Facts(recording, program(recording, lives, trials), owned_by),
        [(life, rolls[life][t_ns]) for life, t_ns in (*at_peak, *alone)],
    )
    there = tuple(made[: len(at_peak)])
    series = _Series([t_ns for t_ns, _ in bins], owned_by, counted)
    return ThreadLedger(
        at_s=people.peak_ns / _NS_PER_S,
        threads=people.peak,
        equation=_tree_equation(people.peak, there),
        processes=there,
        own_peaks=tuple(made[len(at_peak) :]),
        over_time=series.of(rolls.values()),
        by_process=tuple(
            ProcessSeries(life.pid, life.role, series.of([rolls[life]])) for life in _largest(people)
        ),
    )


def _own_peaks(people: Population) -> dict[Life, int]:
    """The first moment of most threads of each process that has more of them than at the peak of the tree."""
    found: dict[Life, int] = {}
    for life, levels in people.levels.items():
        most = max(count for _, count in levels)
        if most > people.peak_threads.get(life, 0):
            found[life] = next(t_ns for t_ns, count in levels if count == most)
    return found


def _rolls(
    recording: Recording,
    lives: Lives,
    people: Population,
    threads: list[Thread],
    moments: list[int],
    own: dict[Life, int],
) -> Rolls:
    agents = agent_threads(recording, lives, threads)
    by_life: dict[Life, list[Thread]] = {}
    for thread in threads:
        if thread.life is not None and thread not in agents:
            by_life.setdefault(thread.life, []).append(thread)
    rolls: Rolls = {}
    for life, levels in people.levels.items():
        times: set[int] = {*moments, own.get(life, moments[0])}
        counts = [(t_ns, count) for t_ns in sorted(times) if (count := _count_at(levels, t_ns))]
        called = present(recording, by_life.get(life, ()), counts)
        rolls[life] = {each.t_ns: each for each in called}
    return rolls


def _count_at(levels: Levels, t_ns: int) -> int:
    return 0 if t_ns < levels[0][0] else int(value_at(levels, t_ns))


@dataclass(frozen=True, slots=True)
class _Facts:
    recording: Recording
    known: Program
    owned_by: Mapping[Thread, Owned]


def _processes(facts: _Facts, moments: list[tuple[Life, Present]]) -> list[ProcessLedger]:
    active = activity(facts.recording, [(each.t_ns, each.threads) for _, each in moments])
    return [_process(facts, life, each, busy) for (life, each), busy in zip(moments, active, strict=True)]


def _process(facts: _Facts, life: Life, there: Present, active: Activity) -> ProcessLedger:
    at_work = workers(facts.known, life, there.threads, facts.owned_by)
    together = groups(there.threads, facts.owned_by, at_work)
    inference = Inference(facts.known, life, there.t_ns, together, at_work)
    reason = _why_not(life, together)
    prediction = None if reason is not None else predict(inference.inputs())
    lines = ledger_check.lines(Observed(there, together, at_work, active), prediction, inference.unknown)
    lacking = sorted({f"{copy or kind}: {why}" for (kind, copy), why in inference.unknown.items()})
    total = prediction.total if prediction is not None and not lacking else None
    return ProcessLedger(
        pid=life.pid,
        role=life.role,
        name=label(life),
        at_s=there.t_ns / _NS_PER_S,
        threads=there.count,
        equation=ledger_check.equation(there.count, lines),
        lines=lines,
        predicted=total,
        difference=None if total is None else there.count - total,
        predicted_equation=None if prediction is None or total is None else prediction.equation(),
        inputs=tuple(inference.listed),
        differences=() if prediction is None else ledger_check.differences(lines, prediction.terms),
        reason=reason or ("; ".join(lacking) or None),
    )


def _why_not(life: Life, together: list[Group]) -> str | None:
    """Why nothing is predicted for a process; None where it is."""
    known = [group for group in together if group.owner.kind not in (owned.MAIN, owned.UNKNOWN)]
    if len(together) > 1 and not known:
        return f"no owner of its threads is known: {together[-1].owner.reason}"
    return _UNMODELLED.get(life.role)


def _tree_equation(total: int, processes: Sequence[ProcessLedger]) -> str:
    """The sum over processes in words; of one process, its own."""
    if len(processes) == 1:
        return processes[0].equation
    alike = Counter((process.role, process.threads) for process in processes)
    parts = [
        f"{threads} {role}" if times == 1 else f"{times} x {threads} {role}"
        for (role, threads), times in alike.items()
    ]
    return f"{total} = {' + '.join(parts)}"


def _largest(people: Population) -> list[Life]:
    return sorted(people.levels, key=lambda life: -people.by_life[life])[:MOST_SERIES]


class _Series:
    """Threads by kind of owner in each bin; the same threads are counted once."""

    def __init__(
        self, moments: list[int], owned_by: Mapping[Thread, Owned], counted: Sequence[int | None]
    ) -> None:
        self._moments = moments
        self._owned_by = owned_by
        self._blind = {place for place, value in enumerate(counted) if value is None}
        self._counts: dict[tuple[Thread, ...], Counter[str]] = {}

    def of(self, rolls: Iterable[dict[int, Present]]) -> tuple[OwnerSeries, ...]:
        """The series of some processes together."""
        bins = [Counter[str]() for _ in self._moments]
        for by_moment in rolls:
            for place, t_ns in enumerate(self._moments):
                if t_ns in by_moment:
                    bins[place].update(self._kinds(by_moment[t_ns]))
        seen = sorted({kind for each in bins for kind in each if each[kind]}, key=reading_order)
        return tuple(OwnerSeries(kind, self._blinded([each[kind] for each in bins])) for kind in seen)

    def _kinds(self, there: Present) -> Counter[str]:
        counts = self._counts.get(there.threads)
        if counts is None:
            counts = Counter(owner_of(thread, self._owned_by).kind for thread in there.threads)
            self._counts[there.threads] = counts
        counts = counts.copy()
        counts[owned.SHORT_LIVED] += there.unlisted
        return counts

    def _blinded(self, counts: list[int]) -> tuple[int | None, ...]:
        return tuple(None if place in self._blind else count for place, count in enumerate(counts))
