"""Gradients as vectors: A-GEM, which projects them, and GSS, which keeps samples by them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from relcl_lib.continual.gradients import cosines, project_agem
from relcl_lib.continual.memory import GradientMemory
from relcl_lib.losses import cross_entropy_loss
from relcl_lib.models.resnet import repeat_seeds
from relcl_lib.papers.hpcr.strategy import Batch, Step, Strategy


class AGEM(Strategy):
    """A-GEM: the stream's gradient, without the part that conflicts with the memory's.

    The memory takes no other part in training, and none in the first task.
    """

    fixed: ClassVar = {"joint_forward": False}  # each gradient has a pass of its own

    def retrieve(self, batch: Batch) -> dict[str, Tensor] | None:
        """ER's, from the second task on."""
        return super().retrieve(batch) if batch.task else None

    def loss(self, step: Step) -> Tensor:
        """Cross-entropy on the stream alone."""
        return cross_entropy_loss(step.stream.logits, step.stream.labels)

    def gradient(self, step: Step, loss: Tensor) -> None:
        """Project per seed: every parameter has the seeds first."""
        super().gradient(step, loss)
        if step.memory is None:
            return
        seeds, parameters = len(self.run.seeds), list(self.run.network.parameters())
        reference = cross_entropy_loss(step.memory.logits, step.memory.labels).sum()
        references = torch.autograd.grad(reference, parameters)

        def flat(gradients: list[Tensor]) -> Tensor:
            return torch.cat([g.reshape(seeds, -1) for g in gradients], dim=1)  # (S, P)

        own = flat([p.grad for p in parameters])
        sizes = [p.numel() // seeds for p in parameters]
        parts = project_agem(own, flat(references)).split(sizes, dim=1)
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad.copy_(part.reshape(parameter.shape))


class GSS(Strategy):
    """GSS-greedy: ER with a memory of samples whose gradients differ.

    A sample's score is the largest cosine of its gradient with those of `parts` random parts of the
    memory, `part` images each. A float is stored with each image, its score; the memory's size counts
    images all the same.
    """

    options: ClassVar = {"parts": 10, "part": 10}
    purposes = (*Strategy.purposes, "parts")

    def make_memory(self) -> GradientMemory:
        """A memory that knows each sample's score."""
        return GradientMemory(self.settings.buffer_size, len(self.run.seeds))

    def store(self, step: Step) -> None:
        """Score the batch by the gradients of today's network, then offer it."""
        score, batch_score = self.scores(step) if len(self.run.memory) else (None, None)
        fields = {"score": score, "batch_score": batch_score, **self.fields(step)}
        self.run.memory.add(step.batch.draws["reservoir"], **fields)

    def scores(self, step: Step) -> tuple[Tensor, Tensor]:
        """Scores of the incoming images (S, b), and of each seed's batch (S,)."""
        memory, options, batch = self.run.memory, self.settings.options, step.batch
        size = min(int(options["part"]), len(memory))
        parts = min(int(options["parts"]), len(memory) // size)
        drawn = memory.take(memory.draw(parts * size, batch.draws["parts"]))
        references = self.gradients(drawn["image"], drawn["label"], parts)
        own = self.gradients(batch.images, batch.labels, 1)
        batch_score = cosines(own, references).amax((1, 2))
        if len(memory) == memory.capacity and bool((batch_score >= 0).all()):
            return torch.zeros_like(
                batch.labels, dtype=torch.float32
            ), batch_score  # none challenges
        each = self.gradients(batch.images, batch.labels, batch.labels.shape[1])
        return cosines(each, references).amax(2), batch_score

    def gradients(self, images: Tensor, labels: Tensor, groups: int) -> Tensor:
        """Of the mean loss of each group of images (S, groups * n, ...): (S, groups, P).

        In evaluation mode, so that batch norm leaves a sample's gradient to that sample.
        """
        network, seeds = repeat_seeds(self.run.network, groups), len(labels)
        images = images.unflatten(1, (groups, -1)).flatten(0, 1)  # (S * groups, n, ...)
        logits, _ = network(images.float() / 255)
        loss = cross_entropy_loss(logits, labels.unflatten(1, (groups, -1)).flatten(0, 1)).sum()
        found = torch.autograd.grad(loss, list(network.parameters()))
        return torch.cat([g.reshape(seeds, groups, -1) for g in found], dim=2)
