"""Which Python threads were seen doing the work of a library that shares work out among threads.

A thread that runs trials or batches is a worker, whatever its name. Known only where stacks were recorded.
"""

from __future__ import annotations

from corelens.recording import Recording

OPTUNA_WORKER = "Optuna worker"
JOBLIB_WORKER = "joblib worker"
# What a worker has on its stack and the thread that waits for the workers has not: (end of the file, function).
_WORK = (
    ("/optuna/study/_optimize.py", "_optimize_sequential", OPTUNA_WORKER),
    ("/joblib/parallel.py", "BatchedCalls.__call__", JOBLIB_WORKER),
)

Sightings = dict[int, list[tuple[int, str]]]
"""Thread id to when it was seen at work, and what a worker of that kind is called."""


def at_work(recording: Recording) -> Sightings:
    """Every sighting of a worker, once per stack."""
    frames = {
        number: word
        for line in recording.lines("stacks.frames")
        for number, file, function in zip(line["frame"], line["file"], line["function"], strict=False)
        if (word := _word(file, function)) is not None
    }
    stacks = {
        number: frames[each]
        for line in recording.lines("stacks.chains")
        for number, chain in zip(line["stack"], line["frames"], strict=False)
        for each in chain
        if each in frames
    }
    found: Sightings = {}
    for line in recording.lines("stacks"):
        for tid, stack in zip(line["tid"], line["stack"], strict=False):
            if stack in stacks:
                found.setdefault(tid, []).append((line["t_ns"], stacks[stack]))
    return found


def _word(file: str, function: str) -> str | None:
    for ending, name, word in _WORK:
        if file.endswith(ending) and function == name:
            return word
    return None
