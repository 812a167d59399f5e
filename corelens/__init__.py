"""corelens: every thread and every core-second accounted for.

The names here are the public Python API. Importing the package imports the standard library only.
"""

from corelens.marks import begin, end, mark, span
from corelens.recorder_child import record

__version__ = "0.1.0"

__all__ = ["__version__", "begin", "end", "mark", "record", "span"]
