"""Rows of unlike length side by side, without a loop."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def ranges(first: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """(owner, index): of the i-th of `rows`, r, the indices first[r] .. first[r + 1] - 1, in a row."""
    start, count = first[rows], first[rows + 1] - first[rows]
    owner = torch.repeat_interleave(count)
    before = count.cumsum(0) - count
    return owner, torch.arange(len(owner), device=count.device) + (start - before)[owner]


def pad_rows(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    """Rows of unlike length as one int64 tensor (N, longest), filled up on the right."""
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    longest = int(lengths.max()) if len(rows) else 0
    padded = torch.full((len(rows), longest), filler, dtype=torch.long)
    flat = torch.tensor([value for row in rows for value in row], dtype=torch.long)
    padded[torch.arange(longest) < lengths.unsqueeze(1)] = flat
    return padded
