"""What a report does not know, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from corelens.recording import Recording
from corelens.reports.facts import reaped
from corelens.reports.facts.clocks import Clocks
from corelens.reports.facts.cores import Cores
from corelens.reports.facts.memory import Sizes
from corelens.reports.facts.reaped import Hidden
from corelens.reports.facts.trials import Marked
from corelens.reports.report import Recorder, Source, Unseen

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """The facts that tell what is missing."""

    source: Source
    clocks: Clocks
    hidden: Hidden
    cores: Cores | None
    sizes: Sizes
    marked: Marked
    recorder: Recorder


def unseen(recording: Recording, seen: Seen) -> tuple[Unseen, ...]:
    """Collect everything that is missing, what concerns the whole recording first."""
    return (
        *_of_the_file(recording, seen),
        *_of_the_cpu(recording, seen),
        *_of_the_program(recording, seen),
        *(
            Unseen(line["name"], line["reason"], 1)
            for line in recording.header["sees"]
            if not line["ok"] and line["name"] != "agent"
        ),
        *(Unseen("an even sampling rate", change, 1) for change in seen.recorder.rate_changes),
        *_missed_rounds(seen.recorder),
        *_gaps(recording),
    )


def _of_the_file(recording: Recording, seen: Seen) -> Iterator[Unseen]:
    if recording.footer is None:
        reason = f"the recording was cut after {recording.last_ns / _NS_PER_S:.1f} s: it has no last line"
        yield Unseen("the end of the recording", reason, 1)
    for sentence in seen.source.damage:
        yield Unseen("part of the file", sentence, 1)


def _of_the_cpu(recording: Recording, seen: Seen) -> Iterator[Unseen]:
    hidden, used_ns = seen.hidden, seen.clocks.used_ns + seen.hidden.total_ns
    if _is_worth_telling(hidden.total_ns, used_ns):
        reason = (
            f"{hidden.total_ns / _NS_PER_S:.2f} core-s were used by processes that ended between two looks, or"
            " after the last look at them; they count in the total and for no process"
        )
        yield Unseen("who used part of the CPU", reason, 1)
    if _is_worth_telling(hidden.surplus_ns, used_ns):
        reason = (
            f"{hidden.surplus_ns / _NS_PER_S:.2f} core-s more were seen than wait4 told of the program: processes"
            " that nobody waited for, or that went on running"
        )
        yield Unseen("a second count of all CPU", reason, 1)
    if seen.clocks.unreadable:
        reason = "the CPU clock was not readable; counters in steps of 10 ms stand in"
        yield Unseen("exact CPU of some processes", reason, len(seen.clocks.unreadable))
    if seen.cores is None:
        reason = "the counters of the cores were read fewer than two times"
        yield Unseen("use of the cores by others, steal", reason, 1)
    if not recording.lines("limits"):
        yield Unseen("limits", "they were not read; the capacity is the number of logical cores", 1)


def _of_the_program(recording: Recording, seen: Seen) -> Iterator[Unseen]:
    if not recording.header["agent"]:
        reason = "the in-process agent was not asked for; record with --agent"
        if recording.header["target"]["how"] == "attached":
            reason = "the program was running already, so that no agent could be handed to it"
        yield Unseen("pools, and limit variables as they are now", reason, 1)
    elif not recording.lines("pools"):
        yield Unseen("pools, and limit variables as they are now", "no agent reported", 1)
    if seen.marked.trials is None:
        reason = "the program marked none; see corelens.mark"
        if recording.header["target"]["how"] == "attached":
            reason = "marks reach only a recorder that started the program"
        yield Unseen("trials", reason, 1)
    if seen.marked.lost:
        yield Unseen("whole trials", "their begin was not recorded", seen.marked.lost)
    if not seen.sizes.pss:
        yield Unseen("PSS", "no process lived long enough to be asked, or none could be", 1)


def _missed_rounds(recorder: Recorder) -> Iterator[Unseen]:
    if recorder.ticks_missed:
        reason = (
            f"{recorder.ticks_missed} of {recorder.ticks + recorder.ticks_missed} rounds were skipped, late"
        )
        yield Unseen("an even sampling rate", reason, recorder.ticks_missed)


def _gaps(recording: Recording) -> Iterator[Unseen]:
    """Gaps with the same cause in many processes or at many times become one."""
    times: dict[tuple[str, str], int] = {}
    detail: dict[tuple[str, str], str] = {}
    for line in recording.lines("gap"):
        key = (_without_pid(line["what"], line["pid"]), line["reason"])
        times[key] = times.get(key, 0) + 1
        detail.setdefault(key, line["detail"])
    for (what, reason), count in times.items():
        said = detail[what, reason]
        yield Unseen(what, f"{reason}: {said}" if said else reason, count)


def _without_pid(what: str, pid: int | None) -> str:
    return what if pid is None else what.replace(f"/{pid}/", "/PID/")


def _is_worth_telling(difference_ns: int, used_ns: int) -> bool:
    return difference_ns > max(reaped.ROUNDING_NS, reaped.WORTH_TELLING * used_ns)
