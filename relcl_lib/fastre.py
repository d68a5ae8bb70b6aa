"""Alias of `relcl_lib.papers.fastre.command`, until 0.3."""

import sys

from relcl_lib.papers.fastre.command import main

if __name__ == "__main__":
    sys.exit(main())
