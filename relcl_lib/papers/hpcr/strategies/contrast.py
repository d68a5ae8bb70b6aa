"""SCR: a supervised contrastive loss of projections, and the nearest class mean at test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from relcl_lib.losses import class_means, normalise, supervised_contrastive_loss
from relcl_lib.models.resnet import LinearClassifier, side_by_side
from relcl_lib.papers.hpcr.strategy import Batch, Loop, Rows, Scorer, Step, Strategy

#: images of the memory per pass before a test
CHUNK = 500


class SCR(Strategy):
    """SCR: stream and memory rows contrasted through a projection of `projection` dimensions.

    Both groups are forwarded together, their clean views and their augmented ones apart. The linear
    head is not trained. The review that the survey's configuration switches on, a pass over the
    memory after each task at a tenth of the gradient, is left out: HPCR does not mention it, and no
    other method here has one.
    """

    fixed: ClassVar = {"joint_forward": False}
    options: ClassVar = {"temperature": 0.07, "projection": 128}

    def __init__(self, run: Loop) -> None:
        super().__init__(run)
        features, size = run.network.head.weight.shape[-1], int(self.settings.options["projection"])

        def build(count: int) -> nn.Module:
            first = LinearClassifier(features, features, count)
            return nn.Sequential(first, nn.ReLU(), LinearClassifier(features, size, count))

        self.projection = side_by_side(build, run.seeds, "projection")

    def rows(self, batch: Batch, stored: Mapping[str, Tensor]) -> tuple[Rows, Rows | None]:
        """One pass per view over memory and stream."""
        if not stored:
            return super().rows(batch, stored)
        groups = self.groups(batch, stored)
        views = [v.chunk(self.settings.views, dim=1) for v in self.run.views(groups)]
        sizes = [group.labels.shape[1] for group in groups]
        passes = [self.run.network(torch.cat(pair, dim=1)) for pair in zip(*views, strict=True)]
        logits, features = (
            [torch.cat(of_group, dim=1) for of_group in zip(*parts, strict=True)]
            for parts in ([out[i].split(sizes, dim=1) for out in passes] for i in range(2))
        )
        stream, memory = (
            Rows(logits[g], features[g], group.labels.repeat(1, self.settings.views))
            for g, group in enumerate(groups)
        )
        return stream, memory

    def loss(self, step: Step) -> Tensor | None:
        """None while the memory is empty."""
        if step.memory is None:
            return None
        rows = step.joined()
        projected = self.projection(rows.features)
        temperature = self.settings.options["temperature"]
        return supervised_contrastive_loss(projected, rows.labels, temperature=temperature)

    def scorer(self, network: nn.Module) -> Scorer:
        """Cosines to the class means of the memory (NCM): the nearest of means of length 1."""
        stored = self.run.memory.contents()
        parts = [images.float() / 255 for images in stored["image"].split(CHUNK, dim=1)]
        features = torch.cat([network(images)[1] for images in parts], dim=1)
        n_classes = self.run.data.n_classes
        means, there = class_means(normalise(features), stored["label"], n_classes)
        means = normalise(means)  # 0 for a class without a row; the release draws one at random

        def scores(images: Tensor) -> Tensor:
            cosines = normalise(network(images)[1]) @ means.transpose(1, 2)
            return cosines.masked_fill(~there.unsqueeze(1), -2.0)  # below any cosine

        return scores
