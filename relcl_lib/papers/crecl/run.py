"""CRECL and its baselines: one run over a stream of relation tasks.

run = CreclRun(CreclParameters.create(profile="quick"), load_sentences("synthetic"))
run.train()
run.accuracy  # (T, T): after training task i, on the test set of task j

What a task's training consists of stands in `crecl_methods`; here is what the methods share.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from relcl_lib.continual.memory import ExemplarMemory
from relcl_lib.data.sentences import RelationSentences
from relcl_lib.lab import checkpoints
from relcl_lib.lab.runtime import (
    drawing_from,
    keep_freed_memory,
    make_generator,
    precision_name,
    resolve_device,
    resolve_precision,
)
from relcl_lib.models.contrastive_network import AttentionMemory, CreclNetwork
from relcl_lib.models.fast_dropout import fast_dropout
from relcl_lib.papers.crecl import evaluation as crecl_evaluation
from relcl_lib.papers.crecl.methods import procedure
from relcl_lib.papers.crecl.network import (
    build_network,
    class_means,
    closing_markers,
    shuffled_batches,
    task_stream,
)
from relcl_lib.papers.crecl.parameters import CreclParameters
from relcl_lib.text.markers import MarkedTokens, mark_sentences
from relcl_lib.text.pretrained import load_encoder

PROGRESS = ("tasks_done", "seconds", "history", "separation")
#: sentences a pass without gradients; no effect on the numbers beyond rounding
EMBED_BATCH = {"cpu": 64, "cuda": 512}


class CreclRun:
    """One run of one seed: tasks, tokens, network, memory, and the loop over tasks.

    Args:
        parameters: what to run; None fields take the method's and variant's values.
        data: the data set that `parameters.dataset` names.
        seed: of the tasks' order and split, of initialisation, data order, dropout and selection.
        work_dir: where checkpoints go (a folder for this configuration is made below it); None keeps
            none, so a killed run starts over.
    """

    def __init__(
        self,
        parameters: CreclParameters,
        data: RelationSentences,
        seed: int = 2021,
        work_dir: str | Path | None = None,
    ) -> None:
        self.given, self.data, self.seed = parameters, data, seed
        self.device = resolve_device(parameters.device)
        keep_freed_memory()  # batches differ in length, so none fits where the last one was
        precision = precision_name(resolve_precision(parameters.precision, self.device))
        self.settings = parameters.resolved().model_copy(update={"precision": precision})
        self.procedure = procedure(parameters.method)
        self.folder = checkpoints.run_folder(work_dir, data.name, self._identity)
        self.stream = task_stream(self.settings, data, seed)
        order = torch.tensor(self.stream.class_order)
        self.relations = order.to(self.device)  # column of z -> relation
        self.column = order.argsort().to(self.device)  # relation -> column of z
        size, selection = self.settings.memory_size, self.settings.memory_selection
        self.memory = ExemplarMemory(size, len(data.relations), selection=selection)
        self.accuracy = torch.zeros(len(self.stream), len(self.stream))
        self.head_accuracy = torch.zeros_like(self.accuracy)  # see `at_head`
        self.tasks_done, self.seconds = 0, 0.0
        self.history: list[dict[str, Any]] = []  # one entry an epoch: task, phase, epoch, loss
        self.separation: dict[str, float] = {}  # see `crecl_separation.note`
        self._on_phase: Callable[[CreclRun, str], Any] | None = None

    # ---------------------------------------------------------------- set-up
    # Encoder and tokens are made when they are first used: a run whose record exists needs neither.

    @cached_property
    def _pretrained(self) -> tuple[Any, nn.Module]:
        return load_encoder(self.settings.encoder)

    @cached_property
    def tokens(self) -> MarkedTokens:
        """The data's sentences as tokens with markers, on the device."""
        tokenizer, _ = self._pretrained
        tokens = mark_sentences(self.data, tokenizer, max_length=self.settings.max_length)
        return tokens.to(self.device)

    @cached_property
    def closing(self) -> dict[str, Tensor]:
        """Positions (N,) of the closing markers, if they are read."""
        read = self.settings.pooling == "pairs"
        return closing_markers(self.tokens.ids, self._pretrained[0]) if read else {}

    @cached_property
    def network(self) -> CreclNetwork:
        """The network; its new weights are drawn from the seed."""
        longest = self.tokens.ids.shape[1]  # first: it adds the markers to the tokenizer
        attends = self.procedure.attends or self.settings.attention_memory != "off"
        network = build_network(
            self.settings, *self._pretrained, self.stream, self.seed, longest, attends
        )
        return network.to(self.device)

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

    def train(
        self,
        on_task: Callable[[CreclRun], Any] | None = None,
        on_phase: Callable[[CreclRun, str], Any] | None = None,
    ) -> CreclRun:
        """Train the tasks that are not done, resuming from the last checkpoint.

        Killed at any moment and started again, a run ends with the same numbers; on the CPU bit for
        bit. `on_task(run)` is called after each task, when `run.tasks_done` has moved on;
        `on_phase(run, phase)` after each phase of a task's training.
        """
        self._resume()
        self._on_phase = on_phase
        while self.tasks_done < len(self.stream):
            started = time.perf_counter()
            self.procedure.train(self, self.tasks_done)
            crecl_evaluation.score_task(self, self.tasks_done)
            self.tasks_done += 1
            self.seconds += time.perf_counter() - started
            self._save()
            if on_task is not None:
                on_task(self)
        return self

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
            groups = [{"params": list(part.parameters()), "lr": lr} for part, lr in rates.items()]
            optimizer = torch.optim.Adam(groups, fused=True)
            for epoch in range(epochs):
                which = 0 if fixed_order else epoch
                order = make_generator(self.seed, f"data order, {phase}", task, which)
                batches = shuffled_batches(len(sentences), size, order, fill=fill)
                total = torch.zeros((), device=self.device)
                self.network.train()
                dropout = make_generator(self.seed, f"dropout, {phase}", task, epoch)
                with drawing_from(dropout, self.device), fast_dropout(self.device):
                    for rows in batches:
                        value = loss(self.batch(sentences[rows]))
                        optimizer.zero_grad(set_to_none=True)
                        value.backward()
                        for group in groups if self.settings.max_grad_norm else ():
                            nn.utils.clip_grad_norm_(group["params"], self.settings.max_grad_norm)
                        optimizer.step()
                        total += value.detach()
                mean = float(total) / len(batches)
                self.history.append({"task": task, "phase": phase, "epoch": epoch, "loss": mean})
        if self._on_phase is not None:
            self._on_phase(self, phase)

    def batch(self, sentences: Tensor) -> dict[str, Tensor]:
        """Return a batch of sentences (B,), padded to its longest (or to all, with attend_pads)."""
        at = sentences.to(self.device)
        pad_to = self.settings.max_length if self.settings.attend_pads else None
        closing = {name: places[at] for name, places in self.closing.items()}
        return self.tokens.batch(at, pad_to=pad_to) | closing

    # ---------------------------------------------------- memory, prototypes

    @torch.no_grad()
    def embed(self, sentences: Tensor) -> Tensor:
        """Return h (n, d) of sentences (n,), without dropout, by batches of alike length."""
        training = self.network.training
        self.network.eval()
        order = self.tokens.lengths[sentences.to(self.device)].argsort(stable=True).cpu()
        parts = order.split(EMBED_BATCH[self.device.type])
        h = torch.cat([self.network.encoder(self.batch(sentences[rows])) for rows in parts])
        self.network.train(training)
        return h[order.argsort().to(self.device)]

    @torch.no_grad()
    def represent(self, sentences: Tensor) -> Tensor:
        """Return what the method's memory and prototypes are made of, (n, d): h, or RP-CRE's u."""
        h = self.embed(sentences)
        return self.network.head.hidden(h) if self.procedure.attends else h

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
        """Return the positions of all sentences in the memory, (n,) int64."""
        if not len(self.memory):
            return torch.zeros(0, dtype=torch.long)
        return self.memory.contents()["sentence"][0].clone()

    def prototypes(self) -> Tensor:
        """Return p (C, d), the mean of each remembered relation's sentences now (Eq. 4)."""
        sentences = self.remembered()
        columns = self.column[self.memory.contents()["label"][0].to(self.device)]
        return class_means(self.represent(sentences), columns)

    # ------------------------------------------------------------ evaluation

    def evaluate(self, task: int) -> Tensor:
        """Return (T,): accuracy in [0, 1] on every task's test set after training `task`.

        Every relation seen so far is a candidate; tasks to come score 0 without being run.
        """
        return crecl_evaluation.accuracies(self, task, self.procedure.score)[0]

    def predict(self, sentences: Tensor, task: int) -> Tensor:
        """Return the relation (n,) of sentences (n,) among those of tasks 0 .. `task`."""
        return crecl_evaluation.predictions(self, sentences, task, self.procedure.score)[0]

    def at_head(self) -> CreclRun:
        """Return CRECL(C), this run read at its head; see `crecl_evaluation.at_head`."""
        return crecl_evaluation.at_head(self)

    # ----------------------------------------------------------- checkpoints

    def _identity(self) -> dict[str, Any]:
        hidden = {"profile", "data_root", "device", "seeds"}
        settings = self.settings.model_dump(exclude=hidden)
        return {"settings": settings, "data": self.data.fingerprint, "seed": self.seed}

    def _save(self) -> None:
        if self.folder is None:
            return
        state = checkpoints.join(
            network=self.network.state_dict(),
            memory=self.memory.state_dict(),
            run={"accuracy": self.accuracy, "head_accuracy": self.head_accuracy},
        )
        progress = {name: getattr(self, name) for name in PROGRESS}
        checkpoints.save(self.folder / "checkpoint", state, progress)

    def _resume(self) -> None:
        state = checkpoints.resume(self.folder, self, "tasks_done", PROGRESS)
        if state is None:
            return
        self.network.load_state_dict(checkpoints.part(state, "network."))
        self.memory.load_state_dict(checkpoints.part(state, "memory."))
        self.accuracy, self.head_accuracy = state["run.accuracy"], state["run.head_accuracy"]
