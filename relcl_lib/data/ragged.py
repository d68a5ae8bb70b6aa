"""Rows of unlike length side by side, without a loop."""

from __future__ import annotations

import torch
from torch import Tensor


def ranges(first: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return (owner, index): for each i its indices first[i] .. first[i] + count[i] - 1, in a row."""
    owner = torch.repeat_interleave(count)
    before = count.cumsum(0) - count
    return owner, torch.arange(len(owner), device=count.device) + (first - before)[owner]
