"""Recordings of short programs, one in which a rule must fire and one in which it nearly does."""

from __future__ import annotations

from pathlib import Path

from corelens.recording import read
from corelens.reports.facts.facts import Facts
from corelens.reports.facts.summary import facts

_FOLDER = Path(__file__).parent / "rules"


def fires(slug: str) -> Facts:
    """Facts of the recording in which the rule must fire."""
    return facts(read(_FOLDER / f"{slug}.fires.corelens"))


def nearly(slug: str) -> Facts:
    """Facts of the one that looks similar."""
    return facts(read(_FOLDER / f"{slug}.nearly.corelens"))
