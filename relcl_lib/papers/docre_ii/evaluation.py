"""How a DocRE-II run is scored: facts after each iteration, and the scores of a split."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from relcl_lib.data.document_files import Fact
from relcl_lib.lab.runtime import releasing_memory
from relcl_lib.models.atlop import PairScores
from relcl_lib.models.pair_attention import PairMatrix
from relcl_lib.models.pair_inference import (
    PairInference,
    decode_relations,
    iterate_logits,
    with_class_zero,
)
from relcl_lib.papers.docre_ii.network import as_facts, pair_matrix
from relcl_lib.text import document_metrics as docre_metrics

if TYPE_CHECKING:
    from relcl_lib.papers.docre_ii.run import DocreRun

MOST_ITERATIONS = 4  # that the paper tries
#: what a first pass is handed in place of the base's predictions, see `fed_logits`
FED = ("gold", "none", "neighbours")
_PARTS = 4


class Reading(NamedTuple):
    """What a run says of a split.

    Attributes:
        facts: sets of facts [reading][document]: by the base, after each of K iterations, then,
            where asked for, after a first pass on each of `FED`.
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
    feed: bool = False,
    margins_after: int | None = None,
) -> Reading:
    """Return what a run says after up to `most` iterations, with the margins after one of them."""
    tokens, documents = run.tokens(split), getattr(run.data, split)
    limit = run.data.max_labels
    count = most + 1 + len(FED) * feed
    facts: list[list[set[Fact]]] = [[set() for _ in documents] for _ in range(count)]
    margins = [torch.zeros(0, len(run.data.relations))]
    labels = [torch.zeros(0, len(run.data.relations), dtype=torch.bool)]
    usable = tokens.usable[tokens.lengths[tokens.usable].argsort(stable=True)]
    draw = torch.Generator().manual_seed(0)
    run.model.eval()
    for rows in releasing_memory(usable.split(2 * run.settings.batch_size)):
        batch = tokens.batch(rows)
        with run.autocast():
            scores = run.model.base(batch)
            options = {"limit": limit, "sum_logits": run.settings.sum_logits}
            parts = run.model.inference, scores, pair_matrix(batch)
            logits = iterate_logits(*parts, most, **options)
            if feed:
                logits += fed_logits(*parts, with_class_zero(batch.labels), draw, **options)
        if margins_after is not None:
            after = logits[margins_after]
            margins.append((after[:, 1:] - after[:, :1]).cpu())
            labels.append(batch.labels.cpu())
        for sets, found in zip(facts, logits, strict=True):
            chosen = decode_relations(found, limit)
            for document, fact in as_facts(chosen, batch.pairs, rows, run.data.relations):
                sets[document].add(fact)
    return Reading(facts, torch.cat(margins), torch.cat(labels))


def fed_logits(
    inference: PairInference,
    scores: PairScores,
    cells: PairMatrix,
    gold: Tensor,
    draw: torch.Generator,
    *,
    limit: int,
    sum_logits: bool,
) -> list[Tensor]:
    """Return the logits (p, R + 1) of a first pass that reads each of `FED`, to see what is read.

    With `neighbours` a pair keeps its own prediction and three of four others have their gold
    relations, so it differs from the usual first pass by what is read of other pairs alone. For that
    the pairs are drawn into four parts, and each part has a pass in which it is not told.

    Args:
        inference: in evaluation mode.
        scores: of the base, for the pairs of `cells`.
        cells: the pairs.
        gold: (p, R + 1) bool, class 0 first.
        draw: of the CPU.
        limit: as in `iterate_logits`.
        sum_logits: as in `iterate_logits`.
    """
    own = inference.fed_back(scores.logits.float(), limit)
    none = with_class_zero(torch.zeros_like(gold[:, 1:]))
    part = torch.randint(_PARTS, (len(gold),), generator=draw).to(gold.device)
    told = [torch.where((part == i).unsqueeze(1), own, gold) for i in range(_PARTS)]
    options = {"limit": limit, "sum_logits": sum_logits, "fed": [gold, none, *told]}
    _, with_gold, with_none, *others = iterate_logits(inference, scores, cells, 0, **options)
    neighbours = torch.stack(others)[part, torch.arange(len(part), device=part.device)]
    return [with_gold, with_none, neighbours]


def score(run: DocreRun, split: str, k: int) -> dict[str, float]:
    """Return `DocreRun.evaluate`'s scores of a split."""
    documents = getattr(run.data, split)
    most = max(k, MOST_ITERATIONS) if k else 0
    feed = bool(run.settings.stage2_epochs)
    found = read(run, split, most, feed, margins_after=k)
    scores = score_reading(run, split, found, k)
    names = [*(f"K{k}" for k in range(most + 1)), *(f"fed_{name}" for name in FED if feed)]
    each = (docre_metrics.fact_scores(facts, documents)["F1"] for facts in found.facts)
    return scores | {f"F1_{name}": value for name, value in zip(names, each, strict=True)}


def score_reading(run: DocreRun, split: str, found: Reading, k: int) -> dict[str, float]:
    """Return `docre_metrics.all_scores` of the facts after K iterations, and their `AP`."""
    documents = getattr(run.data, split)
    scores = docre_metrics.all_scores(found.facts[k], documents, run.known)
    gold = sum(len(document.gold()) for document in documents)
    return scores | {"AP": docre_metrics.average_precision(found.margins, found.labels, gold)}
