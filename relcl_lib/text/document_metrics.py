"""Scores of relations in documents: micro F1 over facts, and its parts. Everything is in per cent.

Predictions are a set of facts for each document, in the order of the documents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet

import torch
from torch import Tensor, inf

from relcl_lib.data.document_files import Document, Fact
from relcl_lib.text.triple_metrics import count_scores, micro_scores

Predictions = Sequence[AbstractSet[Fact]]
#: names of two mentions and a relation
NameFact = tuple[str, str, str]
#: added to the denominator of IgnF1's precision, as in the official script
EPSILON = 1e-5
#: relations that a pair may be given, as in ATLOP's code on DocRED
LIMIT = 4


def fact_scores(
    predicted: Predictions,
    documents: Sequence[Document],
    counts: Callable[[Document, Fact], bool] | None = None,
) -> dict[str, float]:
    """Micro precision, recall and F1 over the documents.

    This is DocRED's F1, and the score of CDR and GDA: there the one relation over the listed pairs.
    With `counts` only the facts for which it is true enter, of gold and predictions alike.
    """

    def counted(document: Document, facts: AbstractSet[Fact]) -> AbstractSet[Fact]:
        return facts if counts is None else {fact for fact in facts if counts(document, fact)}

    return micro_scores(
        (counted(document, mine), counted(document, document.gold()))
        for mine, document in zip(predicted, documents, strict=True)
    )


def paired_bootstrap(
    one: Predictions, other: Predictions, documents: Sequence[Document], draws: int = 1000
) -> dict[str, float]:
    """How sure a difference in F1 on the same documents is: `other` less `one`, in per cent.

    Documents are drawn with replacement, as many as there are. `low` and `high` hold 95 % of the
    differences of the draws, `p` (not in per cent) is the share of draws in which `other` is not above.
    """
    counts = [
        torch.tensor(
            [
                (len(mine & document.gold()), len(mine), len(document.gold()))
                for mine, document in zip(predicted, documents, strict=True)
            ]
        ).reshape(-1, 3)
        for predicted in (one, other)
    ]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(max(1, len(documents)), (draws, len(documents)), generator=generator)
    sizes = [each[drawn].sum(1).double() for each in counts]  # (draws, 3)
    f1 = [200 * each[:, 0] / (each[:, 1] + each[:, 2]).clamp(min=1) for each in sizes]
    differences = (f1[1] - f1[0]).sort().values
    whole = [fact_scores(predicted, documents)["F1"] for predicted in (other, one)]
    return {
        "difference": whole[0] - whole[1],
        "low": float(differences.quantile(0.025)),
        "high": float(differences.quantile(0.975)),
        "p": float((differences <= 0).double().mean()),
    }


def average_precision(margins: Tensor, labels: Tensor, gold: int) -> float:
    """The average precision of all facts of all pairs, ranked together, in per cent.

    What F1 mixes is apart here: how well facts are told from others, wherever the threshold lies.
    `margins` (p, R) are a relation's logit less the threshold's, `labels` (p, R) bool, `gold` the
    facts in all; those of pairs that were cut away count as never found.
    """
    from sklearn.metrics import average_precision_score

    if not labels.any():
        return 0.0
    found = average_precision_score(labels.numpy().ravel(), margins.numpy().ravel())
    return 100 * float(found) * int(labels.sum()) / gold


def within_limit(margins: Tensor, limit: int = LIMIT) -> Tensor:
    """Margins (p, R) with -inf for all but a pair's `limit` largest: what a threshold may let pass.

    Of equal margins at the last place the relation with the lower number is taken.
    """
    best = margins.sort(dim=1, descending=True, stable=True).indices[:, :limit]
    return torch.full_like(margins, -inf).scatter(1, best, margins.gather(1, best))


def best_threshold(margins: Tensor, labels: Tensor, gold: int) -> float:
    """The threshold of the margins with which F1 is highest, to be chosen on dev.

    It lies half-way between two margins, at most 1 below the upper one, and is infinite where nothing right is found. A pair has
    `LIMIT` relations at most; arguments are those of `average_precision`.
    """
    scores, order = within_limit(margins).flatten().sort(descending=True, stable=True)
    hits = labels.flatten()[order].cumsum(0)
    found = torch.arange(1, len(scores) + 1)
    last = scores > torch.cat([scores[1:], scores.new_full((1,), -inf)])  # of equal margins
    f1 = torch.where(last & scores.isfinite(), 2 * hits / (found + gold), 0)
    if not len(scores) or not f1.any():
        return inf
    at = int(f1.argmax())
    below = float(scores[at + 1]) if at + 1 < len(scores) else -inf
    return (float(scores[at]) + max(below, float(scores[at]) - 2)) / 2


def threshold_f1(margins: Tensor, labels: Tensor, gold: int, threshold: float) -> float:
    """F1 in per cent of the relations whose margin is above a threshold, see `best_threshold`."""
    chosen = within_limit(margins) > threshold
    return count_scores(int((chosen & labels).sum()), int(chosen.sum()), gold)["F1"]


def ranked_scores(
    margins: Tensor, labels: Tensor, gold: int, *, threshold: float | None = None
) -> dict[str, float]:
    """`AP`, and `F1_tuned` with the threshold given, or with the best one, which is `threshold`."""
    found = {"AP": average_precision(margins, labels, gold)}
    if threshold is None:
        threshold = found["threshold"] = best_threshold(margins, labels, gold)
    return found | {"F1_tuned": threshold_f1(margins, labels, gold, threshold)}


def name_facts(documents: Iterable[Document]) -> set[NameFact]:
    """(name, name, relation) of all facts, for each pair of names of the two entities."""
    return {
        name
        for document in documents
        for fact in document.facts or ()
        for name in _named(document, fact)
    }


def _named(document: Document, fact: Fact) -> set[NameFact]:
    heads, tails = document.entities[fact.head], document.entities[fact.tail]
    return {(head.name, tail.name, fact.relation) for head in heads for tail in tails}


def ignore_scores(
    predicted: Predictions, documents: Sequence[Document], known: Collection[NameFact]
) -> dict[str, float]:
    """IgnF1 as the official script has it: right facts known from training do not count.

    They are taken out of the precision, (TP - known) / (predicted - known + 1e-5), wrong ones never
    are, and the recall stays that of all facts. `known` are the `name_facts` of the training split
    of the same data set.
    """
    hits = seen = n_predicted = n_gold = 0
    for mine, document in zip(predicted, documents, strict=True):
        right = mine & document.gold()
        hits += len(right)
        n_predicted += len(mine)
        n_gold += len(document.gold())
        seen += sum(any(name in known for name in _named(document, fact)) for fact in right)
    precision = (hits - seen) / (n_predicted - seen + EPSILON)
    recall = hits / n_gold if n_gold else 0.0
    total = precision + recall
    return {
        "precision": 100 * precision,
        "recall": 100 * recall,
        "IgnF1": 200 * precision * recall / total if total else 0.0,
    }


def is_intra(document: Document, fact: Fact) -> bool:
    """Whether the two entities of a fact are mentioned in one sentence."""
    head, tail = ({m.sentence for m in document.entities[e]} for e in (fact.head, fact.tail))
    return not head.isdisjoint(tail)


def triangle_facts(facts: AbstractSet[Fact]) -> set[Fact]:
    """The facts that take part in a triangle (h, a, o), (o, b, t), (h, c, t), h, o, t distinct."""
    after: dict[int, set[int]] = defaultdict(set)
    for fact in facts:
        after[fact.head].add(fact.tail)
    edges = {(h, t) for h, tails in after.items() for t in tails - {h}}
    closed = [
        (h, o, t) for h, o in edges for t in after.get(o, ()) if t not in (h, o) and (h, t) in edges
    ]
    taking = {pair for h, o, t in closed for pair in ((h, o), (o, t), (h, t))}
    return {fact for fact in facts if (fact.head, fact.tail) in taking}


def inference_scores(
    predicted: Predictions, documents: Sequence[Document], variant: str = "symmetric"
) -> dict[str, float]:
    """Infer-F1: the score of gold facts that lie on a triangle of gold facts.

    Which predictions count is not printed anywhere. `symmetric`: those on a triangle of predictions
    (a perfect system scores 100). `all`: all of them, so that the precision of a perfect system is
    below 100; its pattern is nearer to the paper's Table 6. Compare scores of one variant only.
    """
    if variant not in ("symmetric", "all"):
        raise ValueError(f"variant={variant!r} must be 'symmetric' or 'all'")
    return micro_scores(
        (triangle_facts(mine) if variant == "symmetric" else mine, triangle_facts(document.gold()))
        for mine, document in zip(predicted, documents, strict=True)
    )


def stated_recalls(predicted: Predictions, documents: Sequence[Document]) -> dict[str, float]:
    """The recall of facts that a sentence states and of those that follow, where data say."""
    found = {"stated": [0, 0], "inferred": [0, 0]}
    for mine, document in zip(predicted, documents, strict=True):
        if document.inferred is None:
            continue
        for fact in document.gold():
            count = found["inferred" if fact in document.inferred else "stated"]
            count[0] += fact in mine
            count[1] += 1
    return {f"recall_{name}": 100 * a / b for name, (a, b) in found.items() if b}


def recall_by_hops(
    predicted: Predictions, documents: Sequence[Document]
) -> dict[int, dict[str, float]]:
    """Recall and number of the facts that rest on 1, 2, ... stated ones, where data say."""
    found: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for mine, document in zip(predicted, documents, strict=True):
        for fact, hops in zip(document.facts or (), document.hops or (), strict=False):
            found[hops][0] += fact in mine
            found[hops][1] += 1
    return {
        hops: {"recall": 100 * hits / count, "facts": count}
        for hops, (hits, count) in sorted(found.items())
    }


def all_scores(
    predicted: Predictions,
    documents: Sequence[Document],
    known: Collection[NameFact] = (),
) -> dict[str, float]:
    """Every score in one flat mapping, named as the paper's tables name them.

    `precision`, `recall`, `F1`, `IgnF1`, `Intra-F1`, `Inter-F1`, `Infer-F1` with `Infer-P` and
    `Infer-R` (symmetric) and the same with `_all`, and `recall_stated`, `recall_inferred` where the
    data say which facts are stated. Where no gold fact lies on a triangle the six of `Infer-` are
    left out: between two kinds of entity (CDR, GDA) there is no triangle, and a 0 would be no score.
    """
    found = fact_scores(predicted, documents)
    found["IgnF1"] = ignore_scores(predicted, documents, known)["IgnF1"]
    found["Intra-F1"] = fact_scores(predicted, documents, is_intra)["F1"]
    found["Inter-F1"] = fact_scores(predicted, documents, lambda d, f: not is_intra(d, f))["F1"]
    closed = any(triangle_facts(document.gold()) for document in documents)
    for variant, suffix in (("symmetric", ""), ("all", "_all")) if closed else ():
        part = inference_scores(predicted, documents, variant)
        names = zip(("P", "R", "F1"), part.values(), strict=True)
        found |= {f"Infer-{name}{suffix}": value for name, value in names}
    return found | stated_recalls(predicted, documents)
