"""The fully connected network of DRL's MNIST studies: two hidden layers of 100."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class Mlp(nn.Module):
    """Linear layers with ReLU between them, over flattened images.

    Args:
        inputs: values an image.
        classes: outputs.
        hidden: widths of the hidden layers.
    """

    def __init__(self, inputs: int, classes: int, hidden: Sequence[int] = (100, 100)) -> None:
        super().__init__()
        sizes = [inputs, *hidden]
        # Not in place: what a hidden layer gives out is a representation, and stays one.
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(n, m), nn.ReLU()) for n, m in pairwise(sizes)
        )
        self.head = nn.Linear(sizes[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, ...) to logits (B, C)."""
        x = images.flatten(1)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)
