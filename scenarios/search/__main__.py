"""`python -m corelens.scenarios.search` is the search as a program of its own."""

import sys

from corelens.scenarios.search.program import main

if __name__ == "__main__":
    sys.exit(main())
