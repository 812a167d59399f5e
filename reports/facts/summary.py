"""One recording, summed up: every subject's facts put together into a report."""

from __future__ import annotations

from corelens.errors import NothingMeasured
from corelens.recording import Recording
from corelens.reports.facts import (
    bins,
    capacity,
    clocks,
    cores,
    cpu,
    ledger,
    memory,
    owners,
    pools,
    population,
    processes,
    reaped,
    recorder_cost,
    source,
    stacks,
    thread_limits,
    threads,
    timeline,
    tree,
    trials,
    unseen,
    workers,
)
from corelens.reports.facts.owners import Symbols, no_symbols
from corelens.reports.facts.pace import Pace
from corelens.reports.report import Report, ThreadCount

_NS_PER_S = 1_000_000_000


def summarise(recording: Recording, symbols: Symbols = no_symbols) -> Report:
    """Sum a recording up; needs neither the machine nor the time of day.

    `symbols` names functions of libraries, which tells a few more owners of threads apart.
    Raises NothingMeasured when no process was ever seen.
    """
    if not recording.lines("process.born"):
        raise NothingMeasured(
            f"{recording.path} holds no process: recording ended before the first look",
            "record again, for longer",
        )
    lives = processes.lives(recording)
    wall_ns = wall(recording, lives)
    grid = bins.grid_for(wall_ns, Pace(recording, "tree").first_ns)
    clock = clocks.clocks(recording, lives, grid)
    hidden = reaped.hidden(recording, lives, clock)
    thread = threads.threads(recording, lives, grid)
    people = population.population(recording, lives, thread.all)
    core = cores.cores(recording, grid)
    size = memory.sizes(recording, lives)
    marked = trials.marked(recording, wall_ns / _NS_PER_S)
    found = marked.trials.trials if marked.trials else ()
    limits = capacity.capacity(recording, wall_ns)
    cost = recorder_cost.recorder(recording)
    origin = source.source(recording, lives.root)
    at_work = workers.workers(lives, found)
    steps = timeline.timeline(recording, grid, clock.busy, thread.waiting, people, size, core)
    owned_by = owners.owners(recording, lives, thread.all, symbols)
    accounted = ledger.ledger(recording, lives, people, thread.all, owned_by, grid, steps.threads, found)
    seen = unseen.Seen(origin, clock, hidden, core, size, marked, cost)
    return Report(
        source=origin,
        host=source.host(recording),
        wall_s=wall_ns / _NS_PER_S,
        capacity=limits,
        cpu=cpu.cpu(recording, cpu.Used(wall_ns, clock, hidden, thread, core, limits, cost)),
        threads=ThreadCount(
            peak=people.peak,
            peak_s=people.peak_ns / _NS_PER_S,
            mean=bins.time_mean([(0, 0), *people.threads], 0, wall_ns) or 0.0,
            born=len(thread.all) - len(population.agent_threads(recording, lives, thread.all)),
        ),
        processes_peak=people.processes_peak,
        processes_total=len(lives.all),
        roles=workers.roles(lives, clock, people),
        processes=tuple(cpu.process(life, clock, thread, people, size) for life in lives.all),
        tree=tree.tree(lives, people.peak_threads),
        tree_at_s=people.peak_ns / _NS_PER_S,
        timeline=steps,
        pools=pools.pools(recording, lives),
        views=pools.views(recording, lives),
        memory=memory.memory(at_work, lives.root, size),
        trials=marked.trials,
        packages=source.packages(recording),
        recorder=cost,
        unseen=unseen.unseen(recording, seen),
        ledger=accounted,
        limits=thread_limits.limits(recording, lives, owned_by),
        stacks=stacks.stacks(recording, lives),
    )


def wall(recording: Recording, lives: processes.Lives) -> int:
    """Length in ns: until the target ended, or recording did; at least one."""
    if lives.root.died_ns is not None:
        return max(lives.root.died_ns, 1)
    return max(recording.footer["t_ns"] if recording.footer else recording.last_ns, 1)
