"""The report as one JSON object: the values as they are, with the units in the keys."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any, cast

from corelens.reports.report import Report

SCHEMA = 1


def json_report(report: Report) -> str:
    """Give the report as JSON; what was not measured is null, and `unseen` says why."""
    return json.dumps(finite({"schema": SCHEMA, **asdict(report)}), indent=2, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """Replace what JSON cannot say, such as a trial's value of infinity, by null; tuples become lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(inner) for key, inner in cast(dict[object, object], value).items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in cast(list[object], value)]
    return value
