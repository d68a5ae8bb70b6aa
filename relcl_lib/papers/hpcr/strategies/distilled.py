"""Replay with former logits as targets: stored ones (DER++), or those of a former network (SS-IL)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from relcl_lib.losses import cross_entropy_loss
from relcl_lib.losses.basic import cross_entropies
from relcl_lib.papers.hpcr.strategies.proxies import for_both_views
from relcl_lib.papers.hpcr.strategy import Batch, Loop, Rows, Step, Strategy, among


class DERpp(Strategy):
    """DER++: stream + beta labels of replayed images + alpha logits of another draw.

    Logits are those recorded when an image was stored, of all classes and of its clean view (public
    codes store an augmented view's). alpha is 0.1 and beta 0.5, as in two public codes; a third has
    no default and its authors tune both.
    """

    switches: ClassVar = {"alpha": 0.1}

    def loss(self, step: Step) -> Tensor:
        """Two cross-entropies and a mean square."""
        loss = cross_entropy_loss(step.stream.logits, step.stream.labels)
        if step.memory is None:
            return loss
        settings = self.settings
        labels = cross_entropy_loss(step.memory.logits, step.memory.labels)
        loss = loss + settings.beta * labels
        if not settings.alpha:
            return loss
        stored, rows = self.more(step.batch, settings.memory_batch)
        gap = rows.logits - for_both_views(stored["logits"], rows.logits)
        return loss + settings.alpha * gap.square().mean((-1, -2))


class SSIL(Strategy):
    """SS-IL: new classes and old ones in softmaxes of their own, and distillation task by task.

    The stream's rows are classified among the classes of the task, replayed ones, which are of former
    tasks, among all former classes. The network as it was at the last task's end teaches each former
    task's classes by themselves, at a temperature of 2.

    Inferred: HPCR does not say which code its row is of. `online` 1 is the form of the code that
    made SS-IL an online method (Caccia et al., ICLR 2022): the means of stream and memory added, and
    the replayed rows distilled. 0 is the official, offline one: one mean over all rows, all of them
    distilled, T^2 = 4 times as strongly. Beside the cross-entropies it distils 8 times as much.
    """

    TEMPERATURE = 2.0
    options: ClassVar = {"online": 1}

    def __init__(self, run: Loop) -> None:
        super().__init__(run)
        self.teacher = copy.deepcopy(run.network).requires_grad_(False).eval()
        task_of = torch.full((len(run.seeds), run.data.n_classes), -1)
        self.register_buffer("task_of", task_of)  # -1: not in a finished task
        self.taught = torch.empty(0)  # the teacher's logits of the step's rows, stream first

    def retrieve(self, batch: Batch) -> dict[str, Tensor] | None:
        """Images of former tasks, each once before any comes twice.

        A seed whose memory has none left gets others, which its loss leaves out.
        """
        memory = self.run.memory
        if not batch.task:
            return None
        former = memory.contents()["task"].cpu() < batch.task  # (S, filled)
        places = torch.arange(min(self.settings.memory_batch, len(memory)))
        slots = []
        for row, generator in zip(former, batch.draws["retrieval"], strict=True):
            chosen = row.nonzero()[:, 0] if row.any() else torch.arange(len(row))
            chosen = chosen[torch.randperm(len(chosen), generator=generator)]
            slots.append(chosen[places % len(chosen)])
        return memory.take(torch.stack(slots))

    def rows(self, batch: Batch, stored: Mapping[str, Tensor]) -> tuple[Rows, Rows | None]:
        """ER's, and what the teacher says of the same views."""
        groups = self.groups(batch, stored)
        views = self.run.views(groups)
        if batch.task:
            with torch.no_grad():
                self.taught = self.teacher(torch.cat(views, dim=1))[0]
        stream, *memory = self.run.forward(groups, views)
        return stream, memory[0] if memory else None

    def loss(self, step: Step) -> Tensor:
        """Separated softmax, and from the second task on the tasks' distillation."""
        known = self.task_of >= 0
        new = step.batch.seen & ~known
        rows = step.stream
        stream = cross_entropies(among(rows.logits, new), rows.labels)  # (S, N)
        if step.memory is None:
            return stream.mean(1)
        former = (step.stored["task"] < step.batch.task).repeat(1, self.settings.views)
        replayed = cross_entropies(among(step.memory.logits, known), step.memory.labels)
        memory = torch.where(former, replayed, 0.0)
        new, old, tasks = stream.shape[1], former.sum(1), step.batch.task
        if not self.settings.options["online"]:
            loss = (stream.sum(1) + memory.sum(1)) / (new + old)
            taught = self.distillation(step.stream.joined(step.memory).logits, self.taught, tasks)
            return loss + self.TEMPERATURE**2 * taught.mean(1)
        taught = self.distillation(step.memory.logits, self.taught[:, new:], tasks)
        replayed = memory + torch.where(former, taught, 0.0)
        return stream.mean(1) + replayed.sum(1) / old.clamp_min(1)

    def distillation(self, logits: Tensor, taught: Tensor, tasks: int) -> Tensor:
        """Each row's sum of KL(teacher_u || student_u) over the former tasks u: (S, N, C) to (S, N)."""
        of_task = self.task_of.unsqueeze(1) == torch.arange(tasks, device=logits.device)[:, None]

        def shares(values: Tensor) -> Tensor:  # log-softmax within each task, (S, N, U, C)
            values = (values / self.TEMPERATURE).unsqueeze(2)
            lowest = torch.finfo(values.dtype).min
            return values.masked_fill(~of_task.unsqueeze(1), lowest).log_softmax(-1)

        old, new = shares(taught), shares(logits)
        return (old.exp() * (old - new)).sum((-1, -2))

    def fields(self, step: Step) -> dict[str, Tensor]:
        """ER's, and the task."""
        return {**super().fields(step), "task": torch.full_like(step.batch.labels, step.batch.task)}

    def end_task(self, task: int, seen: Tensor) -> None:
        """The network becomes the teacher."""
        self.teacher.load_state_dict(self.run.network.state_dict())
        self.task_of[seen & (self.task_of < 0)] = task
