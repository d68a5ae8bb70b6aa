"""The distillation component of HPCR (HD): stored logits (PCD) and stored relations (SCD)."""

from __future__ import annotations

from torch import Tensor

from relcl_lib.losses.basic import cosine_similarity


def proxy_contrastive_distillation_loss(
    logits: Tensor, stored_logits: Tensor, counts: Tensor, *, reduction: str = "mean"
) -> Tensor:
    """Proxy-based contrastive distillation (PCD): Eq. 24 of HPCR with its sign corrected.

    `mean` (released): (1/M) sum_i (1/N) sum_c k_c (o_ic - o*_ic)^2, N = sum_c k_c; the same number
    as the mean over the columns indexed by all N labels of the step. `sum` (printed): without 1/N.
    Columns of classes with k_c = 0 get no gradient. The stored logits are constants.

    Args:
        logits: (..., M, C) of the memory rows, both views, divided by the temperature.
        stored_logits: (..., M, C), recorded when each image was stored, repeated for both views.
        counts: (..., C), k_c over all rows of the step, memory and stream.

    Returns:
        (...), at least 0; 0 if the logits equal the stored ones wherever k_c > 0. `mean` of N = 0: NaN.
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction={reduction!r} must be 'mean' or 'sum'")
    weights = counts.to(logits.dtype)
    if reduction == "mean":
        weights = weights / weights.sum(-1, keepdim=True)
    gap = (logits - stored_logits.detach()).square()
    return (gap * weights.unsqueeze(-2)).sum(-1).mean(-1)


def sample_contrastive_distillation_loss(
    features: Tensor,
    stored_features: Tensor,
    *,
    temperature: float = 0.09,
    variant: str = "released",
) -> Tensor:
    """Sample-based contrastive distillation (SCD): Eq. 25 of HPCR.

    Each row's cosines to the other M - 1 rows become a distribution: q from the stored features, p
    from the present ones. `released`: mean_i -sum_j q_ij log p_ij, ordinary distillation; its
    minimum is the entropy of q, not 0. `paper`: the roles as Eq. 25 prints them,
    mean_i -sum_j p_ij log q_ij, whose gradient flows through the weights p only.

    Args:
        features: (..., M, D) of the memory rows, both views; normalised here.
        stored_features: (..., M, D), repeated for both views; constants.
    """
    if variant not in ("released", "paper"):
        raise ValueError(f"variant={variant!r} must be 'released' or 'paper'")
    new = _log_relations(features, temperature)
    old = _log_relations(stored_features.detach(), temperature)
    weights, logs = (old, new) if variant == "released" else (new, old)
    return -(weights.exp() * logs).sum(-1).mean(-1)


def _log_relations(features: Tensor, temperature: float) -> Tensor:
    """The log-softmax of each row's cosines to the other rows: (..., M, D) to (..., M, M-1)."""
    cosines = cosine_similarity(features, features) / temperature
    m = features.shape[-2]
    # Leaving the diagonal out (rather than at -inf) keeps 0 * -inf out of the products above. In
    # row-major order the diagonal is every (m+1)-th entry: cut there and drop it, no mask needed.
    rows = cosines.flatten(-2)[..., :-1].unflatten(-1, (m - 1, m + 1))[..., 1:]
    return rows.reshape(*cosines.shape[:-2], m, m - 1).log_softmax(-1)
