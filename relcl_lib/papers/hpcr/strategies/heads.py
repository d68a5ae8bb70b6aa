"""Methods that change how the classifier is trained: ER-WA, OBC, UER."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from relcl_lib.losses import cross_entropy_loss
from relcl_lib.models.resnet import LinearClassifier, side_by_side
from relcl_lib.papers.hpcr.strategy import Loop, Scorer, Step, Strategy


class WeightAligning(Strategy):
    """ER-WA: after each task the new classes' rows get the mean length of the old classes' rows.

    Inferred: WA's weight aligning put on ER, without its distillation; the paper does not say what
    its row keeps. `clip` 1 keeps WA's clipping, as the one public code of the pair does: after each
    step no weight of the head is below 0, and the head has no bias. Without it (0) rows of old
    classes may grow by negative parts, and aligning then lengthens the new ones.
    """

    options: ClassVar = {"clip": 1}

    def __init__(self, run: Loop) -> None:
        super().__init__(run)
        if self.settings.options["clip"]:
            run.network.head.bias.requires_grad_(False).zero_()
        known = torch.zeros(len(run.seeds), run.data.n_classes, dtype=torch.bool)
        self.register_buffer("known", known)

    def update(self, step: Step, loss: Tensor) -> None:
        """ER's step, then the clipping."""
        super().update(step, loss)
        if self.settings.options["clip"]:
            with torch.no_grad():
                self.run.network.head.weight.clamp_(min=0)

    @torch.no_grad()
    def end_task(self, task: int, seen: Tensor) -> None:
        """Scale the rows in place; training goes on from there."""
        new = seen & ~self.known
        if task:
            weight = self.run.network.head.weight  # (S, C, D)
            length = torch.linalg.vector_norm(weight, dim=-1)  # (S, C)
            old, young = ((length * rows).sum(1) / rows.sum(1) for rows in (self.known, new))
            scale = torch.where(new, (old / young).unsqueeze(1), 1.0)
            weight.mul_(scale.unsqueeze(-1))
        self.known |= new


class OBC(Strategy):
    """OBC: the body learns through a second head, and the head that predicts from replay alone.

    Inferred, as no official code was found: ER's loss on the second head; then a step of the first
    head on `batch` further images of the memory, their features fixed.
    """

    options: ClassVar = {"batch": 50}

    def __init__(self, run: Loop) -> None:
        super().__init__(run)
        classes, features = run.network.head.weight.shape[1:]
        self.surrogate = side_by_side(
            lambda count: LinearClassifier(features, classes, count), run.seeds, "surrogate head"
        )

    def loss(self, step: Step) -> Tensor:
        """ER's, of the second head's logits."""
        groups = [rows for rows in (step.stream, step.memory) if rows is not None]
        return sum(cross_entropy_loss(self.surrogate(r.features), r.labels) for r in groups)

    def update(self, step: Step, loss: Tensor) -> None:
        """A step of the body and the second head, then one of the first."""
        super().update(step, loss)
        if step.memory is None:
            return
        with torch.no_grad():
            _, rows = self.more(step.batch, int(self.settings.options["batch"]))
        logits = self.run.network.head(rows.features)
        super().update(step, cross_entropy_loss(logits, rows.labels))


class UER(Strategy):
    """UER: cosines for the stream's cross-entropy, dot products for the memory's, one set of rows.

    Inferred in part: its repository holds no code; the cosines' temperature is HPCR's, the rows have
    no bias, and dot products predict.
    """

    head = "cosine"

    def loss(self, step: Step) -> Tensor:
        """Both cross-entropies."""
        loss = cross_entropy_loss(step.stream.logits, step.stream.labels)
        if step.memory is None:
            return loss
        logits = dot_products(step.memory.features, self.run.network.head)
        return loss + cross_entropy_loss(logits, step.memory.labels)

    def scorer(self, network: nn.Module) -> Scorer:
        """Dot products."""
        return lambda images: dot_products(network(images)[1], network.head)


def dot_products(features: Tensor, head: nn.Module) -> Tensor:
    """<z, w_c>, not normalised: (S, B, D) to (S, B, C)."""
    return features @ head.weight.transpose(1, 2)
