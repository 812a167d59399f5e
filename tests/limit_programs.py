"""Running small programs under the recorder, to see which verdict their thread limits get.

A program tells the teams that its operations open by counting its own threads: that is the truth here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from corelens.recording import Recording
from corelens.reports.facts import bins, processes, summary, thread_limits, threads
from corelens.reports.facts.owned import OPENMP_GNU, Owned, Owner
from corelens.reports.facts.pace import Pace
from corelens.reports.report import Limit
from corelens.vocabulary import LIMIT_VARIABLES
from tests.agent_programs import PREAMBLE
from tests.programs import PYTHON, record

TEAMS = """
import json, threading

def operate():
    # Above torch's grain of 32768 elements, so that it opens a parallel region.
    (torch.ones(400_000) * 2).sum()

def team():
    # The agent's threads come and go beside it.
    before = set(threads())
    operate()
    new = set(threads()) - before
    members = [tid for tid in sorted(new) if "corelens" not in text_of("/proc/self/task/%d/comm" % tid)]
    print(json.dumps({"master": threading.get_native_id(), "members": members}), flush=True)
    return 1 + len(members)

def in_thread(act):
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()

def operate_while_recorded(path):
    # The recorder writes once a second: what lies between two writings was sampled.
    for _ in range(3):
        size = os.stat(path).st_size
        while os.stat(path).st_size == size:
            operate()
"""
"""What programs use that open teams of torch."""


@dataclass(frozen=True, slots=True)
class Case:
    """A recorded program: what it said, what was recorded, and the verdicts."""

    said: list[str]
    recording: Recording
    limits: tuple[Limit, ...]

    def verdict(self, limit: str | None, asked: str | None, library: str | None, role: str = "main") -> str:
        """The one verdict on a limit; fails where there is none or more than one."""
        return str(self.row(limit, asked, library, role).verdict)

    def row(self, limit: str | None, asked: str | None, library: str | None, role: str = "main") -> Limit:
        """The one row of a limit; the library is named by how its label begins."""
        wanted = (limit, asked, role)
        found = {
            row
            for row in self.limits
            if (row.limit, row.asked, row.role) == wanted and (row.library or "").startswith(library or "")
        }
        assert len({(row.library, row.verdict) for row in found}) == 1, self.limits
        return found.pop()


def require(*modules: str) -> None:
    """Skip without the modules, and without importing them."""
    for module in modules:
        if find_spec(module) is None:
            pytest.skip(f"the lab or dev extra is not installed: no {module}")


def recorded(folder: Path, source: str, *, env: Mapping[str, str] | None = None, truth: bool = False) -> Case:
    """Record a program with the agent; with `truth` the teams that it told have owners."""
    output = folder / "case.corelens"
    base = {name: value for name, value in os.environ.items() if name not in LIMIT_VARIABLES}
    script = folder / "program.py"
    script.write_text(PREAMBLE + TEAMS + source)
    command = [PYTHON, str(script), str(output)]
    done, recording = record(output, command, "--agent", "--budget", "0", env={**base, **(env or {})})
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    limits = with_truth(recording, said) if truth else summary.summarise(recording).limits
    return Case(said, recording, limits)


def with_truth(recording: Recording, said: Sequence[str]) -> tuple[Limit, ...]:
    """Verdicts where the program's own count of its teams stands for the owners of its threads."""
    lives = processes.lives(recording)
    grid = bins.grid_for(summary.wall(recording, lives), Pace(recording, "tree").first_ns)
    everyone = threads.threads(recording, lives, grid).all
    by_tid = {thread.tid: thread for thread in everyone}
    owner = Owner(OPENMP_GNU, "libgomp (torch)", "/site-packages/torch/lib/libgomp.so.1", None)
    main = Owner("main", "main", None, None)
    owned = {thread: Owned(thread, main, None) for thread in everyone}
    for text in said:
        if text.startswith("{"):
            told = json.loads(text)
            # A team that was gone before the recorder looked has left no thread.
            for thread in (by_tid[tid] for tid in told["members"] if tid in by_tid):
                owned[thread] = Owned(thread, owner, by_tid[told["master"]])
    return thread_limits.limits(recording, lives, owned)
