import pytest

from relcl_lib.models.resnet import LinearClassifier, ReplayNetwork


@pytest.fixture
def in_double(monkeypatch):
    """Networks in double precision: in float32 rounding grows until it hides a mistake."""

    def forward(network, images):
        features = network.double().body(images.double())
        return network.head(features), features

    monkeypatch.setattr(ReplayNetwork, "forward", forward)
    linear = LinearClassifier.forward  # of which heads of the methods' own are made
    monkeypatch.setattr(LinearClassifier, "forward", lambda head, z: linear(head.to(z.dtype), z))
