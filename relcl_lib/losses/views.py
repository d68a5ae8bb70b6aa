"""Losses between two views of the same rows: DocRE-II's Eq. 14, its ablation, and ER-DVC's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relcl_lib.losses.basic import cosine_similarity, cross_entropy_loss, normalise


def view_agreement_loss(
    left_prediction: Tensor,
    right_prediction: Tensor,
    left: Tensor,
    right: Tensor,
    *,
    variant: str = "paper",
) -> Tensor:
    """Agreement of two views without negatives, as in SimSiam: Eq. 14 of DocRE-II.

    Mean over rows of 2 - cos(p(l), sg(r)) - cos(p(r), sg(l)), p the predictor and sg the stop of
    the gradient: each view predicts the other, which is taken as a constant.

    Args:
        left_prediction, right_prediction: (..., B, D), what the predictor makes of each view.
        left, right: (..., B, D), the views; constants here.
        variant: `released` is twice as large.

    Returns:
        (...), between 0 and 4, `released` between 0 and 8; 0 for no rows.
    """
    if variant not in ("paper", "released"):
        raise ValueError(f"variant={variant!r} must be 'paper' or 'released'")
    crossed = ((left_prediction, right.detach()), (right_prediction, left.detach()))
    cosines = sum((normalise(a) * normalise(b)).sum(-1) for a, b in crossed)
    loss = (2 - cosines).sum(-1) / max(left.shape[-2], 1)
    return 2 * loss if variant == "released" else loss


def view_contrast_loss(
    left: Tensor, right: Tensor, real: Tensor | None = None, *, temperature: float = 0.1
) -> Tensor:
    """Agreement of two views with the other rows as negatives, as in SimCLR ("w/ negative pairs").

    Mean over rows i of -log[ exp(<l_i, r_i>/t) / sum_j exp(<l_i, r_j>/t) ], and the same with the
    views exchanged, averaged. The paper does not print t.

    Args:
        left, right: (..., B, D), normalised here.
        real: (..., B) bool, rows that are there; None: all.
        temperature: t.

    Returns:
        (...); a row that is alone costs 0, as does a batch without rows.
    """
    pairs = cosine_similarity(left, right) / temperature
    own = pairs.diagonal(dim1=-2, dim2=-1)
    if real is None:
        real = torch.ones_like(own, dtype=torch.bool)
    among_right = pairs.masked_fill(~real.unsqueeze(-2), -math.inf).logsumexp(-1)
    among_left = pairs.masked_fill(~real.unsqueeze(-1), -math.inf).logsumexp(-2)
    loss = (among_right + among_left) / 2 - own
    # By choice, not by product: where no row is real the sums are infinite.
    return loss.masked_fill(~real, 0.0).sum(-1) / real.sum(-1).clamp(min=1)


def dual_view_loss(
    left: Tensor,
    right: Tensor,
    joint: Tensor,
    labels: Tensor,
    *,
    consistency: float,
    entropy: float = 1.0,
) -> Tensor:
    """ER-DVC's loss: both views right, of one mind with the joint logits, and no class left out.

    CE over the rows of both views + entropy/3 sum_v sum_c q_vc log q_vc
    + consistency mean |p_joint - p_left|, |p_joint - p_right|, with v of (left, right, joint) and q_v
    the mean of the batch's p_v = softmax(v): the second term is smallest where the classes are even.

    Args:
        left, right, joint: (..., B, C), logits of the two views and of both together.
        labels: (..., B).
        consistency, entropy: weights.

    Returns:
        (...).
    """
    both = torch.cat([left, right], dim=-2)
    shares = torch.stack([left, right, joint]).softmax(-1)  # (3, ..., B, C)
    even = shares.mean(-2)
    if even.dtype == torch.float16:  # in which the bound is 0
        even = even.float()
    even = even.clamp(min=torch.finfo(torch.float64).eps)
    negative_entropy = (even * even.log()).sum(-1).sum(0) / 3
    apart = (shares[2] - shares[:2]).abs().mean((0, -2, -1))
    loss = cross_entropy_loss(both, torch.cat([labels, labels], dim=-1))
    return loss + entropy * negative_entropy + consistency * apart
