"""The process tree at one moment, with thread counts."""

from __future__ import annotations

from corelens.reports.facts.processes import Life, Lives
from corelens.reports.report import TreeNode

# Options of the interpreter whose value is a word of its own.
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")


def tree(lives: Lives, threads: dict[Life, int]) -> tuple[TreeNode, ...]:
    """Arrange the processes of `threads`; those whose parent is not among them stand at the top."""
    children: dict[Life | None, list[Life]] = {}
    for life in lives.all:
        if life in threads:
            parent = lives.parent(life)
            children.setdefault(parent if parent in threads else None, []).append(life)
    # From the leaves up, because a chain of processes can be deeper than calls can nest.
    order: list[Life] = [*children.get(None, [])]
    for life in order:
        order += children.get(life, [])
    made: dict[Life, TreeNode] = {}
    for life in reversed(order):
        below = tuple(made[child] for child in children.get(life, []))
        made[life] = TreeNode(life.pid, label(life), life.role, threads[life], below)
    return tuple(made[life] for life in children.get(None, []))


def label(life: Life) -> str:
    """What to call a process: its name in multiprocessing, its Ray task, its script, or its command."""
    argv = life.argv or ()
    if "--process-name" in argv[:-1]:
        return argv[argv.index("--process-name") + 1]
    if not argv:
        return life.comm
    if argv[0].startswith("ray::"):
        return argv[0]
    program = argv[0].rpartition("/")[2] or life.comm
    if not program.startswith("python"):
        return program
    return " ".join((program, *_program_of(argv[1:]))) if "--multiprocessing-fork" not in argv else program


def _program_of(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """What an interpreter runs: a module, a script without its folder, or nothing that has a name."""
    for place, argument in enumerate(arguments):
        if place and arguments[place - 1] in _WITH_VALUE:
            continue
        if argument == "-m":
            return ("-m", *arguments[place + 1 : place + 2])
        if argument == "-c":
            return ("-c",)
        if not argument.startswith("-"):
            return (argument.rpartition("/")[2],)
    return ()
