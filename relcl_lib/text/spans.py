"""Gold triples as spans of tokens, and batches of them, without a loop over sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from relcl_lib.data.download import DataFormatError
from relcl_lib.data.ragged import ranges
from relcl_lib.data.triples import Sentence, Span
from relcl_lib.text.schema import SCHEMA_FIX, Schema
from relcl_lib.text.splitting import SPACES, look_up, word_spans

#: why a triple is lost
NOT_IN_TEXT = "have an entity that is not in the text"
INSIDE_A_WORD = "have an entity that begins or ends inside a word"
BEYOND_CUT = "lie beyond the words that are read"
UNKNOWN_RELATION = "have a relation that is not in the schema"


class Reader(Protocol):
    """What turns words into an encoder's inputs: tensors with a row for each text, padded."""

    max_tokens: int

    def read(self, texts: Sequence[Sequence[str]]) -> dict[str, Tensor]:
        """The inputs of texts given as words, among them `lengths` (N,) in words."""
        ...


class Batch(NamedTuple):
    """Sentences of a training step: b of them, n the longest, m head entities chosen.

    `inputs` are the encoder's, with `lengths` (b,); `head_start`, `head_end` (b, n, K) and
    `tail_start`, `tail_end` (m, n, R) bool labels; `heads` (m, 4): row in the batch, start, end
    (inclusive), type; `weights` (m,) what each chosen head counts.
    """

    inputs: dict[str, Tensor]
    head_start: Tensor
    head_end: Tensor
    heads: Tensor
    weights: Tensor
    tail_start: Tensor
    tail_end: Tensor


def find_span(words: Sequence[str], entity: Sequence[str]) -> tuple[int, int] | None:
    """(start, end), end inclusive, of the first occurrence of an entity's words, or None."""
    width = len(entity)
    for start in range(len(words) - width + 1):
        if words[start] == entity[0] and list(words[start : start + width]) == list(entity):
            return start, start + width - 1
    return None


@dataclass
class TaggedSentences:
    """The gold tags of N sentences as tensors, on any device.

    A head entity is a distinct (start, end, type) of a sentence: the rows of `heads` (H, 3), those
    of sentence i from `head_first[i]` to `head_first[i + 1]`. `tails` (T, 3) are (start, end,
    relation), those of head h from `tail_first[h]` to `tail_first[h + 1]`. Ends are inclusive.
    `report` counts what could not be tagged, by reason.
    """

    inputs: dict[str, Tensor]
    heads: Tensor
    head_first: Tensor
    tails: Tensor
    tail_first: Tensor
    n_types: int
    n_relations: int
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def usable(self) -> Tensor:
        """Indices of the sentences with a head entity, which are the ones trained on."""
        return (self.head_first.diff() > 0).nonzero()[:, 0]

    def to(self, device: torch.device) -> TaggedSentences:
        """The same on a device."""
        moved = {k: v.to(device) for k, v in self.__dict__.items() if isinstance(v, Tensor)}
        inputs = {name: value.to(device) for name, value in self.inputs.items()}
        return type(self)(**{**self.__dict__, **moved, "inputs": inputs})

    def batch(self, rows: Tensor, heads: str = "one", draws: Tensor | None = None) -> Batch:
        """Gather a training batch of the sentences `rows` (b,) int64, which are `usable`.

        `heads` is `one`: a head entity of each sentence, drawn by `draws` (b,) in [0, 1) (released);
        `mean`: all of them, each weighing 1 / (heads of its sentence), the expectation of `one`; or
        `sum`: all, each weighing 1 (Eq. 15).
        """
        if heads not in ("mean", "sum") and (heads != "one" or draws is None):
            raise ValueError(f"{heads=} must be 'mean', 'sum', or 'one' with draws")
        lengths = self.inputs["lengths"][rows]
        n = int(lengths.max())
        inputs = trim({name: value[rows] for name, value in self.inputs.items()})
        count = self.head_first[rows + 1] - self.head_first[rows]
        owner, every = ranges(self.head_first, rows)  # every head: the head tagger's labels
        spans = self.heads[every]
        head_start = _multi_hot(owner, spans[:, 0], spans[:, 2], (len(rows), n, self.n_types))
        head_end = _multi_hot(owner, spans[:, 1], spans[:, 2], (len(rows), n, self.n_types))
        if heads == "one":
            chosen = self.head_first[rows] + (draws * count).long().clamp(max=count - 1)
            owner = torch.arange(len(rows), device=rows.device)
        else:
            chosen = every
        weights = torch.ones(len(chosen), device=rows.device)
        if heads == "mean":
            weights = 1 / count[owner]
        row, tail = ranges(self.tail_first, chosen)
        spans, shape = self.tails[tail], (len(chosen), n, self.n_relations)
        return Batch(
            inputs,
            head_start,
            head_end,
            torch.cat([owner.unsqueeze(1), self.heads[chosen]], dim=1),
            weights,
            _multi_hot(row, spans[:, 0], spans[:, 2], shape),
            _multi_hot(row, spans[:, 1], spans[:, 2], shape),
        )


def trim(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cut the padding that no row of a batch needs; columns are words but for `pieces`."""
    n = int(inputs["lengths"].max())
    widths = {"pieces": int(inputs["piece_lengths"].max())} if "pieces" in inputs else {}
    return {
        name: value if value.dim() == 1 else value[:, : widths.get(name, n)]
        for name, value in inputs.items()
    }


def _multi_hot(row: Tensor, position: Tensor, label: Tensor, shape: tuple[int, ...]) -> Tensor:
    hot = torch.zeros(shape, dtype=torch.bool, device=row.device)
    hot[row, position, label] = True
    return hot


def tag_sentences(
    sentences: Sequence[Sentence],
    reader: Reader,
    schema: Schema,
    *,
    unknown_relations: str = "error",
    where: str = "training split",
    listed_in: str = "",
    called: Sequence[str] | None = None,
) -> TaggedSentences:
    """Locate the triples of sentences and return them as tensors.

    Where a triple has spans that begin and end with words, those are taken. Else subject and object
    are each searched for as lower-cased words in Unicode's form NFC, and the first occurrence within
    the words that the reader takes in is taken. A triple is left out, and counted in the report, if
    an entity is nowhere in the text as whole words (`not_located`), lies beyond the cut
    (`beyond_cut`), or its relation is not in the schema (`unknown_relation`).

    With `unknown_relations="error"` the last stops with an error, `skip` counts it only; `where`
    names the sentences in errors, `listed_in` the file of which the schema has its relations, and
    `called` (None: `sentence 1` and so on) each of them.
    """
    ids, types = schema.relation_ids, schema.relation_types
    counts: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    lost: dict[str, list[str]] = {}
    texts = [sentence.text.split() for sentence in sentences]
    inputs = reader.read(texts)
    limits = inputs["lengths"].tolist()
    heads: list[tuple[int, int, int]] = []
    tails: list[tuple[int, int, int]] = []
    head_counts, tail_counts = [], []
    named = called or [f"sentence {at}" for at in range(1, len(sentences) + 1)]
    for at, sentence, original, limit in zip(named, sentences, texts, limits, strict=True):
        words = [look_up(word) for word in original]
        counts["empty_sentences"] += not words
        counts["cut_sentences"] += len(words) > limit
        keys: dict[tuple[int, int, int], dict[tuple[int, int, int], None]] = {}
        places = word_spans(sentence.text, SPACES) if sentence.spans else []
        for number, triple in enumerate(sentence.triples):
            counts["triples"] += 1
            relation = ids.get(triple.relation)
            if relation is None:
                if unknown_relations == "error":
                    place, fix = f"{where}, {at}", SCHEMA_FIX
                    if listed_in:
                        fix = f"Add it to {listed_in}, or remove that file: the data then tell"
                    raise DataFormatError(
                        listed_in or place,
                        f"has not the relation {triple.relation!r} of {place}"
                        if listed_in
                        else f"the relation {triple.relation!r} is not in the schema",
                        f"{fix}; unknown_relations='skip' counts such triples and goes on",
                    )
                unknown[triple.relation] += 1
                lost.setdefault(UNKNOWN_RELATION, []).append(f"{at}: {triple.relation!r}")
                continue
            entities = [look_up(part).split() for part in (triple.subject, triple.object)]
            given = sentence.spans[number] if sentence.spans else None
            spans = [
                _at(places, given[i] if given else None) or find_span(words, entity)
                for i, entity in enumerate(entities)
            ]
            if None in spans:
                counts["not_located"] += 1
                reason, example = _why(original, words, triple, spans)
                lost.setdefault(reason, []).append(f"{at}: {example}")
                continue
            # Of what was searched for, the first occurrence is the one most within the cut.
            if max(end for _, end in spans) >= limit:
                counts["beyond_cut"] += 1
                lost.setdefault(BEYOND_CUT, []).append(
                    f"{at}, of {len(words)} words: {triple.subject!r}, {triple.object!r}"
                )
                continue
            counts["tagged"] += 1
            (start, end), tail = spans
            keys.setdefault((start, end, types[relation]), {})[(*tail, relation)] = None
        head_counts.append(len(keys))
        heads += keys
        for found in keys.values():
            tail_counts.append(len(found))
            tails += found
    report = {name: counts[name] for name in ("triples", "tagged", "not_located", "beyond_cut")}
    report |= {"unknown_relation": dict(unknown)}
    # reason -> how many, and one of them; the commonest reason first
    ranked = sorted(lost.items(), key=lambda item: -len(item[1]))
    report["lost_examples"] = {reason: (len(found), found[0]) for reason, found in ranked}
    report |= {name: counts[name] for name in ("cut_sentences", "empty_sentences")}
    report["sentences"], report["with_triples"] = len(sentences), sum(map(bool, head_counts))
    return TaggedSentences(
        inputs,
        torch.tensor(heads, dtype=torch.long).reshape(-1, 3),
        _first(head_counts),
        torch.tensor(tails, dtype=torch.long).reshape(-1, 3),
        _first(tail_counts),
        len(schema.types),
        len(schema.relations),
        report,
    )


def _at(places: Sequence[Span], span: Span | None) -> tuple[int, int] | None:
    """The first and last of the words, given by their characters, that make up a span exactly."""
    if span is None:
        return None
    at = [i for i, (start, end) in enumerate(places) if span[0] <= start and end <= span[1]]
    exact = at and places[at[0]][0] == span[0] and places[at[-1]][1] == span[1]
    return (at[0], at[-1]) if exact else None


def _why(
    original: Sequence[str], words: Sequence[str], triple: Any, spans: Sequence[Any]
) -> tuple[str, str]:
    """Why the first entity without a place has none, and the entity; words as they are looked up."""
    entity = triple.subject if spans[0] is None else triple.object
    text, wanted = " ".join(words), " ".join(look_up(entity).split())
    if wanted not in text:
        return NOT_IN_TEXT, repr(entity)
    first = text[: text.index(wanted)].count(" ")
    around = original[first : first + wanted.count(" ") + 1]
    return INSIDE_A_WORD, f"{entity!r} in {' '.join(around)!r}"


def _first(counts: Sequence[int]) -> Tensor:
    return torch.tensor([0, *counts], dtype=torch.long).cumsum(0)
