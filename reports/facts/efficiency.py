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

from collections.abc import Iterable

from corelens.reports.core_time import Concurrency, Efficiency, Phases, Wave, Worker, Workforce
from corelens.reports.facts import binned
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.spread import spread

POOR, OK, IDEAL = 0.50, 0.85, 1.15
# Below this a thread that wakes to poll is all there is.
IDLE = 0.02
# Useful time beyond the run time by more than this is native threads, and no jitter.
_MORE_THAN_ONE = 1.05


def efficiency(facts: Facts) -> Efficiency:
    """Sum up the parallel part; needs `workforce` and `phases` of the report."""
    workforce, phases = facts.report.workforce, facts.report.phases
    concurrency = _concurrency(facts)
    if workforce is None or phases is None or not workforce.workers or not _length_s(phases.waves):
        why = "no workers" if workforce is None or not workforce.workers else "no parallel part"
        return Efficiency(None, None, None, None, why, None, None, concurrency)
    return _of_workers(facts, workforce, phases, concurrency)


def _of_workers(facts: Facts, workforce: Workforce, phases: Phases, concurrency: Concurrency) -> Efficiency:
    together = [(wave, [useful_s(worker) for worker in _members(workforce, wave)]) for wave in phases.waves]
    useful = sum(sum(each) for _, each in together)
    largest = sum(len(each) * max(each, default=0.0) for _, each in together)
    could = sum(len(each) * (wave.end_s - wave.ready_s) for wave, each in together)
    shares = [
        useful_s(worker) / (wave.end_s - wave.ready_s)
        for wave in phases.waves
        if wave.end_s > wave.ready_s
        for worker in _members(workforce, wave)
    ]
    return Efficiency(
        parallel_efficiency=useful / could if could else None,
        load_balance=useful / largest if largest else None,
        serialisation_transfer=largest / could if could else None,
        core_efficiency=useful / (facts.report.capacity.cores * _length_s(phases.waves)),
        note=_note(facts, workforce, shares),
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


def _members(workforce: Workforce, wave: Wave) -> list[Worker]:
    return [worker for worker in workforce.workers if wave.begin_s <= worker.born_s <= wave.last_born_s]


def _length_s(waves: Iterable[Wave]) -> float:
    return sum(wave.end_s - wave.ready_s for wave in waves)


def _note(facts: Facts, workforce: Workforce, shares: list[float]) -> str | None:
    if max(shares, default=0.0) > _MORE_THAN_ONE:
        return "workers have native threads of their own: their useful time is that of several cores"
    if workforce.at_once > facts.report.capacity.cores * _MORE_THAN_ONE:
        best = facts.report.capacity.cores / workforce.at_once
        return (
            f"{workforce.at_once} workers share {facts.report.capacity.cores:g} cores: none can be useful for"
            f" more than {best:.2f} of the time on average, where POP gives a core to each"
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
