"""Where the Python code was: samples of stacks summed up by role, function and thread group."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from corelens.recording import Recording
from corelens.reports.facts.processes import UNKNOWN_ROLE, Life, Lives
from corelens.reports.facts.stack_samples import (
    ACTIVE,
    GIL,
    IDLE,
    UNKNOWN,
    Frame,
    PythonNames,
    StackSample,
    python_names,
)
from corelens.reports.python_stacks import FoldedStack, PythonFunction, PythonStacks

UNNAMED = "unnamed"
# A flame graph shows no more, and a report with more is hard to open.
MOST_FOLDED = 2000
# Standard normal quantile of 97.5 %, for intervals of 95 %.
_Z = 1.959964
_NUMBER = re.compile(r"\d+")
_NS_PER_S = 1_000_000_000


def stacks(recording: Recording, lives: Lives, everything: Iterable[StackSample]) -> PythonStacks | None:
    """Sum all samples up but those of the in-process agent, which is ours; None where nobody looked."""
    looks = recording.lines("stacks.looks")
    if not looks:
        return None
    agents = _agents(recording, lives)
    samples = [one for one in everything if (one.life, one.tid) not in agents]
    counts = Counter[str]()
    for sample in samples:
        counts[sample.state] += sample.samples
    folded = folded_stacks(samples, python_names(recording, lives))
    return PythonStacks(
        looks=sum(line["failed"] is None for line in looks),
        failed_looks=sum(line["failed"] is not None for line in looks),
        processes=len({sample.life for sample in samples}),
        blocking=any(line["blocking"] for line in looks),
        active_samples=counts[ACTIVE],
        gil_samples=counts[GIL],
        idle_samples=counts[IDLE],
        unknown_samples=counts[UNKNOWN],
        dropped_samples=sum(line["dropped"] for line in looks),
        own_core_s=sum(line["cpu_ns"] for line in looks) / _NS_PER_S,
        functions=functions(samples, lambda sample: sample.state == ACTIVE),
        holders=functions(samples, lambda sample: bool(sample.gil)),
        folded=folded[:MOST_FOLDED],
        left_out_samples=sum(each.samples for each in folded[MOST_FOLDED:]),
    )


def _agents(recording: Recording, lives: Lives) -> set[tuple[Life | None, int]]:
    return {
        (lives.at(line["pid"], line["t_ns"]), line["agent_tid"])
        for line in recording.lines("pools")
        if line["agent_tid"] is not None
    }


def functions(
    samples: Iterable[StackSample], which: Callable[[StackSample], bool]
) -> tuple[PythonFunction, ...]:
    """Innermost functions of some samples by role, roles and functions with the most samples first."""
    lines: dict[str, dict[tuple[str, str], Counter[int | None]]] = {}
    for sample in samples:
        if which(sample) and sample.frames:
            place = sample.frames[-1]
            of_role = lines.setdefault(role_of(sample), {})
            of_role.setdefault((place.function, place.file), Counter())[place.line] += sample.samples
    totals = {role: sum(each.total() for each in found.values()) for role, found in lines.items()}
    ordered = sorted(totals, key=lambda role: (-totals[role], role))
    return tuple(one for role in ordered for one in _of_role(role, lines[role], totals[role]))


def _of_role(
    role: str, found: dict[tuple[str, str], Counter[int | None]], total: int
) -> Iterator[PythonFunction]:
    for (function, file), lines in sorted(found.items(), key=lambda item: (-item[1].total(), item[0])):
        samples = lines.total()
        low, high = interval(samples, total)
        line = lines.most_common(1)[0][0]
        yield PythonFunction(role, function, file, line, samples, samples / total, low, high)


def interval(hits: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson, which holds for few samples and for none or all of them."""
    share, square = hits / total, _Z * _Z
    middle = (share + square / (2 * total)) / (1 + square / total)
    reach = _Z / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    # Rounding must not leave the share itself outside.
    return max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))


def folded_stacks(samples: Iterable[StackSample], names: PythonNames) -> tuple[FoldedStack, ...]:
    """Stacks by role, group of threads and state, the most frequent first."""
    counted: Counter[tuple[str, str, str, tuple[str, ...]]] = Counter()
    for sample in samples:
        name = names.at(sample.life, sample.tid, sample.until_ns)
        frames = tuple(map(_place, sample.frames))
        counted[role_of(sample), thread_group(name), sample.state, frames] += sample.samples
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return tuple(FoldedStack(*key, count) for key, count in ordered)


def thread_group(name: str | None) -> str:
    """Name with its numbers taken out, so that the workers of a pool are one group."""
    return UNNAMED if name is None else _NUMBER.sub("#", name)


def role_of(sample: StackSample) -> str:
    """Role of the process of a sample."""
    return sample.life.role if sample.life is not None else UNKNOWN_ROLE


def _place(frame: Frame) -> str:
    return f"{frame.function} ({frame.file})"
