"""One recording, summed up: every subject's facts put together into a report."""

from __future__ import annotations

from dataclasses import dataclass, replace

from corelens.errors import NothingMeasured
from corelens.recording import Recording
from corelens.reports.facts import (
    actors,
    bins,
    blocked,
    capacity,
    clocks,
    core_time,
    cores,
    cpu,
    efficiency,
    interlock,
    ledger,
    memory,
    memory_strain,
    owners,
    phases,
    pools,
    population,
    processes,
    quotas,
    reaped,
    recorder_cost,
    short_lived,
    source,
    stacks,
    standstill,
    taken,
    thread_limits,
    threads,
    timeline,
    tree,
    trials,
    unseen,
    variables_now,
    workers,
    workforce,
)
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.owners import Symbols, no_symbols
from corelens.reports.facts.pace import Pace
from corelens.reports.facts.stack_samples import python_names, stack_samples
from corelens.reports.report import Report, ThreadCount, Trial

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Basis:
    """Facts that several parts of a report are made of."""

    recording: Recording
    lives: processes.Lives
    wall_ns: int
    grid: bins.Grid
    clock: clocks.Clocks
    hidden: reaped.Hidden
    thread: threads.Threads
    people: population.Population
    core: cores.Cores | None
    size: memory.Sizes
    marked: trials.Marked

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The marked trials; none where nothing was marked."""
        return self.marked.trials.trials if self.marked.trials else ()


def summarise(recording: Recording, symbols: Symbols = no_symbols) -> Report:
    """Sum a recording up, without a diagnosis; see `facts`."""
    return facts(recording, symbols).report


def facts(recording: Recording, symbols: Symbols = no_symbols) -> Facts:
    """Sum a recording up for the rules; needs neither the machine nor the time of day.

    `symbols` names functions of libraries, which tells a few more owners of threads apart.
    Raises NothingMeasured when no process was ever seen.
    """
    if not recording.lines("process.born"):
        raise NothingMeasured(
            f"{recording.path} holds no process: recording ended before the first look",
            "record again, for longer",
        )
    basis = _basis(recording)
    return _with_threads(_overview(basis), basis, symbols)


def _basis(recording: Recording) -> _Basis:
    lives = processes.lives(recording)
    wall_ns = wall(recording, lives)
    grid = bins.grid_for(wall_ns, Pace(recording, "tree").first_ns)
    clock = clocks.clocks(recording, lives, grid)
    thread = threads.threads(recording, lives, grid)
    return _Basis(
        recording=recording,
        lives=lives,
        wall_ns=wall_ns,
        grid=grid,
        clock=clock,
        hidden=reaped.hidden(recording, lives, clock),
        thread=thread,
        people=population.population(recording, lives, thread.all),
        core=cores.cores(recording, grid),
        size=memory.sizes(recording, lives),
        marked=trials.marked(recording, wall_ns / _NS_PER_S),
    )


def _overview(basis: _Basis) -> Report:
    """Everything but what single threads tell."""
    recording, lives, clock, people, size = (
        basis.recording, basis.lives, basis.clock, basis.people, basis.size,
    )  # fmt: skip
    limits = capacity.capacity(recording, basis.wall_ns)
    cost = recorder_cost.recorder(recording)
    origin = source.source(recording, lives.root)
    used = cpu.Used(basis.wall_ns, clock, basis.hidden, basis.thread, basis.core, limits, cost)
    seen = unseen.Seen(origin, clock, basis.hidden, basis.core, size, basis.marked, cost)
    waiting = basis.thread.waiting
    return Report(
        source=origin,
        host=source.host(recording),
        wall_s=basis.wall_ns / _NS_PER_S,
        capacity=limits,
        cpu=cpu.cpu(recording, used),
        threads=_thread_count(basis),
        processes_peak=people.processes_peak,
        processes_total=len(lives.all),
        roles=workers.roles(lives, clock, people),
        processes=tuple(cpu.process(life, clock, basis.thread, people, size) for life in lives.all),
        tree=tree.tree(lives, people.peak_threads),
        tree_at_s=people.peak_ns / _NS_PER_S,
        timeline=timeline.timeline(recording, basis.grid, clock.busy, waiting, people, size, basis.core),
        pools=pools.pools(recording, lives),
        views=pools.views(recording, lives),
        memory=memory.memory(workers.workers(lives, basis.trials), lives.root, size),
        trials=basis.marked.trials,
        packages=source.packages(recording),
        recorder=cost,
        unseen=unseen.unseen(recording, seen),
    )


def _thread_count(basis: _Basis) -> ThreadCount:
    people, everyone = basis.people, basis.thread.all
    return ThreadCount(
        peak=people.peak,
        peak_s=people.peak_ns / _NS_PER_S,
        mean=bins.time_mean([(0, 0), *people.threads], 0, basis.wall_ns) or 0.0,
        born=len(everyone) - len(population.agent_threads(basis.recording, basis.lives, everyone)),
    )


def _with_threads(report: Report, basis: _Basis, symbols: Symbols) -> Facts:
    """Add what single threads tell: who made them, what held them up, where their Python code was."""
    recording, lives, grid, everyone = basis.recording, basis.lives, basis.grid, basis.thread.all
    owned = owners.owners(recording, lives, everyone, symbols)
    samples = stack_samples(recording, lives)
    held = blocked.Blocked(recording, lives, grid, samples)
    held_up = interlock.interlock(recording, lives, grid, everyone, owned, samples, more=[held])
    over_time = report.timeline.threads
    python = stacks.stacks(recording, lives, samples)
    names = python_names(recording, lives)
    acted = actors.processes(actors.Sources(recording, lives, basis.clock, owned, names, held_up.doings))
    still = standstill.still(recording, lives, basis.wall_ns, owned, tuple(samples))
    whole = replace(
        report,
        ledger=ledger.ledger(recording, lives, basis.people, everyone, owned, grid, over_time, basis.trials),
        short_lived=short_lived.told(short_lived.short_lived(recording, lives, everyone, basis.clock)),
        limits=thread_limits.limits(recording, lives, owned),
        stacks=python and replace(python, gil_waiters=held_up.gil_waiters, lock_waiters=held_up.lock_waiters),
        gil=held_up.gil,
        waits=held_up.waits,
        process_waits=held_up.process_waits,
        locks=held_up.locks,
        standstill=standstill.told(still, acted),
    )
    root = next(process for process in acted if process.life is lives.root)
    known = Facts(
        report=whole,
        processes=acted,
        root=root,
        samples=tuple(samples),
        strain=memory_strain.memory_strain(recording),
        quotas=quotas.quotas(recording),
        variables_now=variables_now.variables_now(recording, lives),
        standstill=still,
    )
    return _with_core_time(known, held, taken.taken(recording, grid))


def _with_core_time(known: Facts, held: blocked.Blocked, gone: taken.Taken) -> Facts:
    """Add who worked and when, and where the core time went."""
    hands = workforce.hands(known, held.first_wait_s())
    cut = phases.phases(known, hands.said)
    known = replace(known, report=replace(known.report, workforce=hands.said, phases=cut))
    whole = replace(
        known.report,
        core_time_ledger=core_time.core_time(known, hands, held, gone),
        efficiency=efficiency.efficiency(known),
    )
    return replace(known, report=whole)


def wall(recording: Recording, lives: processes.Lives) -> int:
    """Length in ns: until the target ended, or recording did; at least one."""
    if lives.root.died_ns is not None:
        return max(lives.root.died_ns, 1)
    return max(recording.footer["t_ns"] if recording.footer else recording.last_ns, 1)
