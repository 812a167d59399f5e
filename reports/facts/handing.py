"""What it costs a crew to be handed its work: the boss's own work, its messages, and the bytes in them.

Three readings tell the three kinds apart: how often the threads of the boss stop and go on for each second on a core
(messages), how many fresh pages boss and workers touch for it, or bytes they read and write (large messages), and
where the boss's code was seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from corelens.reports.facts.code_places import Tally, is_startup, place, tally, work
from corelens.reports.facts.crew import RAY, Crew, Worker
from corelens.reports.facts.crew_time import CrewTime, crew_time
from corelens.reports.facts.facts import Facts, ProcessFacts, ThreadFacts
from corelens.reports.facts.owned import NATIVE_POOLS
from corelens.reports.facts.stack_samples import Frame

PAGE_BYTES = 4096
# Starting an interpreter with the usual libraries touches about so many fresh pages (NumPy, joblib: 5 to 9 thousand;
# torch and Ray: 20 to 35 thousand): they say nothing of messages.
_START_PAGES = 10_000
_START_PAGES_RAY = 35_000
# Five looks at ten a second.
LEAST_SPAN_S = 0.5
# What does not fit into a pipe (64 KiB) stops its writer; some that are a fourth of it fill it as well.
LARGE_MESSAGE_BYTES = 16_384
# Pickling, writing, reading and unpickling plain objects moves 50 to 200 MB in a second on a core; a tenth is work
# that shows.
LARGE_RATE_BYTES_PER_S = 10e6
# 80 MB of fresh memory for each second on a core, both where messages are written and where they are read.
LARGE_PAGES_PER_CORE_S = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Handing:
    """One crew whose boss is at work."""

    crew: Crew
    time: CrewTime
    boss_run_s: float
    """CPU of the boss while the crew was there."""
    busiest: ThreadFacts
    """Thread of the boss with most of it."""
    busiest_cores: float
    wakes_per_s: float
    """How often threads of the boss blocked and went on, in a second of the span; 0 where it was not read."""
    wakes_per_core_s: float
    """The same for each second on a core of the thread that woke most."""
    worker_wakes_per_s: float
    """Of one worker, on average."""
    worker_run_s: float
    worker_user_s: float | None
    """Of it outside of the kernel: no more than this was work; None where it was not read."""
    boss_pages_per_core_s: float
    worker_pages_per_core_s: float
    """Fresh pages touched per second on a core, start-up left out."""
    written_bytes_per_call: float | None
    """Size of what boss or workers write, whichever writes more; None in recordings that do not tell."""
    moved_bytes_per_s: float | None
    code: Tally
    """Where code of the boss was seen while active."""
    worker_code: Tally
    busiest_place: str | None
    """Where the busiest thread was seen at work of its own."""

    @property
    def lasts(self) -> bool:
        """Whether the crew was there long enough to say anything of how it works."""
        return self.time.span_s >= LEAST_SPAN_S

    @property
    def starved_share(self) -> float:
        """Part of the workers that waited for tasks, on average."""
        return self.time.starving / len(self.crew.workers)

    @property
    def sending_share(self) -> float:
        """Part of the workers that waited for room to send a result, on average."""
        return (
            sum(worker.sending_s for worker in self.crew.workers) / len(self.crew.workers) / self.time.span_s
        )


def handing(facts: Facts, crew: Crew) -> Handing:
    """Sum up how one crew gets its work."""
    time, boss = crew_time(facts, crew), crew.boss
    busiest = crew.busiest_boss
    start_pages = _START_PAGES_RAY if crew.kind == RAY else _START_PAGES
    busy_s = time.boss_cores * time.span_s
    run_s = sum(thread.run_s for thread in crew.bosses) or 1e-9
    wakes = max(crew.bosses, key=lambda thread: thread.voluntary or 0)
    workers = crew.workers
    places = _places(facts, boss, busiest)
    size, rate = _bytes(crew, time)
    return Handing(
        crew=crew,
        time=time,
        boss_run_s=min(busy_s, run_s),
        busiest=busiest,
        busiest_cores=min(1.0, busiest.wanted_s / time.span_s),
        wakes_per_s=sum(thread.voluntary or 0 for thread in crew.bosses) / time.span_s,
        wakes_per_core_s=(wakes.voluntary or 0) / max(wakes.run_s, 0.05),
        worker_wakes_per_s=sum(worker.wakes for worker in workers) / len(workers) / time.span_s,
        worker_run_s=sum(worker.run_s for worker in workers),
        worker_user_s=_user_s(workers),
        boss_pages_per_core_s=_pages(boss, start_pages, run_s),
        worker_pages_per_core_s=sum(
            _pages(worker.process, start_pages, max(worker.run_s, 0.2)) for worker in workers
        )
        / len(workers),
        written_bytes_per_call=size,
        moved_bytes_per_s=rate,
        code=tally(facts.samples_of(boss)),
        worker_code=tally(one for worker in workers for one in facts.samples_of(worker.process)),
        busiest_place=place(places[-1]) if places else None,
    )


def _places(facts: Facts, boss: ProcessFacts, busiest: ThreadFacts) -> list[Frame]:
    """Where the boss was at work: its busiest thread, or another when that one was never looked at.

    A generator may be drained by whichever thread hands the next task out.
    """
    active = [one for one in facts.samples_of(boss) if one.active is not False and not is_startup(one)]
    seen = [(one.tid, frame) for one in active if (frame := work(one)) is not None]
    return [frame for tid, frame in seen if tid == busiest.tid] or [frame for _, frame in seen]


def moves_much(handing: Handing) -> bool | None:
    """Whether the messages are large: by their bytes where these are told, else by fresh pages on both sides."""
    size, rate = handing.written_bytes_per_call, handing.moved_bytes_per_s
    if size is not None and rate is not None and handing.crew.kind != RAY:
        return size >= LARGE_MESSAGE_BYTES and rate >= LARGE_RATE_BYTES_PER_S
    return min(handing.boss_pages_per_core_s, handing.worker_pages_per_core_s) >= LARGE_PAGES_PER_CORE_S


def machinery_run_s(crew: Crew) -> float:
    """CPU of threads of the workers' processes that take no tasks: what a library needs to move messages."""
    return sum(
        thread.run_s
        for worker in crew.workers
        for thread in worker.process.threads
        if thread is not worker.thread and thread.owner.kind not in NATIVE_POOLS
    )


def _pages(process: ProcessFacts, start_pages: int, run_s: float) -> float:
    return max(0, (process.minor_faults or 0) - start_pages) / run_s


def _user_s(workers: tuple[Worker, ...]) -> float | None:
    """The kernel tells user and system time in steps: their ratio holds for what the precise clock counted."""
    total = 0.0
    for worker in workers:
        user_s, system_s = worker.process.user_s, worker.process.system_s
        if user_s is None or system_s is None:
            return None
        whole = user_s + system_s
        total += worker.run_s * (user_s / whole if whole > 0 else 1.0)
    return total


def _bytes(crew: Crew, time: CrewTime) -> tuple[float | None, float | None]:
    processes = (crew.boss, *(worker.process for worker in crew.workers))
    rows = [(process.write_chars, process.write_calls) for process in processes]
    known = [(chars, calls) for chars, calls in rows if chars is not None and calls is not None]
    if len(known) < len(rows):
        return None, None
    chars, calls = max(known, key=lambda row: row[0])
    return chars / max(calls, 1), sum(chars for chars, _ in known) / time.span_s
