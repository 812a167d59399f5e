"""Text of strangers made safe to show, and a process tree as lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from corelens.reports.report import TreeNode

# An underscore between letters or digits stays: it is part of a name, and no medium takes it for emphasis.
_MARKDOWN = re.compile(r"([\\`*\[\]|<>&~]|(?<![^\W_])_|_(?![^\W_])|^[#+=-])")
# What begins a numbered list.
_ITEM = re.compile(r"^(\d+)([.)])(?=\s|$)")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_NUMBERED = re.compile(r"-\d+$")


def plain(text: str) -> str:
    """Replace what a terminal would obey or a line cannot hold, such as escape sequences and newlines."""
    return "".join(character if character.isprintable() else "�" for character in text)


def markdown_text(text: str) -> str:
    """Make text appear as it is in a Markdown paragraph or table cell."""
    return _ITEM.sub(r"\1\\\2", _MARKDOWN.sub(_escaped, plain(text)))


def _escaped(found: re.Match[str]) -> str:
    return _ENTITIES.get(found[0], f"\\{found[0]}")


def tree_lines(roots: Sequence[TreeNode]) -> list[str]:
    """Draw process trees as `pstree` does, alike siblings once with their number."""
    lines: list[str] = []
    shapes = _shapes(roots)
    # A stack instead of recursion, because a chain of processes can be deeper than calls can nest.
    waiting = [(root, 1, "", "") for root in reversed(roots)]
    while waiting:
        node, times, first, rest = waiting.pop()
        lines.append(first + _named(node, times))
        branches = _alike(node.children, shapes)
        for place, (child, number) in reversed(list(enumerate(branches))):
            last = place == len(branches) - 1
            waiting.append(
                (child, number, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
            )
    return lines


def _named(node: TreeNode, times: int) -> str:
    threads = "1 thread" if node.threads == 1 else f"{node.threads} threads"
    if times == 1:
        return f"{plain(node.label)} [{plain(node.role)}] {threads}"
    return f"{times} × {plain(_without_number(node.label))} [{plain(node.role)}] {threads} each"


def _without_number(label: str) -> str:
    """Name workers that differ by their number alone: `LokyProcess-*`."""
    return _NUMBERED.sub("-*", label)


def _alike(nodes: Iterable[TreeNode], shapes: dict[int, int]) -> list[tuple[TreeNode, int]]:
    found: dict[int, list[TreeNode]] = {}
    for node in nodes:
        found.setdefault(shapes[id(node)], []).append(node)
    return [(same[0], len(same)) for same in found.values()]


def _shapes(roots: Iterable[TreeNode]) -> dict[int, int]:
    """Number everything that is drawn of a node and what is below it: equal numbers look alike."""
    order = list(roots)
    for node in order:
        order += node.children
    numbers: dict[object, int] = {}
    shapes: dict[int, int] = {}
    for node in reversed(order):
        below = tuple(sorted(shapes[id(child)] for child in node.children))
        shape = (node.role, _without_number(node.label), node.threads, below)
        shapes[id(node)] = numbers.setdefault(shape, len(numbers))
    return shapes
