"""The search: trials that each evolve a population of controllers, run by a choice of parallel backends.

Start it with `python -m corelens.scenarios.search --backend sequential`; it needs no recorder.
"""
