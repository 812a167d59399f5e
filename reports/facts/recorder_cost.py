"""What recording cost, and how well it kept time."""

from __future__ import annotations

from typing import Any

from corelens.recording import Recording
from corelens.reports.facts.pace import Pace
from corelens.reports.report import Recorder
from corelens.vocabulary import Line

_NS_PER_S = 1_000_000_000


def recorder(recording: Recording) -> Recorder:
    """Take the footer's figures, or the last ones written of itself where the recording was cut."""
    last = _last(recording)
    own_core_s = last["cpu_ns"] / _NS_PER_S
    length_s = last["t_ns"] / _NS_PER_S
    return Recorder(
        own_core_s=own_core_s,
        own_cores=own_core_s / length_s if length_s > 0 else 0.0,
        budget_cores=recording.header["budget_cores"],
        rate_hz=_NS_PER_S / Pace(recording, "threads").first_ns,
        ticks=last["ticks"],
        ticks_missed=last["ticks_missed"],
        rate_changes=tuple(_change(line) for line in recording.lines("rate")),
        rss_bytes=last["rss_bytes"] or None,
    )


def _last(recording: Recording) -> Line:
    footer = recording.footer
    if footer is not None:
        return {**footer, "cpu_ns": footer["own_cpu_ns"], "rss_bytes": footer["own_max_rss_bytes"]}
    nothing: dict[str, Any] = {"t_ns": 0, "cpu_ns": 0, "ticks": 0, "ticks_missed": 0, "rss_bytes": None}
    selves = recording.lines("self")
    return selves[-1] if selves else nothing


def _change(line: Line) -> str:
    period_s = line["period_ns"] / _NS_PER_S
    cost = line["own_cores"]
    return (
        f"at {line['t_ns'] / _NS_PER_S:.1f} s the {line['probe']} probe went to {period_s:g} s"
        f" ({line['reason']}: the recorder used {cost:.3f} cores)"
    )
