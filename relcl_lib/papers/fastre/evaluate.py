"""A saved tagger on a file of sentences with triples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from relcl_lib.data.triples import Sentence
from relcl_lib.papers.fastre.confidence import calibration_error, reliability
from relcl_lib.papers.fastre.extract import Extractor
from relcl_lib.text import triple_metrics
from relcl_lib.text.spans import tag_sentences
from relcl_lib.text.splitting import split_sentences
from relcl_lib.text.words import WordReader

#: what the scores compare, in the order in which they are printed
COMPARED = (
    "F1_exact: whole entities; F1: the first word of each entity (the paper's partial match); "
    "F1_last: the last word of each"
)


def locate(extractor: Extractor, sentences: Sequence[Sentence]) -> dict[str, Any]:
    """The report of `tag_sentences` on sentences as a tagger reads them; needs no network."""
    reader = WordReader((), extractor.reader.max_tokens)
    split = split_sentences(sentences, extractor.words)
    return tag_sentences(split, reader, extractor.schema, unknown_relations="skip").report


def evaluate_on(
    extractor: Extractor,
    sentences: Sequence[Sentence],
    train: Sequence[Sentence] = (),
    min_score: float = 0.0,
) -> dict[str, float]:
    """The scores of what a tagger finds in sentences, in per cent, and how many triples there are.

    Those of whole entities stand first; `COMPARED` says what the others compare.
    Gold triples whose relation the tagger does not know count as missed; `unknown_relations` counts
    them. `calibration_error` is the mean distance of scores from the share of triples that are right
    (subject, relation and object whole). With training sentences also the recall of the triples that
    occur in them, and of the others.
    """
    sentences = split_sentences(sentences, extractor.words)
    words = [sentence.text.split() for sentence in sentences]
    gold = [sentence.triples for sentence in sentences]
    triples, logs = extractor.predict_scored(extractor.reader.read(words))
    scores = extractor.probabilities(logs)
    kept = scores >= min_score
    found = extractor.word_triples(words, triples[kept])
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
    right = [extractor.text_of(words[row[0]], row) in exact[row[0]] for row in rows]
    if right:
        curve = reliability(scores[kept], torch.tensor(right))
        result["calibration_error"] = 100 * calibration_error(curve)
    if train:
        seen = [sentence.triples for sentence in split_sentences(train, extractor.words)]
        result |= triple_metrics.recall_by_seen(seen, found, gold)
    return result
