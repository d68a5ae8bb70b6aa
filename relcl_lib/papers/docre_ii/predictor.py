"""A trained DocRE-II at work: documents in, facts with their scores out; saved to and loaded from a folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import FiniteFloat, TypeAdapter
from safetensors.torch import load_file, save_file

from relcl_lib.data.document_files import Document, Mention
from relcl_lib.data.document_sets import DocumentData
from relcl_lib.lab.checkpoints import CheckpointError, check_state, few_layers
from relcl_lib.lab.digests import check_sums, write_sums
from relcl_lib.lab.files import atomic_directory, remove_leftovers
from relcl_lib.lab.json_text import parse_json
from relcl_lib.lab.protocol import HIDDEN
from relcl_lib.lab.runtime import releasing_memory, resolve_precision
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
from relcl_lib.text.document_tokens import tokenize_documents

FORMAT = 1
ABOUT, WEIGHTS, ENCODER = "docre.json", "docre.safetensors", "encoder"


class Finding(NamedTuple):
    """A fact of a document: entities by their number there, and how sure the model is.

    `margin` is the relation's logit less the threshold's, `score` its sigmoid; `by` is `base` where
    the base module alone finds it, too, else `inference`.
    """

    head: int
    relation: str
    tail: int
    score: float
    margin: float
    by: str


@dataclass
class Predictor:
    """A network with what its input is made of.

    `threshold` is that of the margins which is best on dev.
    """

    model: DocreNetwork
    tokenizer: Any
    settings: DocreParameters
    relations: tuple[str, ...]
    threshold: float = 0.0
    note: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, run: DocreRun) -> Predictor:
        """What a finished run has trained, with dev's threshold."""
        tuned = run.evaluate("dev")["threshold"]
        note = {"data": run.data.name, "protocol": run.data.protocol, "seed": run.seed}
        threshold = tuned if abs(tuned) < torch.inf else 0.0
        found = cls(run.model, run.tokenizer, run.settings, run.data.relations, threshold, note)
        found.model.eval()
        return found

    @property
    def limit(self) -> int:
        """Relations a pair may have."""
        return min(4, len(self.relations))

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
    def predict(self, documents: Sequence[Document], threshold: float = 0.0) -> list[list[Finding]]:
        """The facts of each document, the surest first, whose margin is above a threshold.

        Documents run sorted by length, twice the training's batch size at a time.
        """
        tokens = tokenize_documents(
            [_unlabelled(document) for document in documents],
            self.tokenizer,
            self.relations,
            markers=self.settings.markers,
            max_pieces=longest_document(self.settings, self.model.base),
        ).to(self.device)
        found: list[list[Finding]] = [[] for _ in documents]
        usable = tokens.usable[tokens.lengths[tokens.usable].argsort(stable=True)]
        options = {"limit": self.limit, "sum_logits": self.settings.sum_logits}
        self.model.eval()
        groups = usable.split(2 * self.settings.batch_size) if len(usable) else ()
        for rows in releasing_memory(groups):
            batch = tokens.batch(rows)
            with self.autocast():
                scores = self.model.base(batch)
                parts = self.model.inference, scores, pair_matrix(batch)
                logits = iterate_logits(*parts, self.iterations, **options)
            base, last = (x[:, 1:] - x[:, :1] for x in (logits[0], logits[-1]))
            base_too = within_limit(base, self.limit) > threshold
            margins = within_limit(last, self.limit)
            for pair, relation in (margins > threshold).nonzero().tolist():
                row, head, tail = batch.pairs[pair].tolist()
                margin = float(margins[pair, relation])
                score = float(torch.tensor(margin).sigmoid())
                by = "base" if base_too[pair, relation] else "inference"
                fact = Finding(head, self.relations[relation], tail, score, margin, by)
                found[int(rows[row])].append(fact)
        return [sorted(facts, key=lambda f: (-f.margin, f[:3])) for facts in found]

    def stream(
        self, documents: Iterable[Document], *, threshold: float = 0.0, chunk: int = 64
    ) -> Iterator[tuple[Document, list[Finding]]]:
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
        }
        folder = Path(folder)
        remove_leftovers(folder.parent)
        state = self.model.state_dict().items()
        tensors = {name: value.detach().cpu().contiguous() for name, value in state}
        try:
            with atomic_directory(folder) as temporary:
                encoder.network.config.save_pretrained(temporary / ENCODER)
                self.tokenizer.save_pretrained(temporary / ENCODER)
                save_file(tensors, temporary / WEIGHTS)
                text = json.dumps(about, ensure_ascii=False, indent=1)
                (temporary / ABOUT).write_text(text, encoding="utf-8")
                write_sums(temporary)
        except OSError as error:
            raise CheckpointError(f"cannot write the model to {folder}: {error}") from error
        return folder

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device = "cpu") -> Predictor:
        """Read what `save` wrote; it gives the same facts.

        Raises:
            CheckpointError: names what is missing, damaged or of another version.
        """
        from transformers import AutoConfig

        folder = Path(folder)
        if not (folder / ABOUT).exists() and (folder / "model").is_dir():
            folder /= "model"  # what `train --out` was given
        try:
            about = parse_json((folder / ABOUT).read_text(encoding="utf-8"))
            if about["format"] != FORMAT:
                raise ValueError(f"format {about['format']!r} found, {FORMAT} expected")
            check_sums(folder)
            settings = DocreParameters(**about["settings"], encoder=str(folder / ENCODER))
            relations = tuple(TypeAdapter(list[str]).validate_python(about["relations"]))
            threshold = TypeAdapter(FiniteFloat).validate_python(about["threshold"])
            rest = (threshold, about["note"])
            state = load_file(folder / WEIGHTS)
            few_layers(AutoConfig.from_pretrained(folder / ENCODER, trust_remote_code=False), state)
            check_state(lambda: _rebuild(folder, settings, relations)[1], state)
            tokenizer, model = _rebuild(folder, settings, relations)
            model.load_state_dict(state)
            found = cls(model.to(device).eval(), tokenizer, settings, relations, *rest)
            rows = found.model.base.encoder.network.get_input_embeddings().num_embeddings
            if not all(0 <= index < rows for index in tokenizer.get_vocab().values()):
                raise ValueError(f"the tokenizer has ids beyond the {rows} of the encoder")
            found.predict([_SAMPLE])  # what is wrong with the settings shows here, if nowhere else
            return found
        except Exception as error:  # safetensors and transformers have error classes of their own
            raise CheckpointError(
                f"{folder} holds no trained model that can be read ({type(error).__name__}: "
                f"{error}); it needs {ABOUT}, {WEIGHTS} and {ENCODER}/, as "
                "'python -m relcl_lib docre_ii train' writes them"
            ) from error


_SAMPLE = Document(
    "sample", (("a", "b"),), ((Mention(0, 0, 1, "", "a"),), (Mention(0, 1, 2, "", "b"),)), None
)


def _unlabelled(document: Document) -> Document:
    """The document without its facts, whose relations the model may not know."""
    return Document(document.title, document.sentences, document.entities, None, document.pairs)


def _rebuild(
    folder: Path, settings: DocreParameters, relations: tuple[str, ...]
) -> tuple[Any, DocreNetwork]:
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    def make_base(settings: DocreParameters, data: DocumentData) -> tuple[Any, Any]:
        config = AutoConfig.from_pretrained(folder / ENCODER, trust_remote_code=False)
        if settings.long_documents == "positions":
            config.max_position_embeddings //= POSITION_BLOCKS  # building extends them again
        network = AutoModel.from_config(
            config, trust_remote_code=False, attn_implementation="eager"
        ).float()
        tokenizer = AutoTokenizer.from_pretrained(folder / ENCODER, trust_remote_code=False)
        return build_atlop_on(tokenizer, network, settings, data)

    data = DocumentData("", (), (), (), relations, "", "reduced")
    return build_network(settings, data, 0, make_base)
