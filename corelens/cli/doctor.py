"""`corelens doctor`: what can be seen from here, of the machine or one process, and how to see the rest."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from corelens import __version__

if TYPE_CHECKING:
    from corelens.probes.capabilities import Capability
    from corelens.vocabulary import Line

_EXTRAS = {
    "core": ("psutil", "py-spy", "threadpoolctl", "rich", "rich-argparse"),
    "report": ("numpy", "matplotlib"),
    "lab": ("joblib", "optuna", "torch", "neat-python"),
    "ray": ("ray",),
}
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that the doctor says; `pid` is None where the machine in general was looked at."""

    corelens: str
    python: str
    pid: int | None
    host: Line
    limits: Line
    sees: list[Capability]
    packages: dict[str, dict[str, str | None]]
    """By extra; None for a package that is not installed."""


def add_parser(subparsers: Any) -> None:
    """Declare the flags of `doctor`."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what can be seen from here and how to see the rest",
        description="Say what can be seen from here, of the machine or of one process, with the reason where"
        " something is missing and how to get it. What is missing is no failure: the exit code is 0 unless"
        " the process does not exist or cannot be looked at.",
    )
    parser.add_argument("-p", "--pid", type=int, metavar="PID", help="try on this running process")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Diagnose and print; raises NothingMeasured or NotPermitted for a process that cannot be looked at."""
    found = diagnose(None if args.pid is None else _process(args.pid))
    if args.json:
        print(json.dumps(asdict(found), indent=2))
    elif sys.stdout.isatty():
        _print_table(found)
    else:
        print("\n".join(plain_lines(found)))
    return 0


def diagnose(pid: int | None) -> Diagnosis:
    """Try every source on a process, or on the machine in general when none is given."""
    from corelens.probes.capabilities import examine
    from corelens.probes.host import describe_host
    from corelens.probes.limits import present_limits

    return Diagnosis(
        corelens=__version__,
        python=platform.python_version(),
        pid=pid,
        host=describe_host(),
        limits=present_limits(os.getpid() if pid is None else pid),
        sees=examine(pid),
        packages={extra: {name: _version(name) for name in names} for extra, names in _EXTRAS.items()},
    )


def plain_lines(found: Diagnosis) -> Iterator[str]:
    """Everything the table says, for a file, a pipe or a mail."""
    yield from _heading(found)
    yield ""
    width = max(len(each.name) for each in found.sees)
    for each in found.sees:
        yield f"{'ok' if each.ok else 'missing':<8} {each.name:<{width}}  {each.reason}"
        if each.remedy:
            yield f"{'':<8} {'':<{width}}  to get it: {each.remedy}"
    yield ""
    yield from _packages(found)


def _heading(found: Diagnosis) -> Iterator[str]:
    host, limits = found.host, found.limits
    whom = "programs started from here" if found.pid is None else f"process {found.pid}"
    memory = limits["memory_limit_bytes"]
    model = host["cpu_model"] or host["machine"]
    yield f"corelens {found.corelens}, Python {found.python}, Linux {host['kernel']}"
    yield (
        f"machine: {model}, {len(limits['online_cores'])} cores online ({_or_unknown(host['physical_cores'])}"
        f" physical), {_gib(host['memory_bytes'])} of memory"
    )
    yield (
        f"{whom} may use {limits['capacity_cores']:g} cores (bound by: {limits['capacity_because']}) and"
        f" {'all the memory' if memory is None else _gib(memory)}"
    )


def _packages(found: Diagnosis) -> Iterator[str]:
    for extra, versions in found.packages.items():
        named = [f"{name} {version or 'not installed'}" for name, version in versions.items()]
        missing = extra != "core" and None in versions.values()
        remedy = f" (pip install 'corelens[{extra}]')" if missing else ""
        yield f"{extra + ':':<8} {', '.join(named)}{remedy}"


def _print_table(found: Diagnosis) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("source", "", "what it gives, or why not and how to get it", box=None, pad_edge=False)
    for each in found.sees:
        state = Text("ok", style="green") if each.ok else Text("missing", style="bold yellow")
        reason = Text(each.reason)
        if each.remedy:
            reason.append(f"\nto get it: {each.remedy}", style="dim")
        table.add_row(Text(each.name), state, reason)
    console = Console()
    for line in _heading(found):
        console.print(Text(line))
    console.print("", table, "", sep="\n")
    for line in _packages(found):
        console.print(Text(line))


def _process(pid: int) -> int:
    from corelens.probes.session import target_of

    def say(_: str) -> None:
        print(f"corelens: {pid} is a thread: looking at its process", file=sys.stderr)

    return target_of(pid, say)


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gib(size_bytes: int | None) -> str:
    return "an unknown amount" if size_bytes is None else f"{size_bytes / _GIB:.1f} GiB"


def _or_unknown(number: int | None) -> str:
    return "unknown" if number is None else str(number)
