"""What takes long and finds what the other tests do not, but seldom: it runs in CI, or with CI=1."""

import os

import pytest

in_ci = pytest.mark.skipif(
    not (os.environ.get("CI") or os.environ.get("RELCL_HARD")), reason="in CI, or with CI=1"
)
