"""OCM, and what OnPro has of it: contrast among sixteen turns of every image."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from relcl_lib.losses import cross_entropy_loss, instance_contrast_loss, normalise
from relcl_lib.models.resnet import LinearClassifier, side_by_side
from relcl_lib.papers.hpcr.strategy import Batch, Group, Loop, Rows, Step, Strategy

#: ways to turn an image; each makes classes of its own
TURNS = 16


class Turned(Strategy):
    """Stream and memory in sixteen turns and two views each, in one pass; a projection to compare.

    The similarity of two rows is that of their projections plus that of one's projection to a random
    slice of the other's features, as long as the projection. A network with fewer features than
    that (the digits') has a projection as long as its features; the releases have none as narrow.
    Inferred, as HPCR does not say: memory batch and augmentation are the run's, which all methods
    share (Table IV's memory batch makes the releases' min(64, 7 per class seen)); optimizer and rate
    are the releases', without their betas and weight decay. SGD at 0.1, the run's, does not learn
    (OCM on the digits: 17 in place of 44).
    """

    fixed: ClassVar = {"views": 2, "joint_forward": True}
    #: `similarity` scales similarities after the first task
    options: ClassVar = {"per_class": 7, "contrast": 0.07, "projection": 128, "similarity": 1.0}
    purposes: ClassVar = (*Strategy.purposes, "slices", "head views")

    def __init__(self, run: Loop) -> None:
        super().__init__(run)
        size = run.network.head.weight.shape[2]
        self.length = min(size, int(self.settings.options["projection"]))
        self.projection = side_by_side(
            lambda seeds: LinearClassifier(size, self.length, seeds), run.seeds, "projection"
        )

    def retrieve(self, batch: Batch) -> dict[str, Tensor] | None:
        """Random images of the memory, few while few classes are known."""
        known = int(batch.seen[0].sum())  # the same for every seed
        size = min(self.settings.memory_batch, int(self.settings.options["per_class"]) * known)
        return self.run.memory.sample(size, batch.draws["retrieval"])

    def rows(self, batch: Batch, stored: Mapping[str, Tensor]) -> tuple[Rows, Rows | None]:
        """The views of all turns; labels tell the turns apart."""
        classes = batch.seen.shape[1]
        images, labels = turned(batch.images), labels_of_turns(batch.labels, classes)
        if stored:
            labels_too = labels_of_turns(stored["label"], classes)
            stored = {"image": turned(stored["image"]), "label": labels_too}
        return super().rows(replace(batch, images=images, labels=labels), stored)

    def contrast(self, step: Step, rows: Rows, weight: float, *, views: bool) -> Tensor:
        """The contrast among all rows of a group: (S,)."""
        projected = normalise(self.projection(rows.features))  # (S, N, p)
        parts = projected + self._slice(normalise(rows.features), step.batch.draws["slices"])
        similarity = weight * projected @ parts.transpose(1, 2)
        temperature = self.settings.options["contrast"]
        return instance_contrast_loss(similarity, rows.labels, temperature=temperature, views=views)

    def _slice(self, features: Tensor, draws: Sequence[torch.Generator]) -> Tensor:
        """A random stretch of each seed's features: (S, N, D) to (S, N, p)."""
        places = max(1, features.shape[2] - self.length)
        start = torch.stack([torch.randint(places, (1,), generator=g) for g in draws])
        index = (start + torch.arange(self.length)).unsqueeze(1).to(features.device)
        return features.gather(2, index.expand(-1, features.shape[1], -1))

    def one_view(self, images: Tensor, labels: Tensor, draws: Sequence[Any]) -> Tensor:
        """The augmented view alone: (S, n, 3, H, W) in [0, 1]."""
        (views,) = self.run.views([Group(images, labels, draws)])
        return views[:, images.shape[1] :]


class OCM(Turned):
    """OCM (Guo et al., ICML 2022): contrast of the turns, now and with the network before the task.

    The first task: cross-entropy of one augmented view of the stream, and the contrast among its
    rows. Later: cross-entropy of the memory, contrasts among the stream's rows, the memory's, and
    of the memory's clean rows with those of the network before the task, and the squared distance
    to that network's logits of the classes before. As released, the former network keeps to batch
    statistics, and its logits are of another view. Constants are the release's: similarities are
    halved after the first task on CIFAR-10, and on no other; inferred for the digits. About sixteen
    times ER's work; all seeds side by side.
    """

    switches: ClassVar = {"optimizer": "adam", "learning_rate": 1e-3}
    options_on: ClassVar = {key: {"similarity": 0.5} for key in ("cifar10", "digits", "mnist")}
    purposes: ClassVar = (*Turned.purposes, "former views")

    def __init__(self, run: Loop) -> None:
        super().__init__(run)
        self.former = copy.deepcopy(run.network).requires_grad_(False).train()
        self.former_projection = copy.deepcopy(self.projection).requires_grad_(False)
        seeds, classes = run.network.head.weight.shape[:2]
        self.register_buffer("known", torch.zeros(seeds, classes, dtype=torch.bool))

    def retrieve(self, batch: Batch) -> dict[str, Tensor] | None:
        """Nothing in the first task."""
        return super().retrieve(batch) if batch.task else None

    def loss(self, step: Step) -> Tensor:
        """Five terms, two in the first task."""
        batch, network = step.batch, self.run.network
        if step.memory is None:
            loss = self.contrast(step, step.stream, 1.0, views=True)
            view = self.one_view(batch.images, batch.labels, batch.draws["head views"])
            return loss + cross_entropy_loss(network(view)[0], batch.labels)
        images, labels = step.stored["image"], step.stored["label"]
        weight = self.settings.options["similarity"]
        loss = self.contrast(step, step.stream, weight, views=True)
        loss = loss + self.contrast(step, step.memory, weight, views=False)
        view = self.one_view(images, labels, batch.draws["head views"])
        logits = network(view)[0]
        with torch.no_grad():
            before = self.former(turned(images).float() / 255)[1]
            before = normalise(self.former_projection(before))
            view = self.one_view(images, labels, batch.draws["former views"])
            old = self.former(view)[0]
        clean = [part[:, : TURNS * images.shape[1]] for part in step.memory]
        now = normalise(self.projection(clean[1]))
        loss = loss + instance_contrast_loss(
            now @ before.transpose(1, 2),
            clean[2],
            temperature=self.settings.options["contrast"],
        )
        apart = ((logits - old).square() * self.known.unsqueeze(1)).sum((1, 2))
        apart = apart / (self.known.sum(1) * images.shape[1])
        return loss + cross_entropy_loss(logits, labels) + apart

    def end_task(self, task: int, seen: Tensor) -> None:
        """The network as it is now is the next task's former one."""
        self.former.load_state_dict(self.run.network.state_dict())
        self.former_projection.load_state_dict(self.projection.state_dict())
        self.known.copy_(seen)


def turned(images: Tensor) -> Tensor:
    """Sixteen turns of square images, one turn of all after another: (S, n, ...) to (S, 16 n, ...).

    Each of the two halves is upside down or not, and the whole is turned by 0, 180, 90, 270 degrees.
    The first n are the images as they are.
    """
    left, right = images.tensor_split(2, dim=-1)
    other_left, other_right = (half.flip(-2, -1) for half in (left, right))
    halves = (left, right), (other_left, right), (other_left, other_right), (left, other_right)
    whole = [torch.cat(pair, dim=-1) for pair in halves]
    return torch.cat([one.rot90(k, (-2, -1)) for k in (0, 2, 1, 3) for one in whole], dim=1)


def labels_of_turns(labels: Tensor, classes: int) -> Tensor:
    """A class of its own for each turn: (S, n) to (S, 16 n)."""
    return torch.cat([labels + classes * turn for turn in range(TURNS)], dim=1)
