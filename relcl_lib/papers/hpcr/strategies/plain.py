"""Cross-entropy alone: training without a memory, on all classes at once, and ER-ACE."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from relcl_lib.losses import class_counts, cross_entropy_loss
from relcl_lib.papers.hpcr.strategy import Batch, Step, Strategy, among


class FineTune(Strategy):
    """FINE-TUNE: the stream alone, without a memory (the floor)."""

    def retrieve(self, batch: Batch) -> None:
        """Nothing."""

    def store(self, step: Step) -> None:
        """Nothing."""


class IID(FineTune):
    """IID: one pass over all classes, shuffled (the ceiling)."""

    iid = True


class IIDpp(FineTune):
    """IID++: a second random batch of the training set beside each, as much compute as replay."""

    iid = True

    def retrieve(self, batch: Batch) -> dict[str, Tensor]:
        """Images of the training set, drawn with replacement."""
        pool, size = self.run.streams[0][0].train_indices, (self.settings.memory_batch,)
        drawn = [torch.randint(len(pool), size, generator=g) for g in batch.draws["retrieval"]]
        chosen = pool[torch.stack(drawn)].to(self.run.device)
        return {"image": self.run.images[chosen], "label": self.run.labels[chosen]}


class AsymmetricCrossEntropy(Strategy):
    """ER-ACE: the stream's softmax spans the batch's classes and those of later tasks, not old ones.

    Ten times cosines without a bias, as in the authors' code. Classes of the present task count as
    seen from its first step on; there, from their first image on.
    """

    head = "cosine"
    switches: ClassVar = {"temperature": 0.1}

    def loss(self, step: Step) -> Tensor:
        """Masked cross-entropy on the stream, plain on the memory."""
        labels, logits = step.stream.labels, step.stream.logits
        present = class_counts(labels, logits.shape[-1]) > 0
        old = step.batch.seen & ~present
        loss = cross_entropy_loss(among(logits, ~old), labels)
        if step.memory is None:
            return loss
        return loss + cross_entropy_loss(step.memory.logits, step.memory.labels)
