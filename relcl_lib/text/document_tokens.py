"""Documents as word pieces with entity markers, and batches of them, without a loop over pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from relcl_lib.data.document_files import Document, Mention
from relcl_lib.data.ragged import ranges

MAX_PIECES = 1024  # specials among them
MARKINGS = ("boundary", "mention", "typed")
#: numbers that the release gives to entity types, for its closing markers; ours for the kinds of CDR
#: and GDA, which it does not know
TYPE_NUMBERS = {"BLANK": 0, "ORG": 1, "LOC": 2, "TIME": 3, "PER": 4, "MISC": 5, "NUM": 6}
TYPE_NUMBERS |= {"Chemical": 1, "Disease": 2, "Gene": 3}


class DocumentBatch(NamedTuple):
    """Documents of a step: b of them, T pieces and n entities in the largest.

    `ids` (b, T) and `lengths` (b,); `mentions` (m, 4): row, entity, opening and closing marker;
    `pairs` (p, 3): row, subject, object, in rising order; `labels` (p, R) bool, relation 0 first;
    `stated` (p, R), those that a sentence states (all of them where the data does not say), which
    only a base of stated facts reads.
    """

    ids: Tensor
    lengths: Tensor
    mentions: Tensor
    pairs: Tensor
    labels: Tensor
    n_entities: int
    stated: Tensor | None = None


@dataclass
class DocumentTokens:
    """The pieces, mentions, pairs and facts of D documents as flat tensors, on any device.

    Those of document i go from `<name>_first[i]` to `<name>_first[i + 1]`: `ids`, `mentions` (M, 3):
    entity and the positions of its opening and closing marker, `pairs` (P, 2): subject and object.
    `facts` (K,) are relation numbers from 0, those of pair j from `fact_first[j]` on, and
    `stated` (K,) whether a sentence states them. `cut` says of each document whether its end was cut,
    `report` counts what was.
    """

    ids: Tensor
    ids_first: Tensor
    mentions: Tensor
    mentions_first: Tensor
    pairs: Tensor
    pairs_first: Tensor
    facts: Tensor
    fact_first: Tensor
    stated: Tensor
    n_entities: Tensor
    n_relations: int
    pad: int
    cut: list[bool] = field(default_factory=list)
    report: dict[str, int] = field(default_factory=dict)

    @property
    def lengths(self) -> Tensor:
        """Pieces of each document, specials among them: (D,)."""
        return self.ids_first.diff()

    @property
    def usable(self) -> Tensor:
        """Indices of the documents with a pair, which are the ones trained on."""
        return (self.pairs_first.diff() > 0).nonzero()[:, 0]

    def to(self, device: torch.device) -> DocumentTokens:
        """The same on a device."""
        moved = {k: v.to(device) for k, v in self.__dict__.items() if isinstance(v, Tensor)}
        return type(self)(**{**self.__dict__, **moved})

    def batch(self, rows: Tensor) -> DocumentBatch:
        """Gather the documents `rows` (b,) int64, padded to the longest of them."""
        lengths = self.lengths[rows]
        row, index = ranges(self.ids_first, rows)
        ids = self.ids.new_full((len(rows), int(lengths.max())), self.pad)
        ids[row, index - self.ids_first[rows][row]] = self.ids[index]
        row, index = ranges(self.mentions_first, rows)
        mentions = torch.cat([row.unsqueeze(1), self.mentions[index]], dim=1)
        row, index = ranges(self.pairs_first, rows)
        pairs = torch.cat([row.unsqueeze(1), self.pairs[index]], dim=1)
        pair, fact = ranges(self.fact_first, index)
        labels = torch.zeros(len(pairs), self.n_relations, dtype=torch.bool, device=ids.device)
        labels[pair, self.facts[fact]] = True
        stated = torch.zeros_like(labels)
        stated[pair, self.facts[fact]] = self.stated[fact]
        largest = int(self.n_entities[rows].max())
        return DocumentBatch(ids, lengths, mentions, pairs, labels, largest, stated)


def tokenize_documents(
    documents: Sequence[Document],
    tokenizer: Any,
    relations: Sequence[str],
    *,
    markers: str = "boundary",
    max_pieces: int = MAX_PIECES,
) -> DocumentTokens:
    """Turn documents into word pieces with a marker at each end of each mention.

    Pieces beyond `max_pieces` are cut, and mentions whose opening marker is among them; the entity
    of such a mention may have none left (then its vector is 0). `report` counts both, and the
    documents without a pair, which neither train nor get a prediction.

    Args:
        documents: of one split.
        tokenizer: of transformers, with an opening and a closing special.
        relations: relation i is column i of the labels.
        markers: `boundary` puts one `*` before a token where mentions start and one after a token
            where mentions end (ATLOP on DocRED); `mention` one for each distinct mention there
            (ATLOP on CDR and GDA); `typed` [unused] entries of the vocabulary instead, numbered by
            the entity at the start and by its type at the end (the release of DocRE-II).
        max_pieces: longest document, specials among them.
    """
    if markers not in MARKINGS:
        raise ValueError(f"markers={markers!r} must be one of {', '.join(MARKINGS)}")
    ends = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    if None in ends:
        raise ValueError("the tokenizer has no opening and closing special (cls_token, sep_token)")
    words = list(dict.fromkeys(w for d in documents for sent in d.sentences for w in sent))
    encoded = tokenizer(words, add_special_tokens=False)["input_ids"] if words else []
    pieces = dict(zip(words, encoded, strict=True))
    marker = _marker_ids(tokenizer, markers, documents)
    number = {relation: i for i, relation in enumerate(relations)}
    report: Counter[str] = Counter()
    ids, mentions, pairs, facts, stated, counts, cut = [], [], [], [], [], [], []
    for document in documents:
        found, opening, closing = _mark(document, pieces, marker, markers)
        cut.append(len(found) + 2 > max_pieces)
        report["documents_cut"] += cut[-1]
        candidates = document.candidates()
        report["documents_without_a_pair"] += not candidates
        ids.append([ends[0], *found[: max_pieces - 2], ends[1]])
        places = _places(document, opening, closing, max_pieces - 2, report)
        mentions.append(places)
        pairs.append(candidates)
        by_pair: dict[tuple[int, int], list[int]] = {}
        for head, relation, tail in document.facts or ():
            if relation not in number:
                raise ValueError(
                    f"document {document.title!r}: relation {relation!r} is not among the "
                    f"{len(number)} relations of the data set"
                )
            by_pair.setdefault((head, tail), []).append(number[relation])
        of_pairs = [sorted(set(by_pair.get(pair, ()))) for pair in candidates]
        unsaid = {(fact.head, fact.tail, number[fact.relation]) for fact in document.inferred or ()}
        zipped = zip(candidates, of_pairs, strict=True)
        stated += [(*pair, found) not in unsaid for pair, those in zipped for found in those]
        facts += of_pairs
        counts.append(len(document.entities))
    return DocumentTokens(
        *_flat(ids),
        *_flat(mentions, 3),
        *_flat(pairs, 2),
        *_flat(facts),
        stated=torch.tensor(stated, dtype=torch.bool),
        n_entities=torch.tensor(counts),
        n_relations=len(relations),
        pad=tokenizer.pad_token_id or 0,
        cut=cut,
        report=dict(report),
    )


def _marker_ids(
    tokenizer: Any, markers: str, documents: Sequence[Document]
) -> dict[tuple[str, int], list[int]]:
    """(which end, number) -> pieces; numbers are 0 unless the markers are typed."""
    if markers != "typed":
        star = tokenizer("*", add_special_tokens=False)["input_ids"]
        if star == [tokenizer.unk_token_id]:
            # A vocabulary built from texts without a star: the mask means "what stands here" too.
            star = [tokenizer.mask_token_id]
        return {("open", 0): star, ("close", 0): star}
    vocabulary = tokenizer.get_vocab()
    most = max((len(document.entities) for document in documents), default=0)
    wanted = {("open", i): f"[unused{i + 7}]" for i in range(most)}
    wanted |= {("close", i): f"[unused{i}]" for i in TYPE_NUMBERS.values()}
    absent = [name for name in wanted.values() if name not in vocabulary]
    if absent:
        raise ValueError(
            f"typed markers need {absent[0]} in the vocabulary, which this tokenizer lacks (BERT's "
            "has 99 such entries); use markers='boundary'"
        )
    return {key: [vocabulary[name]] for key, name in wanted.items()}


def most_entities(tokenizer: Any, markers: str) -> float:
    """How many entities of a document markers can tell apart: as many as there are, unless typed."""
    names = tokenizer.get_vocab() if markers == "typed" else {}
    return next((i for i in range(len(names)) if f"[unused{i + 7}]" not in names), float("inf"))


def _mark(
    document: Document,
    pieces: dict[str, list[int]],
    marker: dict[tuple[str, int], list[int]],
    markers: str,
) -> tuple[list[int], dict[tuple[int, int], int], dict[tuple[int, int], int]]:
    """The pieces of a document, and (sentence, token) -> place of its markers.

    Openings are found by a mention's first token, closings by its last; places count from the first
    piece, before the opening special.
    """
    starts: dict[tuple[int, int], list[int]] = {}
    stops: dict[tuple[int, int], list[int]] = {}
    for entity, found in enumerate(document.entities):
        for mention in found:
            opens = entity if markers == "typed" else 0
            kind = TYPE_NUMBERS.get(mention.type, 0) if markers == "typed" else 0
            starts.setdefault((mention.sentence, mention.start), []).append(opens)
            stops.setdefault((mention.sentence, mention.end - 1), []).append(kind)
    if markers == "mention":
        distinct = {(m[0], m[1], m[2], m[3]) for found in document.entities for m in found}
        starts = {at: [0] * sum(m[:2] == at for m in distinct) for at in starts}
        stops = {at: [0] * sum((m[0], m[2] - 1) == at for m in distinct) for at in stops}
    else:  # one marker at a boundary; of several typed ones the last counts
        starts = {at: found[-1:] for at, found in starts.items()}
        stops = {at: found[-1:] for at, found in stops.items()}
    ids: list[int] = []
    opening, closing = {}, {}
    for sentence, tokens in enumerate(document.sentences):
        for token, word in enumerate(tokens):
            at = (sentence, token)
            if at in starts:
                opening[at] = len(ids)
                ids += [piece for which in starts[at] for piece in marker["open", which]]
            ids += pieces[word]
            if at in stops:
                closing[at] = len(ids)
                ids += [piece for which in stops[at] for piece in marker["close", which]]
    return ids, opening, closing


def _places(
    document: Document,
    opening: dict[tuple[int, int], int],
    closing: dict[tuple[int, int], int],
    limit: int,
    report: Counter[str],
) -> list[tuple[int, int, int]]:
    """(entity, opening, closing) of the mentions that are not cut, after the special."""
    places = []
    for entity, found in enumerate(document.entities):
        kept = [mention for mention in found if _open(mention, opening) < limit]
        report["mentions_cut"] += len(found) - len(kept)
        report["entities_cut"] += not kept
        for mention in kept:
            end = min(closing[mention.sentence, mention.end - 1], limit - 1)
            places.append((entity, _open(mention, opening) + 1, end + 1))
    return places


def _open(mention: Mention, opening: dict[tuple[int, int], int]) -> int:
    return opening[mention.sentence, mention.start]


def _flat(parts: Sequence[Sequence[Any]], width: int | None = None) -> tuple[Tensor, Tensor]:
    """All parts in one tensor, and where each begins."""
    flat = torch.tensor([entry for part in parts for entry in part], dtype=torch.long)
    if width is not None:
        flat = flat.reshape(-1, width)
    first = torch.tensor([0, *(len(part) for part in parts)], dtype=torch.long).cumsum(0)
    return flat, first
