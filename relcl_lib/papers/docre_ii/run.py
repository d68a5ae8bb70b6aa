"""DocRE-II: training of base and inference module in two stages, iterative prediction, scores.

run = DocreRun(DocreParameters.create(profile="quick"), load_documents("synthetic"), seed=0)
run.train()
run.evaluate("test")["F1"]
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from relcl_lib.data.document_files import Fact
from relcl_lib.data.document_sets import DocumentData
from relcl_lib.data.weights import is_published, weights_digest, weights_folder
from relcl_lib.lab import checkpoints
from relcl_lib.lab.checkpoints import optimizer_state, restore_optimizer
from relcl_lib.lab.protocol import protocol
from relcl_lib.lab.records import Record
from relcl_lib.lab.run import Run, State, check_loss
from relcl_lib.lab.runtime import (
    drawing_from,
    keep_freed_memory,
    make_generator,
    releasing_memory,
    run_facts,
)
from relcl_lib.lab.schedule import epoch_batches, warm_up_then_fall
from relcl_lib.models.atlop import PairScores
from relcl_lib.models.pair_inference import decode_relations, iterate_logits, with_class_zero
from relcl_lib.papers.docre_ii import tables
from relcl_lib.papers.docre_ii.held_out import HandedScores, held_out_scores
from relcl_lib.papers.docre_ii.linear import (
    LinearRun,
    about,
    known_from_training,
    load_data,
)
from relcl_lib.papers.docre_ii.network import (
    BUILDERS,
    FED,
    BaseBuilder,
    as_facts,
    build_network,
    encoder_type,
    fed_logits,
    longest_document,
    pair_matrix,
    parameter_groups,
    stage_loss,
)
from relcl_lib.papers.docre_ii.parameters import LINEAR, PAPER_ENCODERS, STAGE_2, DocreParameters
from relcl_lib.text import document_metrics as docre_metrics
from relcl_lib.text.document_tokens import DocumentBatch, DocumentTokens, tokenize_documents

MOST_ITERATIONS = 4  # that the paper tries


class Reading(NamedTuple):
    """What a run says of a split.

    Attributes:
        facts: sets of facts [reading][document]: by the base, after each of K iterations, then,
            where asked for, after a first pass on each of `FED`.
        margins: (p, R) float, logit of a relation less the threshold's, of all pairs after the
            iteration they were asked for; p is 0 where none was.
        labels: (p, R) bool, gold, of the same pairs.
    """

    facts: list[list[set[Fact]]]
    margins: Tensor
    labels: Tensor


class DocreRun(Run):
    """One run of one seed.

    Stage 1 trains the base; stage 2 starts from its best epoch and trains everything, the base at a
    small rate. `base_state` holds the base as stage 1 left it, to judge the inference module against.

    Args:
        make_base: builds the tokenizer and a base module of your own; None: `parameters.base`.
    """

    paper = "docre_ii"
    counter = "epochs_done"
    progress = ("stage", "step", "best_epoch", "best_score", "history")
    elsewhere = ("reduced_data", "train_limit", "encoder")

    def __init__(
        self,
        parameters: DocreParameters,
        data: DocumentData,
        seed: int = 0,
        work_dir: str | Path | None = None,
        make_base: BaseBuilder | None = None,
    ) -> None:
        if parameters.method == LINEAR:
            raise ValueError(f"{LINEAR!r} has no network: make a LinearRun, or call train_or_read")
        make_base = make_base or BUILDERS[parameters.base]
        self.make_base, self.base_name = make_base, make_base.__name__.removeprefix("build_")
        super().__init__(parameters, data, [seed], work_dir)
        self.elsewhere = (*type(self).elsewhere, *self.settings.as_before)
        keep_freed_memory()  # attention maps are large
        name = f"{parameters.dataset}-base"
        self.base_folder = checkpoints.run_folder(work_dir, name, self._base_identity)
        self.tokenizer, self.model = build_network(self.settings, data, seed, make_base)
        self.model.to(self.device)
        self.known = known_from_training(data, self.settings.orientation)
        self._tokens: dict[str, DocumentTokens] = {}
        if not len(self.tokens("train").usable):
            raise ValueError(f"no document of {data.name}'s training split has a pair of entities")
        self.stage = 1 if self.settings.stage1_epochs else 2
        self.renew_optimizer()
        self.step = 0
        self.best_epoch, self.best_score = 0, -1.0
        self.best: dict[str, Tensor] = {}
        self.base_state: dict[str, Tensor] = {}

    load_data = staticmethod(load_data)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """The encoder."""
        return {"encoder": weights_digest(weights_folder(self.settings.encoder))}

    # ---------------------------------------------------------------- set-up

    def tokens(self, split: str) -> DocumentTokens:
        """A split as tensors."""
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
    def total(self) -> int:
        """Epochs of both stages."""
        return self.settings.stage1_epochs + self.settings.stage2_epochs

    @property
    def score(self) -> float:
        """F1 on the dev split."""
        return self.history[-1]["dev_F1"]

    # -------------------------------------------------------------- training

    def advance(self) -> dict[str, Any]:
        """Train an epoch, of stage 2 when stage 1 is over, and score it on dev."""
        if self.stage == 1 and self.epochs_done >= self.settings.stage1_epochs:
            self._enter_stage_2()
        loss = self.train_epoch(self.epochs_done)
        check_loss(loss, f"epoch {self.epochs_done + 1}")
        k = self.iterations if self.stage == 2 else 0
        by_rank = self.settings.chosen_by == "AP"
        found = self.read("dev", k, margins_after=k if by_rank else None)
        f1 = docre_metrics.fact_scores(found.facts[-1], self.data.dev)["F1"]
        score = docre_metrics.average_precision(*self._ranked("dev", found)) if by_rank else f1
        none_right = score == self.best_score == 0  # then the later has learned more
        if score > self.best_score or none_right or not self.data.has_facts("dev"):
            self.best_score, self.best_epoch = score, self.epochs_done + 1
            self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        return {"stage": self.stage, "loss": loss, "dev_F1": f1}

    def conclude(self) -> None:
        """Take the best weights.

        The best of a stage is its epoch with the highest dev F1 (or AP, `chosen_by`), the earlier in a
        tie; its last one where dev has no label, or the score stays 0.
        """
        self.model.load_state_dict(self.best)
        if self.stage == 1:
            self.base_state = checkpoints.split(self.best)["base"]

    def _enter_stage_2(self) -> None:
        """Take the best base of stage 1, and start a new optimizer and schedule."""
        self.conclude()
        self.stage, self.step, self.best_score = 2, 0, -1.0
        self.renew_optimizer()

    def train_epoch(self, epoch: int) -> float:
        """Make one pass over the training documents that have a pair; returns the mean loss."""
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
            for step, rows in enumerate(releasing_memory(batches), start=1):
                chosen = usable[rows.to(self.device)]
                handed = self.handed.of(chosen) if self.handed else None
                total += self.training_step(tokens.batch(chosen), steps, noise, handed)
                self.on_step(self, step, len(batches))
        return float(total) / len(batches)

    @cached_property
    def _held_out(self) -> HandedScores:
        return held_out_scores(self)

    @property
    def handed(self) -> HandedScores | None:
        """What stage 2 reads of training documents in place of the base's scores, if it does."""
        other = self.stage == 2 and self.settings.training_scores != "own"
        return self._held_out if other else None

    def training_step(
        self,
        batch: DocumentBatch,
        steps: int,
        noise: torch.Generator,
        handed: PairScores | None = None,
    ) -> Tensor:
        """One update on one batch, of `steps` in the stage; returns its loss, detached."""
        warmup = self.settings.warmup
        for group in self.optimizer.param_groups:
            group["lr"] = warm_up_then_fall(self.step, steps, peak=group["peak"], warmup=warmup)
        loss = self.loss(batch, noise, handed)
        loss.backward()
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, self.settings.clip)
        self.optimizer.step()
        # Here and not before the next backward pass: gradients that outlive the step lie between the
        # blocks it frees, and the next step's larger ones fit in none of the gaps.
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return loss.detach()

    def loss(
        self, batch: DocumentBatch, noise: torch.Generator, handed: PairScores | None = None
    ) -> Tensor:
        """The stage's loss of a batch."""
        with self.autocast():
            return stage_loss(self.model, batch, self.settings, self.stage, noise, handed)

    def autocast(self) -> contextlib.AbstractContextManager:
        """The context in which the network computes in the run's number format."""
        enabled = self.precision != torch.float32
        return torch.autocast(self.device.type, dtype=self.precision, enabled=enabled)

    # ------------------------------------------------------------ evaluation

    @torch.no_grad()
    def read(
        self,
        split: str,
        iterations: int,
        *,
        feed: bool = False,
        margins_after: int | None = None,
    ) -> Reading:
        """What the run says after 0 .. `iterations` iterations, with the margins after one of them.

        Args:
            split: `train`, `dev` or `test`.
            iterations: of the inference module, at most.
            feed: also after a first pass on each of `FED`.
            margins_after: the iteration whose margins are kept; None keeps none.
        """
        tokens, documents = self.tokens(split), getattr(self.data, split)
        count = iterations + 1 + (len(FED) if feed else 0)
        facts: list[list[set[Fact]]] = [[set() for _ in documents] for _ in range(count)]
        margins = [torch.zeros(0, len(self.data.relations))]
        labels = [torch.zeros(0, len(self.data.relations), dtype=torch.bool)]
        usable = tokens.usable[tokens.lengths[tokens.usable].argsort(stable=True)]
        draw = torch.Generator().manual_seed(0)
        options = {"sum_logits": self.settings.sum_logits}
        self.model.eval()
        groups = usable.split(2 * self.settings.batch_size) if len(usable) else ()
        for rows in releasing_memory(groups):
            batch = tokens.batch(rows)
            with self.autocast():
                scores = self.model.base(batch)
                parts = self.model.inference, scores, pair_matrix(batch)
                logits = iterate_logits(*parts, iterations, **options)  # each (p, R + 1)
                if feed:
                    logits += fed_logits(*parts, with_class_zero(batch.labels), draw, **options)
            if margins_after is not None:
                after = logits[margins_after]
                margins.append((after[:, 1:] - after[:, :1]).cpu())
                labels.append(batch.labels.cpu())
            for sets, found in zip(facts, logits, strict=True):
                chosen = decode_relations(found)
                for document, fact in as_facts(chosen, batch.pairs, rows, self.data.relations):
                    sets[document].add(fact)
        return Reading(facts, torch.cat(margins), torch.cat(labels))

    def predict(self, split: str, iterations: int | None = None) -> list[list[set[Fact]]]:
        """The facts found in each document: by the base, then after each of K iterations."""
        return self.read(split, self.iterations if iterations is None else iterations).facts

    def evaluate(
        self, split: str = "test", iterations: int | None = None, threshold: float | None = None
    ) -> dict[str, float]:
        """Score a split: `document_metrics.all_scores` after K iterations, and `F1_K0`, `F1_K1`, ...

        `F1_K0` is the base as stage 2 left it; `evaluate_base` scores it as stage 1 left it.
        `F1_fed_gold` and `F1_fed_none` are, where a stage trains the inference module, the F1 of
        its first pass when it reads the gold relations, or no relation at all, in place of the
        base's predictions; the features are the same. Equal F1: the module does not read R.
        `F1_fed_neighbours` is that of pairs which keep their own prediction while three of four
        others have their gold relations: more than `F1_K1` if R of other pairs is read to advantage.
        `AP` is `document_metrics.average_precision`, which knows of no threshold. `F1_tuned` is the F1
        with `threshold` in place of training's; dev has the best one for itself, as `threshold`.
        """
        return self._evaluate(split, iterations, threshold)[0]

    def _evaluate(
        self, split: str, iterations: int | None = None, threshold: float | None = None
    ) -> tuple[dict[str, float], list[set[Fact]]]:
        """Scores, and the facts that they are of."""
        k = self.iterations if iterations is None else iterations
        documents = getattr(self.data, split)
        most, feed = max(k, MOST_ITERATIONS) if k else 0, bool(self.settings.stage2_epochs)
        found = self.read(split, most, feed=feed, margins_after=k)
        names = [f"K{i}" for i in range(most + 1)] + [f"fed_{name}" for name in FED if feed]
        each = (docre_metrics.fact_scores(facts, documents)["F1"] for facts in found.facts)
        single = {f"F1_{name}": value for name, value in zip(names, each, strict=True)}
        return self._scores(split, found, k, threshold) | single, found.facts[k]

    def _scores(
        self, split: str, found: Reading, k: int, threshold: float | None
    ) -> dict[str, float]:
        documents = getattr(self.data, split)
        scores = docre_metrics.all_scores(found.facts[k], documents, self.known)
        ranked = self._ranked(split, found)
        if threshold is None and split != "dev":
            return scores | {"AP": docre_metrics.average_precision(*ranked)}
        return scores | docre_metrics.ranked_scores(*ranked, threshold=threshold)

    def _ranked(self, split: str, found: Reading) -> tuple[Tensor, Tensor, int]:
        gold = sum(len(document.gold()) for document in getattr(self.data, split))
        return found.margins, found.labels, gold

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
        """What the base finds by itself, as stage 1 left it."""
        with self.trained_base():
            return self.predict(split, 0)[0]

    def evaluate_base(self, split: str = "test") -> dict[str, float]:
        """Score the base module as stage 1 left it."""
        return self._evaluate_base(split)[0]

    def _evaluate_base(
        self, split: str, threshold: float | None = None
    ) -> tuple[dict[str, float], list[set[Fact]]]:
        with self.trained_base():
            found = self.read(split, 0, margins_after=0)
            return self._scores(split, found, 0, threshold), found.facts[0]

    # ----------------------------------------------------------- checkpoints
    # Stage 1 depends on no setting of the inference module, so a run that finds the base of another
    # goes on where that one's stage 1 ended, with the numbers it would have come to by itself.

    def identity(self) -> dict[str, Any]:
        """As of any run; a base that was handed in has no setting."""
        identity = super().identity()
        for name in ("base", *self.settings.as_before):
            del identity["settings"][name]
        return {**identity, "base": self.base_name}

    def _base_identity(self) -> dict[str, Any]:
        identity = self.identity()
        shaping = {k: v for k, v in identity["settings"].items() if k not in STAGE_2}
        return {**identity, "settings": shaping}

    def state(self) -> State:
        """Network now and at its best, the base as stage 1 left it, and the optimizer."""
        return {
            "model": self.model.state_dict(),
            "best": self.best,
            "base_state": self.base_state,
            "optimizer": optimizer_state(self.optimizer),
        }

    def load(self, state: State) -> None:
        """Put them back."""
        self.model.load_state_dict(state["model"])
        self.best = {k: v.to(self.device) for k, v in state["best"].items()}
        self.base_state = {k: v.to(self.device) for k, v in state["base_state"].items()}
        self.renew_optimizer()
        restore_optimizer(self.optimizer, state["optimizer"])

    def save(self) -> None:
        """Write a checkpoint; at the end of stage 1 also the best base, for other runs."""
        super().save()
        if self.base_folder and self.stage == 1 and self.epochs_done == self.settings.stage1_epochs:
            base = checkpoints.split(self.best)["base"]
            checkpoints.save(self.base_folder / "checkpoint", base, self.progress_made())

    def resume(self) -> None:
        """Go to the last checkpoint, or to the end of stage 1 if that is further on."""
        super().resume()
        base = self.go_on_from(self.base_folder)
        if base is not None:
            self.model.base.load_state_dict(base)
            self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    # ---------------------------------------------------------------- record

    def describe(self) -> dict[str, Any]:
        """The data set, and base and encoder by their names."""
        data = self.data
        encoders = PAPER_ENCODERS.get(data.name, ())
        weights = any(is_published(self.settings.encoder, name) for name in encoders)
        return {
            "dataset": about(data),
            "protocol": protocol(self.given, data.protocol, tables, weights=weights),
            "backbone": Path(self.settings.encoder).name,
            "parameters": {"base": self.base_name, "encoder_type": encoder_type(self.model.base)},
        }

    def outcome(self, seed: int) -> dict[str, Any]:
        """Scores on test and, with the suffix `_dev`, on dev, where labels are public.

        Those with `_base` are of the base module by itself, as stage 1 left it, for which
        `F1_base_train` and `AP_base_train` say how well it knows its own training documents; those
        with `_fed` are absent where no stage trains the inference module ("ATLOP (base)").
        `F1_tuned` has the threshold that is best on dev. `best_epoch`, the thresholds and the weights
        of Figure 5 stand among them, not in per cent. `F1_gain_low` and `_high` hold 95 % of the gains
        over the base, and `F1_gain_p` is the share without one, in bootstrap samples of the test
        documents (`document_metrics.paired_bootstrap`). Earlier records lack these, `F1_fed_neighbours`,
        `F1_tuned` or what is said of the training documents. What was cut of the documents is no part
        of the configuration, so that finding a record needs no tokens.
        """
        scores, found = self._on_splits(self._evaluate, "")
        if self.has_base:
            of_base, by_base = self._base_on_splits()
            scores |= of_base
            if found is not None and by_base is not None and self.settings.stage2_epochs:
                gain = docre_metrics.paired_bootstrap(by_base, found, self.data.test)
                scores |= {f"F1_gain_{name}": gain[name] for name in ("low", "high", "p")}
        of_features, of_relations = self.model.inference.slot_weights()
        scores |= {"weight_features": of_features, "weight_relations": of_relations}
        names = {"training_documents": "train", "dev_documents": "dev", "test_documents": "test"}
        cut = {name: self.tokens(split).report for name, split in names.items()}
        labelled = self.data.is_labelled("test")
        return {
            "dataset": self.configuration()["dataset"] | cut,
            "metrics": scores | {"best_epoch": self.best_epoch},
            "notes": [self.data.note, "" if labelled else "the test split has no public labels"],
        }

    def _on_splits(
        self, evaluate: Callable[..., tuple[dict[str, float], list[set[Fact]]]], of: str
    ) -> tuple[dict[str, float], list[set[Fact]] | None]:
        """Scores on dev and test, and the facts found on test; none where it has no labels."""
        scores, found = {}, None
        dev = evaluate("dev")[0] if self.data.has_facts("dev") else {}
        threshold = dev.get("threshold")
        if threshold is not None and math.isinf(threshold):
            del dev["threshold"]  # nothing right was found; a record holds no infinity
        if self.data.test and self.data.is_labelled("test"):
            test, found = evaluate("test", threshold=threshold)
            scores |= {f"{name}{of}": value for name, value in test.items()}
        return scores | {f"{name}{of}_dev": value for name, value in dev.items()}, found

    def _base_on_splits(self) -> tuple[dict[str, float], list[set[Fact]] | None]:
        """The same of the base, as stage 1 left it, and its scores on the training documents.

        Beside the base's checkpoint they are kept for other runs whose base has the same weights.
        """
        folder = self.base_folder / "scores" if self.base_folder and self.base_state else None
        weights = b"".join(value.cpu().numpy().tobytes() for value in self.base_state.values())
        where = run_facts(self.device)
        of = [
            hashlib.sha256(weights).hexdigest(),
            *map(where.get, ("device", "versions", "commit")),
        ]
        held = checkpoints.load(folder) if folder else None
        if held is not None and held[1]["of"] == of:
            found = held[1]["facts"]
            return held[1]["scores"], found and [{Fact(*fact) for fact in each} for each in found]
        scores, found = self._on_splits(self._evaluate_base, "_base")
        train = self.evaluate_base("train")
        scores |= {f"{name}_base_train": train[name] for name in ("F1", "AP")}
        if folder:
            facts = found and [sorted(each) for each in found]
            checkpoints.save(folder, {}, {"of": of, "scores": scores, "facts": facts})
        return scores, found


def train_or_read(parameters: DocreParameters, **options: Any) -> list[Record]:
    """As `Run.train_or_read`, of the network or of the floor, whichever the method names."""
    run = LinearRun if parameters.method == LINEAR else DocreRun
    return run.train_or_read(parameters, **options)
