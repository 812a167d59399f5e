"""Core-seconds of the whole tree, of each process, and of everybody else."""

from __future__ import annotations

from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts.bins import NS_PER_S
from corelens.reports.facts.clocks import Clocks
from corelens.reports.facts.cores import Cores
from corelens.reports.facts.memory import Sizes
from corelens.reports.facts.population import Population
from corelens.reports.facts.processes import Life
from corelens.reports.facts.reaped import Hidden
from corelens.reports.facts.threads import Threads
from corelens.reports.report import Capacity, Cpu, Process, Recorder


@dataclass(frozen=True, slots=True)
class Used:
    """Everything that CPU figures are made of."""

    wall_ns: int
    clocks: Clocks
    hidden: Hidden
    threads: Threads
    cores: Cores | None
    capacity: Capacity
    recorder: Recorder

    @property
    def used_ns(self) -> int:
        """CPU of the whole tree."""
        return self.clocks.used_ns + self.hidden.total_ns


def cpu(recording: Recording, used: Used) -> Cpu:
    """Sum up the CPU of the tree."""
    busy_cores = used.used_ns / used.wall_ns
    run_ns, wait_ns = used.threads.ran_ns, used.threads.waited_ns
    return Cpu(
        used_core_s=used.used_ns / NS_PER_S,
        by_process_clock_core_s=used.clocks.used_ns / NS_PER_S,
        user_share=_user_share(recording),
        busy_cores_mean=busy_cores,
        busy_cores_peak=max(used.clocks.busy.rates()),
        utilisation=busy_cores / used.capacity.cores,
        run_queue_wait_s=wait_ns / NS_PER_S,
        run_queue_wait_share=wait_ns / (run_ns + wait_ns) if run_ns + wait_ns else None,
        others_cores_mean=_others(used),
        steal_cores_mean=used.cores.steal_cores if used.cores else None,
    )


def process(life: Life, clocks: Clocks, threads: Threads, population: Population, sizes: Sizes) -> Process:
    """Sum up one process."""
    return Process(
        pid=life.pid,
        ppid=life.ppid,
        role=life.role,
        comm=life.comm,
        argv=life.argv,
        born_s=life.born_ns / NS_PER_S,
        died_s=None if life.died_ns is None else life.died_ns / NS_PER_S,
        exit_code=life.exit_code,
        signal=life.signal,
        used_core_s=clocks.by_life[life].used_ns / NS_PER_S,
        run_queue_wait_s=threads.waited_by_life.get(life, 0) / NS_PER_S,
        threads_peak=population.by_life.get(life, 1),
        rss_peak_bytes=sizes.rss.get(life),
        pss_peak_bytes=sizes.pss.get(life),
        affinity_cores=life.affinity_cores,
        variables=life.variables,
        major_faults=sizes.major_faults.get(life),
    )


def _others(used: Used) -> float | None:
    """Busy time of all cores, less that of the tree and of the recorder; interrupts count as others'."""
    cores = used.cores
    if cores is None or cores.span_ns <= 0:
        return None
    busy = used.clocks.busy
    tree_ns = busy.until(cores.last_ns) - busy.until(cores.first_ns)
    own_ns = used.recorder.own_cores * cores.span_ns
    return max(0.0, cores.busy_ns - tree_ns - own_ns) / cores.span_ns


def _user_share(recording: Recording) -> float | None:
    footer = recording.footer
    if footer is not None and footer["user_ns"] is not None and footer["system_ns"] is not None:
        return _share(footer["user_ns"], footer["system_ns"])
    user_ns = system_ns = 0
    before: dict[int, tuple[int, int]] = {}
    for line in recording.lines("process.detail"):
        for pid, user, system in zip(line["pid"], line["user_ns"], line["system_ns"], strict=False):
            # Counters that go backwards are those of another process with the pid.
            then = before.get(pid, (user, system))
            user_ns += max(0, user - then[0])
            system_ns += max(0, system - then[1])
            before[pid] = (user, system)
    return _share(user_ns, system_ns)


def _share(user_ns: int, system_ns: int) -> float | None:
    return user_ns / (user_ns + system_ns) if user_ns + system_ns > 0 else None
