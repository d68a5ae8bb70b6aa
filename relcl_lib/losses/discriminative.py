"""The discriminative representation loss (DRL): inner products between the samples of a batch.

Every form is a (A - W) + b (W - O), summed over representations, with K = h h^T, A the sum of all its
entries, W of those of one class and O of its diagonal: A - W belongs to the pairs of different
classes, W - O to the other pairs of one class. With S = sum_i h_i and S_c its share of class c,
A = |S|^2, W = sum_c |S_c|^2 and O = sum_i |h_i|^2, so a representation of N rows and D columns costs
O(N D), not the O(N^2 D) of its N^2 pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from relcl_lib.losses.basic import HALF, normalise, without_autocast

#: `paper`: Eq. 3; `paper_cos`: Eq. 3 on cosines; `released`: the challenge code, in which the labels
#: cancel; `dev`: the code before it; `later`: the code of a later paper of the same author.
VARIANTS = ("released", "paper", "paper_cos", "dev", "later")


def discriminative_loss(
    representations: Tensor | Sequence[Tensor],
    labels: Tensor,
    *,
    variant: str = "released",
    alpha: float = 2.0,
) -> Tensor:
    """Discriminative representation loss L_DR (DRL's Eq. 3), summed over the representations.

    With Y_ij = 1 where y_i = y_j, I the identity and mean() over all N^2 entries:

    `paper`: L_bt - L_wi, the mean of K over pairs of different classes minus that over pairs of one
    class. Unbounded below: where L_wi > L_bt, longer vectors always lower it.
    `paper_cos`: the same on rows of length 1, so bounded.
    `released`: mean(K (1 - Y) - K (I - Y)) / 2 = mean(K (1 - I)) / 2: pushes all pairs apart.
    `dev`: mean(K (1 - Y) + K (Y - I) / 2) / 2.
    `later`: mean(K (1 - Y) + alpha K (Y - I)).

    Pairs that do not occur count 0: L_wi where no class comes twice, L_bt in a batch of one class,
    everything in a batch of one sample. A batch without samples is refused.

    Args:
        representations: h_l, each (..., N, D_l), computed in float32 at least (inner products of
            convolution maps overflow half precision).
        labels: (..., N) int64.
        alpha: weight of the pairs of one class in `later`.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant={variant!r} must be one of {', '.join(VARIANTS)}")
    if variant.startswith("paper"):
        different, same = between_within_similarity(
            representations, labels, cosine=variant == "paper_cos"
        )
        return different - same
    # The labels of `released` cancel, so its class sums are never computed.
    different, same = _pair_sums(representations, labels, split=variant != "released")
    pairs = labels.shape[-1] ** 2
    if variant == "released":
        return same / (2 * pairs)
    if variant == "dev":
        return (different + same / 2) / (2 * pairs)
    return (different + alpha * same) / pairs


def between_within_similarity(
    representations: Tensor | Sequence[Tensor], labels: Tensor, *, cosine: bool = False
) -> tuple[Tensor, Tensor]:
    """L_bt and L_wi of DRL's Eq. 3: mean inner products of unlike and of like pairs.

    Both are summed over the representations and divided by the number of ordered pairs,
    B_bt = N^2 - sum_c n_c^2 and B_wi = sum_c n_c^2 - N (which order the paper means is not stated;
    unordered counts would double both). 0 where there is no such pair. `cosine` takes rows of
    length 1; the shapes are those of `discriminative_loss`.
    """
    different, same = _pair_sums(representations, labels, cosine=cosine)
    like = (labels.unsqueeze(-1) == labels.unsqueeze(-2)).sum((-2, -1))  # sum_c n_c^2
    n = labels.shape[-1]
    counts = n * n - like, like - n
    # By choice, not by division: without a pair the sum is rounding, which must not count.
    return tuple(
        torch.where(count > 0, total / count.clamp(min=1), 0.0)
        for total, count in zip((different, same), counts, strict=True)
    )


def _pair_sums(
    representations: Tensor | Sequence[Tensor],
    labels: Tensor,
    *,
    cosine: bool = False,
    split: bool = True,
) -> tuple[Tensor, Tensor]:
    """A - W and W - O, summed over representations; without `split` 0 and A - O."""
    if isinstance(representations, Tensor):
        representations = [representations]
    if not labels.shape[-1]:
        raise ValueError("a batch without samples has no inner products")
    for index, h in enumerate(representations):
        if h.shape[:-1] != labels.shape:
            raise ValueError(
                f"representation {index} has shape {tuple(h.shape)}, the labels "
                f"{tuple(labels.shape)}: it must be (..., N, D) with labels (..., N)"
            )
    rows, classes = _class_slots(labels) if split else (None, 0)
    different, same = labels.new_zeros((), dtype=torch.float32), 0.0
    for h in representations:
        if cosine:
            h = normalise(h.float() if h.dtype in HALF else h)
        everything, of_classes, own = _Squares.apply(h, rows, classes)
        if split:
            different, same = different + everything - of_classes, same + of_classes - own
        else:
            same = same + everything - own
    return different, same


class _Squares(torch.autograd.Function):
    """Map h (..., N, D) to A, W and O, each (...); W is 0 without `rows`.

    The gradient 2 (g_A S + g_W S_y + g_O h) is written down, as autograd's own would pass over h
    several times more, and the maps of a convolutional network are large. torch.func cannot look into it.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, rows: Tensor | None, classes: int) -> tuple[Tensor, ...]:
        total, sums = _Squares.sums(h, rows, classes)
        own = _square(h.flatten(-2).to(total.dtype))
        everything = _square(total)
        of_classes = torch.zeros_like(everything) if sums is None else _square(sums.flatten(-2))
        ctx.save_for_backward(h, rows, total, sums)
        ctx.classes = classes
        return everything, of_classes, own

    @staticmethod
    def sums(h: Tensor, rows: Tensor | None, classes: int) -> tuple[Tensor, Tensor | None]:
        """S (..., D), and S_c (..., C, D) with `rows`."""
        exact = torch.float32 if h.dtype in HALF else h.dtype
        total = h.sum(-2, dtype=exact)
        if rows is None:
            return total, None
        sums = h.new_zeros(total[..., 0].numel() * classes, h.shape[-1], dtype=exact)
        sums = sums.index_add_(0, rows, h.flatten(0, -2).to(exact))
        return total, sums.view(*total.shape[:-1], classes, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        h, rows, total, sums = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: what was saved is no constant
            total, sums = _Squares.sums(h, rows, ctx.classes)
        of_all, of_class, of_own = (2 * g[..., None, None] for g in gradients)
        common = of_all * total.unsqueeze(-2)  # (..., 1, D)
        if rows is not None:
            common = (common + of_class * sums).flatten(0, -2)[rows].view_as(h)
        return torch.addcmul(common, h.to(common.dtype), of_own).to(h.dtype), None, None


def _square(vectors: Tensor) -> Tensor:
    """|v|^2: (..., D) to (...)."""
    with without_autocast(vectors.device):  # it would take vecdot in half precision
        return torch.linalg.vecdot(vectors, vectors)


def _class_slots(labels: Tensor) -> tuple[Tensor, int]:
    """Each row's slot, of as many slots as batches times classes, and the number of classes.

    How many classes there are decides a shape, so a GPU is waited for once.
    """
    classes, number = labels.unique(return_inverse=True)
    start = len(classes) * torch.arange(labels[..., 0].numel(), device=labels.device)
    return (start.view(*labels.shape[:-1], 1) + number).flatten(), len(classes)
