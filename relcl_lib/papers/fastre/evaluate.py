"""A saved tagger on a file of sentences with triples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch

from relcl_lib.data.triples import Sentence, Span, Triple
from relcl_lib.papers.fastre.confidence import calibration_error, reliability
from relcl_lib.papers.fastre.extract import Extractor
from relcl_lib.text import triple_metrics
from relcl_lib.text.spans import find_span, tag_sentences
from relcl_lib.text.splitting import look_up, split_sentences, way_of

#: what the scores compare of two entities, in the order in which they are printed
COMPARED = {
    "F1_exact": "whole entities",
    "F1": "the first word of each entity (the paper's partial match)",
    "F1_valid": "the same on the validation sentences",
    "F1_last": "the last word of each",
}
#: why a triple is lost where each sentence of a text is read alone
APART = "have subject and object in different sentences"


class Parted(NamedTuple):
    """A record as a tagger reads it: what it reads at a time, each with the triples that are there.

    `rest` is the whole record with the other triples: one of their entities is nowhere in the text,
    or they are nowhere in the same part. Words stand apart by single spaces.
    """

    parts: list[Sentence]
    rest: Sentence

    @property
    def triples(self) -> list[Triple]:
        """All triples of the record."""
        return [t for sentence in (*self.parts, self.rest) for t in sentence.triples]


def describe_compared(names: Iterable[str]) -> str:
    """What those of the scores compare that have a name here."""
    return "; ".join(f"{name}: {text}" for name, text in COMPARED.items() if name in set(names))


def parted(extractor: Extractor, sentence: Sentence) -> Parted:
    """Divide a record as `extract` divides its text.

    A triple goes to the part that holds its given spans, else to the one near whose begin it stands.
    """
    way = way_of(sentence.text, extractor.words)
    (whole,) = split_sentences([sentence], way)
    places = extractor.parts(sentence.text, way)
    if len(places) == 1:
        return Parted([whole], whole._replace(triples=(), spans=()))
    given = sentence.spans or (None,) * len(sentence.triples)
    inside = []
    for place in places:
        spans = tuple(_moved(both, place) for both in given)
        inside.append(Sentence(sentence.text[slice(*place)], sentence.triples, spans))
    split = split_sentences(inside, way)
    chosen: list[list[int]] = [[] for _ in split]
    rest = []
    for number in range(len(sentence.triples)):
        ends = {at: _last_word(part, number) for at, part in enumerate(split)}
        ends = {at: end for at, end in ends.items() if end is not None}
        # The least end is the most within the cut.
        ends = {at: end for at, end in ends.items() if inside[at].spans[number]} or ends
        (chosen[min(ends, key=ends.get)] if ends else rest).append(number)
    parts = [_only(part, numbers) for part, numbers in zip(split, chosen, strict=True)]
    return Parted(parts, _only(whole, rest))


def _moved(both: tuple[Span, Span] | None, place: Span) -> tuple[Span, Span] | None:
    """A triple's spans in a text as those in a part of it; None where they do not lie in it."""
    start, end = place
    if both is None or min(both)[0] < start or max(last for _, last in both) > end:
        return None
    (a, b), (c, d) = both
    return (a - start, b - start), (c - start, d - start)


def _last_word(sentence: Sentence, number: int) -> int | None:
    """The place of the last word of a triple in a sentence; None where it is not located there."""
    if sentence.spans and (both := sentence.spans[number]):
        return sentence.text[: max(end for _, end in both)].count(" ")
    subject, _, thing = sentence.triples[number]
    words = look_up(sentence.text).split()
    found = [find_span(words, look_up(entity).split()) for entity in (subject, thing)]
    return None if None in found else max(end for _, end in found)


def _only(sentence: Sentence, numbers: Sequence[int]) -> Sentence:
    """A sentence with some of its triples."""
    triples = tuple(sentence.triples[number] for number in numbers)
    spans = tuple(sentence.spans[number] for number in numbers) if sentence.spans else ()
    return Sentence(sentence.text, triples, spans if any(spans) else ())


def locate(extractor: Extractor, sentences: Sequence[Sentence]) -> dict[str, Any]:
    """The report of `tag_sentences` on sentences as a tagger reads them; needs no network.

    Triples that are in no sentence of their record as a whole are counted as `apart`.
    """
    read, called, apart = [], [], []
    for number, record in enumerate(sentences, start=1):
        parts, rest = parted(extractor, record)
        missing = []
        for at, triple in enumerate(rest.triples):
            known = triple.relation in extractor.schema.relation_ids
            if known and _last_word(rest, at) is not None:
                apart.append(f"record {number}: {triple.subject!r}, {triple.object!r}")
            else:
                missing.append(at)
        # What is nowhere in the text is told by the whole of it.
        read += [*parts, _only(rest, missing)] if missing else parts
        called += [f"record {number}"] * (len(read) - len(called))
    report = tag_sentences(
        read, extractor.reader, extractor.schema, unknown_relations="skip", called=called
    ).report
    report |= {"sentences": len(sentences), "apart": len(apart)}
    report["triples"] += len(apart)
    lost = report["lost_examples"] | ({APART: (len(apart), apart[0])} if apart else {})
    report["lost_examples"] = dict(sorted(lost.items(), key=lambda item: -item[1][0]))
    return report


def evaluate_on(
    extractor: Extractor,
    sentences: Sequence[Sentence],
    train: Sequence[Sentence] = (),
    min_score: float = 0.0,
) -> dict[str, Any]:
    """The scores of what a tagger finds in sentences, in per cent, and how many triples there are.

    Texts are read as `extract` reads them: whole, or each sentence of one alone.
    Those of whole entities stand first; `COMPARED` says what the others compare.
    Gold triples whose relation the tagger does not know count as missed; `unknown_relations` counts
    them. `calibration_error` is the mean distance of scores from the share of triples that are right
    (subject, relation and object whole), and `reliability` the curve that it is of. With training
    sentences also the recall of the triples that occur in them, and of the others.
    """
    records = [parted(extractor, sentence) for sentence in sentences]
    gold = [record.triples for record in records]
    owner = [number for number, record in enumerate(records) for _ in record.parts]
    words = [part.text.split() for record in records for part in record.parts]
    triples, logs = extractor.predict_scored(extractor.reader.read(words))
    scores = extractor.probabilities(logs)
    kept = scores >= min_score
    found: list[list[tuple[str, str, str]]] = [[] for _ in records]
    for number, some in zip(owner, extractor.word_triples(words, triples[kept]), strict=True):
        found[number] += [triple for triple in some if triple not in found[number]]
    every = triple_metrics.all_scores(found, gold)
    result = {
        "sentences": len(sentences),
        "gold": sum(map(len, gold)),
        "found": sum(map(len, found)),
        **{name: every[name] for name in sorted(every, key=lambda n: not n.endswith("_exact"))},
    }
    known = set(extractor.schema.relations)
    result["unknown_relations"] = sum(t.relation not in known for each in gold for t in each)
    exact = [triple_metrics.matched(each, "exact") for each in gold]
    rows = triples[kept].tolist()
    right = [extractor.text_of(words[row[0]], row) in exact[owner[row[0]]] for row in rows]
    curve = reliability(scores[kept], torch.tensor(right))
    result["reliability"] = curve
    if curve:
        result["calibration_error"] = 100 * calibration_error(curve)
    if train:
        seen = [parted(extractor, sentence).triples for sentence in train]
        result |= triple_metrics.recall_by_seen(seen, found, gold)
    return result
