"""Contrast among instances by given similarities, and between two views' class means (OCM, OnPro)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relcl_lib.losses.basic import class_counts, cosine_similarity

#: keeps logarithms finite; a share below it has no gradient, which with similarities up to 2 matters
SHARE_EPSILON = 1e-8


def instance_contrast_loss(
    similarity: Tensor, labels: Tensor, *, temperature: float = 0.07, views: bool = False
) -> Tensor:
    """Contrast of rows with columns of their class, as in OCM's and OnPro's released code.

    With p_ij = exp(s_ij/t) / sum_k exp(s_ik/t) and c_ij = -log(p_ij + 1e-8), the mean over rows i of
    the mean of c_ij over all j with the label of i, i itself among them. As released, 1e-8 times the
    largest exp(s_ij/t) of the row, its own column's too, is added to the sum over k.

    `views`: rows are n images and then a view of each. A row is no column of its own (p_ii = 0, whose
    cost is a constant), the mean counts twice, and the cost of each row's other view is added.

    Args:
        similarity: (..., N, N).
        labels: (..., N), of rows and of columns.
        temperature: t.
        views: see above.

    Returns:
        (...).

    Raises:
        ValueError: `views` of an odd number of rows.
    """
    if views and labels.shape[-1] % 2:
        raise ValueError(f"{labels.shape[-1]} rows are no images with a view of each")
    if similarity.dtype == torch.float16:  # in which 1e-8 is 0
        similarity = similarity.float()
    scaled = (similarity - similarity.amax(-1, keepdim=True).detach()) / temperature
    weights = scaled.exp()
    if views:
        weights = weights * ~torch.eye(labels.shape[-1], dtype=torch.bool, device=labels.device)
    shares = weights / (weights.sum(-1, keepdim=True) + SHARE_EPSILON)
    costs = -(shares + SHARE_EPSILON).log()
    same = labels.unsqueeze(-1) == labels.unsqueeze(-2)
    loss = ((costs * same).sum(-1) / same.sum(-1)).mean(-1)
    if not views:
        return loss
    half = labels.shape[-1] // 2
    twins = [costs.diagonal(offset=way, dim1=-2, dim2=-1) for way in (half, -half)]
    return 2 * loss + torch.cat(twins, dim=-1).mean(-1)


def class_means(vectors: Tensor, labels: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """The mean vector of each class, 0 for one without a row, and whether it has one.

    (..., N, D), (..., N) int64 to (..., C, D), (..., C) bool.
    """
    counts = class_counts(labels, n_classes).unsqueeze(-1)
    index = labels.unsqueeze(-1).expand_as(vectors)
    exact = torch.promote_types(
        vectors.dtype, torch.float32
    )  # half precision cannot add up many rows
    shape = *labels.shape[:-1], n_classes, vectors.shape[-1]
    sums = vectors.new_zeros(shape, dtype=exact).scatter_add(-2, index, vectors.to(exact))
    return (sums / counts.clamp(min=1)).to(vectors.dtype), counts.squeeze(-1) > 0


def prototype_agreement_loss(
    left: Tensor, right: Tensor, present: Tensor, *, temperature: float = 0.5
) -> Tensor:
    """OnPro's online prototype equilibrium: a class's two prototypes are like no other.

    Over the 2K prototypes of the K classes that are present, the mean of
    -log[ exp(<p, p'>/t) / sum_{q != p} exp(<p, q>/t) ], p' the other view's prototype of the class.

    Args:
        left, right: (..., C, D), the classes' prototypes by view, normalised here.
        present: (..., C) bool; at least one.
        temperature: t.

    Returns:
        (...); 0 where one class is present.
    """
    both = torch.cat([left, right], dim=-2)
    pairs = cosine_similarity(both, both) / temperature  # (..., 2C, 2C)
    there = torch.cat([present, present], dim=-1)
    itself = torch.eye(pairs.shape[-1], dtype=torch.bool, device=pairs.device)
    among = pairs.masked_fill(~there.unsqueeze(-2) | itself, -math.inf).logsumexp(-1)
    half = left.shape[-2]
    twins = [pairs.diagonal(offset=way, dim1=-2, dim2=-1) for way in (half, -half)]
    cost = (among - torch.cat(twins, dim=-1)).masked_fill(~there, 0.0)
    return cost.sum(-1) / there.sum(-1)
