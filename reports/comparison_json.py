"""The comparison as JSON: the folded rows, every run beside them, and what differs. Units are in the keys."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any, cast

from corelens.reports.compared import Comparison, Group, Row, Run
from corelens.reports.comparison_figures import FIGURES

SCHEMA = 1


def comparison_json(comparison: Comparison) -> str:
    """Give the comparison as one JSON object; what is not known is null and has its reason in `absent`."""
    made = {
        "schema": SCHEMA,
        "host": asdict(comparison.host),
        "capacity": asdict(comparison.capacity),
        "packages": comparison.packages,
        "price_dollars_per_hour": comparison.price_per_hour,
        "group_by": comparison.group_by,
        "comparable": not any(difference.refuses for difference in comparison.differences),
        "differences": [asdict(difference) for difference in comparison.differences],
        "groups": [_group(group) for group in comparison.groups],
    }
    return json.dumps(_finite(made), indent=2, allow_nan=False) + "\n"


def comparison_fields() -> list[tuple[str, str, str, str]]:
    """Give path, type, unit and meaning of every field, for the documentation."""
    figures = "groups[].rows[].figures"
    return [
        ("schema", "int", "", "Version of this layout."),
        ("host", "object", "", "Machine of the first run; see the report's `host`."),
        ("capacity", "object", "", "Cores of the first run; see the report's `capacity`."),
        ("packages", "object", "", "Package to version, of the first run."),
        ("price_dollars_per_hour", "float", "$/h", "What --price said; null without it."),
        ("group_by", "str", "", "Label that makes the groups; null where there is one group."),
        ("comparable", "bool", "", "False where --anyway compared runs of different work or machines."),
        ("differences", "list", "", "What differs: {what, values: [[value, runs]], refuses}."),
        ("groups", "list", "", "Runs of the same work, compared within themselves."),
        ("groups[].title", "str", "", "Label and value of the group; null where there is one group."),
        ("groups[].work", "object", "", "Settings that all runs of the group share."),
        ("groups[].baseline", "str", "", "Row that speed-ups refer to; null where there is none."),
        ("groups[].baseline_absent", "str", "", "Why there is no baseline; null where there is one."),
        ("groups[].agreement", "object", "", "Whether trial values are identical, and which are not."),
        ("groups[].statements", "list", "", "What the figures show, in sentences."),
        ("groups[].rows", "list", "", "One per configuration, repeats folded."),
        ("groups[].rows[].name", "str", "", "Unique within the group."),
        ("groups[].rows[].backend", "str", "", "Backend by its label, or the program."),
        ("groups[].rows[].limit", "str", "", "How threads were limited; null where the run does not say."),
        ("groups[].rows[].workers", "int", "", "Workers asked for; null where the run does not say."),
        ("groups[].rows[].trouble", "str", "", "Why the row is no result; null where it is one."),
        ("groups[].rows[].cost_dollars", "float", "$", "At the median wall time; null without --price."),
        ("groups[].rows[].cost_dollars_per_trial", "float", "$", "Per complete trial."),
        ("groups[].rows[].absent", "object", "", "Figure that is null to the reason."),
        (figures, "object", "", "Figure to {count, minimum, median, maximum, mean} over the runs, or null."),
        *(
            (f"{figures}.{figure.key}", "object", _unit(figure.key), figure.meaning)
            for figure in FIGURES.values()
        ),
        (
            "groups[].rows[].runs",
            "list",
            "",
            "The recordings of the row: {name, path, trouble, verdict, variant, headline, figures}.",
        ),
    ]


def _unit(key: str) -> str:
    for ending, unit in (("_per_hour", "1/h"), ("_per_hour_in_trials", "1/h"), ("_bytes", "bytes")):
        if key.endswith(ending):
            return unit
    if "cores" in key:
        return "cores"
    return "core-seconds" if key.startswith("core_s") else "s" if key.endswith("_s") else ""


def _group(group: Group) -> dict[str, Any]:
    return {
        "title": group.title,
        "work": group.work,
        "baseline": group.baseline,
        "baseline_absent": group.baseline_absent,
        "agreement": asdict(group.agreement),
        "statements": group.statements,
        "rows": [_row(row) for row in group.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "backend": row.backend,
        "limit": row.limit,
        "workers": row.workers,
        "trouble": row.trouble,
        "figures": {key: None if spread is None else asdict(spread) for key, spread in row.values.items()},
        "absent": row.absent,
        "cost_dollars": None if row.cost is None else row.cost.dollars,
        "cost_dollars_per_trial": None if row.cost is None else row.cost.dollars_per_trial,
        "runs": [_run(run) for run in row.runs],
    }


def _run(run: Run) -> dict[str, Any]:
    said = run.diagnosis
    return {
        "name": run.name,
        "path": run.path,
        "trouble": run.trouble,
        "verdict": None if said is None else said.verdict,
        "variant": None if said is None else said.variant,
        "headline": None if said is None else said.headline,
        "figures": run.values,
    }


def _finite(value: Any) -> Any:
    """Turn what JSON cannot say, such as the NaN of a trial's value, into its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in cast(dict[str, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in cast(list[Any], value)]
    return value
