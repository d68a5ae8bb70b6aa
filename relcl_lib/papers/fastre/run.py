"""FastRE and CasRel: training, evaluation, records.

run = FastreRun(FastreParameters.create(profile="quick"), load_triples("synthetic"), seed=0)
run.train()
run.evaluate("test")["F1"]
run.extractor().extract(["Sonja Bosivmann is a national of Dosstan ."])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relcl_lib.data.triples import PAPER_NAMES, TripleData, load_triples
from relcl_lib.data.weights import is_published, weights_digest, weights_folder
from relcl_lib.lab.checkpoints import find_model, optimizer_state, restore_optimizer
from relcl_lib.lab.digests import SHOWN, file_digest
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.lab.protocol import protocol
from relcl_lib.lab.records import Record
from relcl_lib.lab.run import Run, State, check_loss
from relcl_lib.lab.runtime import drawing_from, make_generator
from relcl_lib.lab.schedule import epoch_batches
from relcl_lib.models.tagger import trainable_parameters
from relcl_lib.papers.fastre import measures, tables
from relcl_lib.papers.fastre.analysis import f1_tuned
from relcl_lib.papers.fastre.confidence import calibrate, calibration_error, reliability
from relcl_lib.papers.fastre.extract import ABOUT, WEIGHTS, Extractor
from relcl_lib.papers.fastre.lost import describe_lost, lost_share
from relcl_lib.papers.fastre.network import (
    augment_sentences,
    batch_loss,
    build_network,
    span_rules,
    vectors_digest,
)
from relcl_lib.papers.fastre.parameters import FastreParameters, learning_rate
from relcl_lib.text import triple_metrics
from relcl_lib.text.schema import TYPE_MAPS, choose_schema, listed_in
from relcl_lib.text.spans import (
    INSIDE_A_WORD,
    Batch,
    TaggedSentences,
    tag_sentences,
)
from relcl_lib.text.splitting import SPACES, hold_sentences, split_data
from relcl_lib.text.words import WordReader

#: share of the training triples that may be lost without being allowed to
MOST_LOST = 0.1
#: what a record has of each epoch, as far as it was measured
CURVES = ("loss", "valid_F1", "valid_F1_tuned", "tuned_threshold")
#: validation triples below which it is said that they are too few to choose an epoch by
ENOUGH = 20
#: numbers of words' states that are kept while a threshold is sought, at most (1 GiB of float32)
KEPT = 1 << 28


def seek_threshold(
    score: Callable[[float], float], start: float, step: float
) -> tuple[float, float]:
    """The threshold with the best score, from `start` outwards, and its score.

    A direction is left after two steps without gain: far below the best threshold a network finds
    everything everywhere, which takes long and scores nothing.
    """
    best, best_score = start, score(start)
    for direction in (step, -step):
        threshold, waited = round(start + direction, 2), 0
        while waited < 2 and 0.04 < threshold < 0.96:
            waited += 1
            if (found := score(threshold)) > best_score:
                best, best_score, waited = threshold, found, 0
            threshold = round(threshold + direction, 2)
    return best, best_score


class FastreRun(Run):
    """One run of one seed: data as tensors, network, optimizer, and the step."""

    paper = "fastre"
    counter = "epochs_done"
    progress = ("step", "best_epoch", "best_score", "threshold", "history")
    elsewhere = (
        *("reduced_data", "train_limit", "words", "allow_lost", "threshold_curve"),
        *("encoder", "word_vectors", "start_from"),
    )

    def __init__(
        self,
        parameters: FastreParameters,
        data: TripleData,
        seed: int = 0,
        work_dir: str | Path | None = None,
    ) -> None:
        super().__init__(parameters, data, [seed], work_dir)
        if self.settings.method == "CasRel":  # it reads no word vectors, and no other is pretrained
            alien = ("min_count", "train_vectors", "vector_size")
        else:
            alien = ("encoder_precision",)
        self.elsewhere = (*self.elsewhere, *alien)
        self.schema = choose_schema(data, self.settings.type_map)
        self.model, self.reader, self.vectors = build_network(
            self.settings, data, self.schema, seed
        )
        if self.vectors is None:
            self.vector_source = f"encoder {Path(self.settings.encoder).name}"
            self.precision = self.model.encoder.precision
        else:
            self.vector_source = self.vectors.source
        self.model.to(self.device)
        self.allowed = self.schema.mask().to(self.device)
        self.tagged = self._tag(data.train)
        self._inputs: dict[str, dict[str, Tensor]] = {}
        self.optimizer = self._build_optimizer()
        self.step = 0
        self.best_epoch, self.best_score, self.threshold = 0, -1.0, self.model.threshold
        self.best: dict[str, Tensor] = {}

    @classmethod
    def load_data(cls, parameters: FastreParameters) -> TripleData:
        """The sentences that parameters name."""
        data = load_triples(
            parameters.dataset,
            parameters.data_root,
            reduced=parameters.reduced_data,
            limit=parameters.train_limit,
        )
        return split_data(data, parameters.words, keep=tuple(tables.DATASETS))

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Word vectors, CasRel's encoder and a type map, where they are read from files.

        Of a file of word vectors those that the run keeps count: see `vectors_digest`.
        """
        given, found = self.settings, {}
        if self.vectors is None:  # CasRel's words are its encoder's
            found["encoder"] = found["word_vectors"] = weights_digest(weights_folder(given.encoder))
        elif given.word_vectors is not None:
            place, read = Path(given.word_vectors), self.vectors
            found["word_vectors"] = (
                weights_digest(place) if place.is_dir() else vectors_digest(read)
            )
        if given.start_from is not None:
            weights = find_model(given.start_from, ABOUT) / WEIGHTS
            found["start_from"] = file_digest(weights)
        if given.type_map not in TYPE_MAPS:
            found["type_map"] = file_digest(given.type_map)
        return {name: digest[:SHOWN] for name, digest in found.items()}

    def _published_weights(self) -> bool:
        """Whether words are read as in the paper: by GloVe 6B in 300 dimensions, or by BERT."""
        if self.vectors is None:
            return is_published(self.settings.encoder, "bert-base-cased")
        return (self.vectors.in_file, self.vectors.matrix.shape[1]) == (400_000, 300)

    # ---------------------------------------------------------------- set-up

    def _tag(self, sentences: Any, *, limited: bool = True) -> TaggedSentences:
        tagged = tag_sentences(
            sentences,
            self.reader,
            self.schema,
            unknown_relations=self.settings.unknown_relations,
            where=f"{self.data.name}, training split",
            listed_in=listed_in(self.data, self.schema),
            called=self.data.called("train"),
        )
        if not len(tagged.usable):
            lost = describe_lost(tagged.report) or "it has none"
            raise ValueError(f"no triple of {self.data.name}'s training split can be used: {lost}")
        limited &= not self.settings.allow_lost
        if limited and lost_share(tagged.report) > MOST_LOST:
            plain = (
                self.settings.words == SPACES and INSIDE_A_WORD in tagged.report["lost_examples"]
            )
            mend = "Set words=punctuation" if plain else "Mend the data"
            raise ParameterError(
                f"more than {MOST_LOST:.0%} of {self.data.name} would be lost: "
                f"{describe_lost(tagged.report)}. {mend}, or set allow_lost=true"
            )
        return tagged.to(self.device)

    @cached_property
    def lost(self) -> dict[str, str]:
        """Split -> how many of its triples are lost, and why; splits that lose none are absent."""
        reports = {"train": self.tagged.report} | {
            split: location_report(self.data, self.settings, split) for split in ("valid", "test")
        }
        found = {split: describe_lost(report, split) for split, report in reports.items()}
        return {split: text for split, text in found.items() if text}

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
    def total(self) -> int:
        """Epochs, unless patience ends the run."""
        return self.settings.epochs

    @property
    def score(self) -> float:
        """F1 on the validation sentences."""
        return self.history[-1]["valid_F1"]

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or patience ran out."""
        patience, waited = self.settings.patience, self.epochs_done - self.best_epoch
        # While nothing is found there is no best epoch to wait from, as in CasRel's code.
        gave_up = patience is not None and self.best_score > 0 and waited >= patience
        return super().finished or gave_up

    def advance(self) -> dict[str, float]:
        """Train an epoch and score it on the validation set."""
        begin = measures.process_seconds(self.device)
        loss = self.train_epoch(self.epochs_done)
        check_loss(loss, f"epoch {self.epochs_done + 1}")
        seconds = measures.process_seconds(self.device) - begin
        score = self.evaluate("valid", details=False)["F1"]
        if score > self.best_score or score == self.best_score == 0:
            self.best_score, self.best_epoch = score, self.epochs_done + 1
            self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        entry = {"loss": loss, "valid_F1": score, "train_seconds": seconds}
        if self.settings.threshold_curve:
            started = self.history[-1]["tuned_threshold"] if self.history else 0.5
            best, tuned = self.tune_threshold(started, step=0.1)
            if score > tuned:  # 0.5 need not lie near the last epoch's
                best, tuned = 0.5, score
            entry |= {"valid_F1_tuned": tuned, "tuned_threshold": best}
        return entry

    @property
    def unchosen(self) -> str:
        """That validation chose no epoch, if its F1 is 0 after each; else nothing."""
        if self.best_score > 0:
            return ""
        return f"validation F1 was 0 after each epoch: the weights are those of epoch {self.best_epoch}"

    @property
    def chosen(self) -> str:
        """Which epoch's weights are taken, by how much, and whether that is too little to choose by."""
        sentences = len(self.data.valid)
        triples = sum(len(sentence.triples) for sentence in self.data.valid)
        said = self.unchosen or (
            f"weights of epoch {self.best_epoch}, the best of {self.epochs_done} on {sentences} "
            f"validation sentence{'s' * (sentences != 1)}"
        )
        if triples < ENOUGH:
            few = f"too few to choose an epoch by ({triples} triple{'s' * (triples != 1)})"
            said += f"; {few}: give valid.json with more sentences"
        return said

    def conclude(self) -> None:
        """Take the best weights, and the threshold that suits them; CasRel's is 0.5.

        The best are the weights with the highest validation F1 (partial match), the earlier in a tie;
        while it is 0, the later.
        """
        self.model.load_state_dict(self.best)
        if self.settings.threshold == "global" and not self.settings.casrel:
            self.threshold, _ = self.tune_threshold()

    def train_epoch(self, epoch: int) -> float:
        """Make one pass over the sentences that have a triple; returns the mean loss."""
        tagged = self.tagged
        if self.settings.augment:  # the report stays that of the sentences as they are
            generator = make_generator(self.seed, "augmentation", epoch)
            tagged = self._tag(augment_sentences(self.data.train, generator), limited=False)
        usable = tagged.usable
        batches = epoch_batches(
            tagged.inputs["lengths"][usable].cpu(),
            self.settings.batch_size,
            self.settings.bucket,
            make_generator(self.seed, "data order", epoch),
        )
        draws = torch.rand(len(usable), generator=make_generator(self.seed, "heads", epoch))
        self.model.train()
        total = torch.zeros((), device=self.device)
        with drawing_from(make_generator(self.seed, "dropout", epoch), self.device):
            for step, rows in enumerate(batches, start=1):
                batch = tagged.batch(
                    usable[rows.to(self.device)], self.settings.heads, draws[rows].to(self.device)
                )
                total += self.training_step(batch)
                self.on_step(self, step, len(batches))
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

    @cached_property
    def _by_sentence(self) -> bool:
        return hold_sentences(sentence.text for sentence in self.data.train)

    def extractor(self, threshold: float | None = None) -> Extractor:
        """The network as an extractor, with the decoding rules of the parameters."""
        head_rules, tail_rules = span_rules(self.settings)
        return Extractor(
            self.model,
            self.reader,
            self.schema,
            head_rules,
            tail_rules,
            words=self.settings.words if self.data.words == SPACES else self.data.words,
            by_sentence=self._by_sentence,
            filter_relations=self.settings.relation_mask != "none",
            threshold=self.threshold if threshold is None else threshold,
            note={"dataset": self.data.name, "seed": self.seed, "vectors": self.vector_source},
        )

    def predict(
        self, split: str, *, threshold: float | None = None
    ) -> list[list[tuple[str, str, str]]]:
        """The triples found in each sentence of a split."""
        extractor = self.extractor(threshold)
        return extractor.word_triples(self._words(split), extractor.predict(self._read(split)))

    def _words(self, split: str) -> list[list[str]]:
        return [sentence.text.split() for sentence in getattr(self.data, split)]

    def _read(self, split: str) -> dict[str, Tensor]:
        if split not in self._inputs:
            self._inputs[split] = self.reader.read(self._words(split))
        return self._inputs[split]

    def evaluate(self, split: str = "test", *, details: bool = True) -> dict[str, float]:
        """Score a split against all its gold triples, those that cannot be tagged among them.

        Returns:
            `precision`, `recall`, `F1` under the partial match, in per cent; with `details` also
            those of `triple_metrics.all_scores` and `recall_by_seen`, and `F1_unfiltered`, without
            the type-relation map in decoding.
        """
        gold = [sentence.triples for sentence in getattr(self.data, split)]
        words, extractor = self._words(split), self.extractor()
        by_map = details and self.settings.relation_mask == "infer"
        if by_map:  # the map drops triples here, so that one pass serves both scores
            extractor.filter_relations = False
        every = extractor.predict(self._read(split))
        kept = every[self.schema.mask()[every[:, 3], every[:, 4]]] if by_map else every
        found = extractor.word_triples(words, kept)
        if not details:
            return triple_metrics.triple_scores(found, gold)
        scores = triple_metrics.all_scores(found, gold)
        if by_map:
            free = extractor.word_triples(words, every)
            scores["F1_unfiltered"] = triple_metrics.triple_scores(free, gold)["F1"]
        train = [sentence.triples for sentence in self.data.train]
        return scores | triple_metrics.recall_by_seen(train, found, gold)

    def tune_threshold(self, start: float = 0.5, step: float = 0.05) -> tuple[float, float]:
        """The threshold that is best on the validation set, and its F1; see `seek_threshold`."""
        gold = [sentence.triples for sentence in self.data.valid]
        words, inputs, extractor = self._words("valid"), self._read("valid"), self.extractor()

        def score(threshold: float) -> float:
            extractor.threshold = threshold
            triples = extractor.decode(kept or extractor.read(inputs)).triples
            return triple_metrics.triple_scores(extractor.word_triples(words, triples), gold)["F1"]

        with extractor.ready():
            # A threshold has no part in it: read once, unless the sentences are too many to keep.
            few = inputs["lengths"].sum() * self.model.encoder.size < KEPT
            kept = [*extractor.read(inputs)] if few else []
            return seek_threshold(score, start, step)

    def calibrated(self) -> Extractor:
        """The network as an extractor to be saved: its scores are probabilities, fitted on validation.

        Without a gold triple there, all that is found would count as wrong: scores stay as they are.
        """
        extractor = self.extractor()
        extractor.note["run"] = self.digest
        if any(sentence.triples for sentence in self.data.valid):
            extractor.calibration = calibrate(*self.judged("valid"))
        return extractor

    def judged(self, split: str) -> tuple[Tensor, Tensor]:
        """The log products of the triples found in a split (see `Scored`), and which are right.

        A triple is right if subject, relation and object stand in the gold whole.
        """
        words = self._words(split)
        gold = [triple_metrics.matched(s.triples, "exact") for s in getattr(self.data, split)]
        extractor = self.extractor()
        triples, scores = extractor.predict_scored(self._read(split))
        right = [extractor.text_of(words[row[0]], row) in gold[row[0]] for row in triples.tolist()]
        return scores, torch.tensor(right, dtype=torch.bool)

    # ----------------------------------------------------------- checkpoints

    def state(self) -> State:
        """Network now and at its best, and the optimizer."""
        return {
            "model": self.model.state_dict(),
            "best": self.best,
            "optimizer": optimizer_state(self.optimizer),
        }

    def load(self, state: State) -> None:
        """Put them back."""
        self.model.load_state_dict(state["model"])
        self.best = {name: value.to(self.device) for name, value in state["best"].items()}
        restore_optimizer(self.optimizer, state["optimizer"])

    # ---------------------------------------------------------------- record

    def describe(self) -> dict[str, Any]:
        """The data set, what could be tagged of it, the network, and where vectors and map are from."""
        settings, data = self.settings, self.data
        parameters = {"word_vectors": self.vector_source, "type_map": self.schema.source}
        # What is said of random vectors shapes no others.
        if self.vectors is not None:
            parameters["vector_size"] = self.vectors.matrix.shape[1]
            if settings.word_vectors is not None:
                parameters["min_count"] = 1
        if settings.method == "CasRel":
            backbone = Path(settings.encoder).name
        else:
            backbone = (
                f"gated dilated CNN, {len(settings.dilations)} blocks, width {settings.hidden}"
            )
        report = {k: v for k, v in self.tagged.report.items() if not k.endswith("examples")}
        return {
            "dataset": {
                "set": PAPER_NAMES.get(data.name, data.name),
                "sizes": data.sizes,
                "relations": len(self.schema.relations),
                "types": list(self.schema.types),
                "note": data.note,
                "training_triples": report,
            },
            "protocol": protocol(
                self.given, data.protocol, tables, weights=self._published_weights()
            ),
            "backbone": backbone,
            "parameters": parameters,
        }

    def suffices(self, record: Record) -> bool:
        """Whether it has times, which older records lack, and the curve of `threshold_curve` if asked."""
        curved = not self.settings.threshold_curve or "valid_F1_tuned" in (record.curves or {})
        return curved and "train_seconds" in record.metrics

    def outcome(self, seed: int) -> dict[str, Any]:
        """Scores on the test set, counts of parameters, times, and what the network looks at.

        `F1_valid` is what chose the epoch, at 0.5 where the threshold is global, `F1_valid_tuned` that
        at the threshold which the run ends with, as the test scores are; of learned ones both are one.
        `F1_tuned` is F1 on the test set with learned thresholds tuned, too: see `analysis.f1_tuned`.
        `params_K` are trained numbers in thousands, `network_K` those without word vectors;
        `train_seconds` is the time of this process's cores, without validation, and
        `train_log10_seconds` its logarithm, in which a ratio is a difference; `epochs_to_95` the first
        epoch with 95 % of the best validation F1, `log10_epochs_to_95` its logarithm. Those and
        `calibration_error` a run that finds nothing lacks.
        """
        total, tagged = self.tagged.report["triples"], self.tagged.report["tagged"]
        lost = f"{total - tagged} of {total} training triples could not be located"
        seconds = sum(entry["train_seconds"] for entry in self.history)
        names = [n for n in CURVES if n in self.history[0]]
        curves = {name: [entry[name] for entry in self.history] for name in names}
        converged = {
            f"epochs_to_95{name.removeprefix('valid_F1')}": measures.convergence(curve)
            for name, curve in curves.items()
            if name.startswith("valid_F1") and max(curve)
        }
        tested = {}
        if self.data.test:
            calibrated = self.calibrated().probabilities
            scores, right = self.judged("test")
            tested = self.evaluate("test")
            if len(scores):
                error = calibration_error(reliability(calibrated(scores), right))
                tested["calibration_error"] = 100 * error
            tested |= measures.inference_times(self) | measures.where_it_looks(self)
            tested["F1_tuned"] = f1_tuned(self)
        return {
            "metrics": {
                **tested,
                "F1_valid": self.best_score,
                "F1_valid_tuned": self.evaluate("valid", details=False)["F1"],
                "params_K": self.parameter_count / 1000,
                "network_K": measures.network_thousands(self.model),
                "train_seconds": seconds,
                "train_log10_seconds": math.log10(max(seconds, 1e-3)),
                "best_epoch": self.best_epoch,
                **converged,
                **{f"log10_{name}": math.log10(epochs) for name, epochs in converged.items()},
            },
            "curves": curves,
            "notes": [
                f"word vectors: {self.vector_source}",
                self.vectors.note if self.vectors else "",
                f"type map: {self.schema.source}",
                self.data.note,
                self.unchosen,
                lost if total > tagged else "",
                *(t.partition(":")[0] for split, t in self.lost.items() if split != "train"),
                "" if self.model.threshold is None else f"global threshold {self.threshold}",
            ],
        }


def location_report(data: TripleData, settings: FastreParameters, split: str) -> dict[str, Any]:
    """The report of `tag_sentences` on a split; needs no network."""
    schema = choose_schema(data, settings.resolved().type_map)
    unknown = settings.unknown_relations if split == "train" else "skip"
    return tag_sentences(
        getattr(data, split),
        WordReader((), settings.max_tokens),
        schema,
        unknown_relations=unknown,
        where=f"{data.name}, {split} split",
        listed_in=listed_in(data, schema),
        called=data.called(split),
    ).report


load_data, train_or_read = FastreRun.load_data, FastreRun.train_or_read
