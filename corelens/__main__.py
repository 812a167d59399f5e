"""`python -m corelens` is the command."""

import sys

from corelens.cli import main

if __name__ == "__main__":
    sys.exit(main())
