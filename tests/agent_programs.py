"""Running small programs under the agent, and reading what it reported of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from corelens.probes.spool import Spool
from corelens.vocabulary import LIMIT_VARIABLES, Line

PREAMBLE = """
import os, sys, time

def text_of(path):
    with open(path) as file:
        return file.read()

def own_reports():
    folder = os.environ["CORELENS_SPOOL"]
    names = [name for name in os.listdir(folder) if name.startswith("agent-%d-" % os.getpid())]
    return "".join(text_of(os.path.join(folder, name)) for name in names)

def wait_for(moment):
    deadline = time.monotonic() + 60
    while '"moment":"%s"' % moment not in own_reports():
        if time.monotonic() > deadline:
            raise SystemExit("the agent never reported " + moment)
        time.sleep(0.005)

def threads():
    return sorted(int(name) for name in os.listdir("/proc/self/task"))
"""
"""What the programs use to wait for a report and to count their own threads."""


def run_program(
    program: str,
    spool: Spool | None,
    *,
    python: str = sys.executable,
    flags: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program with the agent of this spool, or without any; its output is kept."""
    base = {name: value for name, value in os.environ.items() if name not in LIMIT_VARIABLES}
    base = {**base, **(env or {})}
    environment = base if spool is None else spool.environment(base)
    command = [python, *flags, "-c", PREAMBLE + program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What the program printed; fails the test when it complained or failed."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def reports(spool: Spool) -> list[Line]:
    """The agents' reports in the order of time."""
    # A fresh reader, for a spool gives each line once.
    afresh = Spool(spool.folder, agent=False)
    lines = [line for line in afresh.lines("agent") if isinstance(line, dict)]
    return sorted(lines, key=lambda line: line["monotonic_ns"])


def moments(lines: Sequence[Line]) -> dict[int, list[str]]:
    """Moments of the reports by process."""
    found: dict[int, list[str]] = {}
    for line in lines:
        found.setdefault(line["pid"], []).append(line["moment"])
    return found


def numeric_package(folder: Path, body: str = "") -> Path:
    """A package that the agent takes for a numeric library; returns the folder to put on the path."""
    package = folder / "polars"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"import polars.inside\n{body}\n__version__ = '1.2.3'\n")
    (package / "inside.py").write_text("")
    return folder
