"""Programs that do not scale, each with the verdict that it must be given, its fix, and healthy look-alikes.

Each is a plain script of one file in `programs/`: sick by default, with `--fixed` the same work with the fix. It
prints `units=N elapsed S` at the end. They are made for two cores.
"""
