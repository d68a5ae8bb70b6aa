"""Alias of `relcl_lib.commands.demo`, until 0.3."""

import sys

from relcl_lib.commands.demo import main

if __name__ == "__main__":
    sys.exit(main())
