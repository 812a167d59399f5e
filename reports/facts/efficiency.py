"""How well the workers were used, under the names that POP and VTune gave to it.

*Parallel efficiency* is load balance x serialisation/transfer, as the POP Centre of Excellence defines them ("POP
Standard Metrics for Parallel Performance Analysis", https://pop-coe.eu/node/69): useful time of a process is what it
computes; load balance = mean / maximum of useful time over the processes; communication efficiency = maximum of
useful time / run time; the product is parallel efficiency = mean useful time / run time. 0.8 is POP's line to look
closer. POP divides communication efficiency further, into serialisation and transfer, by simulating an ideal network,
which nothing here can do: the two stay together.

Where it is not the same: useful is *on a core*, start-up left out, so that spinning, pickling and kernel time count as
useful; run time is that of the parallel part alone; a worker with native threads of its own can be useful for more
than the run time; and POP's processes have a core each.

The classes of concurrency have the bounds of Intel VTune's histogram of effective CPU utilisation: poor up to 50 % of
the target, ok up to 85 %, ideal up to 115 %, over beyond it. VTune counts samples; here it is the number of runnable
threads in each bin, those without a core included, so that oversubscription shows.
"""

from __future__ import annotations

import statistics

from corelens.reports.core_time import PROCESSES, Concurrency, Efficiency, Phases, Wave, Worker, Workforce
from corelens.reports.facts import binned
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.spread import spread

POOR, OK, IDEAL = 0.50, 0.85, 1.15
# Below this a thread that wakes to poll is all there is.
IDLE = 0.02
# Looks are a tenth of a second apart: the bounds of anything shorter are noise.
SHORTEST_S, SHORTEST_WAVE_S = 0.5, 0.3
# Threads beside the worker's own count where they did more than this part of what it did.
_LEAST_BESIDE = 0.10
_MORE_THAN_ALL = 1.05


def efficiency(facts: Facts) -> Efficiency:
    """Sum up the parallel part; needs `workforce` and `phases` of the report."""
    workforce, phases = facts.report.workforce, facts.report.phases
    concurrency = _concurrency(facts)
    why = _why_not(workforce, phases)
    if why is not None or workforce is None or phases is None:
        return Efficiency(None, None, None, None, why, None, None, concurrency)
    return _of_workers(facts, workforce, phases, concurrency)


def _why_not(workforce: Workforce | None, phases: Phases | None) -> str | None:
    if workforce is None or phases is None or not workforce.workers:
        return "no workers"
    lengths = [wave.end_s - wave.ready_s for wave in phases.waves]
    if sum(lengths) < SHORTEST_S or statistics.median(lengths) < SHORTEST_WAVE_S:
        return "the parallel part is too short against the time between two looks"
    return None


def _of_workers(facts: Facts, workforce: Workforce, phases: Phases, concurrency: Concurrency) -> Efficiency:
    wide = _with_threads(facts, workforce)
    together = [
        (wave, [_useful_in(wave, worker, wide) for worker in _members(workforce, wave)])
        for wave in phases.waves
        if wave.end_s > wave.ready_s
    ]
    useful = sum(sum(each) for _, each in together)
    largest = sum(len(each) * max(each, default=0.0) for _, each in together)
    could = sum(len(each) * (wave.end_s - wave.ready_s) for wave, each in together)
    length_s = sum(wave.end_s - wave.ready_s for wave, _ in together)
    shares = [each / (wave.end_s - wave.ready_s) for wave, every in together for each in every]
    return Efficiency(
        parallel_efficiency=useful / could if could else None,
        load_balance=useful / largest if largest else None,
        serialisation_transfer=largest / could if could else None,
        core_efficiency=useful / (facts.report.capacity.cores * length_s),
        note=_note(facts, workforce, wide),
        useful_share=spread(shares),
        run_queue_wait_share=spread(
            worker.queue_s / (worker.run_s + worker.queue_s)
            for worker in workforce.workers
            if worker.run_s + worker.queue_s > 0
        ),
        concurrency=concurrency,
    )


def useful_s(worker: Worker) -> float:
    """On a core after its start-up."""
    return max(0.0, worker.run_s - worker.startup_run_s)


def _useful_in(wave: Wave, worker: Worker, wide: frozenset[int]) -> float:
    """One thread cannot be useful for longer than the wave, whose bounds are known to a tenth of a second."""
    useful = useful_s(worker)
    return useful if worker.tid in wide else min(useful, wave.end_s - wave.ready_s)


def _with_threads(facts: Facts, workforce: Workforce) -> frozenset[int]:
    """Workers whose other threads did a part of their work."""
    if workforce.form != PROCESSES:
        return frozenset()
    worked: set[int] = set()
    processes = {process.pid: process for process in facts.processes}
    for worker in workforce.workers:
        threads = processes[worker.pid].threads
        beside = sum(thread.run_s for thread in threads if thread.tid != worker.tid)
        if beside > _LEAST_BESIDE * useful_s(worker):
            worked.add(worker.tid)
    return frozenset(worked)


def _members(workforce: Workforce, wave: Wave) -> list[Worker]:
    return [worker for worker in workforce.workers if wave.begin_s <= worker.born_s <= wave.last_born_s]


def _note(facts: Facts, workforce: Workforce, wide: frozenset[int]) -> str | None:
    cores = facts.report.capacity.cores
    if wide:
        return "workers have threads of their own at work: their useful time is that of several cores"
    if workforce.at_once > cores * _MORE_THAN_ALL:
        return (
            f"{workforce.at_once} workers share {cores:.4g} cores: on average none can be useful for more than"
            f" {cores / workforce.at_once:.2f} of the time, where POP gives a core to each"
        )
    return None


def _concurrency(facts: Facts) -> Concurrency:
    threads = [thread for process in facts.processes for thread in process.threads]
    runnable = binned.added(
        binned.gathered(facts, (thread.run_s_by_bin for thread in threads)),
        binned.gathered(facts, (thread.queue_s_by_bin for thread in threads)),
    )
    spent = {"idle": 0.0, "poor": 0.0, "ok": 0.0, "ideal": 0.0, "over": 0.0}
    for wanted_s, width_s, cores in zip(
        runnable, binned.widths(facts), facts.report.timeline.capacity_cores, strict=True
    ):
        if width_s > 0:
            spent[_class(wanted_s / (width_s * cores))] += width_s
    return Concurrency(*(spent[name] for name in ("idle", "poor", "ok", "ideal", "over")))


def _class(share: float) -> str:
    if share <= IDLE:
        return "idle"
    return "poor" if share <= POOR else "ok" if share <= OK else "ideal" if share <= IDEAL else "over"
