"""End a training whose representations grow without bound, before its numbers are worthless."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from relcl_lib.lab.run import DivergenceError

#: growth that no training shows which goes well
GROWTH = 100.0


@torch.no_grad()
def mean_lengths(representations: Sequence[Tensor]) -> list[float]:
    """The mean length of the rows of each representation (N, D), in units of sqrt(D)."""
    lengths = [h.float().square().mean(1).sqrt().mean() for h in representations]
    return torch.stack(lengths).tolist()


def check_growth(lengths: Sequence[float], first: Sequence[float], where: str, advice: str) -> None:
    """Compare lengths with those at the start of a training, of at least 1 each.

    Raises:
        DivergenceError: one has grown 100-fold or is not finite.
    """
    for number, (length, start) in enumerate(zip(lengths, first, strict=True)):
        if not length <= GROWTH * max(1.0, start):
            times = f"{length / max(1.0, start):.0f} times as long"
            since = "as at first (or as 1, if that was less)"
            grown = f"{times} {since}" if math.isfinite(length) else "not finite"
            raise DivergenceError(f"{where}: representation {number} is {grown}; {advice}")
