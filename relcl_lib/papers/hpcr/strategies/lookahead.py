"""A look at the network after a step on the stream alone: what to replay, or how to edit it (GMED)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from relcl_lib.losses import cross_entropy_loss
from relcl_lib.losses.basic import cross_entropies
from relcl_lib.papers.hpcr.strategy import Batch, Group, Rows, Step, Strategy


class StreamFirst(Strategy):
    """Differentiates the stream's loss before it retrieves, then the memory's: both are followed.

    The step that is looked at is one of plain SGD. What is computed after it takes batch statistics
    and leaves the running ones alone.
    """

    fixed: ClassVar = {"joint_forward": False}

    def group_loss(self, rows: Rows) -> Tensor:
        """The loss of one group, stream or memory: (S,)."""
        return cross_entropy_loss(rows.logits, rows.labels)

    def differentiate(self, batch: Batch) -> None:
        """Forward the stream and leave its gradient in the parameters."""
        group = Group(batch.images, batch.labels, batch.draws["stream views"])
        (self._stream,) = self.run.forward([group])
        loss = self.group_loss(self._stream)
        self.run.optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        self._stream_loss = loss.detach()

    def after_a_step(self, rate: float, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features of the network that has followed its gradient at a rate."""
        network = self.run.network
        moved = {name: p.detach() - rate * p.grad for name, p in network.named_parameters()}
        statistics = {name: buffer.clone() for name, buffer in network.named_buffers()}
        return functional_call(network, {**moved, **statistics}, (images,))

    def rows(self, batch: Batch, stored: Mapping[str, Tensor]) -> tuple[Rows, Rows | None]:
        """The stream's rows are there already."""
        return self._stream, self.run.forward(self.groups(batch, stored)[1:])[0] if stored else None

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


class LookAhead(StreamFirst):
    """Of `subsample` random images of the memory, replay those with the highest score.

    The score compares the network with the one after the step. The network's own pass moves its
    running statistics, as in the public code of both methods: a third of what a test then normalises
    by comes from these images. The views that were scored are the views that are replayed. All seeds
    are scored side by side.
    """

    options: ClassVar = {"subsample": 50}

    def score(self, before: Rows, after: Rows) -> Tensor:
        """What is highest where the step changes most: rows of n images to (S, n)."""
        raise NotImplementedError

    def retrieve(self, batch: Batch) -> dict[str, Tensor] | None:
        """Differentiate the stream's loss, then choose by the network that it leads to."""
        self.differentiate(batch)
        run, draws = self.run, batch.draws
        found = run.memory.sample(int(self.settings.options["subsample"]), draws["retrieval"])
        if found is None:
            return None
        (views,) = run.views([Group(found["image"], found["label"], draws["memory views"])])
        labels = found["label"].repeat(1, self.settings.views)
        with torch.no_grad():
            after = Rows(*self.after_a_step(self.settings.learning_rate, views), labels)
            before = Rows(*run.network(views), labels)
            scores = self.score(before, after)  # (S, n)
        size = scores.shape[1]
        best = scores.topk(min(self.settings.memory_batch, size), dim=1).indices
        seed = torch.arange(len(scores), device=best.device).unsqueeze(1)
        rows = torch.cat([best + view * size for view in range(self.settings.views)], dim=1)
        self._replayed = views[seed, rows]
        return {name: field[seed, best] for name, field in found.items()}

    def rows(self, batch: Batch, stored: Mapping[str, Tensor]) -> tuple[Rows, Rows | None]:
        """Both groups' views are there already."""
        if not stored:
            return self._stream, None
        labels = stored["label"].repeat(1, self.settings.views)
        return self._stream, Rows(*self.run.network(self._replayed), labels)


class MIR(LookAhead):
    """MIR: replay the images whose loss the step on the stream would raise most."""

    def score(self, before: Rows, after: Rows) -> Tensor:
        """By how much the cross-entropy rises, the mean of an image's views."""
        raised = cross_entropies(after.logits, after.labels)
        raised = raised - cross_entropies(before.logits, before.labels)
        return raised.unflatten(1, (self.settings.views, -1)).mean(1)


class GMED(StreamFirst):
    """GMED: edit the images before replay, so that the step on the stream would hurt them more.

    x <- x + stride (1 - decay)^age grad_x [l(x; after) - l(x; before) + regularisation l(x; before)],
    l the mean over the replayed images, written back; age counts an image's edits. The sign of
    `regularisation` is that of the public code; a negative value turns it. `stride` and
    `regularisation` are those of its example command, which is for MNIST; the paper's own values for
    these data sets are not known here.

    The step that is looked at is one on the mean of the stream's loss, with batch statistics, as in
    the public program; there stream and edited images then share a pass, here each has its own.
    Edited images are kept as floats, four bytes a number where the
    memory of other methods holds one; the memory's size counts images all the same.
    """

    options: ClassVar = {"stride": 0.1, "decay": 0.0, "regularisation": 0.01}

    def fields(self, step: Step) -> dict[str, Tensor]:
        """ER's, with images that can be edited."""
        age = torch.zeros(step.batch.labels.shape, device=step.batch.labels.device)
        return {**super().fields(step), "image": step.batch.images.float(), "age": age}

    def retrieve(self, batch: Batch) -> dict[str, Tensor] | None:
        """ER's images, edited."""
        self.differentiate(batch)
        memory = self.run.memory
        if not len(memory):
            return None
        slots = memory.draw(self.settings.memory_batch, batch.draws["retrieval"])
        stored, options = memory.take(slots), self.settings.options
        images = (stored["image"] / 255).requires_grad_()
        before, after = (
            cross_entropy_loss(self.after_a_step(rate, images)[0], stored["label"])
            for rate in (0.0, self.settings.learning_rate)
        )
        raised = after - before + options["regularisation"] * before  # (S,)
        (gradient,) = torch.autograd.grad(raised.sum(), images)
        stride = options["stride"] * (1 - options["decay"]) ** stored["age"]
        stored["image"] = stored["image"] + 255 * stride[..., None, None, None] * gradient
        memory.replace(slots, image=stored["image"], age=stored["age"] + 1)
        return stored
