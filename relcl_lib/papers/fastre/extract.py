"""A trained tagger at work: texts in, triples out; saved to and loaded from a folder."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from pydantic import TypeAdapter
from torch import Tensor

from relcl_lib.lab.checkpoints import (
    check_state,
    find_model,
    model_named,
    read_encoder,
    read_model,
    save_model,
)
from relcl_lib.lab.runtime import resolve_device, resolve_precision
from relcl_lib.models.casrel import CasRel, CasRelConfig, PieceReader, PretrainedEncoder
from relcl_lib.models.tagger import ConvEncoder, FastRE, TaggerConfig
from relcl_lib.papers.fastre.confidence import Calibration
from relcl_lib.text.decode import SpanRules, join_triples, log_probability, pair_spans
from relcl_lib.text.schema import Schema
from relcl_lib.text.spans import Reader, trim
from relcl_lib.text.splitting import SPACES, sentence_spans, split_text, way_of, word_spans
from relcl_lib.text.words import FIRST_WORD, WordReader

Item = TypeVar("Item")

FORMAT = 1
KIND = "tagger"
ABOUT, WEIGHTS = f"{KIND}.json", f"{KIND}.safetensors"
#: where a saved CasRel ends an entity: at the state after its last word
ENDS = "after"
CELLS = 1 << 23  # logits of tails at a time: 32 MiB of float32


class Found(NamedTuple):
    """A triple found in a text; spans are characters: text[start:end] is the entity.

    `score` is the probability that it is right (see `confidence`); of a tagger without calibration
    the product of its boundaries' probabilities.
    """

    subject: str
    relation: str
    object: str
    subject_span: tuple[int, int]
    object_span: tuple[int, int]
    subject_type: str
    score: float


class Scored(NamedTuple):
    """Triples (T, 7) and the logarithm of the product of each one's boundary probabilities (T,).

    Columns: sentence, head start, head end, type, relation, tail start, tail end, in tokens, ends
    inclusive; in order of sentences.
    """

    triples: Tensor
    log_products: Tensor


class Read(NamedTuple):
    """A batch of B sentences of n words that the encoder and the head tagger have read.

    `rows` (B,) are their numbers, `lengths` (B,) their words; `hidden` (B, n, d), `mask` (B, n, 1);
    `head_logits` are those of starts and of ends.
    """

    rows: Tensor
    lengths: Tensor
    hidden: Tensor
    mask: Tensor
    head_logits: Sequence[Tensor]


@dataclass
class Extractor:
    """A network, what turns words into its inputs, and the rules that turn scores into triples.

    `words` is how a text is split into words (`text.splitting`), as the training texts were. With
    `by_sentence` each sentence of a plain text is read alone, as those were.
    `filter_relations` drops relations that the head's type may not have. `threshold` is a
    probability that boundaries must exceed: a network's own thresholds are raised by its log-odds,
    so that 0.5, or None, leaves them as they are. `calibration` turns scores into probabilities.
    In a lower `precision` than float32 FastRE's network is faster, and a few triples are others.
    `batch_size` is 1 for a network whose pads change what it finds.
    """

    model: FastRE | CasRel
    reader: Reader
    schema: Schema
    head_rules: SpanRules
    tail_rules: SpanRules
    words: str = SPACES
    by_sentence: bool = False
    filter_relations: bool = True
    threshold: float | None = None
    calibration: Calibration | None = None
    batch_size: int = 128
    precision: torch.dtype = torch.float32
    note: dict[str, Any] = field(default_factory=dict)
    _lower: FastRE | None = field(default=None, init=False, repr=False)  # while it is `ready`

    def __post_init__(self) -> None:
        if not (self.threshold is None or 0 < self.threshold < 1):  # its log-odds are wanted
            raise ValueError(f"threshold {self.threshold!r} does not lie between 0 and 1")
        if not getattr(self.model.config, "mask_pads", True):  # CasRel has no such setting
            self.batch_size = 1

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """For a block: the network in evaluation, word vectors multiplied with the projection."""
        training, encoder = self.model.training, self.model.encoder
        fold = isinstance(encoder, ConvEncoder) and encoder.folded is None
        self.model.eval()
        if fold:
            encoder.fold()
        lower = self.precision != torch.float32 and isinstance(self.model, FastRE)
        if lower and self._lower is None:
            self._lower = in_precision(self.model, self.precision)
        try:
            yield
        finally:
            self.model.train(training)
            if fold:
                encoder.folded = self._lower = None

    # ------------------------------------------------------------------ spans

    def predict(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The triples of the reader's `inputs`, (T, 7) int64 on the CPU; see `Scored`."""
        return self.predict_scored(inputs).triples

    def predict_scored(self, inputs: Mapping[str, Tensor]) -> Scored:
        """The same with scores. Sentences run sorted by length, `batch_size` at a time."""
        with self.ready():
            return self.decode(self.read(inputs))

    @torch.inference_mode()
    def read(self, inputs: Mapping[str, Tensor]) -> Iterator[Read]:
        """What a threshold has no part in, batch by batch: for `decode`, in a block of `ready`."""
        lengths, network = inputs["lengths"], self._lower or self.model
        order = lengths.argsort(descending=True, stable=True)
        order = order[: int((lengths > 0).sum())]
        for rows in order.split(self.batch_size) if len(order) else ():
            batch = trim({name: value[rows] for name, value in inputs.items()})
            batch = {name: value.to(self.device) for name, value in batch.items()}
            hidden, mask = network.encode(batch)
            heads = network.head_logits(hidden, mask)
            yield Read(rows, batch["lengths"], hidden, mask, heads)

    @torch.inference_mode()
    def decode(self, read: Iterable[Read]) -> Scored:
        """The triples of what `read` gives, at the extractor's threshold, in a block of `ready`."""
        allowed = self.schema.mask().to(self.device) if self.filter_relations else None
        found = [Scored(torch.zeros(0, 7, dtype=torch.long), torch.zeros(0))]
        for batch in read:
            triples, scores = (part.cpu() for part in self._decode(batch, allowed))
            triples[:, 0] = batch.rows.cpu()[triples[:, 0]]
            found.append(Scored(triples, scores))
        triples, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
        at = triples[:, 0].argsort(stable=True)
        return Scored(triples[at], scores[at])

    def _decode(self, read: Read, allowed: Tensor | None) -> Scored:
        network = self._lower or self.model
        _, lengths, hidden, mask, head_logits = read
        ends = [self._margins(logits) for logits in head_logits]
        heads = pair_spans(*(part > 0 for part in ends), self.head_rules, lengths)  # (H, 4)
        head_scores = log_probability(*ends, heads)  # (H,)
        cells = 2 * hidden.shape[1] * self.model.config.columns[1]
        found = [Scored(heads.new_zeros(0, 7), head_scores.new_zeros(0))]
        for some in torch.arange(len(heads), device=heads.device).split(max(1, CELLS // cells)):
            chosen = heads[some]
            # Sentences without a head entity leave here: their share of the tail tagger is spared.
            kept, row = chosen[:, 0].unique(return_inverse=True)
            local = torch.cat([row.unsqueeze(1), chosen[:, 1:]], dim=1)
            logits = network.tail_logits(hidden[kept], mask[kept], local, lengths[kept])
            ends = [self._margins(part) for part in logits]  # starts and ends, (M, n, R)
            tails = pair_spans(*(part > 0 for part in ends), self.tail_rules, lengths[chosen[:, 0]])
            if allowed is not None:
                tails = tails[allowed[chosen[tails[:, 0], 3], tails[:, 3]]]
            scores = head_scores[some][tails[:, 0]] + log_probability(*ends, tails)
            found.append(Scored(join_triples(chosen, tails), scores))
        return Scored(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def _margins(self, logits: Tensor) -> Tensor:
        """How far scores lie above their threshold: (..., C + 1) or (..., C) to (..., C)."""
        p, logits = self.threshold or self.model.threshold or 0.5, logits.float()
        if self.model.threshold is None:
            logits = logits[..., 1:] - logits[..., :1]
        return logits if p == 0.5 else logits - math.log(p / (1 - p))

    # ---------------------------------------------------------------- strings

    def word_triples(
        self, words: Sequence[Sequence[str]], triples: Tensor
    ) -> list[list[tuple[str, str, str]]]:
        """The texts of predicted spans (T, 7), a list per sentence, words joined by spaces."""
        found: list[dict[tuple[str, str, str], None]] = [{} for _ in words]
        for row in triples.tolist():
            found[row[0]][self.text_of(words[row[0]], row)] = None
        return [list(triples) for triples in found]

    def text_of(self, words: Sequence[str], row: Sequence[int]) -> tuple[str, str, str]:
        """The texts of one predicted row (7) in the words of its sentence."""
        _, a, b, _, relation, p, q = row
        texts = (" ".join(words[a : b + 1]), " ".join(words[p : q + 1]))
        return texts[0], self.schema.relations[relation], texts[1]

    def extract(self, texts: Sequence[str], min_score: float = 0.0) -> list[list[Found]]:
        """The triples of each text whose score is at least `min_score`, in order of their places.

        TypeError for a single text, or for what is no text.
        """
        return self.extract_with_cuts(texts, min_score)[0]

    def extract_with_cuts(
        self, texts: Sequence[str], min_score: float = 0.0
    ) -> tuple[list[list[Found]], list[int | None]]:
        """The same, and for each text where it is cut to the network's longest sentence.

        A cut is how many words are read of the text, or of a sentence of it, that has more; else None.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise TypeError("texts must be a sequence of texts, such as [text]")
        ways = [way_of(text, self.words) for text in texts]  # a sentence is split as its text is
        parts = [(at, span) for at, way in enumerate(ways) for span in self.parts(texts[at], way)]
        read = [texts[at][slice(*span)] for at, span in parts]
        words = [split_text(text, ways[at]) for text, (at, _) in zip(read, parts, strict=True)]
        inputs = self.reader.read(words)
        cuts: list[int | None] = [None] * len(texts)
        for (at, _), own, n in zip(parts, words, inputs["lengths"].tolist(), strict=True):
            if n < len(own):
                cuts[at] = n if cuts[at] is None else min(n, cuts[at])
        found: list[dict[Found, None]] = [{} for _ in texts]
        spans: list[list[tuple[int, int]] | None] = [None] * len(read)
        triples, scores = self.predict_scored(inputs)
        scores = self.probabilities(scores)
        kept = (scores >= min_score).nonzero()[:, 0]
        rows = zip(triples[kept].tolist(), scores[kept].tolist(), strict=True)
        for (row, a, b, kind, relation, p, q), score in rows:
            place, (at, (start, _)) = spans[row], parts[row]
            if place is None:
                place = spans[row] = word_spans(read[row], ways[at])
            text = texts[at]
            subject = (start + place[a][0], start + place[b][1])
            thing = (start + place[p][0], start + place[q][1])
            triple = Found(
                text[slice(*subject)],
                self.schema.relations[relation],
                text[slice(*thing)],
                subject,
                thing,
                self.schema.types[kind],
                round(score, 4),
            )
            found[at][triple] = None
        placed = [sorted(rows, key=lambda f: (f.subject_span, f.object_span)) for rows in found]
        return placed, cuts

    def probabilities(self, log_products: Tensor) -> Tensor:
        """Scores of triples in [0, 1]: calibrated, if the tagger is."""
        return log_products.exp() if self.calibration is None else self.calibration(log_products)

    def parts(self, text: str, way: str | None = None) -> list[tuple[int, int]]:
        """The characters of what the network reads at a time: a text, or each of its sentences.

        `way` is how the text is split, where that is known already.
        """
        return sentence_spans(text, way or self.words) if self.by_sentence else [(0, len(text))]

    def try_out(self) -> None:
        """Read a text: what is wrong with a network or its settings shows here, if nowhere else."""
        inputs = self.reader.read([split_text("A text of some words .", self.words)])
        self.decode(self.read(inputs))  # `ready` is not worth its products for one text

    # ----------------------------------------------------------------- folder

    def save(self, folder: str | Path) -> Path:
        """Write the tagger as safetensors and JSON; the folder is the old one or the new one."""
        encoder, state = self.model.encoder, dict(self.model.state_dict())
        about: dict[str, Any] = {
            "format": FORMAT,
            "model": type(self.model).__name__,
            "encoder": type(encoder).__name__,
            "config": asdict(self.model.config),
            "schema": asdict(self.schema),
            "head_rules": asdict(self.head_rules),
            "tail_rules": asdict(self.tail_rules),
            "split": self.words,
            "by_sentence": self.by_sentence,
            "filter_relations": self.filter_relations,
            "threshold": self.threshold,
            "calibration": self.calibration and asdict(self.calibration),
            "note": self.note,
        }
        if isinstance(self.model, CasRel):
            about["ends"] = ENDS
        if isinstance(encoder, ConvEncoder):
            state["encoder.vectors"] = encoder.vectors
            about |= {"encoder_config": asdict(encoder.config), "words": list(self.reader.words)}
        pretrained: tuple[Any, ...] = ()
        if isinstance(encoder, PretrainedEncoder):
            pretrained = (encoder.network.config, self.reader.tokenizer)
        return save_model(folder, KIND, about, state, pretrained, what="tagger")

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str | torch.device = "auto",
        batch_size: int = 128,
        precision: str = "float32",
    ) -> Extractor:
        """Read what `save` wrote; it gives the same triples.

        Raises:
            CheckpointError: names the file that is missing, damaged or of another version.
            DeviceError: there is no such device here.
        """
        device = resolve_device(str(device))  # first: a tagger without a fault is not to be blamed
        folder = find_model(folder, ABOUT)
        files = f"{ABOUT} and {WEIGHTS}"
        with model_named(folder, "trained tagger", files, "fastre train"):
            about, state = read_model(folder, KIND, FORMAT)
            model, reader = _rebuild(folder, about, state)
            rules = [read_as(SpanRules, about[name]) for name in ("head_rules", "tail_rules")]
            found = about.get("calibration")
            tagger = cls(
                model.to(device).eval(),
                reader,
                read_as(Schema, about["schema"]),
                *rules,
                # Before there was a choice of either, a text was read so:
                words=about.get("split", SPACES),
                by_sentence=about.get("by_sentence", False),
                filter_relations=about["filter_relations"],
                threshold=about["threshold"],
                calibration=found and read_as(Calibration, found),
                batch_size=batch_size,
                precision=resolve_precision(precision, device),
                note=about["note"],
            )
            tagger.try_out()
            return tagger


def in_precision(model: FastRE, precision: torch.dtype) -> FastRE:
    """A copy of a folded network in another number format; word vectors are left behind."""
    vectors = model.encoder.vectors
    lower = copy.deepcopy(model, {id(vectors): vectors})
    del lower.encoder.vectors
    lower.encoder.register_buffer("vectors", vectors[:0].detach(), persistent=False)
    return lower.to(precision)


def _rebuild(
    folder: Path, about: Mapping[str, Any], state: dict[str, Tensor]
) -> tuple[FastRE | CasRel, Reader]:
    if about["model"] == "CasRel" and about.get("ends") != ENDS:
        raise ValueError(
            "its CasRel ends an entity at the word's own state, which cannot tell the head from the "
            "tail where both are one word; train it again"
        )
    if about["encoder"] == "PretrainedEncoder":
        from transformers import AutoModel

        kind, tokenizer = read_encoder(folder, state)
        config = read_as(CasRelConfig, about["config"])
        reader: Reader = PieceReader(tokenizer, config.max_tokens, network=kind)

        def build() -> FastRE | CasRel:
            return CasRel(
                config, PretrainedEncoder(AutoModel.from_config(kind, trust_remote_code=False))
            )
    else:
        vectors = state.pop("encoder.vectors")
        inner = read_as(TaggerConfig, about["encoder_config"])
        reader = WordReader(
            TypeAdapter(list[str]).validate_python(about["words"]), inner.max_tokens
        )
        if len(reader.words) + FIRST_WORD != len(vectors):
            raise ValueError(f"{len(reader.words)} words, but {len(vectors)} vectors")

        def build() -> FastRE | CasRel:
            if about["model"] == "FastRE":
                return FastRE(inner, vectors)
            outer = read_as(CasRelConfig, about["config"])
            return CasRel(outer, ConvEncoder(inner, vectors))

    check_state(build, state)
    model = build()
    model.load_state_dict(state)
    return model, reader


def read_as(kind: type[Item], values: Any) -> Item:
    """A dataclass of values out of JSON, whose kinds are checked; ValueError where they do not fit."""
    if not isinstance(values, dict) or values.keys() - {field.name for field in fields(kind)}:
        raise ValueError(f"{values!r} are not the fields of {kind.__name__}")
    return TypeAdapter(kind).validate_json(json.dumps(values), strict=True)
