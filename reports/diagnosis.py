"""A recording summed up and diagnosed: facts, then rules."""

from __future__ import annotations

from dataclasses import replace

from corelens.recording import Recording
from corelens.reports.facts.owners import Symbols, no_symbols
from corelens.reports.facts.perf import NameOf, no_places, perf
from corelens.reports.facts.summary import facts
from corelens.reports.report import Report
from corelens.reports.rules import diagnose


def diagnosed(recording: Recording, symbols: Symbols = no_symbols, places: NameOf = no_places) -> Report:
    """Sum a recording up and say why the program does not scale.

    `places` names the functions in which native code was sampled, where the recording holds such samples.
    Raises NothingMeasured when no process was ever seen.
    """
    known = facts(recording, symbols)
    return replace(known.report, diagnosis=diagnose(known), perf=perf(recording, places))
