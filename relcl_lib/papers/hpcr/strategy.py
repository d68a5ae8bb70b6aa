"""What a method of online replay does at each point of the shared loop: a strategy, ER's by default.

A step of `ReplayRun`: retrieve from the memory, forward stream and memory, one loss per seed, its
gradient, one update, offer the batch to the memory. Each is a hook of `Strategy`, and a method is a
short class that says where it differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from relcl_lib.continual.memory import Memory, ReservoirMemory
from relcl_lib.losses import cross_entropy_loss

#: purpose -> a generator per seed
Draws = Mapping[str, Sequence[torch.Generator]]
#: test images (S, B, 3, H, W) in [0, 1] to scores (S, B, C)
Scorer = Callable[[Tensor], Tensor]


class Group(NamedTuple):
    """Images (S, n, 3, H, W) in [0, 255], labels (S, n), and a generator per seed for their views."""

    images: Tensor
    labels: Tensor
    draws: Sequence[torch.Generator]


class Rows(NamedTuple):
    """One group of a step's rows: logits (S, N, C), features (S, N, D), labels (S, N).

    The clean views come first, then the augmented ones.
    """

    logits: Tensor
    features: Tensor
    labels: Tensor

    def joined(self, other: Rows) -> Rows:
        """These rows, then the others."""
        return Rows(*(torch.cat(pair, dim=1) for pair in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Batch:
    """The incoming images of one training step of S seeds.

    Attributes:
        images, labels: (S, b, 3, H, W) uint8 and (S, b).
        task: index of the task; step: index of the step in the task; total_step: in the run; both
            tensors where a step is captured.
        seen: (S, C) bool, classes of this and earlier tasks.
        draws: generators by purpose, see `Strategy.purposes`.
    """

    images: Tensor
    labels: Tensor
    task: int
    step: int | Tensor
    total_step: int | Tensor
    seen: Tensor
    draws: Draws


@dataclass(frozen=True)
class Step:
    """A batch after the forward passes.

    Attributes:
        batch: what came in.
        stream: rows of the incoming images.
        memory: rows of the replayed images; None while the memory is empty or unused.
        stored: of the replayed images, the fields recorded when they were stored (S, m, ...).
    """

    batch: Batch
    stream: Rows
    memory: Rows | None
    stored: Mapping[str, Tensor]

    @property
    def size(self) -> int:
        """Images in the step per seed, before augmentation (N_raw)."""
        replayed = self.stored["label"].shape[1] if self.stored else 0
        return self.batch.images.shape[1] + replayed

    def joined(self) -> Rows:
        """Memory rows, then stream rows, as one group."""
        return self.stream if self.memory is None else self.memory.joined(self.stream)


def among(logits: Tensor, classes: Tensor) -> Tensor:
    """Logits (S, N, C) whose softmax spans `classes` (S, C) bool alone."""
    return logits.masked_fill(~classes.unsqueeze(1), torch.finfo(logits.dtype).min)


def uniform(draws: Sequence[torch.Generator], n: int, device: torch.device | str) -> Tensor:
    """Uniform numbers (S, n) on a device, a generator per seed."""
    return torch.stack([torch.rand(n, generator=g) for g in draws]).to(device)


class Loop(Protocol):
    """What a strategy finds in its run (`ReplayRun`)."""

    settings: Any
    seeds: list[int]
    device: torch.device
    images: Tensor
    labels: Tensor
    data: Any
    streams: Sequence[Any]
    network: Any
    memory: Memory
    optimizer: torch.optim.Optimizer
    views: Callable[[Sequence[Group]], list[Tensor]]
    forward: Callable[..., list[Rows]]


class Strategy(nn.Module):
    """ER: replay random images of the memory with a cross-entropy on stream and memory rows.

    A strategy is a module: the heads, former networks and buffers that it assigns are on the run's
    device, in its checkpoints and, where they want a gradient, in its optimizer. Their parameters
    have the seed first, like the network's (`models.resnet.side_by_side`).
    """

    #: the classifier, unless the run's parameters say otherwise
    head: ClassVar[str] = "linear"
    #: whether the loss is on the logits of the step's rows, each the cosine with a proxy
    on_proxies: ClassVar[bool] = False
    #: whether all classes come in one shuffled task
    iid: ClassVar[bool] = False
    #: settings of the run that the method has its own value for ("variant": that of the run's variant)
    switches: ClassVar[Mapping[str, Any]] = {}
    #: settings of the run that the method can have no other way
    fixed: ClassVar[Mapping[str, Any]] = {}
    #: the method's own constants by name, which the parameter `options` changes
    options: ClassVar[Mapping[str, float]] = {}
    #: data set -> the constants that have another value there
    options_on: ClassVar[Mapping[str, Mapping[str, float]]] = {}
    #: what random choices are made for; each has a generator per seed and task
    purposes: ClassVar[tuple[str, ...]] = (
        "retrieval",
        "reservoir",
        "stream views",
        "memory views",
        "more retrieval",
        "more views",
    )

    def __init__(self, run: Loop) -> None:
        super().__init__()
        self.run, self.settings = run, run.settings

    @property
    def has_proxies(self) -> bool:
        """Whether the head's rows are proxies, and the loss reads their cosines in the step's rows."""
        return self.on_proxies and self.settings.head == "cosine"

    @classmethod
    def options_of(cls, dataset: str) -> dict[str, float]:
        """The method's constants on a data set."""
        return {**cls.options, **cls.options_on.get(dataset, {})}

    def make_memory(self) -> Memory:
        """The memory of the run."""
        return ReservoirMemory(self.settings.buffer_size, len(self.run.seeds))

    def retrieve(self, batch: Batch) -> dict[str, Tensor] | None:
        """What is replayed beside a batch, fields (S, m, ...) with image and label; None: nothing."""
        return self.run.memory.sample(self.settings.memory_batch, batch.draws["retrieval"])

    def rows(self, batch: Batch, stored: Mapping[str, Tensor]) -> tuple[Rows, Rows | None]:
        """Forward the stream's rows, then the memory's, apart: batch norm sees each group alone."""
        stream, *memory = self.run.forward(self.groups(batch, stored))
        return stream, memory[0] if memory else None

    def groups(self, batch: Batch, stored: Mapping[str, Tensor]) -> list[Group]:
        """The incoming images, and those replayed if there are any."""
        stream = Group(batch.images, batch.labels, batch.draws["stream views"])
        if not stored:
            return [stream]
        return [stream, Group(stored["image"], stored["label"], batch.draws["memory views"])]

    def more(self, batch: Batch, n: int) -> tuple[dict[str, Tensor], Rows]:
        """A further draw of `n` images of a memory that is not empty, and their rows."""
        stored = self.run.memory.sample(n, batch.draws["more retrieval"])
        group = Group(stored["image"], stored["label"], batch.draws["more views"])
        return stored, self.run.forward([group])[0]

    def loss(self, step: Step) -> Tensor | None:
        """One value per seed (S,), or None for a step that trains nothing."""
        loss = cross_entropy_loss(step.stream.logits, step.stream.labels)
        if step.memory is None:
            return loss
        return loss + cross_entropy_loss(step.memory.logits, step.memory.labels)

    def gradient(self, step: Step, loss: Tensor) -> None:
        """Leave in every parameter the gradient that the optimizer follows."""
        loss.sum().backward()  # the seeds share no weight: each gets its own gradient

    def update(self, step: Step, loss: Tensor) -> None:
        """Train one step."""
        self.run.optimizer.zero_grad(set_to_none=True)
        self.gradient(step, loss)
        self.run.optimizer.step()

    def fields(self, step: Step) -> dict[str, Tensor]:
        """What is stored of the incoming images: the clean view alone, as before the update."""
        clean = step.batch.images.shape[1]
        return {
            "image": step.batch.images,
            "label": step.batch.labels,
            "logits": step.stream.logits[:, :clean],
            "features": step.stream.features[:, :clean],
        }

    def store(self, step: Step) -> None:
        """Offer the batch to the memory; what was stored is never refreshed."""
        self.run.memory.add(step.batch.draws["reservoir"], **self.fields(step))

    def end_task(self, task: int, seen: Tensor) -> None:
        """What happens between a task's last step and its test; `seen` (S, C) are the classes so far."""

    def scorer(self, network: nn.Module) -> Scorer:
        """How test images are scored; `network` is the run's, ready for evaluation."""
        return lambda images: network(images)[0]
