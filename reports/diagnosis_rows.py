"""The diagnosis in words, shared by the writers: the verdict, what proves it, what to do, and what that buys.

Texts are still as the recorded program gave them: a writer makes them safe for its own medium.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corelens.reports.findings import (
    HEALTHY,
    INSUFFICIENT_EVIDENCE,
    Diagnosis,
    Evidence,
    Finding,
    Gain,
    Remedy,
)

# What a reader takes in at a glance; the rest of the evidence stands further down.
FIRST_EVIDENCE = 3
MOST_FINDINGS = 12


@dataclass(frozen=True, slots=True)
class Passage:
    """Sentences under a heading of a few words, then lines to paste as they stand."""

    heading: str
    sentences: tuple[str, ...] = ()
    paste: tuple[str, ...] = ()


def cause_of(diagnosis: Diagnosis) -> Finding | None:
    """The finding that became the verdict; None where there is none, as in a healthy program."""
    said = (diagnosis.verdict, diagnosis.variant, diagnosis.headline)
    return next((one for one in diagnosis.findings if (one.slug, one.variant, one.cause) == said), None)


def verdict(diagnosis: Diagnosis) -> tuple[str, str]:
    """The verdict as a sentence, and the line under it: what it is called, what it cost, how sure it is."""
    cause = cause_of(diagnosis)
    named = named_by(diagnosis.verdict, diagnosis.variant)
    if cause is None:
        return diagnosis.headline, f"verdict: {named}"
    return diagnosis.headline, f"verdict: {named}; {weight(cause)}; more: corelens explain {cause.slug}"


def first_screen(diagnosis: Diagnosis) -> tuple[Passage, ...]:
    """What stands directly under the verdict; nothing where there is no cause."""
    cause = cause_of(diagnosis)
    if cause is None:
        return ()
    parts = (
        Passage("What shows it", tuple(map(statement, cause.evidence[:FIRST_EVIDENCE]))),
        _remedy(_heading_of_remedy(cause), cause.remedy),
        Passage("What that would gain", tuple(gain(cause.gain))),
        Passage("What was ruled out", cause.excluded),
        Passage("What speaks against it", tuple(map(statement, cause.against))),
    )
    return tuple(part for part in parts if part.sentences or part.paste)


def other_findings(diagnosis: Diagnosis) -> tuple[Passage, ...]:
    """More evidence for the verdict, then every other finding in its rank."""
    cause = cause_of(diagnosis)
    more = () if cause is None else cause.evidence[FIRST_EVIDENCE:]
    first = [Passage("More that shows the verdict", tuple(map(statement, more)))] if more else []
    others = [one for one in diagnosis.findings if one is not cause]
    return (*first, *(_other(one, cause) for one in others[:MOST_FINDINGS]))


def left_out(diagnosis: Diagnosis) -> int:
    """Findings that `other_findings` does not show."""
    shown = MOST_FINDINGS + (cause_of(diagnosis) is not None)
    return max(0, len(diagnosis.findings) - shown)


def named_by(slug: str, variant: str | None) -> str:
    """A word of the taxonomy with its variant."""
    return slug if variant is None else f"{slug} ({variant})"


def weight(finding: Finding) -> str:
    """What a finding cost, and how well the recording proves it."""
    return (
        f"{finding.lost_core_s:.1f} core-seconds lost, {100 * finding.lost_share:.0f} % of the capacity;"
        f" confidence {100 * finding.confidence:.0f} %"
    )


def statement(evidence: Evidence) -> str:
    """One piece of evidence, with the time that shows it where that is not the whole recording."""
    begin, end = evidence.from_s, evidence.until_s
    if begin is not None and end is not None:
        when = f"at {end:.1f} s" if begin == end else f"{begin:.1f} to {end:.1f} s"
    elif begin is not None:
        when = f"from {begin:.1f} s on"
    elif end is not None:
        when = f"until {end:.1f} s"
    else:
        return evidence.statement
    return f"{evidence.statement} ({when})"


def gain(predicted: Gain) -> Iterator[str]:
    """The predicted gain with its reasoning; the reasoning alone where no number can be given."""
    if predicted.factor is None:
        yield predicted.reasoning
        return
    how = "more than" if predicted.at_least else "about"
    yield f"{how} {predicted.factor:.1f} times the throughput: {predicted.reasoning}"


def _heading_of_remedy(cause: Finding) -> str:
    return "What to record" if cause.slug == INSUFFICIENT_EVIDENCE else "What to do"


def _remedy(heading: str, remedy: Remedy) -> Passage:
    place = () if remedy.where is None else (f"{remedy.where}:",)
    return Passage(heading, (remedy.what, *(place if remedy.paste else ())), remedy.paste)


def _other(finding: Finding, cause: Finding | None) -> Passage:
    remedy = _remedy("", finding.remedy)
    heading = ": ".join((named_by(finding.slug, finding.variant), *_standing(finding, cause)))
    sentences = (
        finding.cause,
        weight(finding),
        *map(statement, finding.evidence[:FIRST_EVIDENCE]),
        *(f"against it: {statement(one)}" for one in finding.against),
        *_labelled("what to do", remedy.sentences),
        *_labelled("gain", gain(finding.gain)),
    )
    return Passage(heading, tuple(one for one in sentences if one), remedy.paste)


def _standing(finding: Finding, cause: Finding | None) -> Iterator[str]:
    """How a finding stands to the verdict, where it is no cause of its own."""
    if finding.contributing:
        yield "contributing"
    elif cause is not None and finding.slug in cause.explains:
        yield f"a symptom of {cause.slug}"


def _labelled(label: str, sentences: Iterable[str]) -> Iterator[str]:
    """Put the label before the first sentence, where it is not empty."""
    for place, sentence in enumerate(sentences):
        if sentence:
            yield sentence if place else f"{label}: {sentence}"


def colour_of(diagnosis: Diagnosis) -> str:
    """Green, yellow or red, for media that have them; the words say the same."""
    return {HEALTHY: "green", INSUFFICIENT_EVIDENCE: "yellow"}.get(diagnosis.verdict, "red")
