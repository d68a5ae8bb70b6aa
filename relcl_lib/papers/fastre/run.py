"""FastRE and CasRel: training, evaluation, and a command that trains and extracts.

run = FastreRun(FastreParameters.create(profile="quick"), load_triples("synthetic"), seed=0)
run.train()
run.evaluate("test")["F1"]
run.extractor().extract(["Sonja Bosivmann is a national of Dosstan ."])

    python -m relcl_lib.fastre train --data FOLDER --out FOLDER [NAME=VALUE ...]
    python -m relcl_lib.fastre extract --model FOLDER < sentences.txt > triples.jsonl
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relcl_lib.data.triples import TripleData
from relcl_lib.lab import checkpoints
from relcl_lib.lab.runtime import drawing_from, make_generator, resolve_device
from relcl_lib.lab.schedule import epoch_batches
from relcl_lib.models.tagger import trainable_parameters
from relcl_lib.papers.fastre.extract import Extractor
from relcl_lib.papers.fastre.network import (
    augment_sentences,
    batch_loss,
    build_network,
    span_rules,
)
from relcl_lib.papers.fastre.parameters import FastreParameters, learning_rate
from relcl_lib.text import triple_metrics
from relcl_lib.text.schema import choose_schema
from relcl_lib.text.spans import Batch, TaggedSentences, tag_sentences

PROGRESS = ("epochs_done", "step", "seconds", "best_epoch", "best_score", "threshold", "history")


class FastreRun:
    """One run of one seed: data as tensors, network, optimizer, and the loop over epochs.

    Args:
        parameters: what to run; None fields take the method's and variant's values.
        data: the data set that `parameters.dataset` names.
        seed: of initialisation, order, drawn heads, dropout and random word vectors.
        work_dir: where checkpoints go (a folder for this configuration is made below it); None keeps
            none, so a killed run starts over.
    """

    def __init__(
        self,
        parameters: FastreParameters,
        data: TripleData,
        seed: int = 0,
        work_dir: str | Path | None = None,
    ) -> None:
        self.given, self.data, self.seed = parameters, data, seed
        self.settings = parameters.resolved()
        self.device = resolve_device(parameters.device)
        self.folder = checkpoints.run_folder(work_dir, data.name, self._identity)
        self.schema = choose_schema(data, self.settings.type_map)
        self.model, self.reader, self.vector_source = build_network(
            self.settings, data, self.schema, seed
        )
        self.model.to(self.device)
        self.allowed = self.schema.mask().to(self.device)
        self.tagged = self._tag(data.train)
        self._inputs: dict[str, dict[str, Tensor]] = {}
        self.optimizer = self._build_optimizer()
        self.epochs_done, self.step, self.seconds = 0, 0, 0.0
        self.best_epoch, self.best_score, self.threshold = 0, -1.0, self.model.threshold
        self.best: dict[str, Tensor] = {}
        self.history: list[dict[str, float]] = []

    # ---------------------------------------------------------------- set-up

    def _tag(self, sentences: Any) -> TaggedSentences:
        tagged = tag_sentences(
            sentences,
            self.reader,
            self.schema,
            unknown_relations=self.settings.unknown_relations,
            where=f"{self.data.name}, training split",
        )
        if not len(tagged.usable):
            raise ValueError(
                f"no triple of {self.data.name}'s training split can be located: {tagged.report}"
            )
        return tagged.to(self.device)

    def _build_optimizer(self) -> torch.optim.Optimizer:
        """AdamW with decay on weights and embeddings, not on biases."""
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for n, p in named if not n.endswith("bias")]},
            {"params": [p for n, p in named if n.endswith("bias")], "weight_decay": 0.0},
        ]
        decay = self.settings.weight_decay
        return torch.optim.AdamW(
            groups, lr=self.settings.learning_rate, weight_decay=decay, fused=True
        )

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        batches = -(-len(self.tagged.usable) // self.settings.batch_size)
        return batches * self.settings.epochs

    @property
    def parameter_count(self) -> int:
        """Trained numbers of the network."""
        return trainable_parameters(self.model)

    # -------------------------------------------------------------- training

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or patience ran out."""
        patience = self.settings.patience
        waited = self.epochs_done - self.best_epoch
        return self.epochs_done >= self.settings.epochs or (
            patience is not None and self.best_epoch > 0 and waited >= patience
        )

    def train(self, on_epoch: Callable[[FastreRun], Any] | None = None) -> FastreRun:
        """Train the epochs that are not done, resuming from the last checkpoint; then take the best.

        The best are those with the highest validation F1 (partial match), the earlier in a tie.
        Killed at any moment and started again, a run ends with the same numbers; on the CPU bit for
        bit. `on_epoch(run)` is called after each epoch.
        """
        self._resume()
        while not self.finished:
            started = time.perf_counter()
            loss = self.train_epoch(self.epochs_done)
            scores = self.evaluate("valid", details=False)
            self.epochs_done += 1
            if scores["F1"] > self.best_score:
                self.best_score, self.best_epoch = scores["F1"], self.epochs_done
                self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            self.seconds += time.perf_counter() - started
            self.history.append({"loss": loss, "valid_F1": scores["F1"], "seconds": self.seconds})
            self._save()
            if on_epoch is not None:
                on_epoch(self)
        self.model.load_state_dict(self.best)
        if self.settings.threshold == "global":
            self.threshold = self._tune_threshold()
        return self

    def train_epoch(self, epoch: int) -> float:
        """Make one pass over the sentences that have a triple; returns the mean loss of a step."""
        if self.settings.augment:
            generator = make_generator(self.seed, "augmentation", epoch)
            self.tagged = self._tag(augment_sentences(self.data.train, generator))
        usable = self.tagged.usable
        batches = epoch_batches(
            self.tagged.inputs["lengths"][usable].cpu(),
            self.settings.batch_size,
            self.settings.bucket,
            make_generator(self.seed, "data order", epoch),
        )
        draws = torch.rand(len(usable), generator=make_generator(self.seed, "heads", epoch))
        self.model.train()
        total = torch.zeros((), device=self.device)
        with drawing_from(make_generator(self.seed, "dropout", epoch), self.device):
            for rows in batches:
                batch = self.tagged.batch(
                    usable[rows.to(self.device)], self.settings.heads, draws[rows].to(self.device)
                )
                total += self.training_step(batch)
        return float(total) / len(batches)

    def training_step(self, batch: Batch) -> Tensor:
        """One update on one batch; returns its loss, detached."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(
                self.step,
                self.steps,
                peak=self.settings.learning_rate,
                schedule=self.settings.schedule,
                warmup=self.settings.warmup,
                dataset=self.data.name,
            )
        loss = batch_loss(self.model, batch, self.settings, self.allowed)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    # ------------------------------------------------------------ evaluation

    def extractor(self, threshold: float | None = None) -> Extractor:
        """Return the network as an extractor, with the decoding rules of the parameters."""
        head_rules, tail_rules = span_rules(self.settings)
        return Extractor(
            self.model,
            self.reader,
            self.schema,
            head_rules,
            tail_rules,
            filter_relations=self.settings.relation_mask != "none",
            threshold=self.threshold if threshold is None else threshold,
            note={"dataset": self.data.name, "seed": self.seed, "vectors": self.vector_source},
        )

    def predict(
        self, split: str, *, unfiltered: bool = False, threshold: float | None = None
    ) -> list[list[tuple[str, str, str]]]:
        """Return the triples found in each sentence of a split."""
        words = [sentence.text.split() for sentence in getattr(self.data, split)]
        if split not in self._inputs:
            self._inputs[split] = self.reader.read(words)
        extractor = self.extractor(threshold)
        found = extractor.predict(self._inputs[split], unfiltered=unfiltered)
        return extractor.word_triples(words, found)

    def evaluate(self, split: str = "test", *, details: bool = True) -> dict[str, float]:
        """Score a split against all its gold triples, those that cannot be tagged among them.

        Returns:
            `precision`, `recall`, `F1` under the partial match, in per cent; with `details` also
            those of `triple_metrics.all_scores`, and `F1_unfiltered`, without the type-relation map
            in decoding.
        """
        gold = [sentence.triples for sentence in getattr(self.data, split)]
        found = self.predict(split)
        if not details:
            return triple_metrics.triple_scores(found, gold)
        scores = triple_metrics.all_scores(found, gold)
        if self.settings.relation_mask == "infer":
            free = self.predict(split, unfiltered=True)
            scores["F1_unfiltered"] = triple_metrics.triple_scores(free, gold)["F1"]
        return scores

    def _tune_threshold(self) -> float:
        """Return the global threshold that is best on the validation set, from 0.5 outwards.

        A direction is left after two steps without gain: far below the best threshold a network
        finds everything everywhere, which takes long and scores nothing.
        """
        gold = [sentence.triples for sentence in self.data.valid]
        best, best_score = 0.5, -1.0
        for direction in (0.05, -0.05):
            threshold, waited = 0.5, 0
            while waited < 2 and 0.04 < threshold < 0.96:
                found = self.predict("valid", threshold=threshold)
                score = triple_metrics.triple_scores(found, gold)["F1"]
                waited = 0 if score > best_score else waited + 1
                if score > best_score:
                    best, best_score = threshold, score
                threshold = round(threshold + direction, 2)
        return best

    # ----------------------------------------------------------- checkpoints

    def _identity(self) -> dict[str, Any]:
        hidden = {"profile", "data_root", "device", "seeds"}
        settings = self.settings.model_dump(exclude=hidden)
        return {"settings": settings, "data": self.data.fingerprint, "seed": self.seed}

    def _save(self) -> None:
        if self.folder is None:
            return
        state = checkpoints.join(
            model=self.model.state_dict(),
            best=self.best,
            optimizer=checkpoints.optimizer_state(self.optimizer),
        )
        progress = {name: getattr(self, name) for name in PROGRESS}
        checkpoints.save(self.folder / "checkpoint", state, progress)

    def _resume(self) -> None:
        state = checkpoints.resume(self.folder, self, "epochs_done", PROGRESS)
        if state is None:
            return
        self.model.load_state_dict(checkpoints.part(state, "model."))
        self.best = {k: v.to(self.device) for k, v in checkpoints.part(state, "best.").items()}
        checkpoints.restore_optimizer(self.optimizer, checkpoints.part(state, "optimizer."))
