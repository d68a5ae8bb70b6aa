import pytest

from relcl_lib.models.resnet import ReplayNetwork


@pytest.fixture
def in_double(monkeypatch):
    """Networks in double precision: in float32 rounding grows until it hides a mistake."""

    def forward(network, images):
        features = network.double().body(images.double())
        return network.head(features), features

    monkeypatch.setattr(ReplayNetwork, "forward", forward)
