"""The part of the report that says where the Python code was, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PythonFunction:
    """One Python function that was innermost in samples of the processes of one role."""

    role: str
    function: str
    file: str
    line: int | None
    """Line that it was at most often."""
    samples: int
    seen_share: float
    """Its part of all samples of this sort and role."""
    low_share: float
    """Lower end of the 95 % interval (Wilson), as if the samples were independent; runs in a row are not quite."""
    high_share: float
    """Upper end of the same interval."""


@dataclass(frozen=True, slots=True)
class FoldedStack:
    """One stack, how often it was seen in one state, and in which threads: what a flame graph is drawn from."""

    role: str
    threads: str
    """Name of the threads with `#` for each number in it, so that workers that differ by it are one."""
    state: str
    """active, gil (held the interpreter lock), idle, or unknown where py-spy could not tell."""
    frames: tuple[str, ...]
    """`function (file)`, outermost first."""
    samples: int


@dataclass(frozen=True, slots=True)
class PythonStacks:
    """Samples of Python threads, and what they add up to. A share is no time: it has the spread of a sample."""

    looks: int
    """Runs of py-spy that gave samples."""
    failed_looks: int
    processes: int
    """Processes that were looked into."""
    blocking: bool
    """Whether the program was stopped for the samples."""
    active_samples: int
    gil_samples: int
    """Samples of the thread that held the interpreter lock, from runs that looked for nothing else."""
    idle_samples: int
    unknown_samples: int
    """Samples of threads of which py-spy could not tell whether they were active: of Python before
    3.11, and in a PID namespace of its own."""
    dropped_samples: int
    """Torn while the program ran on, or of a thread that nobody knows; they are in no other number."""
    own_core_s: float
    """What py-spy used; a part of the recorder's own cost."""
    functions: tuple[PythonFunction, ...]
    """Innermost functions of active threads by role, the most frequent first."""
    holders: tuple[PythonFunction, ...]
    """Innermost functions of the threads that held the interpreter lock, likewise."""
    folded: tuple[FoldedStack, ...]
    """Every different stack, the most frequent first."""
    left_out_samples: int
    """Samples of stacks that are too rare to be listed in `folded`."""
