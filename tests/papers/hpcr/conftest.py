import pytest

from relcl_lib.models.resnet import ReplayNetwork
from relcl_lib.papers.hpcr.run import ReplayRun


@pytest.fixture
def in_double(monkeypatch):
    """Networks in double precision: in float32 rounding grows until it hides a mistake."""
    made = ReplayRun.__init__

    def double(run, *given, **named):
        made(run, *given, **named)
        run.network.double()
        run.strategy.double()

    def forward(network, images):
        features = network.body(images.double())
        return network.head(features), features

    monkeypatch.setattr(ReplayRun, "__init__", double)
    monkeypatch.setattr(ReplayNetwork, "forward", forward)
