"""The part of a report that says which thread limits took effect: rows, and the sentences they refer to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from corelens.reports.report import Limit, PoolView, Report

TITLE = "Thread limits: what took effect"
COLUMNS = ("role", "library", "limit", "configured", "seen", "verdict", "why")
NUMERIC = (False, False, False, True, True, False, True)
_ABSENT = "—"
_ORDER = ("set-too-late", "not-inherited", "overridden", "ignored", "unknown", None, "took-effect")
"""What needs the reader first; a verdict of a later corelens comes last."""
_NO_SETTING = "none"

Alike = tuple[str, str, str, str, str, str | None, str]


def limit_rows(limits: Sequence[Limit]) -> tuple[tuple[str, ...], ...]:
    """One row per role, library, limit and outcome; the last cell is the number of its sentence."""
    alike = Counter(map(_alike, limits))
    numbers = {why: str(place) for place, why in enumerate(_sentences(alike), start=1)}
    return tuple(
        (_times(role, alike[key]), *cells, verdict or _ABSENT, numbers[why])
        for key in sorted(alike, key=_rank)
        for role, *cells, verdict, why in [key]
    )


def limit_notes(report: Report) -> tuple[str, ...]:
    """The sentences that the rows refer to, then what each role believes about cores."""
    alike = Counter(map(_alike, report.limits))
    numbered = [f"({place}) {why}" for place, why in enumerate(_sentences(alike), start=1)]
    return (*numbered, *_versions(report.limits), *_views(report.views))


def _versions(limits: Sequence[Limit]) -> Iterator[str]:
    known = {f"{limit.library} {limit.version}" for limit in limits if limit.library and limit.version}
    if known:
        yield f"versions: {', '.join(sorted(known))}"


def _times(role: str, count: int) -> str:
    return role if count == 1 else f"{count} × {role}"


def _alike(limit: Limit) -> Alike:
    return (
        limit.role,
        limit.library or _ABSENT,
        _asked(limit),
        _number(limit.configured_threads),
        _number(limit.observed_threads),
        limit.verdict,
        f"{limit.why}; {limit.fix}" if limit.fix else limit.why,
    )


def _sentences(alike: Counter[Alike]) -> list[str]:
    return list(dict.fromkeys(key[-1] for key in sorted(alike, key=_rank)))


def _rank(key: Alike) -> tuple[int, str, str, str, str]:
    verdict = key[5]
    place = _ORDER.index(verdict) if verdict in _ORDER else len(_ORDER)
    return place, key[0], key[1], key[2], key[-1]


def _asked(limit: Limit) -> str:
    if limit.limit is None:
        return _ABSENT
    if limit.limit.isupper():
        return f"{limit.limit}={limit.asked}"
    return f"{limit.limit}({limit.asked})" if "." in limit.limit else f"{limit.limit}: {limit.asked}"


def _number(threads: int | None) -> str:
    return _ABSENT if threads is None else str(threads)


def _views(views: Sequence[PoolView]) -> Iterator[str]:
    for (role, told), count in Counter((view.role, _told(view)) for view in views).items():
        yield f"{_times(role, count)}: {told}"


def _told(view: PoolView) -> str:
    at_exec, now = view.variables_at_exec, view.variables_now
    quota = "no quota" if view.quota_cores is None else f"quota {view.quota_cores:g} cores"
    allowed = _ABSENT if view.affinity_cores is None else f"{view.affinity_cores} cores"
    later = "the same now" if at_exec == now else f"now {_assigned(now)}"
    variables = f"variables at exec {_assigned(at_exec)}, {later}"
    return f"os.cpu_count() {view.cpu_count or _ABSENT}, affinity {allowed}, {quota}; {variables}"


def _assigned(variables: dict[str, str] | None) -> str:
    if variables is None:
        return _ABSENT
    return " ".join(f"{name}={value}" for name, value in sorted(variables.items())) or _NO_SETTING
