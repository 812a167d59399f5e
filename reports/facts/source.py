"""Which recording a report is about, and on which machine it was made."""

from __future__ import annotations

from collections.abc import Iterator

from corelens.recording import Recording
from corelens.reports.facts import trials
from corelens.reports.facts.processes import Life
from corelens.reports.report import Host, Source

CUT = "cut"


def source(recording: Recording, root: Life) -> Source:
    """Say how the recording was made and whether it is whole."""
    header, footer = recording.header, recording.footer
    return Source(
        path=str(recording.path),
        corelens=header["corelens"],
        format=header["format"],
        started_unix_ns=header["started_unix_ns"],
        how=header["target"]["how"],
        argv=tuple(header["target"].get("argv") or root.argv or ()),
        labels=trials.labels(recording),
        agent=header["agent"],
        complete=footer is not None and not recording.damage and not recording.missing_chunks,
        end_reason=CUT if footer is None else footer["reason"],
        exit_code=root.exit_code if footer is None else footer["exit_code"],
        signal=root.signal if footer is None else footer["signal"],
        damage=tuple(_damage(recording)),
    )


def host(recording: Recording) -> Host:
    """Describe the machine by the header."""
    said = recording.header["host"]
    return Host(
        hostname=said.get("hostname") or "unknown",
        kernel=said.get("kernel") or "unknown",
        cpu_model=said.get("cpu_model") or "unknown",
        logical_cores=said.get("logical_cores") or 1,
        physical_cores=said.get("physical_cores"),
        memory_bytes=said.get("memory_bytes") or 0,
        python=said.get("python") or "unknown",
    )


def packages(recording: Recording) -> dict[str, str]:
    """Versions that the processes loaded, by their agents, over those found beside the interpreter."""
    found: dict[str, str] = {}
    for line in [*recording.lines("packages"), *recording.lines("pools")]:
        found.update(line["versions"] or {})
    return dict(sorted(found.items()))


def _damage(recording: Recording) -> Iterator[str]:
    for stretch in recording.damage:
        yield f"{stretch.length:,} bytes from byte {stretch.offset:,} on are unreadable: {stretch.reason}"
    if recording.missing_chunks > len(recording.damage):
        yield f"{recording.missing_chunks} members are missing, by their numbers"
