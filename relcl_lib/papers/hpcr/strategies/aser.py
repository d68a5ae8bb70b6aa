"""ASER: retrieval and memory by how much a sample helps its nearest neighbours (KNN-Shapley values)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from relcl_lib.continual.memory import ChosenMemory, Memory
from relcl_lib.losses import class_counts, cross_entropy_loss
from relcl_lib.models.resnet import fold_batch_norm
from relcl_lib.papers.hpcr.strategy import Batch, Step, Strategy, uniform


class ASER(Strategy):
    """ASER-mu (Shim et al., AAAI 2021): cross-entropy on memory and stream in one pass.

    Random until the memory is full. From then on it replays, of `per_class` random images of each
    class, those that help the memory and harm the stream most; and it keeps, of random images of
    the memory and the batch, those that help most.

    Constants are those of the survey's configurations: 3 neighbours, 9 images of a class on CIFAR-10,
    3 on Mini-ImageNet, 2 on CIFAR-100 and, inferred, elsewhere; what is evaluated is no candidate,
    so a small memory with many of each class would never change. Where there are fewer candidates
    than images to replay, random others fill up (the survey replays fewer). The survey also
    forwards stream and memory apart, drops the gradients and keeps the running statistics; left
    out. Candidates differ in number from seed to seed and are padded, so that all seeds are chosen
    for side by side.
    """

    fixed: ClassVar = {"joint_forward": True}
    options: ClassVar = {"neighbours": 3, "per_class": 2}
    options_on: ClassVar = {
        "mini_imagenet": {"per_class": 3},
        "cifar10": {"per_class": 9},
    }

    def make_memory(self) -> Memory:
        """A memory whose slots are chosen here."""
        return ChosenMemory(self.settings.buffer_size, len(self.run.seeds))

    def loss(self, step: Step) -> Tensor:
        """Cross-entropy over all rows."""
        rows = step.joined()
        return cross_entropy_loss(rows.logits, rows.labels)

    def retrieve(self, batch: Batch) -> dict[str, Tensor] | None:
        """Highest mean value for images of the memory minus mean value for those of the stream."""
        memory, draws = self.run.memory, batch.draws["retrieval"]
        size = self.settings.memory_batch
        if memory.n_seen <= memory.capacity:
            return memory.sample(size, draws)
        held = memory.contents()["label"]
        candidate = self._balanced(held >= 0, draws)
        evaluated = self._balanced(~candidate, draws)
        keys = uniform(draws, held.shape[1], held.device)
        few = candidate.sum(1, keepdim=True) < size
        slots = gathered(candidate | evaluated | (few & first_of(keys, size)))
        candidate, evaluated = candidate.gather(1, slots), evaluated.gather(1, slots)
        stream = torch.ones_like(batch.labels, dtype=torch.bool)
        values = self._values(
            slots, batch.images, batch.labels, torch.cat([candidate, ~stream], dim=1)
        )
        values = values[..., : slots.shape[1]]  # the stream is no candidate
        helped = mean_of(values, torch.cat([evaluated, ~stream], dim=1))
        harmed = mean_of(values, torch.cat([torch.zeros_like(evaluated), stream], dim=1))
        # Differences lie in [-2, 2], so the others come last, in random order.
        value = torch.where(candidate, helped - harmed, keys.gather(1, slots) - 4)
        best = value.argsort(dim=1, descending=True)[:, :size]
        return memory.take(slots.gather(1, best))

    def store(self, step: Step) -> None:
        """Fill the memory; a full one gives up its least helpful candidates for better images."""
        memory, fields = self.run.memory, self.fields(step)
        room = min(memory.capacity - memory.filled, step.batch.labels.shape[1])
        memory.add((), **{name: field[:, :room] for name, field in fields.items()})
        rest = {name: field[:, room:] for name, field in fields.items()}
        if rest["label"].numel():
            memory.swap(*self._swapped(step.batch, rest["image"], rest["label"]), **rest)

    def _swapped(self, batch: Batch, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Seeds, slots and rows of the batch (n,) that change places: the highest sums stay."""
        memory, draws = self.run.memory, batch.draws["reservoir"]
        held, classes = memory.contents()["label"], batch.seen.shape[1]
        # The memory may hold none of a new class, whose images would then help nobody. So those of
        # the batch whose class has less than a random share of the memory are evaluated as well.
        bound = uniform(draws, 1, held.device) / classes
        minority = (class_counts(held, classes) / memory.capacity).gather(1, labels) < bound
        evaluated = self._balanced(held >= 0, draws)
        keys = uniform(draws, held.shape[1], held.device).masked_fill(evaluated, 2.0)
        count = int(self.settings.options["per_class"]) * classes
        candidate = ~evaluated & first_of(keys, count)
        slots = gathered(candidate | evaluated)
        candidate, evaluated = candidate.gather(1, slots), evaluated.gather(1, slots)
        new = torch.cat([torch.zeros_like(candidate), torch.ones_like(minority)], dim=1)
        contest = torch.cat([candidate, torch.ones_like(minority)], dim=1)
        values = self._values(slots, images, labels, contest)
        value = (values * torch.cat([evaluated, minority], dim=1).unsqueeze(2)).sum(1)
        order = value.masked_fill(~contest, -torch.inf).argsort(dim=1, descending=True, stable=True)
        place = torch.arange(order.shape[1], device=order.device)
        stays = place < candidate.sum(1, keepdim=True)
        new, contest = new.gather(1, order), contest.gather(1, order)
        seed, entering = (new & stays).nonzero(as_tuple=True)
        _, leaving = (contest & ~new & ~stays).nonzero(as_tuple=True)  # as many in every seed
        return seed, slots[seed, order[seed, leaving]], order[seed, entering] - slots.shape[1]

    def _balanced(self, allowed: Tensor, draws: Sequence[torch.Generator]) -> Tensor:
        """Mark `per_class` random slots of each class among those allowed: (S, M) bool to the same."""
        held, classes = self.run.memory.contents()["label"], self.run.data.n_classes
        order = uniform(draws, held.shape[1], held.device).argsort(1)
        group = held.masked_fill(~allowed, classes).gather(1, order)
        # Sorted by class and random inside: the rank in the class is the place from its start.
        group, by_class = group.sort(dim=1, stable=True)
        counts = class_counts(group, classes + 1)
        rank = torch.arange(held.shape[1], device=held.device)
        rank = rank - (counts.cumsum(1) - counts).gather(1, group)
        taken = (rank < self.settings.options["per_class"]) & (group < classes)
        return torch.zeros_like(taken).scatter(1, order.gather(1, by_class), taken)

    def _values(self, slots: Tensor, images: Tensor, labels: Tensor, candidate: Tensor) -> Tensor:
        """What each candidate among n slots and b images is worth for each of them: (S, N, N)."""
        stored = self.run.memory.take(slots)
        network = fold_batch_norm(self.run.network)  # running statistics, no gradient
        images = torch.cat([stored["image"], images], dim=1).float() / 255
        with torch.no_grad():
            features = network(images)[1]  # (S, N, D)
        labels = torch.cat([stored["label"], labels], dim=1)
        # Not by products, which lose the digits that tell close neighbours apart.
        apart = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
        same = labels.unsqueeze(2) == labels.unsqueeze(1)
        return knn_shapley(apart, same, candidate, int(self.settings.options["neighbours"]))


def knn_shapley(distances: Tensor, same: Tensor, candidate: Tensor, neighbours: int) -> Tensor:
    """Shapley values of candidates in a K-nearest-neighbour vote (Jia et al., VLDB 2019).

    For each evaluated row, with the n candidates by distance, j from 1: s_n = same_n / n and
    s_j = s_{j+1} + (same_j - same_{j+1}) / K min(K, j) / j. They add up to the vote of the K nearest,
    sum_{j <= K} same_j / K (n >= K).

    Args:
        distances: (..., E, N) of evaluated rows to others.
        same: (..., E, N) bool, of one class.
        candidate: (..., N) bool; the others have value 0.
        neighbours: K.

    Returns:
        (..., E, N).
    """
    there = candidate.unsqueeze(-2).expand_as(distances)
    order = distances.masked_fill(~there, torch.inf).argsort(dim=-1, stable=True)
    votes = (same & there).gather(-1, order).to(distances.dtype)
    following = torch.cat([votes[..., 1:], torch.zeros_like(votes[..., :1])], dim=-1)
    place = torch.arange(1, distances.shape[-1] + 1).to(distances)
    last = place == candidate.sum(-1, keepdim=True)  # (..., N)
    weight = place.clamp(max=neighbours) / (neighbours * place)
    weight = torch.where(last, 1 / place, weight).unsqueeze(-2)
    steps = (votes - following) * weight
    values = steps.flip(-1).cumsum(-1).flip(-1)
    return torch.zeros_like(values).scatter(-1, order, values)


def gathered(mask: Tensor) -> Tensor:
    """The places marked in each row (S, M), then others up to one length: (S, n)."""
    return (~mask).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(mask.sum(1).max())]


def first_of(keys: Tensor, count: int) -> Tensor:
    """Mark the `count` smallest of each row: (S, M) to (S, M) bool."""
    return keys.argsort(1).argsort(1) < count


def mean_of(values: Tensor, rows: Tensor) -> Tensor:
    """The mean of (S, E, N) over the rows marked (S, E); 0 where there is none."""
    count = rows.sum(1, keepdim=True).clamp(min=1)
    return (values * rows.unsqueeze(2)).sum(1) / count
