"""A trained DocRE-II at work: documents in, facts with their scores out; saved to and loaded from a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import FiniteFloat, TypeAdapter
from torch import Tensor

from relcl_lib.data.candidate_sets import CANDIDATES
from relcl_lib.data.document_files import Document, Mention
from relcl_lib.data.document_sets import DocumentData
from relcl_lib.data.document_stream import Pairing
from relcl_lib.lab.checkpoints import (
    ENCODER,
    check_state,
    find_model,
    model_named,
    read_encoder,
    read_model,
    save_model,
)
from relcl_lib.lab.protocol import HIDDEN
from relcl_lib.lab.runtime import releasing_memory, resolve_device, resolve_precision
from relcl_lib.models.atlop import PairScores
from relcl_lib.models.pair_inference import iterate_logits
from relcl_lib.models.window_encoder import POSITION_BLOCKS
from relcl_lib.papers.docre_ii.network import (
    DocreNetwork,
    build_atlop_on,
    build_network,
    longest_document,
    pair_matrix,
)
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.papers.docre_ii.run import DocreRun
from relcl_lib.text.document_metrics import within_limit
from relcl_lib.text.document_tokens import DocumentBatch, most_entities, tokenize_documents

FORMAT = 2
#: how many other pairs a fact says it rests on, and of how many facts that is looked up at once
SUPPORTS, AT_ONCE = 3, 256
KIND = "docre"
ABOUT, WEIGHTS = f"{KIND}.json", f"{KIND}.safetensors"


class Support(NamedTuple):
    """Another pair that a fact rests on.

    `weight` is the share of attention it gets in the last iteration, mean over heads, slots and
    layers; `relations` are those that were read of it there.
    """

    head: int
    tail: int
    relations: tuple[str, ...]
    weight: float


class Finding(NamedTuple):
    """A fact of a document: entities by their number there, and how sure the model is.

    `margin` is the relation's logit less the threshold's, `score` its sigmoid; `by` is `base` where
    the base module alone finds it, too, else `inference`. Then `rests_on` holds the other pairs with
    the largest attention weights, the largest first; what the base finds rests on none.
    """

    head: int
    relation: str
    tail: int
    score: float
    margin: float
    by: str
    rests_on: tuple[Support, ...] = ()


class Findings(list[Finding]):
    """The facts of a document.

    Attributes:
        cut: whether the document is longer than the model reads.
        unread: entities that stand only in the part that was not read.
    """

    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        self.cut = cut
        self.unread: tuple[int, ...] = ()


@dataclass
class Predictor:
    """A network with what its input is made of.

    `threshold` is that of the margins which is best on dev; `pairing` says which pairs are
    candidates in a document that lists none.
    """

    model: DocreNetwork
    tokenizer: Any
    settings: DocreParameters
    relations: tuple[str, ...]
    threshold: float = 0.0
    note: dict[str, Any] = field(default_factory=dict)
    pairing: Pairing = field(default_factory=Pairing)

    @classmethod
    def of(cls, run: DocreRun) -> Predictor:
        """What a finished run has trained, with dev's threshold."""
        tuned = run.evaluate("dev")["threshold"]
        note = {"data": run.data.name, "protocol": run.data.protocol, "seed": run.seed}
        note |= {"run": run.digest, "tuned": run.data.has_facts("dev")}
        threshold = tuned if abs(tuned) < torch.inf else 0.0
        kinds, _ = CANDIDATES.get(run.data.name, (None, None))
        listed = any(document.pairs is not None for document in run.data.train)
        pairing = Pairing(kinds, once=listed and run.settings.orientation == "document")
        rest = (run.settings, run.data.relations, threshold, note, pairing)
        found = cls(run.model, run.tokenizer, *rest)
        found.model.eval()
        return found

    @cached_property
    def most_entities(self) -> float:
        """How many entities a document may have: typed markers have a number for each of so many."""
        return most_entities(self.tokenizer, self.settings.markers)

    @property
    def iterations(self) -> int:
        """K, or 0 where the inference module was not trained."""
        return self.settings.iterations if self.settings.stage2_epochs else 0

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device

    def autocast(self) -> contextlib.AbstractContextManager:
        """The number format of the settings, as this device has it."""
        precision = resolve_precision(self.settings.precision, self.device)
        return torch.autocast(self.device.type, dtype=precision, enabled=precision != torch.float32)

    @torch.inference_mode()
    def predict(self, documents: Sequence[Document], threshold: float = 0.0) -> list[Findings]:
        """The facts of each document, the surest first, whose margin is above a threshold.

        Documents run sorted by length, twice the training's batch size at a time. Of an entity that
        stands only in the cut end of a document no fact is predicted.
        """
        tokens = tokenize_documents(
            [self.pairing(_unlabelled(document)) for document in documents],
            self.tokenizer,
            self.relations,
            markers=self.settings.markers,
            max_pieces=longest_document(self.settings, self.model.base),
        ).to(self.device)
        found = [Findings(cut) for cut in tokens.cut]
        usable = tokens.usable[tokens.lengths[tokens.usable].argsort(stable=True)]
        self.model.eval()
        groups = usable.split(2 * self.settings.batch_size) if len(usable) else ()
        # One context for all batches: it keeps the weights that it has cast.
        for rows in releasing_memory(groups):
            batch = tokens.batch(rows)
            with self.autocast():
                scores = self.model.base(batch)
                parts = self.model.inference, scores, pair_matrix(batch), self.iterations
                logits = iterate_logits(*parts, sum_logits=self.settings.sum_logits)
            base, last = (x[:, 1:] - x[:, :1] for x in (logits[0], logits[-1]))
            base_too = within_limit(base) > threshold
            margins = within_limit(last)
            read = torch.zeros(len(rows), batch.n_entities, dtype=torch.bool, device=margins.device)
            read[batch.mentions[:, 0], batch.mentions[:, 1]] = True
            row, head, tail = batch.pairs.unbind(1)
            chosen = (margins > threshold) & (read[row, head] & read[row, tail]).unsqueeze(1)
            for row, entity in (~read).nonzero().tolist():
                number = int(rows[row])
                if entity < len(documents[number].entities):
                    found[number].unread += (entity,)
            inferred = (chosen & ~base_too).any(1).nonzero()[:, 0]
            supports = self._supports(batch, scores, logits, inferred)
            values, by_base, pairs = margins.tolist(), base_too.tolist(), batch.pairs.tolist()
            certain = margins.sigmoid().tolist()
            for pair, relation in chosen.nonzero().tolist():
                row, head, tail = pairs[pair]
                is_base = by_base[pair][relation]
                fact = Finding(
                    head,
                    self.relations[relation],
                    tail,
                    certain[pair][relation],
                    values[pair][relation],
                    "base" if is_base else "inference",
                    () if is_base else supports[pair],
                )
                found[int(rows[row])].append(fact)
        for facts in found:
            facts.sort(key=lambda f: (-f.margin, f[:3]))
        return found

    def _supports(
        self, batch: DocumentBatch, scores: PairScores, logits: list[Tensor], pairs: Tensor
    ) -> dict[int, tuple[Support, ...]]:
        """What each of `pairs` (r,) of a batch rests on in the last iteration."""
        if not len(pairs):
            return {}
        inference, cells = self.model.inference, pair_matrix(batch)
        read = inference.fed_back(logits[-2])  # (p, R + 1)
        labels, n = cells.fill(read), cells.n  # (b, n, n, R + 1)
        document, subject, other = batch.pairs.unbind(1)
        found: dict[int, tuple[Support, ...]] = {}
        with self.autocast():
            slots = inference.embed_features(scores.features), inference.embed_relations(read)
        for some in pairs.split(AT_ONCE):
            with self.autocast():
                seen = inference.attention_map(*slots, cells, some).float()  # (r, n, n)
            seen[torch.arange(len(some)), subject[some], other[some]] = 0  # itself
            best = seen.flatten(1).topk(min(SUPPORTS, n * n), dim=1)
            rows = zip(
                some.tolist(),
                document[some].tolist(),
                best.values.tolist(),
                best.indices.tolist(),
                strict=True,
            )
            for pair, which, weights, at in rows:
                cell = [divmod(index, n) for index in at]
                found[pair] = tuple(
                    Support(head, tail, self._names(labels[which, head, tail]), weight)
                    for (head, tail), weight in zip(cell, weights, strict=True)
                    if weight > 0
                )
        return found

    def _names(self, classes: Tensor) -> tuple[str, ...]:
        """The relations among the classes of a pair, (R + 1,) bool."""
        return tuple(self.relations[i] for i in classes[1:].nonzero()[:, 0].tolist())

    def stream(
        self, documents: Iterable[Document], *, threshold: float = 0.0, chunk: int = 64
    ) -> Iterator[tuple[Document, Findings]]:
        """Yield each document with its facts, in order; no more than a chunk is held."""
        documents = iter(documents)
        while held := list(islice(documents, chunk)):
            yield from zip(held, self.predict(held, threshold), strict=True)

    # ----------------------------------------------------------------- folder

    def save(self, folder: str | Path) -> Path:
        """Write the model as safetensors and JSON; the folder is the old one or the new one."""
        encoder = getattr(self.model.base, "encoder", None)
        if encoder is None:
            raise ValueError("a base that has no encoder (base=stated_facts) cannot read documents")
        about = {
            "format": FORMAT,
            "settings": self.settings.model_dump(exclude=HIDDEN | {"encoder"}),
            "relations": list(self.relations),
            "threshold": self.threshold,
            "note": self.note,
            "pairing": {"kinds": self.pairing.kinds, "once": self.pairing.once},
        }
        pretrained = (encoder.network.config, self.tokenizer)
        return save_model(folder, KIND, about, self.model.state_dict(), pretrained)

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device = "auto") -> Predictor:
        """Read what `save` wrote; it gives the same facts.

        Raises:
            CheckpointError: names what is missing, damaged or of another version.
            DeviceError: there is no such device here.
        """
        device = resolve_device(str(device))  # first: a model without a fault is not to be blamed
        folder = find_model(folder, ABOUT)
        files = f"{ABOUT}, {WEIGHTS} and {ENCODER}/"
        with model_named(folder, "trained model", files, "docre_ii train"):
            about, state = read_model(folder, KIND, FORMAT)
            settings = DocreParameters(**about["settings"], encoder=str(folder / ENCODER))
            relations = tuple(TypeAdapter(list[str]).validate_python(about["relations"]))
            threshold = TypeAdapter(FiniteFloat).validate_python(about["threshold"])
            pairing = TypeAdapter(Pairing).validate_python(about["pairing"])
            rest = (threshold, about["note"], pairing)
            described = (folder, settings, relations, state)
            check_state(lambda: _rebuild(*described)[1], state)
            tokenizer, model = _rebuild(*described)
            model.load_state_dict(state)
            found = cls(model.to(device).eval(), tokenizer, settings, relations, *rest)
            found.predict([_SAMPLE])  # what is wrong with the settings shows here, if nowhere else
            return found


_SAMPLE = Document(
    "sample", (("a", "b"),), ((Mention(0, 0, 1, "", "a"),), (Mention(0, 1, 2, "", "b"),)), None
)


def _unlabelled(document: Document) -> Document:
    """The document without its facts, whose relations the model may not know."""
    return Document(document.title, document.sentences, document.entities, None, document.pairs)


def _rebuild(
    folder: Path,
    settings: DocreParameters,
    relations: tuple[str, ...],
    state: Mapping[str, Tensor],
) -> tuple[Any, DocreNetwork]:
    from transformers import AutoModel

    def make_base(settings: DocreParameters, data: DocumentData) -> tuple[Any, Any]:
        config, tokenizer = read_encoder(folder, state)
        if settings.long_documents == "positions":
            config.max_position_embeddings //= POSITION_BLOCKS  # building extends them again
        network = AutoModel.from_config(
            config, trust_remote_code=False, attn_implementation="eager"
        ).float()
        return build_atlop_on(tokenizer, network, settings, data)

    data = DocumentData("", (), (), (), relations, "", "reduced")
    return build_network(settings, data, 0, make_base)
