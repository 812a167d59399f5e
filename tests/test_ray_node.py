"""The state of a Ray node as its raylet writes it, taken apart and written when it is new."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from corelens.probes.probe import Moment
from corelens.probes.ray_node import RayProbe, parse_state
from tests.test_vocabulary import complaints

RAYLET, SESSION = 20, "/tmp/ray/session_1"
# As Ray 2.60 wrote it, shortened: two tasks hold both cores, ten wait for one, and their owner has more.
STATE = """\
NodeManager:
Node ID: 4f09a5b3
Node name: 10.0.0.1
InitialConfigResources: {node:10.0.0.1: 1, memory: 1.75546e+10, CPU: 2}
ClusterLeaseManager:
========== Node: 4f09a5b3 =================
Infeasible queue length: 1
Schedule queue length: 0
Grant queue length: 10
num_waiting_for_resource: 9
num_tasks_waiting_for_workers: 0
cluster_resource_scheduler state:
Local id: 68 Local resources: {"total":{memory: [20000], node:10.0.0.1: [10000], GPU: [10000, 10000], CPU: [20000]}, \
"available": {memory: [20000], node:10.0.0.1: [10000], GPU: [0, 10000], CPU: [5000]}, "labels":{}} is_draining: 0
Resource usage {
    - (language=PYTHON actor_or_taskModel.fit pid=25900 worker_id=e1ec): {CPU: 1}
    - (language=PYTHON actor_or_task=one pid=25899 worker_id=54cf): {GPU: 1, CPU: 0.5}
}
Backlog Size per scheduling descriptor :{workerId: num backlogs}:
\t{CPU : 1, }: {
\t\t01000000ff: 2865
\t\t02000000ff: 5
\t}

Granted leases by scheduling class:
==================================================

ClusterResources:
LocalObjectManager:
- num pinned objects: 0
"""
PARSED: dict[str, Any] = {
    "node": "4f09a5b3",
    "total": {"memory": 2.0, "GPU": 2.0, "CPU": 2.0},
    "available": {"memory": 2.0, "GPU": 1.0, "CPU": 0.5},
    "queues": {
        "infeasible_queue": 1, "schedule_queue": 0, "grant_queue": 10, "waiting_for_resource": 9,
        "tasks_waiting_for_workers": 0,
    },
    "held": [
        {"pid": 25900, "task": "Model.fit", "resources": {"CPU": 1.0}},
        {"pid": 25899, "task": "one", "resources": {"GPU": 1.0, "CPU": 0.5}},
    ],
    "backlog": [{"resources": {"CPU": 1.0}, "tasks": 2870}],
}  # fmt: skip


def test_the_state_of_a_node() -> None:
    assert parse_state(STATE) == PARSED


def test_a_state_that_is_being_written_is_none_yet() -> None:
    assert parse_state(STATE[: STATE.index("Granted")]) is None
    assert parse_state("") is None
    assert parse_state("nonsense\nClusterResources:\n") is None


def look(probe: RayProbe, t_ns: int) -> list[dict[str, Any]]:
    lines = list(probe.look(Moment(t_ns, {}, frozenset())))
    assert [text for line in lines for text in complaints(line)] == []
    return lines


def test_a_state_is_written_once_and_again_when_it_is_new(tmp_path: Path) -> None:
    raylets = {RAYLET: SESSION}
    file = tmp_path / str(RAYLET) / "root" / SESSION.lstrip("/") / "logs" / "debug_state.txt"
    file.parent.mkdir(parents=True)
    probe = RayProbe(lambda: raylets, tmp_path)
    assert look(probe, 0) == []
    file.write_text(STATE[:200])
    os.utime(file, ns=(1, 5))
    assert look(probe, 1) == []
    file.write_text(STATE)
    os.utime(file, ns=(1, 5))
    (line,) = look(probe, 2)
    assert line == {"kind": "ray.node", "t_ns": 2, "pid": RAYLET, "written_unix_ns": 5, **PARSED}
    assert look(probe, 3) == []
    os.utime(file, ns=(1, 6))
    assert [line["written_unix_ns"] for line in look(probe, 4)] == [6]
    raylets.clear()
    assert look(probe, 5) == []
    probe.close()
