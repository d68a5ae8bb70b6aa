"""The adaptive threshold loss of ATLOP, which FastRE and DocRE-II share: column 0 is the threshold."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def adaptive_threshold_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    allowed: Tensor | None = None,
    epsilon: float = 0.0,
) -> Tensor:
    """Adaptive threshold loss of each position (FastRE's Eq. 11, one term of the sum over i).

    With P the positive classes, N the others and column 0 the threshold class AT:
    -sum_{j in P} log( e^{o_j} / sum_{k in P+AT} e^{o_k} ) - log( e^{o_AT} / sum_{k in N+AT} e^{o_k} ).
    Without a positive the first sum is 0, without a negative the second term is 0. Positives compete
    with one another: p of them cost at least p log p.

    Args:
        logits: (..., C+1), the threshold first.
        labels: (..., C), bool or 0/1.
        allowed: bool, broadcast to (..., C): classes that may be negatives; None: all. A positive
            counts whether allowed or not.
        epsilon: added to each probability before the logarithm; 1e-7 is the released code, which
            caps the loss of a positive at 16.1 and stops its gradient there.

    Returns:
        (...), at least 0, or -`epsilon` per logarithm. Sum or average it over real positions.
        ValueError where the labels have other positions or another number of classes.
    """
    if labels.shape != (*logits.shape[:-1], logits.shape[-1] - 1):
        raise ValueError(
            f"labels {tuple(labels.shape)} must be (..., C), 0 or 1 for each class, where the logits "
            f"{tuple(logits.shape)} are (..., C + 1), with the threshold in column 0"
        )
    positive = F.pad(labels.bool(), (1, 0))  # (..., C+1), never the threshold
    rival = positive.clone()
    rival[..., 0] = True
    negative = ~positive
    if allowed is not None:
        negative = negative & F.pad(allowed, (1, 0), value=True)
    gap = logits.masked_fill(~rival, -math.inf).logsumexp(-1, keepdim=True) - logits
    threshold = logits.masked_fill(~negative, -math.inf).logsumexp(-1) - logits[..., 0]
    gap = gap.masked_fill(~positive, 0.0)  # before the exponential, whose gradient would be 0 * inf
    if epsilon:
        gap = -(torch.exp(-gap) + epsilon).log()
        threshold = -(torch.exp(-threshold) + epsilon).log()
    return gap.masked_fill(~positive, 0.0).sum(-1) + threshold


def above_threshold(logits: Tensor) -> Tensor:
    """Which classes a position has: (..., C+1) to (..., C) bool, strictly above AT, its own column 0."""
    return logits[..., 1:] > logits[..., :1]
