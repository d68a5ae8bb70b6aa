"""CRECL's losses against relation prototypes (its Eq. 6-8), and the consistency loss of its release.

`similarities` (..., N, C) holds z_ir = s_i . s_r, the cosine of row i's projection and the projected
prototype of relation r, for every relation seen so far, undivided; `labels` (..., N) int64 are
columns of it. Each loss is a mean over the N rows.
"""

from __future__ import annotations

import math

from torch import Tensor

from relcl_lib.losses.basic import cross_entropy_loss, own_column, own_index


def prototype_cosine_loss(
    similarities: Tensor, labels: Tensor, *, temperature: float = 0.08
) -> Tensor:
    """L_cos (Eq. 6): mean_i -log[ exp(z_iy / tau) / sum_r exp(z_ir / tau) ].

    With equal prototypes it is log C.
    """
    return cross_entropy_loss(similarities / temperature, labels)


def prototype_margin_loss(similarities: Tensor, labels: Tensor, *, margin: float = 0.3) -> Tensor:
    """L_mag (Eq. 7): mean_i max(0, m - z_iy + max_{r != y} z_ir), between 0 and m + 2.

    Only a row's own prototype and its nearest other one get a gradient. With a single relation
    there is no other one, and the loss is 0.
    """
    own = own_column(similarities, labels)
    rival = similarities.scatter(-1, own_index(similarities, labels), -math.inf).max(-1).values
    return (margin - own + rival).clamp(min=0).mean(-1)


def prototype_contrastive_loss(
    similarities: Tensor,
    labels: Tensor,
    *,
    temperature: float = 0.08,
    margin: float = 0.3,
    lambda1: float = 0.5,
) -> Tensor:
    """L_2 (Eq. 8): lambda1 L_cos + (1 - lambda1) L_mag, lambda1 in [0, 1]; 1 is the released loss."""
    if not 0 <= lambda1 <= 1:
        raise ValueError(f"lambda1={lambda1} must lie in [0, 1]")
    loss = lambda1 * prototype_cosine_loss(similarities, labels, temperature=temperature)
    if lambda1 < 1:
        loss = loss + (1 - lambda1) * prototype_margin_loss(similarities, labels, margin=margin)
    return loss


def dropout_consistency_loss(logits: Tensor) -> Tensor:
    """How far M dropout passes disagree: (1/M) sum_m sum_b KL(softmax g_mb || softmax mean_m g_mb).

    Released code only, no equation. Summed over the batch, as there; the centre is the softmax of
    the mean logits, so it is not the Jensen-Shannon divergence.

    Args:
        logits: g, (..., M, B, C): pass, sentence, relation.

    Returns:
        (...), at least 0; exactly 0 for M = 1.
    """
    log_p = logits.log_softmax(-1)
    log_centre = logits.mean(-3, keepdim=True).log_softmax(-1)
    divergence = (log_p.exp() * (log_p - log_centre)).sum(-1)  # (..., M, B)
    return divergence.sum(-1).mean(-1)
