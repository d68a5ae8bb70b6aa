"""Scores of extracted triples: micro precision, recall and F1, by overlap pattern and by number.

A triple is (subject, relation, object), texts. A sentence's triples are a set: what is the same
under the match counts once, on both sides. Everything is in per cent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

TripleText = tuple[str, str, str]
Sentences = Sequence[Iterable[TripleText]]

#: How two entities are compared. The papers' partial match compares the first word. Files that
#: keep the last word of an entity only (CasRel's NYT) make that the last word of the mention, which
#: `last` does on files with whole entities. Case counts, the number of spaces does not.
MATCHES: dict[str, Callable[[str], str]] = {
    "partial": lambda entity: entity.split()[0],
    "last": lambda entity: entity.split()[-1],
    "exact": lambda entity: " ".join(entity.split()),
}
PATTERNS = ("normal", "EPO", "SEO")
NUMBERS = ("1", "2", "3", "4", "5+")


def count_scores(hits: int, predicted: int, gold: int) -> dict[str, float]:
    """Precision, recall and F1 of counts; 0 where nothing is predicted or there is no gold."""
    return {
        "precision": 100 * hits / predicted if predicted else 0.0,
        "recall": 100 * hits / gold if gold else 0.0,
        "F1": 200 * hits / (predicted + gold) if predicted + gold else 0.0,
    }


def micro_scores(pairs: Iterable[tuple[AbstractSet[Any], AbstractSet[Any]]]) -> dict[str, float]:
    """Precision, recall and F1 of sets, predicted and gold, counted over all pairs of them."""
    counts = [(0, 0, 0), *((len(mine & gold), len(mine), len(gold)) for mine, gold in pairs)]
    return count_scores(*map(sum, zip(*counts, strict=True)))


def matched(triples: Iterable[TripleText], match: str = "partial") -> set[TripleText]:
    """What is compared of a sentence's triples under a match; an entity without a word is an error."""
    if match not in MATCHES:
        raise ValueError(f"match={match!r} must be one of {', '.join(MATCHES)}")
    shorten = MATCHES[match]
    try:
        return {(shorten(t[0]), t[1], shorten(t[2])) for t in triples}
    except IndexError:
        raise ValueError(
            "an entity without a word cannot be compared; leave such triples out"
        ) from None


def triple_scores(
    predicted: Sentences, gold: Sentences, match: str = "partial"
) -> dict[str, float]:
    """Micro precision, recall and F1 over sentences, in per cent.

    hits / predicted, hits / gold and 2 hits / (predicted + gold), counted over all sentences; 0
    where nothing is predicted or there is no gold. (The release adds 1e-10 to each count, which
    makes 100 of nothing at all.) `match` is a key of `MATCHES`.
    """
    both = zip(predicted, gold, strict=True)
    return micro_scores((matched(mine, match), matched(theirs, match)) for mine, theirs in both)


def overlap_patterns(triples: Iterable[TripleText]) -> set[str]:
    """The patterns of a sentence's gold triples: `normal`, or `EPO`, `SEO` or both.

    EPO: a pair of subject and object stands in several triples. SEO: different pairs share an
    entity. Normal: no entity occurs twice. A sentence without a triple has none; a triple annotated
    twice counts once.
    """
    pairs = [(t[0], t[2]) for t in dict.fromkeys(triples)]
    if not pairs:
        return set()
    if len({entity for pair in pairs for entity in pair}) == 2 * len(pairs):
        return {"normal"}
    distinct = set(pairs)
    found = {"EPO"} if len(distinct) < len(pairs) else set()
    if len({entity for pair in distinct for entity in pair}) < 2 * len(distinct):
        found.add("SEO")
    return found


def count_class(triples: Iterable[TripleText]) -> str:
    """`1` to `4` or `5+`, the number of a sentence's distinct gold triples; '' for none."""
    count = len(set(triples))
    return "5+" if count >= 5 else str(count or "")


def scores_by_pattern(
    predicted: Sentences, gold: Sentences, match: str = "partial"
) -> dict[str, dict[str, float]]:
    """The scores on the sentences of each overlap pattern that occurs; EPO and SEO overlap."""
    members = [overlap_patterns(triples) for triples in gold]
    return _by(PATTERNS, members, predicted, gold, match)


def scores_by_number(
    predicted: Sentences, gold: Sentences, match: str = "partial"
) -> dict[str, dict[str, float]]:
    """The scores on the sentences with 1, 2, 3, 4 and 5 or more triples, where they occur."""
    members = [{count_class(triples)} for triples in gold]
    return _by(NUMBERS, members, predicted, gold, match)


def _by(
    names: Sequence[str],
    members: Sequence[set[str]],
    predicted: Sentences,
    gold: Sentences,
    match: str,
) -> dict[str, dict[str, float]]:
    scores = {}
    for name in names:
        chosen = [i for i, found in enumerate(members) if name in found]
        if chosen:
            mine, theirs = [predicted[i] for i in chosen], [gold[i] for i in chosen]
            scores[name] = triple_scores(mine, theirs, match)
    return scores


def all_scores(predicted: Sentences, gold: Sentences) -> dict[str, float]:
    """The scores under every match, by pattern and by number, in one flat mapping.

    `precision`, `recall`, `F1` under the partial match, the same with `_exact` and `_last`,
    `F1_<pattern>` and `F1_n<number>` (partial), in per cent.
    """
    scores = triple_scores(predicted, gold)
    for match in ("exact", "last"):
        other = triple_scores(predicted, gold, match)
        scores |= {f"{name}_{match}": value for name, value in other.items()}
    by_pattern = scores_by_pattern(predicted, gold)
    by_number = scores_by_number(predicted, gold)
    scores |= {f"F1_{name}": found["F1"] for name, found in by_pattern.items()}
    return scores | {f"F1_n{name}": found["F1"] for name, found in by_number.items()}


def overlap_with_training(train: Sentences, test: Sentences) -> float:
    """The per cent of test triples (each sentence's, once) that occur in the training set."""
    known = {triple for triples in train for triple in matched(triples, "exact")}
    found = [triple in known for triples in test for triple in matched(triples, "exact")]
    return 100 * sum(found) / len(found) if found else 0.0


def recall_by_seen(train: Sentences, predicted: Sentences, gold: Sentences) -> dict[str, float]:
    """Recall (partial match) of the gold triples that occur in the training set, and of the others.

    `seen_share` is the per cent of the former; a recall of no triple is left out.
    """
    known = {triple for triples in train for triple in matched(triples, "exact")}
    found: dict[bool, list[bool]] = {True: [], False: []}
    for mine, theirs in zip(predicted, gold, strict=True):
        ours = matched(mine)
        for triple in dict.fromkeys(theirs):
            (exact,), (partial,) = matched([triple], "exact"), matched([triple])
            found[exact in known].append(partial in ours)
    total = sum(map(len, found.values()))
    names = {True: "recall_seen", False: "recall_unseen"}
    scores = {name: 100 * sum(found[k]) / len(found[k]) for k, name in names.items() if found[k]}
    return scores | ({"seen_share": 100 * len(found[True]) / total} if total else {})
