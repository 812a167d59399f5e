"""A recording summed up and diagnosed: facts, then rules."""

from __future__ import annotations

from dataclasses import replace

from corelens.recording import Recording
from corelens.reports.facts.owners import Symbols, no_symbols
from corelens.reports.facts.summary import facts
from corelens.reports.report import Report
from corelens.reports.rules import diagnose


def diagnosed(recording: Recording, symbols: Symbols = no_symbols) -> Report:
    """Sum a recording up and say why the program does not scale.

    Raises NothingMeasured when no process was ever seen.
    """
    known = facts(recording, symbols)
    return replace(known.report, diagnosis=diagnose(known))
