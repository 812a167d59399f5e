"""Where in Python code threads were, in the words of a finding, and which libraries their stacks went through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable

from corelens.reports.facts.facts import Facts, ProcessFacts
from corelens.reports.facts.stack_samples import Frame, StackSample


def samples_of(facts: Facts, processes: Iterable[ProcessFacts]) -> tuple[StackSample, ...]:
    """Stacks of some processes."""
    lives = {id(process.life) for process in processes}
    return tuple(sample for sample in facts.samples if id(sample.life) in lives)


def top_place(samples: Iterable[StackSample], tids: Container[int] | None = None) -> str | None:
    """The innermost place met most, as `function (file.py:12)`; None where nobody looked."""
    met: Counter[tuple[str, str]] = Counter()
    for sample in samples:
        if sample.frames and (tids is None or sample.tid in tids):
            last = sample.frames[-1]
            met[last.function, last.file.rpartition("/")[2]] += sample.samples
    if not met:
        return None
    (function, file), _ = met.most_common(1)[0]
    return f"{function} ({file})"


def passes_through(samples: Iterable[StackSample], *parts: str) -> bool:
    """Whether any stack has a frame in a file whose path holds one of these parts."""
    return any(_in(frame, parts) for sample in samples for frame in sample.frames)


def share_through(samples: Iterable[StackSample], *parts: str) -> float | None:
    """Part of the samples whose stack passes there; None without samples."""
    taken = list(samples)
    total = sum(sample.samples for sample in taken)
    if not total:
        return None
    return sum(s.samples for s in taken if any(_in(frame, parts) for frame in s.frames)) / total


def _in(frame: Frame, parts: tuple[str, ...]) -> bool:
    return any(part in frame.file for part in parts)
