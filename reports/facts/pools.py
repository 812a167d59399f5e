"""Native thread pools and limit variables, as the in-process agents saw them last."""

from __future__ import annotations

from collections.abc import Iterator

from corelens.recording import Recording
from corelens.reports.facts.limit_libraries import chosen
from corelens.reports.facts.processes import Life, Lives
from corelens.reports.report import Pool, PoolView
from corelens.vocabulary import Line


def pools(recording: Recording, lives: Lives) -> tuple[Pool, ...]:
    """Every pool of every process that an agent reported from."""
    return tuple(pool for life, line in _last(recording, lives).items() for pool in _pools(life, line))


def views(recording: Recording, lives: Lives) -> tuple[PoolView, ...]:
    """What each of these processes believes about cores and limits."""
    limits = recording.lines("limits")
    quota = limits[-1]["quota_cores"] if limits else None
    return tuple(_view(life, line, quota) for life, line in _last(recording, lives).items())


def _last(recording: Recording, lives: Lives) -> dict[Life, Line]:
    """Last report of each process; of a process that ended, what was loaded before it tore down."""
    last: dict[Life, Line] = {}
    for line in sorted(recording.lines("pools"), key=lambda line: line["t_ns"]):
        life = lives.at(line["pid"], line["t_ns"])
        if life is None:
            continue
        before = last.get(life, {})
        kept = {name: before.get(name) for name in _LOADED if line[name] is None}
        last[life] = {**line, **kept}
    return last


_LOADED = ("libraries", "torch_threads", "torch_interop_threads")


def _pools(life: Life, line: Line) -> Iterator[Pool]:
    libraries: list[Line] = line["libraries"] or []
    versions: Line = line["versions"] or {}
    for library in libraries:
        size = library.get("num_threads")
        if isinstance(size, int):
            yield Pool(
                pid=life.pid,
                role=life.role,
                library=_name(library),
                version=_text(library.get("version")),
                path=_text(library.get("filepath")),
                size=size,
            )
    for name, key in (("torch intra-op", "torch_threads"), ("torch inter-op", "torch_interop_threads")):
        if line[key] is not None:
            yield Pool(life.pid, life.role, name, _text(versions.get("torch")), None, line[key])


def _name(library: Line) -> str:
    internal, prefix = _text(library.get("internal_api")), _text(library.get("prefix"))
    named = internal or prefix or "unknown"
    return f"{named} ({prefix})" if named == "openmp" and prefix else named


def _view(life: Life, line: Line, quota_cores: float | None) -> PoolView:
    at_exec = None if life.variables is None else chosen(life.variables)
    now = None if line["variables"] is None else chosen(line["variables"])
    return PoolView(
        pid=life.pid,
        role=life.role,
        cpu_count=line["cpu_count"],
        variables_at_exec=at_exec,
        variables_now=now,
        changed_late=() if at_exec is None or now is None else _changed(at_exec, now),
        affinity_cores=life.affinity_cores,
        quota_cores=quota_cores,
    )


def _changed(at_exec: dict[str, str], now: dict[str, str]) -> tuple[str, ...]:
    names = sorted({*at_exec, *now})
    return tuple(name for name in names if at_exec.get(name) != now.get(name))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
