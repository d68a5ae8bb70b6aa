"""Replay what a step on the stream alone would change most: the retrieval of MIR and of ER-DVC."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from relcl_lib.losses import cross_entropy_loss
from relcl_lib.papers.hpcr.strategy import Batch, Group, Rows, Step, Strategy


class LookAhead(Strategy):
    """Of `subsample` random images of the memory, replay those with the highest score.

    The score compares the network with the one after a step of plain SGD on the stream alone. The
    stream's gradient is that of the training step as well, so stream and memory are forwarded and
    differentiated one after the other. The views that were scored are the views that are replayed.
    Scoring takes batch statistics and leaves the running ones alone (the releases' scoring moves
    them). All seeds are scored side by side.
    """

    fixed: ClassVar = {"joint_forward": False}
    options: ClassVar = {"subsample": 50}

    def group_loss(self, rows: Rows) -> Tensor:
        """The loss of one group, stream or memory: (S,)."""
        return cross_entropy_loss(rows.logits, rows.labels)

    def score(self, before: Rows, after: Rows) -> Tensor:
        """What is highest where the step changes most: rows of n images to (S, n)."""
        raise NotImplementedError

    def retrieve(self, batch: Batch) -> dict[str, Tensor] | None:
        """Differentiate the stream's loss, then choose by the network that it leads to."""
        run, draws = self.run, batch.draws
        (self._stream,) = run.forward([Group(batch.images, batch.labels, draws["stream views"])])
        loss = self.group_loss(self._stream)
        run.optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        self._stream_loss = loss.detach()
        found = run.memory.sample(int(self.settings.options["subsample"]), draws["retrieval"])
        if found is None:
            return None
        (views,) = run.views([Group(found["image"], found["label"], draws["memory views"])])
        labels = found["label"].repeat(1, self.settings.views)
        with torch.no_grad():
            before, after = (
                Rows(*self._after_a_step(rate, views), labels)
                for rate in (0.0, self.settings.learning_rate)
            )
            scores = self.score(before, after)  # (S, n)
        size = scores.shape[1]
        best = scores.topk(min(self.settings.memory_batch, size), dim=1).indices
        seed = torch.arange(len(scores), device=best.device).unsqueeze(1)
        rows = torch.cat([best + view * size for view in range(self.settings.views)], dim=1)
        self._replayed = views[seed, rows]
        return {name: field[seed, best] for name, field in found.items()}

    def _after_a_step(self, rate: float, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features of the network that has followed its gradient at a rate."""
        network = self.run.network
        moved = {name: p - rate * p.grad for name, p in network.named_parameters()}
        statistics = {name: buffer.clone() for name, buffer in network.named_buffers()}
        return functional_call(network, {**moved, **statistics}, (images,))

    def rows(self, batch: Batch, stored: dict[str, Tensor]) -> tuple[Rows, Rows | None]:
        """The stream's rows are there already."""
        if not stored:
            return self._stream, None
        labels = stored["label"].repeat(1, self.settings.views)
        return self._stream, Rows(*self.run.network(self._replayed), labels)

    def loss(self, step: Step) -> Tensor:
        """The loss of the stream, whose gradient is there already, and that of the memory."""
        if step.memory is None:
            return self._stream_loss
        return self._stream_loss + self.group_loss(step.memory)

    def update(self, step: Step, loss: Tensor) -> None:
        """Add the memory's gradient to the stream's and follow both."""
        if step.memory is not None:
            self.gradient(step, loss)
        self.run.optimizer.step()
