"""What a diagnosis consists of, as values: findings, what proves them, what to do, and what that will buy."""

from __future__ import annotations

from dataclasses import dataclass

HEALTHY = "healthy"
INSUFFICIENT_EVIDENCE = "insufficient-evidence"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measured statement; a number stands in it with its unit and place."""

    statement: str
    """`process 1234 (main) held the GIL 97 % of the time`"""
    value: float | None = None
    """The number that proves it, for programs that read the finding; None where the statement is no number."""
    unit: str | None = None
    """Of `value`: cores, s, core-s, share, threads, 1/s, bytes, …"""
    pid: int | None = None
    tid: int | None = None
    from_s: float | None = None
    until_s: float | None = None
    """The time of the recording that shows it; None where that is the whole."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to change: a sentence, and what to paste."""

    what: str
    """One sentence, with the numbers of this machine and program."""
    paste: tuple[str, ...] = ()
    """Lines to paste: environment, code or setting."""
    where: str | None = None
    """Where they go: `shell, before the program starts`, `Python, in the worker's initializer`, …"""


@dataclass(frozen=True, slots=True)
class Gain:
    """Predicted throughput with the remedy over that without."""

    factor: float | None
    """None: nothing will move without the remedy (a deadlock), or it cannot be predicted; `reasoning` says which."""
    reasoning: str
    """The arithmetic in words, with its inputs."""
    at_least: bool = False
    """`factor` is a lower bound: the true gain lies above it, and how far cannot be told from the recording."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause of lost time (or, when `contributing`, what made it worse or hid it)."""

    slug: str
    """Word of the taxonomy; `corelens explain SLUG` tells of it."""
    variant: str | None
    """Which form it takes: `pure-python-threads`, `sqlite-write-lock`, …"""
    cause: str
    """One sentence that names the cause and its place: process, thread, library, Python function."""
    lost_core_s: float
    """Core-seconds that it cost."""
    lost_share: float
    """Their part of capacity x wall, 0 to 1."""
    confidence: float
    """0 to 1: how well the recording proves it; contradicting evidence lowers it."""
    evidence: tuple[Evidence, ...]
    """The most convincing first; the first three stand on the first screen."""
    remedy: Remedy
    gain: Gain
    against: tuple[Evidence, ...] = ()
    """What speaks against it and lowered the confidence."""
    excluded: tuple[str, ...] = ()
    """Other causes of the same symptom, and what rules them out."""
    explains: tuple[str, ...] = ()
    """Slugs whose findings are symptoms of this one here, and are ranked below it."""
    contributing: bool = False
    """It never becomes the verdict: it stands beside the cause."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the report says first."""

    verdict: str
    """Slug of the first finding, `healthy` or `insufficient-evidence`."""
    variant: str | None
    headline: str
    """One sentence."""
    findings: tuple[Finding, ...]
    """The first cause first; where the verdict is healthy, those that are too small to act on."""
