"""What takes long and finds what the other tests do not, but seldom: it runs in CI, or with CI=1."""

import os

import pytest

WHOLE = bool(os.environ.get("CI") or os.environ.get("RELCL_HARD"))
in_ci = pytest.mark.skipif(not WHOLE, reason="in CI, or with CI=1")
