"""What CRECL's methods train with: tokens, network, memory, and a phase of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from relcl_lib.continual.memory import ExemplarMemory
from relcl_lib.continual.streams import TaskStream
from relcl_lib.data.sentences import RelationSentences
from relcl_lib.lab.run import check_loss, ignore
from relcl_lib.lab.runtime import drawing_from, keep_freed_memory, make_generator
from relcl_lib.losses import class_means
from relcl_lib.models.contrastive_network import AttentionMemory, CreclNetwork
from relcl_lib.models.fast_dropout import fast_dropout
from relcl_lib.papers.crecl.captured import WIDTHS, CapturedSteps
from relcl_lib.papers.crecl.network import (
    parameter_groups,
    shuffled_batches,
)
from relcl_lib.papers.crecl.parameters import CreclParameters
from relcl_lib.text.markers import MarkedTokens, mark_sentences
from relcl_lib.text.pretrained import usable_positions

#: sentences per pass without gradients; no effect on the numbers beyond rounding
EMBED_BATCH = {"cpu": 64, "cuda": 512}


class Learner:
    """What a method sees: it trains `network` on sentences of `data` and fills `memory`.

    Whoever inherits sets these before the first phase, and calls `take_up` with the tasks.
    """

    settings: CreclParameters
    data: RelationSentences
    seed: int
    device: torch.device
    network: CreclNetwork
    stream: TaskStream
    history: list[dict[str, Any]]
    #: tokenizer and BERT
    _pretrained: tuple[Any, nn.Module]
    #: whether memory and prototypes hold u, not h
    holds_u: bool = False
    #: called after each step, each epoch and each phase of training
    on_step: Callable[..., Any] = staticmethod(ignore)
    on_epoch: Callable[[Any, str], Any] = staticmethod(ignore)
    on_phase: Callable[[Any, str], Any] = staticmethod(ignore)

    def take_up(self, stream: TaskStream) -> None:
        """Begin with an empty memory for the relations of these tasks."""
        keep_freed_memory()  # batches differ in length, so none fits where the last one was
        self.stream = stream
        order = torch.tensor(stream.class_order)
        self.relations = order.to(self.device)  # column of z -> relation
        self.column = order.argsort().to(self.device)  # relation -> column of z
        size, selection = self.settings.memory_size, self.settings.memory_selection
        self.memory = ExemplarMemory(size, len(order), selection=selection)

    @cached_property
    def tokens(self) -> MarkedTokens:
        """The data's sentences as tokens with markers, on the device."""
        tokenizer, bert = self._pretrained
        limits = {"max_length": self.settings.max_length, "room": usable_positions(bert.config)}
        skip = self.settings.skip_long
        return mark_sentences(self.data, tokenizer, **limits, skip_long=skip).to(self.device)

    def renew_head(self, task: int) -> None:
        """Draw the head's weights anew (`head="per_task"`)."""
        with drawing_from(make_generator(self.seed, "head", task), self.device):
            self.network.head.linear.reset_parameters()

    def renew_attention_memory(self, task: int) -> None:
        """Put a new attention memory in place, as at the beginning of every task."""
        with drawing_from(make_generator(self.seed, "attention memory", task), self.device):
            fresh = AttentionMemory(self.network.encoder.size)
        self.network.attention_memory = fresh.to(self.device)

    # -------------------------------------------------------------- training

    def fit(
        self,
        phase: str,
        task: int,
        sentences: Tensor,
        epochs: int,
        loss: Callable[[Mapping[str, Tensor]], Tensor],
        rates: Mapping[nn.Module, float],
        *,
        batch_size: int | None = None,
        fill: bool = False,
        fixed_order: bool = False,
    ) -> None:
        """Train a phase: some epochs over sentences, with an Adam of its own.

        Args:
            phase: names the phase's random streams and its entries of `history`.
            task: index of the task.
            sentences: (n,) int64, positions in the data.
            epochs: passes; 0 changes nothing.
            loss: of one batch.
            rates: what is trained -> learning rate.
            batch_size: None: the run's.
            fill: complete a short last batch with sentences drawn anew.
            fixed_order: the first epoch's batches in every epoch.
        """
        if not epochs:
            return
        size = min(batch_size or self.settings.batch_size, len(sentences))
        with self.network.encoder.only_tokens(self.tokens.ids[sentences.to(self.device)]):
            groups = parameter_groups(self.network, rates, self.settings.norm_group)
            optimizer = torch.optim.Adam(groups, fused=True, capturable=self.settings.cuda_graph)
            total = torch.zeros((), device=self.device)
            step = partial(self.training_step, loss=loss, optimizer=optimizer, total=total)
            captured = CapturedSteps(step, self.device) if self.settings.cuda_graph else None
            for epoch in range(epochs):
                which = 0 if fixed_order else epoch
                order = make_generator(self.seed, f"data order, {phase}", task, which)
                batches = shuffled_batches(len(sentences), size, order, fill=fill)
                total.zero_()
                self.network.train()
                dropout = make_generator(self.seed, f"dropout, {phase}", task, epoch)
                with drawing_from(dropout, self.device), fast_dropout(self.device):
                    for number, rows in enumerate(batches, start=epoch * len(batches) + 1):
                        if captured is not None:
                            captured(self.padded_batch(sentences[rows]))
                        else:
                            step(self.batch(sentences[rows]))
                        self.on_step(self, number, epochs * len(batches), phase)
                mean = float(total) / len(batches)
                check_loss(mean, f"task {task + 1}, {phase}, epoch {epoch + 1}")
                entry = {"task": task, "phase": phase, "epoch": epoch}
                entry |= {"loss": mean, "sentences": sum(map(len, batches))}
                self.history.append(entry)
                self.on_epoch(self, phase)
        self.on_phase(self, phase)

    def training_step(
        self,
        batch: Mapping[str, Tensor],
        loss: Callable[[Mapping[str, Tensor]], Tensor],
        optimizer: torch.optim.Optimizer,
        total: Tensor,
    ) -> None:
        """One step of the optimizer on a batch, whose loss is added to `total` ()."""
        value = loss(batch)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        if self.settings.max_grad_norm:  # of each module by itself
            for group in optimizer.param_groups:
                nn.utils.clip_grad_norm_(group["params"], self.settings.max_grad_norm)
        optimizer.step()
        total += value.detach()

    def batch(self, sentences: Tensor) -> dict[str, Tensor]:
        """A batch of sentences (B,), padded to its longest (or to all, with attend_pads)."""
        at = sentences.to(self.device)
        pad_to = self.settings.max_length if self.settings.attend_pads else None
        return self.tokens.batch(at, pad_to=pad_to)

    def padded_batch(self, sentences: Tensor) -> dict[str, Tensor]:
        """The same on the CPU, padded to the next of a few widths: a GPU is not waited for."""
        tokens = self._tokens_on_cpu
        width = self.settings.max_length
        if not self.settings.attend_pads:
            longest, most = int(tokens.lengths[sentences].max()), tokens.ids.shape[1]
            width = min(width for width in (*WIDTHS, most) if width >= longest)
        return tokens.batch(sentences, pad_to=width)

    @cached_property
    def _tokens_on_cpu(self) -> MarkedTokens:
        return self.tokens.to("cpu")

    # ---------------------------------------------------- memory, prototypes

    @torch.no_grad()
    def embed(self, sentences: Tensor, *, dropout: bool = False) -> Tensor:
        """h (n, d) of sentences (n,), by batches of alike length."""
        training = self.network.training
        self.network.train(dropout)
        order = self.tokens.lengths[sentences.to(self.device)].argsort(stable=True).cpu()
        parts = order.split(EMBED_BATCH[self.device.type])
        h = torch.cat([self.network.encoder(self.batch(sentences[rows])) for rows in parts])
        self.network.train(training)
        return h[order.argsort().to(self.device)]

    @torch.no_grad()
    def represent(self, sentences: Tensor) -> Tensor:
        """What the method's memory and prototypes are made of, (n, d): h or u."""
        if self.settings.memory_dropout:
            masks = make_generator(self.seed, "dropout, memory", len(self.memory), len(sentences))
            with drawing_from(masks, self.device), fast_dropout(self.device):
                h = self.embed(sentences, dropout=True)
        else:
            h = self.embed(sentences)
        return self.network.head.hidden(h) if self.holds_u else h

    def remember(self, task: int) -> None:
        """Choose the memory of a task's relations; those of earlier tasks stay as they are."""
        sentences = self.stream[task].train_indices
        self.memory.add(
            [make_generator(self.seed, "memory", task)],
            label=self.tokens.labels[sentences.to(self.device)].cpu()[None],
            features=self.represent(sentences).cpu()[None],
            sentence=sentences[None],
        )

    def remembered(self) -> Tensor:
        """The positions of all sentences in the memory, (n,) int64."""
        if not len(self.memory):
            return torch.zeros(0, dtype=torch.long)
        return self.memory.contents()["sentence"][0].clone()

    def prototypes(self) -> Tensor:
        """p (C, d), the mean of each remembered relation's sentences now (Eq. 4)."""
        sentences = self.remembered()
        columns = self.column[self.memory.contents()["label"][0].to(self.device)]
        return class_means(self.represent(sentences), columns, int(columns.max()) + 1)[0]

    def note_separation(self, phase: str, task: int) -> None:
        """Called after each phase of a task; a run measures how far the first two lie apart."""
