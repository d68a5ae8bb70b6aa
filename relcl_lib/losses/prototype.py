"""CRECL's losses against relation prototypes (its Eq. 6-8), and the consistency loss of its release.

`similarities` holds z_ir = s_i . s_r, the cosine of row i's projection and the projected prototype of
relation r, for every relation seen so far; labels are columns of it.
"""

from __future__ import annotations

import math

from torch import Tensor

from relcl_lib.losses.proxy import cross_entropy_loss


def prototype_cosine_loss(
    similarities: Tensor, labels: Tensor, *, temperature: float = 0.08
) -> Tensor:
    """Return L_cos (Eq. 6): mean_i -log[ exp(z_iy / tau) / sum_r exp(z_ir / tau) ].

    Args:
        similarities: z, (..., N, C) in [-1, 1].
        labels: (..., N) int64 in [0, C).
        temperature: tau.

    Returns:
        (...). With equal prototypes it is log C.
    """
    return cross_entropy_loss(similarities / temperature, labels)


def prototype_margin_loss(similarities: Tensor, labels: Tensor, *, margin: float = 0.3) -> Tensor:
    """Return L_mag (Eq. 7): mean_i max(0, m - z_iy + max_{r != y} z_ir).

    Only a row's own prototype and its nearest other one get a gradient. With a single relation
    there is no other one, and the loss is 0.

    Args:
        similarities: z, (..., N, C), not divided by a temperature.
        labels: (..., N) int64 in [0, C).
        margin: m.

    Returns:
        (...), between 0 and m + 2.
    """
    column = labels.unsqueeze(-1)
    own = similarities.gather(-1, column).squeeze(-1)
    rival = similarities.scatter(-1, column, -math.inf).max(-1).values
    return (margin - own + rival).clamp(min=0).mean(-1)


def prototype_contrastive_loss(
    similarities: Tensor,
    labels: Tensor,
    *,
    temperature: float = 0.08,
    margin: float = 0.3,
    lambda1: float = 0.5,
) -> Tensor:
    """Return L_2 (Eq. 8): lambda1 L_cos + (1 - lambda1) L_mag. lambda1 = 1 is the released loss.

    Args:
        similarities: z, (..., N, C) in [-1, 1].
        labels: (..., N) int64 in [0, C).
        temperature: tau of L_cos.
        margin: m of L_mag.
        lambda1: share of L_cos, in [0, 1].

    Returns:
        (...), the mean over the N rows.
    """
    loss = lambda1 * prototype_cosine_loss(similarities, labels, temperature=temperature)
    if lambda1 < 1:
        loss = loss + (1 - lambda1) * prototype_margin_loss(similarities, labels, margin=margin)
    return loss


def dropout_consistency_loss(logits: Tensor) -> Tensor:
    """Return how far M dropout passes disagree: (1/M) sum_m sum_b KL(softmax g_mb || softmax mean_m g_mb).

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
