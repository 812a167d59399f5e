"""Randomness of neat-python, one generator per thread.

neat-python 2 draws from Python's one global generator, also when a seed is given. Searches that run in
several threads would take each other's numbers, and a trial's value would depend on its neighbours. Its
modules get a source here that looks up the calling thread's own generator instead.
"""

from __future__ import annotations

import importlib
import random
import threading
from collections.abc import Callable
from typing import Any

# The names of the global generator that modules of neat-python 2.0 keep, and who keeps the whole module.
FUNCTIONS = ("choice", "gauss", "randint", "random", "shuffle", "uniform")
WITH_FUNCTIONS = ("neat.attributes", "neat.genes", "neat.genome")
WITH_MODULE = ("neat.population", "neat.reproduction")


class _Generators(threading.local):
    def __init__(self) -> None:
        self.own = random.Random()


class ThreadRandom:
    """Stands in for the `random` module; each thread that calls it draws from a generator of its own."""

    def __init__(self) -> None:
        self._generators = _Generators()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generators.own, name)

    def function(self, name: str) -> Callable[..., Any]:
        """Give a function that finds the generator when called, not when named."""

        def drawn(*arguments: Any) -> Any:
            return getattr(self._generators.own, name)(*arguments)

        return drawn


_source = ThreadRandom()
_functions = {name: _source.function(name) for name in FUNCTIONS}


def separate_threads() -> None:
    """Give neat-python the source of this module; calling it again changes nothing."""
    for path in WITH_MODULE:
        vars(importlib.import_module(path))["random"] = _source
    for path in WITH_FUNCTIONS:
        names = vars(importlib.import_module(path))
        names.update({name: _functions[name] for name in FUNCTIONS if name in names})
