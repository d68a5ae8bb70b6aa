"""What several losses are made of: cosines, class counts, cross-entropy."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

NORM_EPSILON = 1e-6  # added to the norm, as in HPCR's released code
HALF = (torch.float16, torch.bfloat16)


def normalise(vectors: Tensor) -> Tensor:
    """v / (|v| + 1e-6) along the last dimension: (..., D) to (..., D)."""
    return vectors / (torch.linalg.vector_norm(vectors, dim=-1, keepdim=True) + NORM_EPSILON)


def without_autocast(device: torch.device) -> AbstractContextManager:
    """A block in which a caller's autocast has no say."""
    known = device.type != "meta"  # which has none
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


def cosine_similarity(left: Tensor, right: Tensor) -> Tensor:
    """All cosines <l, r>: (..., A, D) and (..., B, D) to (..., A, B), in float32 at least.

    In half precision many would be alike, and a temperature multiplies the difference.
    """
    left, right = (v.float() if v.dtype in HALF else v for v in (left, right))
    with without_autocast(left.device):
        return normalise(left) @ normalise(right).transpose(-1, -2)


def class_counts(labels: Tensor, n_classes: int) -> Tensor:
    """k_c, the rows of each class: (..., N) int64 to (..., C) int64."""
    counts = labels.new_zeros(*labels.shape[:-1], n_classes)
    return counts.scatter_add(-1, labels, torch.ones_like(labels))


def own_index(logits: Tensor, labels: Tensor) -> Tensor:
    """Labels (..., N) as an index (..., N, 1) into logits (..., N, C); leading dimensions broadcast.

    Raises:
        ValueError: the numbers of rows differ.
    """
    if labels.shape[-1:] != logits.shape[-2:-1]:
        shapes = f"labels of shape {tuple(labels.shape)}, logits of {tuple(logits.shape)}"
        raise ValueError(f"{shapes}: they must be (..., N) and (..., N, C)")
    return labels.expand(logits.shape[:-1]).unsqueeze(-1)


def own_column(logits: Tensor, labels: Tensor) -> Tensor:
    """o_iy, each row's value at its own label: (..., N, C) and (..., N) to (..., N)."""
    return logits.gather(-1, own_index(logits, labels)).squeeze(-1)


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Each row's cross-entropy: (..., N, C), (..., N) to (..., N)."""
    return logits.logsumexp(-1) - own_column(logits, labels)


def cross_entropy_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each batch: (..., N, C), (..., N) to (...)."""
    own = own_column(logits, labels)
    return (logits.logsumexp(-1) - own).mean(-1)
