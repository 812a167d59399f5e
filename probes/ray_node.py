"""The Ray probe: logical resources of a node, who holds them and what waits for them.

A raylet writes its state into `SESSION/logs/debug_state.txt` when it starts and every ten seconds after that
(`RAY_debug_dump_period_milliseconds`); reading the file asks nothing of it. Its RPC would tell the same at any moment,
but it answers only to whom the session gave a token. As looked at on Ray 2.60.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from corelens.probes import procfs
from corelens.probes.gaps import Gaps
from corelens.probes.probe import Moment
from corelens.vocabulary import Line

DEFAULT_PERIOD_NS = 500_000_000
# Amounts are written in steps of 1/10000, one for each instance of the resource.
_STEPS = 10_000
# What follows the part that is read: where it is missing, the raylet is writing just now.
_NEXT_PART = "\nClusterResources:"
_NODE = re.compile(r"^Node ID: ([0-9a-f]+)", re.MULTILINE)
_LOCAL = re.compile(r'Local resources: \{"total":\{(.*?)\}, "available": \{(.*?)\}')
_INSTANCES = re.compile(r"([\w:.\-]+): \[([\d, ]*)\]")
_COUNTS = re.compile(r"^(Infeasible|Schedule|Grant) queue length: (\d+)|^num_(\w+): (\d+)$", re.MULTILINE)
# Some versions leave out the sign of equality.
_HELD = re.compile(r"actor_or_task=?(.*?) pid=(\d+) worker_id=[0-9a-f]+\): \{(.*?)\}")
_AMOUNTS = re.compile(r"([\w:.\-]+) ?: ([\d.e+]+)")
_BACKLOG = re.compile(r"^\t\{(.*?)\}: \{\n((?:\t\t[0-9a-f]+: \d+\n)*)", re.MULTILINE)

Raylets = Callable[[], Mapping[int, str]]
"""Raylets of the sessions that the recorded program drives, with the folder of their session."""


def parse_state(text: str) -> Line | None:
    """The fields of a `ray.node` line that the text holds; None where it is no such text."""
    text, ends, _ = text.partition(_NEXT_PART)
    node, local = _NODE.search(text), _LOCAL.search(text)
    if not ends or node is None or local is None:
        return None
    return {
        "node": node[1],
        "total": _instances(local[1]),
        "available": _instances(local[2]),
        "queues": _queues(text),
        "held": [
            {"pid": int(found[2]), "task": found[1], "resources": _amounts(found[3])}
            for found in _HELD.finditer(text)
        ],
        "backlog": [
            {
                "resources": _amounts(found[1]),
                "tasks": sum(int(line.rpartition(":")[2]) for line in found[2].splitlines()),
            }
            for found in _BACKLOG.finditer(text)
        ],
    }


class RayProbe:
    """Writes the state of each node when its raylet has written it anew."""

    name = "ray"

    def __init__(
        self, raylets: Raylets, proc: Path = procfs.PROC, period_ns: int = DEFAULT_PERIOD_NS
    ) -> None:
        self.period_ns = period_ns
        self._raylets = raylets
        self._proc = proc
        self._seen_ns: dict[int, int] = {}
        self._gaps = Gaps(self.name)

    def look(self, moment: Moment) -> Iterator[Line]:
        """Look when each state was written, and read those that are new."""
        raylets = self._raylets()
        for pid, session in raylets.items():
            yield from self._look_at(pid, session, moment.t_ns)
        for pid in self._seen_ns.keys() - raylets.keys():
            del self._seen_ns[pid]

    def close(self) -> None:
        """There is nothing to give back."""

    def _look_at(self, pid: int, session: str, t_ns: int) -> Iterator[Line]:
        # A session in a container has its folder there.
        path = f"{self._proc}/{pid}/root{session}/logs/debug_state.txt"
        try:
            written_ns = os.stat(path).st_mtime_ns  # noqa: PTH116
            if written_ns == self._seen_ns.get(pid):
                return
            found = parse_state(procfs.read_bytes(path).decode(errors="replace"))
        except OSError as error:
            reason = procfs.reason_of(error)
            if reason != "gone":
                yield from self._gaps.say(t_ns, pid, "state of the Ray node", reason, error.strerror or "")
            return
        except procfs.Unreadable as error:
            yield from self._gaps.once(t_ns, pid, error)
            return
        # A file that is being written reads in part: it is read again, and is whole at the next look.
        if found is not None:
            self._seen_ns[pid] = written_ns
            yield {"kind": "ray.node", "t_ns": t_ns, "pid": pid, "written_unix_ns": written_ns, **found}


def _instances(text: str) -> dict[str, float]:
    """Amount by resource; what stands for nodes is no resource that tasks ask for."""
    return {
        found[1]: sum(int(amount) for amount in found[2].split(",") if amount.strip()) / _STEPS
        for found in _INSTANCES.finditer(text)
        if not found[1].startswith("node:")
    }


def _amounts(text: str) -> dict[str, float]:
    return {found[1]: float(found[2]) for found in _AMOUNTS.finditer(text)}


def _queues(text: str) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for found in _COUNTS.finditer(text):
        name = f"{found[1].lower()}_queue" if found[1] else found[3]
        counts[name] = int(found[2] or found[4])
    return counts
