"""OnPro: prototypes of the classes seen, kept apart, that say which classes to mix in replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from scipy.special import betaincinv
from torch import Tensor

from relcl_lib.losses import (
    class_counts,
    class_means,
    cross_entropy_loss,
    normalise,
    prototype_agreement_loss,
)
from relcl_lib.losses.basic import own_column
from relcl_lib.papers.hpcr.strategies.rotations import TURNS, Turned
from relcl_lib.papers.hpcr.strategy import Batch, Group, Loop, Rows, Step, uniform


class Mixed(NamedTuple):
    """Images (S, n, 3, H, W), each (1 - share) of one of label `first` and `share` of another (S, n)."""

    images: Tensor
    first: Tensor
    second: Tensor
    share: Tensor


class OnPro(Turned):
    """OnPro (Wei et al., ICCV 2023): OCM's contrasts, prototypes, and mixed images in replay.

    Cross-entropy (of the stream in the first task, then of the mixed memory), the contrasts of
    `Turned`, and `prototype_agreement_loss` of the stream and of the unmixed memory. From a task's
    second step on the memory is mixed: `random_share` of it among itself, the rest of class pairs
    (`pair_counts`) by the distances between the last step's prototypes.

    Constants are the release's commands: `random_share` 0.75, `mixing` 0.6 on CIFAR-10, 0.9 and 0.2
    elsewhere; similarities as OCM's. Inferred: the digits as CIFAR-10, Mini-ImageNet as CIFAR-100.
    As in the release's version of kornia a random mix happens with `mixing` for the batch and then
    for each image. Ours: where one class alone has a prototype its images are mixed with each other
    (the release fails). Pairs are drawn for all seeds side by side.
    """

    switches: ClassVar = {"optimizer": "adam", "learning_rate": 5e-4}
    options: ClassVar = {
        **Turned.options,
        "prototypes": 0.5,
        "random_share": 0.9,
        "mixing": 0.2,
        "most": 0.6,
        "beta": 0.4,
    }
    options_on: ClassVar = {
        key: {"similarity": 0.5, "random_share": 0.75, "mixing": 0.6}
        for key in ("cifar10", "digits", "mnist")
    }
    purposes: ClassVar = (*Turned.purposes, "prototype views", "mixing")

    def __init__(self, run: Loop) -> None:
        super().__init__(run)
        seeds, classes = run.network.head.weight.shape[:2]
        self.register_buffer("prototypes", torch.zeros(seeds, classes, self.length))
        self.register_buffer("present", torch.zeros(seeds, classes, dtype=torch.bool))

    def retrieve(self, batch: Batch) -> dict[str, Tensor] | None:
        """Random images of the memory, as many as there are in the first task."""
        if batch.task:
            return super().retrieve(batch)
        return self.run.memory.sample(self.settings.memory_batch, batch.draws["retrieval"])

    def rows(self, batch: Batch, stored: Mapping[str, Tensor]) -> tuple[Rows, Rows | None]:
        """The turns of the stream and, after the first task, of the mixed memory."""
        if not batch.task:
            return super().rows(batch, {})
        self._mixed = mixed = self._mix(batch, stored)
        # A mixed image is of its own class, which a fraction stands for.
        label = (1 - mixed.share) * mixed.first + mixed.share * mixed.second
        return super().rows(batch, {"image": mixed.images, "label": label})

    def loss(self, step: Step) -> Tensor:
        """Contrasts, prototypes and cross-entropy: (S,)."""
        batch, weight = step.batch, self.settings.options["similarity"]
        loss = self.contrast(step, step.stream, weight if batch.task else 1.0, views=True)
        if batch.task:
            loss = loss + self.contrast(step, step.memory, weight, views=False)
        size = batch.labels.shape[1]
        starts = (0, TURNS * size)  # of the two views as they are
        views = [step.stream.features[:, start : start + size] for start in starts]
        loss = loss + self._agreement(views, batch.labels)[0]
        if step.stored:
            images, labels = step.stored["image"], step.stored["label"]
            group = Group(images, labels, batch.draws["prototype views"])
            (rows,) = self.run.forward([group])
            agreement, means, present = self._agreement(rows.features.chunk(2, dim=1), labels)
            loss = loss + agreement
            self.prototypes.copy_(means.detach())
            self.present.copy_(present)
        if not batch.task:
            view = self.one_view(batch.images, batch.labels, batch.draws["head views"])
            return loss + cross_entropy_loss(self.run.network(view)[0], batch.labels)
        mixed = self._mixed
        view = self.one_view(mixed.images, mixed.first, batch.draws["head views"])
        shares = self.run.network(view)[0].log_softmax(-1)
        costs = [-own_column(shares, label) for label in (mixed.first, mixed.second)]
        return loss + ((1 - mixed.share) * costs[0] + mixed.share * costs[1]).mean(1)

    def _agreement(self, views: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The prototypes' loss (S,), their mean over the views (S, C, p), and which there are."""
        classes = self.present.shape[1]
        (left, present), (right, _) = (
            class_means(normalise(self.projection(view)), labels, classes) for view in views
        )
        temperature = self.settings.options["prototypes"]
        loss = prototype_agreement_loss(left, right, present, temperature=temperature)
        return loss, (left + right) / 2, present

    # ------------------------------------------------------------------ mixing

    def _mix(self, batch: Batch, stored: Mapping[str, Tensor]) -> Mixed:
        """The replayed images, mixed after a task's first step."""
        images, labels = stored["image"].float(), stored["label"]
        if not batch.step:
            return Mixed(images, labels, labels, torch.zeros_like(labels, dtype=images.dtype))
        options, draws = self.settings.options, batch.draws["mixing"]
        size = int(labels.shape[1] * options["random_share"])
        gate = uniform(draws, 1, images.device)
        gates = uniform(draws, size, images.device)
        share = uniform(draws, size, images.device) * options["most"]
        share = share * ((gate < options["mixing"]) & (gates < options["mixing"]))
        partner = torch.stack([torch.randperm(size, generator=g) for g in draws]).to(labels.device)
        seed = torch.arange(len(labels), device=labels.device).unsqueeze(1)
        among = mix(images[:, :size], images[seed, partner], share)
        random = Mixed(among, labels[:, :size], labels[seed, partner], share)
        pairs = self._pairs(labels.shape[1] - size, draws)
        return Mixed(*(torch.cat(part, dim=1) for part in zip(random, pairs, strict=True)))

    def _pairs(self, number: int, draws: Sequence[torch.Generator]) -> Mixed:
        """Images of the memory, mixed by pairs of classes: near prototypes are mixed more."""
        options, classes = self.settings.options, self.present.shape[1]
        distances = torch.cdist(self.prototypes, self.prototypes)
        keys, gates = (uniform(draws, classes**2, distances.device) for _ in range(2))
        counts = pair_counts(distances, self.present, number, keys)
        ranks = torch.arange(number, device=counts.device).expand(len(counts), -1).contiguous()
        pair = torch.searchsorted(counts.cumsum(1), ranks, right=True)  # (S, number)
        ends = [self._of_class(of, draws) for of in (pair // classes, pair % classes)]
        share = torch.from_numpy(
            betaincinv(options["beta"], options["beta"], uniform(draws, number, "cpu").numpy())
        ).to(distances)
        share = share * (gates.gather(1, pair) <= options["mixing"])
        (first, left), (second, right) = ends
        return Mixed(mix(left, right, share), first, second, share)

    def _of_class(self, wanted: Tensor, draws: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Labels and images of random slots of the classes wanted (S, n).

        A class that the memory has lost since gives way to a random one that it has.
        """
        held = self.run.memory.contents()["label"]
        counts = class_counts(held, self.present.shape[1])  # (S, C)
        has = counts > 0
        other, place = (uniform(draws, wanted.shape[1], wanted.device) for _ in range(2))
        rank = (other * has.sum(1, keepdim=True)).long()
        instead = torch.searchsorted(has.cumsum(1), rank, right=True)
        label = torch.where(has.gather(1, wanted), wanted, instead)
        starts = (counts.cumsum(1) - counts).gather(1, label)
        place = starts + (place * counts.gather(1, label)).long()
        slots = held.argsort(dim=1, stable=True).gather(1, place)
        return label, self.run.memory.take(slots)["image"].float()


def pair_counts(distances: Tensor, present: Tensor, number: int, keys: Tensor) -> Tensor:
    """How many of `number` mixed images each pair of classes gets, by softmax of 1 / distance.

    Shares are rounded; what is then missing goes to random pairs, what is too much is taken from
    random pairs that have some, one each.

    Args:
        distances: (S, C, C) between prototypes.
        present: (S, C) bool, the classes that have one.
        number: images of a seed.
        keys: (S, C * C) uniform numbers that order pairs at random.

    Returns:
        (S, C * C) int64, pair (a, b) at a C + b, a < b; (a, a) where a alone is present.
    """
    both = present.unsqueeze(2) & present.unsqueeze(1)
    pairs = both.triu(1).flatten(1)
    alone = torch.diag_embed(present).flatten(1)
    pairs = torch.where(pairs.any(1, keepdim=True), pairs, alone)
    nearness = 1 / distances.flatten(1).clamp(min=1e-6)
    shares = nearness.masked_fill(~pairs, -torch.inf).softmax(1)
    counts = (shares * number).round().long()
    missing = number - counts.sum(1, keepdim=True)
    able = torch.where(missing > 0, pairs, counts > 0)
    order = keys.masked_fill(~able, 2.0).argsort(1).argsort(1)
    return counts + missing.sign() * (order < missing.abs())


def mix(left: Tensor, right: Tensor, share: Tensor) -> Tensor:
    """(1 - share) of left and share of right, images (S, n, 3, H, W), shares (S, n)."""
    share = share[..., None, None, None]
    return (1 - share) * left + share * right
