"""Alias of `relcl_lib.commands.figures`, until 0.3."""

import sys

from relcl_lib.commands.figures import main

if __name__ == "__main__":
    sys.exit(main())
