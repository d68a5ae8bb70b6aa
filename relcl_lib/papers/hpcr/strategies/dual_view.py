"""ER-DVC: two views of an image should say the same of it, and together speak of many classes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from relcl_lib.losses import dual_view_loss
from relcl_lib.models.resnet import LinearClassifier, side_by_side
from relcl_lib.papers.hpcr.strategies.lookahead import LookAhead
from relcl_lib.papers.hpcr.strategy import Loop, Rows


class DualViewConsistency(LookAhead):
    """ER-DVC (Gu et al., CVPR 2022): `dual_view_loss` on stream and memory, retrieval by MGI.

    A network of two layers makes joint logits of the two views' logits, in training alone. Values
    are those of its release: 2 for `consistency` on CIFAR-10, 4 elsewhere. Inferred: 2 on the digits
    as on CIFAR-10, 4 on Tiny-ImageNet; the augmentation is that of all methods (the release jitters
    every image, with the same draw for a whole batch).
    """

    fixed: ClassVar = {**LookAhead.fixed, "views": 2}
    options: ClassVar = {"consistency": 4.0, "entropy": 1.0, "hidden": 128, **LookAhead.options}
    options_on: ClassVar = {key: {"consistency": 2.0} for key in ("cifar10", "digits", "mnist")}

    def __init__(self, run: Loop) -> None:
        super().__init__(run)
        classes, hidden = run.network.head.weight.shape[1], int(self.settings.options["hidden"])

        def build(seeds: int) -> nn.Module:
            return nn.Sequential(
                LinearClassifier(2 * classes, hidden, seeds),
                nn.ReLU(),
                LinearClassifier(hidden, classes, seeds),
            )

        self.joint = side_by_side(build, run.seeds, "joint logits")

    def group_loss(self, rows: Rows) -> Tensor:
        """The loss of both views of one group."""
        clean, augmented = rows.logits.chunk(2, dim=1)
        return dual_view_loss(
            clean,
            augmented,
            self.joint(torch.cat([clean, augmented], dim=-1)),
            rows.labels.chunk(2, dim=1)[0],
            consistency=self.settings.options["consistency"],
            entropy=self.settings.options["entropy"],
        )

    def score(self, before: Rows, after: Rows) -> Tensor:
        """MGI: what the step adds to the size of the last layer's gradient on the clean view."""
        return gradient_size(after) - gradient_size(before)


def gradient_size(rows: Rows) -> Tensor:
    """sum_c |p_c - 1[c = y]| times the L1 norm of the features, of clean views alone: (S, n)."""
    logits, features, labels = (part.chunk(2, dim=1)[0] for part in rows)
    error = logits.softmax(-1) - nn.functional.one_hot(labels, logits.shape[-1])
    return error.abs().sum(-1) * features.abs().sum(-1)
