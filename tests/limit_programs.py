"""Running small programs under the recorder, to see which verdict their thread limits get.

A program tells the teams that its operations open by counting its own threads: that is the truth here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from corelens.recording import Recording, read
from corelens.reports.facts import bins, processes, summary, thread_limits, threads
from corelens.reports.facts.owned import OPENMP_GNU, Owned, Owner
from corelens.reports.facts.pace import Pace
from corelens.reports.report import Limit
from corelens.vocabulary import LIMIT_VARIABLES
from tests.agent_programs import PREAMBLE
from tests.programs import PYTHON, record, recorder, running

TEAMS = """
import json, threading

def operate():
    # Above torch's grain of 32768 elements, so that it opens a parallel region.
    (torch.ones(400_000) * 2).sum()

def team():
    before = set(threads())
    operate()
    # A thread that the agent asks a question with may have come, and goes again.
    deadline = time.monotonic() + 10
    members = set(threads()) - before
    while len(members) != torch.get_num_threads() - 1 and time.monotonic() < deadline:
        members &= set(threads())
    print(json.dumps({"master": threading.get_native_id(), "members": sorted(members)}), flush=True)
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
    command = _command(folder, source, output)
    done, recording = record(output, command, "--agent", "--budget", "0", env=_environment(env))
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    limits = with_truth(recording, said) if truth else summary.summarise(recording).limits
    return Case(said, recording, limits)


def attached(folder: Path, source: str, *, env: Mapping[str, str]) -> Case:
    """Attach to a program once it has told its first team; it goes on when it hears of the end."""
    output = folder / "case.corelens"
    with running(_command(folder, source, output), env=_environment(env)) as program:
        said = [program.hear()]
        flags = ("--pid", str(program.pid), "--duration", "0.5")
        subprocess.run(recorder(output, *flags), check=True, capture_output=True)
        assert program.end() == 0
    recording = read(output)
    return Case(said, recording, with_truth(recording, said))


def _command(folder: Path, source: str, output: Path) -> list[str]:
    script = folder / "program.py"
    script.write_text(PREAMBLE + TEAMS + source)
    return [PYTHON, str(script), str(output)]


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    base = {name: value for name, value in os.environ.items() if name not in LIMIT_VARIABLES}
    return {**base, **(env or {})}


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
