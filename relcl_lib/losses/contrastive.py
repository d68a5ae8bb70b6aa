"""Contrastive losses without proxies, and HPCR's couplings of the two kinds (its baselines)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relcl_lib.losses.proxy import _pair_logits, _positives


def supervised_contrastive_loss(
    features: Tensor, labels: Tensor, *, temperature: float = 0.09
) -> Tensor:
    """Supervised contrastive loss over a batch (SCR; the left term of HPCR's Eq. 7).

    For each anchor, the mean over the other rows p of its class of
    -log[ exp(<z_i, z_p>/t) / sum_{j != i} exp(<z_i, z_j>/t) ]; anchors without such a row count 0.

    Args:
        features: (..., N, D), normalised here.
        labels: (..., N) int64.
        temperature: t.

    Returns:
        (...), the mean over the N rows.
    """
    pairs, others = _pair_logits(features, temperature)
    log_sum = others.logsumexp(-1, keepdim=True)
    positive = _positives(labels)
    loss = ((log_sum - pairs) * positive).sum(-1) / positive.sum(-1).clamp(min=1)
    return loss.mean(-1)


def coupled_loss(
    logits: Tensor,
    labels: Tensor,
    features: Tensor,
    seen: Tensor,
    *,
    temperature: float = 0.09,
) -> Tensor:
    """Couple proxies and pairs in one softmax (HPCR, Eq. 8): all seen proxies, pairs below only.

    mean_i -log[ exp(o_iy) / (sum_{c seen} exp(o_ic) + sum_{j != i} exp(<z_i, z_j>/t)) ].

    Args:
        logits: (..., N, C), already divided by the temperature.
        labels: (..., N) int64, seen classes only.
        features: (..., N, D), normalised here.
        seen: (..., C) bool, the classes met so far.
        temperature: t.
    """
    _, others = _pair_logits(features, temperature)
    proxies = logits.masked_fill(~seen.unsqueeze(-2), -math.inf)
    own = logits.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return (torch.cat([proxies, others], dim=-1).logsumexp(-1) - own).mean(-1)
