"""How a DocRE-II run is scored: facts after each iteration, and the scores of a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from relcl_lib import docre_metrics
from relcl_lib.data.document_files import Fact
from relcl_lib.docre_network import FEEDS, as_facts, pair_matrix
from relcl_lib.models.pair_inference import decode_relations, iterate_logits
from relcl_lib.runtime import releasing_memory

if TYPE_CHECKING:
    from relcl_lib.docre_ii import DocreRun

MOST_ITERATIONS = 4  # that the paper tries


class Reading(NamedTuple):
    """What a run says of a split.

    Attributes:
        facts: sets of facts [reading][document]: by the base, after each of K iterations, then for
            each of the feeds.
        margins: (p, R) float, logit of a relation less the threshold's, of all pairs after the
            iteration they were asked for; p is 0 where none was.
        labels: (p, R) bool, gold, of the same pairs.
    """

    facts: list[list[set[Fact]]]
    margins: Tensor
    labels: Tensor


@torch.no_grad()
def read(
    run: DocreRun,
    split: str,
    most: int,
    feeds: Sequence[str] = (),
    margins_after: int | None = None,
) -> Reading:
    """Return what a run says after up to `most` iterations, with the margins after one of them."""
    tokens, documents = run.tokens(split), getattr(run.data, split)
    limit = run.data.max_labels
    count = most + 1 + len(feeds)
    facts: list[list[set[Fact]]] = [[set() for _ in documents] for _ in range(count)]
    margins = [torch.zeros(0, len(run.data.relations))]
    labels = [torch.zeros(0, len(run.data.relations), dtype=torch.bool)]
    usable = tokens.usable[tokens.lengths[tokens.usable].argsort(stable=True)]
    run.model.eval()
    for rows in releasing_memory(usable.split(2 * run.settings.batch_size)):
        batch = tokens.batch(rows)
        with run.autocast():
            logits = iterate_logits(
                run.model.inference,
                run.model.base(batch),
                pair_matrix(batch),
                most,
                limit=limit,
                sum_logits=run.settings.sum_logits,
                fed=[FEEDS[name](batch) for name in feeds],
            )
        if margins_after is not None:
            after = logits[margins_after]
            margins.append((after[:, 1:] - after[:, :1]).cpu())
            labels.append(batch.labels.cpu())
        for sets, found in zip(facts, logits, strict=True):
            chosen = decode_relations(found, limit)
            for document, fact in as_facts(chosen, batch.pairs, rows, run.data.relations):
                sets[document].add(fact)
    return Reading(facts, torch.cat(margins), torch.cat(labels))


def score(run: DocreRun, split: str, k: int) -> dict[str, float]:
    """Return `DocreRun.evaluate`'s scores of a split."""
    documents = getattr(run.data, split)
    most = max(k, MOST_ITERATIONS) if k else 0
    feeds = tuple(FEEDS) if run.settings.stage2_epochs else ()
    found = read(run, split, most, feeds, margins_after=k)
    scores = score_reading(run, split, found, k)
    names = [*(f"K{k}" for k in range(most + 1)), *(f"fed_{name}" for name in feeds)]
    each = (docre_metrics.fact_scores(facts, documents)["F1"] for facts in found.facts)
    return scores | {f"F1_{name}": value for name, value in zip(names, each, strict=True)}


def score_reading(run: DocreRun, split: str, found: Reading, k: int) -> dict[str, float]:
    """Return `docre_metrics.all_scores` of the facts after K iterations, and their `AP`."""
    documents = getattr(run.data, split)
    scores = docre_metrics.all_scores(found.facts[k], documents, run.known)
    gold = sum(len(document.gold()) for document in documents)
    return scores | {"AP": docre_metrics.average_precision(found.margins, found.labels, gold)}
