"""What is known about one program: its verdict, what it shows, what it needs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Verdict = Literal[
    "gil-contention",
    "thread-oversubscription",
    "process-oversubscription",
    "synchronisation-overhead",
    "cpu-affinity",
    "cpu-quota",
    "deadlock",
    "serial-dispatch",
    "load-imbalance",
    "fine-grained-tasks",
    "data-transfer",
    "lock-contention",
    "slot-starvation",
    "capped-native-threads",
    "nested-sequential",
    "worker-churn",
    "io-bound",
    "slow-producer",
    "memory-pressure",
    "healthy",
    "insufficient-evidence",
]
"""What a program of the zoo can be diagnosed as.

`memory-bandwidth` is not among them: that cores wait for a saturated memory system is proven by hardware counters
alone, which virtual machines seldom have, and a program that must be given a verdict without proof teaches guessing.
"""
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

Control = Literal["cpu", "memory"]
"""A controller of control groups, v1 or v2."""

STUCK_EXIT_CODE = 75
"""With it a program ends that found itself stuck and gave up."""

FOLDER = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True)
class Program:
    """One program, a script in `programs/` under its name with underscores."""

    name: str
    verdict: Verdict
    variant: str
    """The mechanism, in two or three words."""
    shows: str
    """One line for the list."""
    libraries: tuple[str, ...] = ()
    """Modules that it imports beside the standard library."""
    control: Control | None = None
    """The controller that it sets a limit of, as root."""
    fast: bool = False
    """Belongs to the part that is short enough for every change."""

    @property
    def script(self) -> Path:
        """The file to run."""
        return FOLDER / f"{self.name.replace('-', '_')}.py"

    @property
    def is_sick(self) -> bool:
        """Whether there is something to fix: healthy programs have one twin only."""
        return self.verdict != "healthy"

    @property
    def gives_up(self) -> bool:
        """Whether nothing moves in it until it ends itself."""
        return self.verdict == "deadlock"

    @property
    def has_gain(self) -> bool:
        """Whether throughput with and without the fix can be compared."""
        return self.is_sick and self.verdict not in ("deadlock", "insufficient-evidence")

    def command_line(self, *, fixed: bool) -> list[str]:
        """Give the command that runs one twin."""
        return [sys.executable, "-W", "ignore", str(self.script), *(["--fixed"] if fixed else [])]
