"""The explosion as JSON: every run, every term, every sentence. Units are in the keys."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from corelens.reports.exploded import Explosion, ExplosionRun
from corelens.reports.explosion_words import FROM_SOURCES, statements
from corelens.reports.json_report import finite

SCHEMA = 1


def explosion_json(found: Explosion) -> str:
    """Give everything as one JSON object; what is not known is null."""
    made = {
        "schema": SCHEMA,
        "corelens": found.corelens,
        "host": asdict(found.host),
        "packages": found.packages,
        "agrees": not found.differences,
        "differences": found.differences,
        "identical_values": found.identical_values,
        "runs": [_run(run) for run in found.runs],
        "sweep": [_run(run) for run in found.sweep],
        "statements": [asdict(one) for one in (*statements(found), *FROM_SOURCES)],
    }
    return json.dumps(finite(made), indent=2, allow_nan=False) + "\n"


def explosion_fields() -> list[tuple[str, str, str, str]]:
    """Give path, type, unit and meaning of every field, for the documentation."""
    return [
        ("schema", "int", "", "Version of this layout."),
        ("corelens", "str", "", "Version of the recorder."),
        ("host", "object", "", "Machine of the first run; see the report's `host`."),
        ("packages", "object", "", "Package to version."),
        ("agrees", "bool", "", "Whether every count is the predicted one, to the thread."),
        ("differences", "list", "", "One sentence per count that is not, or per run that failed."),
        (
            "identical_values",
            "bool",
            "",
            "Whether equal trials found equal values; null without shared trials.",
        ),
        ("runs", "list", "", "Runs on the largest machine, in the order of the story."),
        ("runs[].name", "str", "", "w5, w3, w3-late, w3-torch, w3-env, pool-env."),
        ("runs[].what", "str", "", "What the run does."),
        ("runs[].workers", "int", "", "Workers."),
        ("runs[].limit", "str", "", "How threads were limited."),
        ("runs[].cores", "int", "cores", "Cores of the machine that was asked for."),
        ("runs[].emulated", "bool", "", "Pools were raised: counts are real, times are not."),
        ("runs[].recording", "str", "", "File name of the recording."),
        ("runs[].predicted", "int", "threads", "Sum over processes."),
        (
            "runs[].observed",
            "int",
            "threads",
            "Each process at its own peak; null where nothing was recorded.",
        ),
        ("runs[].agrees", "bool", "", "Every process has, of every owner, the predicted threads."),
        ("runs[].trouble", "str", "", "Why the run is no result; null for one that went through."),
        ("runs[].roles", "list", "", "Per role: processes predicted and observed, and their sums in words."),
        (
            "runs[].terms",
            "list",
            "",
            "Per role and owner: {role, name, owner, predicted, observed, agrees, why}.",
        ),
        ("runs[].values", "list", "", "Trial numbers with their values."),
        ("runs[].trials_at_once", "float", "", "Mean number of trials in flight; null without trials."),
        ("runs[].times_representative", "bool", "", "False where pools are emulated."),
        ("runs[].wall_s", "float", "s", "Length of the run."),
        ("runs[].busy_cores_mean", "float", "cores", "CPU time per second of wall time."),
        ("runs[].run_queue_wait_share", "float", "", "Share of runnable time without a core."),
        ("runs[].tree", "list", "", "The process tree at its peak, as lines."),
        ("sweep", "list", "", "The run w5 on each machine, as in `runs`; empty with one machine."),
        (
            "statements",
            "list",
            "",
            "{claim, text, basis}: what the story says, what is so, and whether that was measured here.",
        ),
    ]


def _run(run: ExplosionRun) -> dict[str, Any]:
    return {**asdict(run), "agrees": run.agrees, "times_representative": not run.emulated}
