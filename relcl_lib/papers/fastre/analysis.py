"""Looking into a trained tagger: what its words receive, what its thresholds do, what a pass costs."""

from __future__ import annotations

import timeit
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from relcl_lib.models.convolution import SelfAttention
from relcl_lib.papers.fastre.network import batch_loss
from relcl_lib.text import triple_metrics
from relcl_lib.text.spans import Batch, TaggedSentences


def gold_rows(tagged: TaggedSentences, index: int) -> list[tuple[int, ...]]:
    """The gold triples of one sentence as rows of `Extractor.predict`.

    Sentence, head start, head end, type, relation, tail start, tail end; ends inclusive.
    """
    rows = []
    for head in range(int(tagged.head_first[index]), int(tagged.head_first[index + 1])):
        own = slice(int(tagged.tail_first[head]), int(tagged.tail_first[head + 1]))
        for start, end, relation in tagged.tails[own].tolist():
            rows.append((index, *tagged.heads[head].tolist(), relation, start, end))
    return rows


def entity_boundaries(batch: Batch) -> Tensor:
    """The words where an entity of the batch starts or ends: (b, n) bool.

    The batch has all head entities of its sentences (`heads="sum"`), else tails are missing.
    """
    own = (batch.head_start | batch.head_end).any(-1)
    tails = (batch.tail_start | batch.tail_end).any(-1).float()  # (m, n)
    count = torch.zeros_like(own, dtype=tails.dtype).index_add(0, batch.heads[:, 0], tails)
    return own | (count > 0)


@torch.inference_mode()
def attention_received(attention: SelfAttention, hidden: Tensor, mask: Tensor) -> Tensor:
    """How much attention each word gets from the words of its sentence, itself among them.

    The mean over the attention's heads, summed over the words that attend: 1 is an even share, and
    pads get 0. Of hidden states (B, n, d) under a mask (B, n, 1): (B, n).
    """
    return (attention.weights(hidden, mask).mean(1) * mask).sum(1)


def gradient_norms(run: Any, batch: Batch) -> Tensor:
    """The norm of the loss's gradient at each word vector over the largest of its sentence: (b, n).

    In [0, 1], 0 at pads. Without dropout; word vectors may be trained or not.
    """
    seen: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
        seen.append(given[0].detach().requires_grad_())
        return (seen[0],)

    training = run.model.training
    handle = run.model.encoder.projection.register_forward_pre_hook(keep)
    try:
        run.model.eval()
        loss = batch_loss(run.model, batch, run.settings, run.allowed)
    finally:
        handle.remove()
        run.model.train(training)
    norms = torch.autograd.grad(loss, seen)[0].norm(dim=-1)
    return norms / norms.max(1, keepdim=True).values.clamp(min=1e-30)


def f1_tuned(run: Any, split: str = "test") -> float:
    """The F1 of a split (partial match, per cent) at the threshold that is best on validation.

    Learned thresholds are tuned, too: all are shifted alike.
    """
    best, _ = run.tune_threshold(run.threshold or 0.5)
    gold = [sentence.triples for sentence in getattr(run.data, split)]
    return triple_metrics.triple_scores(run.predict(split, threshold=best), gold)["F1"]


def padding_effect(run: Any, words: Sequence[str], company: Sequence[str]) -> tuple[float, float]:
    """How far a sentence's head scores move when it is batched with a longer one, which pads it.

    The largest change at its last word, and at all others.
    """
    scores = []
    with torch.inference_mode(), run.extractor().ready():
        for texts in ([words], [words, company]):
            read = run.reader.read(texts).items()
            hidden, mask = run.model.encode({k: v.to(run.device) for k, v in read})
            logits = torch.cat(run.model.head_logits(hidden, mask), dim=-1)
            scores.append(logits[0, : len(words)])
    moved = (scores[0] - scores[1]).abs().amax(1)
    return moved[-1].item(), moved[:-1].max().item()


def random_sentences(batch: int, n: int, device: torch.device) -> dict[str, Tensor]:
    """Inputs of sentences of n words for both kinds of encoder, a piece and a marker per word."""
    pieces = torch.randint(1000, 20_000, (batch, 2 * n + 2))
    first = torch.arange(1, 2 * n, 2).expand(batch, n)
    lengths = torch.full((batch,), n)
    inputs = {
        "words": pieces[:, 1:-1:2],
        "pieces": pieces,
        "piece_lengths": 2 * lengths + 2,
        "first": first,
        "after": first + 1,
        "lengths": lengths,
    }
    return {name: value.to(device) for name, value in inputs.items()}


@torch.inference_mode()
def tagging_milliseconds(network: nn.Module, inputs: Mapping[str, Tensor], repeats: int) -> float:
    """Milliseconds per sentence from word ids to all four sets of scores, the best of some passes.

    One head entity per sentence, its second word; no decoding.
    """
    lengths = inputs["lengths"]
    rows = torch.arange(len(lengths), device=lengths.device)
    heads = torch.stack([rows, rows * 0 + 1, rows * 0 + 1, rows * 0], dim=1)

    def once() -> None:
        hidden, mask = network.encode(inputs)
        network.head_logits(hidden, mask)
        start, _ = network.tail_logits(hidden, mask, heads, lengths)
        start.sum().item()  # waits for the device

    return 1000 * min(timeit.repeat(once, number=1, repeat=repeats)) / len(lengths)
