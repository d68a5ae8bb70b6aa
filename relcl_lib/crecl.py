"""The old form of `python -m relcl_lib crecl`, until 0.3."""

from relcl_lib.__main__ import alias

if __name__ == "__main__":
    alias("crecl")
