"""DocRE-II: training of base and inference module in two stages, iterative prediction, scores.

run = DocreRun(DocreParameters.create(profile="quick"), load_documents("synthetic"), seed=0)
run.train()
run.evaluate("test")["F1"]
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relcl_lib.data.document_files import Fact, write_result_file
from relcl_lib.data.document_sets import DocumentData
from relcl_lib.lab import checkpoints
from relcl_lib.lab.runtime import (
    drawing_from,
    keep_freed_memory,
    make_generator,
    precision_name,
    releasing_memory,
    resolve_device,
    resolve_precision,
)
from relcl_lib.lab.schedule import epoch_batches, warm_up_then_fall
from relcl_lib.papers.docre_ii import evaluation as docre_evaluation
from relcl_lib.papers.docre_ii.checkpoint import DocreCheckpoint
from relcl_lib.papers.docre_ii.network import (
    BUILDERS,
    BaseBuilder,
    build_network,
    longest_document,
    parameter_groups,
    stage_loss,
)
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.text import document_metrics as docre_metrics
from relcl_lib.text.document_tokens import DocumentBatch, DocumentTokens, tokenize_documents


class DocreRun:
    """One run of one seed.

    Stage 1 trains the base; stage 2 starts from its best epoch and trains everything, the base at a
    small rate. `base_state` holds the base as stage 1 left it, to judge the inference module against.

    Args:
        parameters: what to run; None fields take the values of the data set, variant and method.
        data: the data set that `parameters.dataset` names.
        seed: of initialisation, order, noise and dropout.
        work_dir: where checkpoints go (a folder for this configuration is made below it); None keeps
            none, so a killed run starts over.
        make_base: builds the tokenizer and a base module of your own; None: `parameters.base`.
    """

    def __init__(
        self,
        parameters: DocreParameters,
        data: DocumentData,
        seed: int = 0,
        work_dir: str | Path | None = None,
        make_base: BaseBuilder | None = None,
    ) -> None:
        self.given, self.data, self.seed = parameters, data, seed
        self.device = resolve_device(parameters.device)
        self.precision = resolve_precision(parameters.precision, self.device)
        keep_freed_memory()  # attention maps are large
        number_format = {"precision": precision_name(self.precision)}
        self.settings = parameters.resolved().model_copy(update=number_format)
        make_base = make_base or BUILDERS[self.settings.base]
        self.base_name = make_base.__name__.removeprefix("build_")
        self.checkpoint = DocreCheckpoint(self, work_dir)
        self.tokenizer, self.model = build_network(self.settings, data, seed, make_base)
        self.model.to(self.device)
        self.known = docre_metrics.name_facts(data.train)
        self._tokens: dict[str, DocumentTokens] = {}
        if not len(self.tokens("train").usable):
            raise ValueError(f"no document of {data.name}'s training split has a pair of entities")
        self.stage = 1 if self.settings.stage1_epochs else 2
        self.renew_optimizer()
        self.epochs_done, self.step, self.seconds = 0, 0, 0.0
        self.best_epoch, self.best_score = 0, -1.0
        self.best: dict[str, Tensor] = {}
        self.base_state: dict[str, Tensor] = {}
        self.history: list[dict[str, float]] = []

    # ---------------------------------------------------------------- set-up

    def tokens(self, split: str) -> DocumentTokens:
        """Return a split as tensors."""
        if split not in self._tokens:
            self._tokens[split] = tokenize_documents(
                getattr(self.data, split),
                self.tokenizer,
                self.data.relations,
                markers=self.settings.markers,
                max_pieces=longest_document(self.settings, self.model.base),
            ).to(self.device)
        return self._tokens[split]

    def renew_optimizer(self) -> None:
        """Start a new AdamW for what the stage trains."""
        groups = parameter_groups(self.model, self.settings, self.stage)
        self.optimizer = torch.optim.AdamW(groups, eps=1e-6, fused=True)

    @property
    def epochs(self) -> int:
        """Epochs of the stage."""
        return self.settings.stage1_epochs if self.stage == 1 else self.settings.stage2_epochs

    @property
    def iterations(self) -> int:
        """K, or 0 where no stage trains the inference module."""
        return self.settings.iterations if self.settings.stage2_epochs else 0

    @property
    def has_base(self) -> bool:
        """Whether the base can be scored by itself: stage 1 trained it, or it has no parameters."""
        return bool(self.base_state) or not self.model.base.state_dict()

    @property
    def finished(self) -> bool:
        """Whether all epochs of both stages are done."""
        return self.epochs_done >= self.settings.stage1_epochs + self.settings.stage2_epochs

    # -------------------------------------------------------------- training

    def train(self, on_epoch: Callable[[DocreRun], Any] | None = None) -> DocreRun:
        """Train the epochs that are not done, resuming from the last checkpoint; then take the best.

        The best of a stage is its epoch with the highest dev F1, the earlier in a tie. Killed at any
        moment and started again, a run ends with the same numbers; on the CPU bit for bit.
        `on_epoch(run)` is called after each epoch.
        """
        self.checkpoint.resume()
        while not self.finished:
            if self.stage == 1 and self.epochs_done >= self.settings.stage1_epochs:
                self._enter_stage_2()
            started = time.perf_counter()
            loss = self.train_epoch(self.epochs_done)
            found = self.predict("dev", self.iterations if self.stage == 2 else 0)[-1]
            score = docre_metrics.fact_scores(found, self.data.dev)["F1"]
            self.epochs_done += 1
            if score > self.best_score:
                self.best_score, self.best_epoch = score, self.epochs_done
                self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            self.seconds += time.perf_counter() - started
            self.history.append(
                {"stage": self.stage, "loss": loss, "dev_F1": score, "seconds": self.seconds}
            )
            self.checkpoint.save()
            if on_epoch is not None:
                on_epoch(self)
        self.model.load_state_dict(self.best)
        if self.stage == 1:
            self.base_state = checkpoints.part(self.best, "base.")
        return self

    def _enter_stage_2(self) -> None:
        """Take the best base of stage 1, and start a new optimizer and schedule."""
        self.model.load_state_dict(self.best)
        self.base_state = checkpoints.part(self.best, "base.")
        self.stage, self.step, self.best_score = 2, 0, -1.0
        self.renew_optimizer()

    def train_epoch(self, epoch: int) -> float:
        """Make one pass over the training documents that have a pair; returns the mean loss of a step."""
        tokens, noise = self.tokens("train"), make_generator(self.seed, "noise", epoch)
        usable = tokens.usable
        batches = epoch_batches(
            tokens.lengths[usable].cpu(),
            self.settings.batch_size,
            self.settings.bucket,
            make_generator(self.seed, "data order", epoch),
        )
        steps = len(batches) * self.epochs
        self.model.train()
        total = torch.zeros((), device=self.device)
        with drawing_from(make_generator(self.seed, "dropout", epoch), self.device):
            for rows in releasing_memory(batches):
                batch = tokens.batch(usable[rows.to(self.device)])
                total += self.training_step(batch, steps, noise)
        return float(total) / len(batches)

    def training_step(self, batch: DocumentBatch, steps: int, noise: torch.Generator) -> Tensor:
        """One update on one batch, of `steps` in the stage; returns its loss, detached."""
        warmup = self.settings.warmup
        for group in self.optimizer.param_groups:
            group["lr"] = warm_up_then_fall(self.step, steps, peak=group["peak"], warmup=warmup)
        loss = self.loss(batch, noise)
        loss.backward()
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, self.settings.clip)
        self.optimizer.step()
        # Here and not before the next backward pass: gradients that outlive the step lie between the
        # blocks it frees, and the next step's larger ones fit in none of the gaps.
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return loss.detach()

    def loss(self, batch: DocumentBatch, noise: torch.Generator) -> Tensor:
        """Return the stage's loss of a batch."""
        with self.autocast():
            limit = self.data.max_labels
            return stage_loss(self.model, batch, self.settings, self.stage, limit, noise)

    def autocast(self) -> contextlib.AbstractContextManager:
        """Return the context in which the network computes in the run's number format."""
        enabled = self.precision != torch.float32
        return torch.autocast(self.device.type, dtype=self.precision, enabled=enabled)

    # ------------------------------------------------------------ evaluation

    def predict(self, split: str, iterations: int | None = None) -> list[list[set[Fact]]]:
        """Return the facts found in each document: by the base, then after each of K iterations."""
        k = self.iterations if iterations is None else iterations
        return docre_evaluation.read(self, split, k).facts

    def evaluate(self, split: str = "test", iterations: int | None = None) -> dict[str, float]:
        """Score a split: `docre_metrics.all_scores` after K iterations, and `F1_K0`, `F1_K1`, ...

        `F1_K0` is the base as stage 2 left it; `evaluate_base` scores it as stage 1 left it.
        `F1_fed_gold` and `F1_fed_none` are, where a stage trains the inference module, the F1 of
        its first pass when it reads the gold relations, or no relation at all, in place of the
        base's predictions; the features are the same. Equal F1: the module does not read R.
        `F1_fed_neighbours` is that of pairs which keep their own prediction while three of four
        others have their gold relations: more than `F1_K1` if R of other pairs is read to advantage.
        `AP` is `docre_metrics.average_precision`, which knows of no threshold.
        """
        k = self.iterations if iterations is None else iterations
        return docre_evaluation.score(self, split, k)

    @contextlib.contextmanager
    def trained_base(self) -> Iterator[None]:
        """Inside the block the base has the weights of stage 1's best epoch, if it has any."""
        if not self.has_base:
            raise ValueError("stage 1 is not over, or there was none")
        now = {k: v.detach().clone() for k, v in self.model.base.state_dict().items()}
        self.model.base.load_state_dict(self.base_state)
        try:
            yield
        finally:
            self.model.base.load_state_dict(now)

    def predict_base(self, split: str) -> list[set[Fact]]:
        """Return what the base finds by itself, as stage 1 left it."""
        with self.trained_base():
            return self.predict(split, 0)[0]

    def evaluate_base(self, split: str = "test") -> dict[str, float]:
        """Score the base module as stage 1 left it."""
        with self.trained_base():
            found = docre_evaluation.read(self, split, 0, margins_after=0)
        return docre_evaluation.score_reading(self, split, found, 0)

    def write_results(self, path: str | Path, split: str = "test") -> Path:
        """Write the predictions on a split as DocRED's competition takes them."""
        return write_result_file(path, getattr(self.data, split), self.predict(split)[-1])
