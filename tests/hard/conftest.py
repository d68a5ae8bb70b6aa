"""The hard tests: a sample of each with the usual tests, all of each where `RELCL_HARD` is set."""

import os

import pytest


@pytest.fixture(scope="session")
def long():
    """Whether the long form was asked for (`make test-hard`)."""
    return bool(os.environ.get("RELCL_HARD"))


@pytest.fixture
def tell(capsys, request):
    """Say a figure to whoever runs the tests."""

    def told(line):
        with capsys.disabled():
            print(f"\n[{request.node.name}] {line}", flush=True)

    return told
