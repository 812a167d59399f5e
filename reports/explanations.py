"""What each verdict means, read off the docstrings of the rules: `corelens explain` and `docs/rules` show it.

A rule's module has a `SLUG`, and a docstring of one line and four parts, each of which begins with its heading
and a colon. Lines that are indented there are kept as they stand, such as text to paste.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from types import ModuleType

from corelens.reports import rules

HEADINGS = ("What it sees", "Why it costs", "What to do", "When it is wrong")

TAXONOMY = (
    "gil-contention", "thread-oversubscription", "process-oversubscription", "synchronisation-overhead",
    "cpu-affinity", "cpu-quota", "deadlock", "serial-dispatch", "load-imbalance", "fine-grained-tasks",
    "data-transfer", "lock-contention", "slot-starvation", "capped-native-threads", "nested-sequential",
    "worker-churn", "io-bound", "slow-producer", "memory-pressure", "memory-bandwidth", "late-thread-limit",
    "healthy", "insufficient-evidence",
)  # fmt: skip
"""Every word that a diagnosis may use, causes first."""


class Malformed(ValueError):
    """A rule's docstring lacks one of its parts."""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph without line breaks, or lines that are kept as they stand."""

    lines: tuple[str, ...]
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one verdict is: a sentence, then its parts under HEADINGS."""

    slug: str
    summary: str
    parts: tuple[tuple[str, tuple[Block, ...]], ...]


def explanations() -> tuple[Explanation, ...]:
    """All that there are, in the order of the taxonomy; raises Malformed where a docstring has another form."""
    found = [explanation(module.SLUG, inspect.getdoc(module) or "") for module in rule_modules()]
    return tuple(sorted(found, key=_rank))


def rule_modules() -> Iterator[ModuleType]:
    """The modules that are the rule of a verdict, or tell what a verdict without a rule means."""
    for found in pkgutil.iter_modules(rules.__path__, f"{rules.__name__}."):
        module = import_module(found.name)
        if hasattr(module, "SLUG"):
            yield module


def explanation(slug: str, docstring: str) -> Explanation:
    """Take a docstring apart; raises Malformed where a part is missing, empty or out of order."""
    summary, _, rest = docstring.partition("\n\n")
    parts: list[tuple[str, list[str]]] = []
    for line in rest.splitlines():
        heading = next((one for one in HEADINGS if line.startswith(f"{one}:")), None)
        if heading is not None:
            parts.append((heading, [_begun(line.removeprefix(f"{heading}:").strip())]))
        elif parts:
            parts[-1][1].append(line)
    made = tuple((heading, _blocks(lines)) for heading, lines in parts)
    _check(slug, summary, made)
    return Explanation(slug, " ".join(summary.split()), made)


def _begun(text: str) -> str:
    """Begin a sentence that stood after a colon with a capital, unless it begins with a name from code."""
    first = text.partition(" ")[0].rstrip(".,:;")
    return text[:1].upper() + text[1:] if first.isalpha() and first.islower() else text


def _check(slug: str, summary: str, parts: tuple[tuple[str, tuple[Block, ...]], ...]) -> None:
    if not summary.strip() or tuple(heading for heading, _ in parts) != HEADINGS:
        raise Malformed(f"the docstring of {slug} needs one line, then: {', '.join(HEADINGS)}")
    empty = [heading for heading, blocks in parts if not blocks]
    if empty:
        raise Malformed(f"the docstring of {slug} says nothing under {empty[0]!r}")


def _blocks(lines: list[str]) -> tuple[Block, ...]:
    """Fold lines into paragraphs; an empty line or another indentation begins the next."""
    grouped = groupby(lines, key=lambda line: (not line.strip(), line.startswith((" ", "\t"))))
    made: list[Block] = []
    for (empty, verbatim), group in grouped:
        if not empty:
            text = inspect.cleandoc("\n".join(group))
            made.append(
                Block(tuple(text.splitlines()), True) if verbatim else Block((" ".join(text.split()),))
            )
    return tuple(made)


def _rank(one: Explanation) -> tuple[int, str]:
    place = TAXONOMY.index(one.slug) if one.slug in TAXONOMY else len(TAXONOMY)
    return place, one.slug
