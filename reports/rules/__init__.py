"""Why a program does not scale: one rule per file, each pure over the facts, and their order.

A rule is a function `check(facts) -> Iterable[Finding]`. It reasons from what was measured and never from the
name or the text of a program. `RULES` holds all of them.
"""

from corelens.reports.rules.order import RULES, diagnose

__all__ = ["RULES", "diagnose"]
