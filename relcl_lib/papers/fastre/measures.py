"""What a record says of a finished run beyond its scores: size, time, attention, gradients, convergence."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch

from relcl_lib.data.ragged import pad_rows
from relcl_lib.models.tagger import FastRE
from relcl_lib.papers.fastre.analysis import (
    attention_received,
    entity_boundaries,
    gradient_norms,
)
from relcl_lib.text.spans import tag_sentences

_WORDS = """
and or but nor as because while although that than if of in on at by for from to with about into over
after before between under during through against
"""
#: conjunctions and prepositions, whose gradients the paper finds near 0 (Section 3.7)
FUNCTION_WORDS = frozenset(_WORDS.split())
#: sentences that attention and gradients are looked at in
LOOKED_AT = 256


def process_seconds(device: torch.device) -> float:
    """A clock for a run's own work: time of this process's cores; on a GPU, of the wall."""
    return time.process_time() if device.type == "cpu" else time.perf_counter()


def network_thousands(model: torch.nn.Module) -> float:
    """Trained numbers without word vectors, in thousands, as the paper counts them (Table 3)."""
    named = model.named_parameters()
    return sum(p.numel() for n, p in named if p.requires_grad and n != "encoder.vectors") / 1000


def convergence(scores: Sequence[float]) -> float:
    """The first epoch, from 1, whose score reaches 95 % of the best one."""
    best = max(scores)
    return next(epoch for epoch, score in enumerate(scores, 1) if score >= 0.95 * best)


def inference_times(run: Any) -> dict[str, float]:
    """Milliseconds per test sentence from words to strings, at batch 1 (the first 100), 8 (800) and 128.

    `infer_log10_ms` is the logarithm of the last, in which a ratio is a difference.
    """
    words = [sentence.text.split() for sentence in run.data.test]
    found = {}
    for size, texts in ((1, words[:100]), (8, words[:800]), (128, words)):
        extractor = run.extractor()
        extractor.batch_size = size
        with extractor.ready():  # once, as a stream of any length has it
            begin = process_seconds(run.device)
            extractor.word_triples(texts, extractor.predict(run.reader.read(texts)))
            seconds = process_seconds(run.device) - begin
        found[f"infer_ms_batch{size}"] = 1000 * seconds / len(texts)
    return found | {"infer_log10_ms": math.log10(max(found["infer_ms_batch128"], 1e-6))}


def where_it_looks(run: Any) -> dict[str, float]:
    """Attention at entity boundaries and elsewhere; gradients of function words and of others.

    Attention is in units of an even share, a gradient relative to the largest of its sentence; entity
    boundaries count for neither kind of word. Of the first test sentences that have a triple.
    """
    if not isinstance(run.model, FastRE):
        return {}
    sentences = [s for s in run.data.test if s.triples][: 2 * LOOKED_AT]
    tagged = tag_sentences(sentences, run.reader, run.schema, unknown_relations="skip")
    rows = tagged.usable[:LOOKED_AT]
    if not len(rows):
        return {}
    batch = tagged.to(run.device).batch(rows.to(run.device), "sum")
    boundary = entity_boundaries(batch)
    training = run.model.training
    run.model.eval()
    with torch.inference_mode():
        hidden, mask = run.model.encode(batch.inputs)
        real = mask[..., 0].bool()
        found = {}
        for name, tagger in (("heads", run.model.heads), ("tails", run.model.tails)):
            received = attention_received(tagger.attention, hidden, mask)
            for kind, where in (("boundary", boundary & real), ("other", real & ~boundary)):
                if where.any():
                    found[f"attention_{name}_{kind}"] = received[where].mean().item()
    run.model.train(training)
    norms = gradient_norms(run, batch).cpu()
    lowered = [sentences[row].text.lower().split() for row in rows.tolist()]
    functional = pad_rows(
        [[w in FUNCTION_WORDS for w in words[: norms.shape[1]]] for words in lowered], 0
    ).bool()
    inside = (real & ~boundary).cpu()
    for kind, where in (("function", functional & inside), ("other", ~functional & inside)):
        if where.any():
            found[f"gradient_{kind}_words"] = norms[where].mean().item()
    return found
