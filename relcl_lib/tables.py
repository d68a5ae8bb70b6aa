"""Alias of `relcl_lib.lab.compare`, until 0.3."""

import sys

from relcl_lib.lab.compare import main

if __name__ == "__main__":
    sys.exit(main())
