"""Contrast with proxies (PCR), with the batch's other rows (SCR), and HPCR's ways of joining the two.

A proxy is a class's row of the classifier; o_ic = <z_i, w_c>/t are the logits, z_i the features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relcl_lib.losses.basic import class_counts, cosine_similarity, own_column


def proxy_contrastive_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    features: Tensor | None = None,
    temperature: float = 0.09,
    variant: str = "released",
) -> Tensor:
    """Proxy-based contrastive loss: Eq. 9 of HPCR (PCR), or Eq. 18 when `features` are given (HC).

    Eq. 9: mean_i -log[ exp(o_iy) / sum_c k_c exp(o_ic) ], k_c the rows of class c in the batch, the
    anchor's own row among them. Computed as logsumexp(o + log k) - o_y; a class absent from the
    batch has log k = -inf, so it enters neither the sum nor the gradient.

    Eq. 18 adds anchor-to-sample pairs: the denominator gains exp(<z_i, z_j>/t) of all other rows j, and
    the positives are the anchor's proxy and the other rows p of its class, P_i.
    `released`: the mean of the positives' logs, as many proxies as rows of the class:
    (sum_p <z_i, z_p>/t + k_y o_iy) / (|P_i| + k_y).
    `paper`: the mean over p of log[exp(o_iy) + exp(<z_i, z_p>/t)], sums inside the log as printed. It
    does not train from a random start: features come out of a ReLU, cosines between them are near 1,
    and beside exp(1/t) the proxy's term and with it its gradient vanish. An anchor without another
    row of its class (which two views of an image rule out) keeps the proxy alone.

    Args:
        logits: (..., N, C) cosines to the proxies, already divided by the temperature.
        labels: (..., N) int64 in [0, C).
        features: (..., N, D), normalised here; None leaves pairs out.
        temperature: divides the cosines between features; without `features` unused.
        variant: form of Eq. 18.

    Returns:
        (...), the mean over the N rows. Its floor is not 0: a batch of one class gives log N.
    """
    if variant not in ("released", "paper"):
        raise ValueError(f"variant={variant!r} must be 'released' or 'paper'")
    counts = class_counts(labels, logits.shape[-1])
    weighted = logits + counts.to(logits.dtype).log().unsqueeze(-2)  # (..., N, C)
    own = own_column(logits, labels)  # (..., N)
    if features is None:
        return (weighted.logsumexp(-1) - own).mean(-1)
    pairs, others = _pair_logits(features, temperature)  # (..., N, N) twice
    denominator = torch.cat([weighted, others], dim=-1).logsumexp(-1)
    positive = _positives(labels)
    n_positive = positive.sum(-1)
    if variant == "released":
        proxies = n_positive + 1  # k_y
        numerator = ((pairs * positive).sum(-1) + proxies * own) / (n_positive + proxies)
    else:
        with_pair = torch.logaddexp(own.unsqueeze(-1), pairs) * positive
        numerator = torch.where(n_positive > 0, with_pair.sum(-1) / n_positive.clamp(min=1), own)
    return (denominator - numerator).mean(-1)


def supervised_contrastive_loss(
    features: Tensor, labels: Tensor, *, temperature: float = 0.09
) -> Tensor:
    """Supervised contrastive loss over a batch (SCR, HPCR's Eq. 5; the second term of its Eq. 7).

    For each anchor, the mean over the other rows p of its class of
    -log[ exp(<z_i, z_p>/t) / sum_{j != i} exp(<z_i, z_j>/t) ]; anchors without such a row count 0.
    `features` (..., N, D) are normalised here; labels (..., N).
    """
    pairs, others = _pair_logits(features, temperature)
    log_sum = others.logsumexp(-1, keepdim=True)
    positive = _positives(labels)
    terms = torch.where(positive, log_sum - pairs, 0.0)  # one row alone has a log_sum of -inf
    return (terms.sum(-1) / positive.sum(-1).clamp(min=1)).mean(-1)


def coupled_loss(
    logits: Tensor,
    labels: Tensor,
    features: Tensor,
    seen: Tensor,
    *,
    temperature: float = 0.09,
) -> Tensor:
    """Couple proxies and pairs in one softmax (HPCR, Eq. 8): all seen proxies, pairs below only.

    mean_i -log[ exp(o_iy) / (sum_{c seen} exp(o_ic) + sum_{j != i} exp(<z_i, z_j>/t)) ], with `seen`
    (..., C) bool the classes met so far, the labels' among them: without it the loss has no floor. The
    other shapes are those of `proxy_contrastive_loss`. Returns (...).
    """
    _, others = _pair_logits(features, temperature)
    proxies = logits.masked_fill(~seen.unsqueeze(-2), -math.inf)
    own = own_column(logits, labels)
    return (torch.cat([proxies, others], dim=-1).logsumexp(-1) - own).mean(-1)


def _pair_logits(features: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """<z_i, z_j>/t, and the same with -inf where j = i: (..., N, D) to (..., N, N) twice."""
    pairs = cosine_similarity(features, features) / temperature
    diagonal = torch.eye(features.shape[-2], dtype=torch.bool, device=features.device)
    return pairs, pairs.masked_fill(diagonal, -math.inf)


def _positives(labels: Tensor) -> Tensor:
    """The mask of pairs (i, p), p another row with the label of i: (..., N) to (..., N, N)."""
    same = labels.unsqueeze(-1) == labels.unsqueeze(-2)
    return same & ~torch.eye(labels.shape[-1], dtype=torch.bool, device=labels.device)


def dynamic_temperature_weight(
    step: int | Tensor,
    *,
    temperature: float = 0.09,
    t_min: float = 0.05,
    t_max: float = 0.16,
    period: int = 500,
    variant: str = "released",
) -> float | Tensor:
    """Weight of the contrastive loss at a step, from HPCR's dynamic temperature (HT, Eq. 21 and 22).

    `paper`: t / t(s) with t(s) = (t_max - t_min)(1 + cos(2 pi s / period))/2 + t_min, s the step,
    counted from 0. `released`: the same two ends, t / t_max and t / t_min, joined by a cosine of the
    weight itself, which lies above the paper's between them (cycle means 1.181 and 1.006 at the
    default values).
    """
    cos = torch.cos if isinstance(step, Tensor) else math.cos
    wave = (1 + cos(2 * math.pi * step / period)) / 2  # 1 at step 0, 0 at half a period
    if variant == "paper":
        return temperature / ((t_max - t_min) * wave + t_min)
    if variant == "released":
        low, high = temperature / t_max, temperature / t_min
        return (high - low) * (1 - wave) + low
    raise ValueError(f"variant={variant!r} must be 'released' or 'paper'")
