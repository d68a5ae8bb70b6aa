"""The loss of cascade tagging: starts and ends of head entities, then of tail entities."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from relcl_lib.losses.threshold import adaptive_threshold_loss


def tagging_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    threshold: str = "adaptive",
    allowed: Tensor | None = None,
    epsilon: float = 0.0,
) -> Tensor:
    """Loss of each position: logits (..., C [+ 1]) and labels (..., C) bool to (...).

    `threshold` is `adaptive`: Eq. 11, see `adaptive_threshold_loss`, with the threshold in column 0;
    or `global`: sigmoid cross-entropy summed over the classes, for which `epsilon` means nothing.
    """
    if threshold == "adaptive":
        return adaptive_threshold_loss(logits, labels, allowed=allowed, epsilon=epsilon)
    if threshold != "global":
        raise ValueError(f"threshold={threshold!r} must be 'adaptive' or 'global'")
    each = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none")
    if allowed is not None:
        each = each * (allowed | labels)
    return each.sum(-1)


def cascade_loss(
    head_losses: tuple[Tensor, Tensor],
    tail_losses: tuple[Tensor, Tensor],
    real: Tensor,
    rows: Tensor,
    weights: Tensor,
    *,
    scale: str = "token",
    mask_pads: bool = True,
) -> Tensor:
    """Sum the four losses of a batch (Eq. 12 and 15, all weights 1).

    Args:
        head_losses: of starts and ends, each (B, n), one number per position.
        tail_losses: each (M, n), of M head entities.
        real: (B, n) bool, real tokens.
        rows: (M,) sentence of each head entity.
        weights: (M,) what each head entity counts.
        scale: divide the sum by the real tokens of the batch (`token`, released) or by its
            sentences (`sentence`, Eq. 15).
        mask_pads: False leaves pads in the sum, as the release does.

    Returns:
        (), one number for the whole batch; NaN without a real token.

    Raises:
        ValueError: no such `scale`.
    """
    if scale not in ("token", "sentence"):
        raise ValueError(f"scale={scale!r} must be 'token' or 'sentence'")
    heads, tails = sum(head_losses), sum(tail_losses)
    if mask_pads:
        # By choice, not by product: the loss at a pad may be anything, infinite too. (Its gradient is
        # 0 as long as the logits there are finite.)
        heads, tails = heads.masked_fill(~real, 0.0), tails.masked_fill(~real[rows], 0.0)
    total = heads.sum() + (tails.sum(-1) * weights).sum()
    return total / (real.sum() if scale == "token" else len(real))
