"""What a FastRE run is built of: word vectors, the network, decoding rules, batches, augmentation."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from relcl_lib.data.triples import Sentence, Triple, TripleData
from relcl_lib.lab.runtime import resolve_device, resolve_precision, seeded_initialisation
from relcl_lib.losses import cascade_loss, tagging_loss
from relcl_lib.models.casrel import CasRel, CasRelConfig, PieceReader, PretrainedEncoder
from relcl_lib.models.tagger import ConvEncoder, FastRE, TaggerConfig
from relcl_lib.papers.fastre.parameters import FastreParameters
from relcl_lib.papers.fastre.warm_start import known_and_new, load_start, take_over
from relcl_lib.text.decode import CASREL, EVERY, NEAREST, SpanRules
from relcl_lib.text.pretrained import encoder_vectors, load_encoder
from relcl_lib.text.schema import Schema
from relcl_lib.text.spans import Batch, Reader
from relcl_lib.text.words import (
    FIRST_WORD,
    WordReader,
    WordVectors,
    count_words,
    random_vectors,
    read_glove,
)


def word_vectors(settings: FastreParameters, data: TripleData, seed: int) -> WordVectors:
    """Read or draw the word vectors of a run; their `source` belongs in its record.

    Of given vectors the words of all three splits are kept, which is the same as keeping all: they
    are not trained. Random ones exist for the training split's words only.
    """
    train = count_words(sentence.text for sentence in data.train)
    if settings.word_vectors is None:
        return random_vectors(train, settings.vector_size, seed, min_count=settings.min_count)
    others = count_words(sentence.text for sentence in (*data.valid, *data.test))
    wanted = list(train | others)
    if Path(settings.word_vectors).is_dir():
        return encoder_vectors(settings.word_vectors, wanted)
    return read_glove(settings.word_vectors, wanted, every=settings.all_words)


def vectors_digest(vectors: WordVectors) -> str:
    """SHA-256 of a run's words and their vectors, 64 hex digits, in whatever order a file has them.

    Of a whole file and of an extract with the data's words it is the same, as a run keeps no others.
    """
    order = sorted(range(len(vectors.words)), key=vectors.words.__getitem__)
    digest = hashlib.sha256("\n".join(vectors.words[at] for at in order).encode())
    digest.update(vectors.matrix[FIRST_WORD:][order].contiguous().numpy())
    return digest.hexdigest()


def build_network(
    settings: FastreParameters, data: TripleData, schema: Schema, seed: int
) -> tuple[FastRE | CasRel, Reader, WordVectors | None]:
    """Build the network of a run, what reads words for it, and its word vectors (CasRel's: none)."""
    sizes = CasRelConfig(len(schema.relations), settings.max_tokens)
    with seeded_initialisation(seed):
        if settings.method == "CasRel":
            tokenizer, network = load_encoder(settings.encoder)
            reader = PieceReader(tokenizer, settings.max_tokens, network=network.config)
            device = resolve_device(settings.device)
            precision = resolve_precision(settings.encoder_precision, device)
            encoder = PretrainedEncoder(network, precision)
            return CasRel(sizes, encoder), reader, None
        vectors = word_vectors(settings, data, seed)
        start = load_start(settings.start_from) if settings.start_from else None
        if start is not None:
            vectors = known_and_new(start, vectors)
        config = tagger_config(settings, schema, vectors.matrix.shape[1])
        reader = WordReader(vectors.words, settings.max_tokens)
        if settings.casrel:
            encoder = ConvEncoder(config, vectors.matrix, settings.train_vectors)
            model: FastRE | CasRel = CasRel(sizes, encoder)
        else:
            model = FastRE(config, vectors.matrix, settings.train_vectors)
        if start is not None:
            take_over(model, schema, start)
        return model, reader, vectors


def tagger_config(settings: FastreParameters, schema: Schema, vector_size: int) -> TaggerConfig:
    """The network's sizes and switches, from resolved parameters."""
    names = [field.name for field in fields(TaggerConfig) if hasattr(settings, field.name)]
    of_data = {
        "n_types": len(schema.types),
        "n_relations": len(schema.relations),
        "vector_size": vector_size,
        "dilations": tuple(settings.dilations),
    }
    return TaggerConfig(**{name: getattr(settings, name) for name in names} | of_data)


def span_rules(settings: FastreParameters) -> tuple[SpanRules, SpanRules]:
    """The decoding rules of heads and of tails.

    The release lets a head end less than 20 tokens after its start, and a tail at most 20. It also
    drops tails on the last token, which looks like a left-over of a [SEP].
    """
    if settings.casrel:
        return CASREL, CASREL
    heads = SpanRules(EVERY, settings.max_head_gap)
    return heads, SpanRules(NEAREST, settings.max_tail_gap, settings.keep_last_token)


def batch_loss(
    model: FastRE | CasRel, batch: Batch, settings: FastreParameters, allowed: Tensor
) -> Tensor:
    """The loss of a batch: of its head entities, and of the tails of the heads chosen.

    `allowed` (K, R) bool are the relations of each type, for settings that mask the training.
    """
    hidden, mask = model.encode(batch.inputs)
    heads = model.head_logits(hidden, mask)
    tails = model.tail_logits(hidden, mask, batch.heads, batch.inputs["lengths"])
    rivals = None
    if settings.relation_mask == "train+infer":
        rivals = allowed[batch.heads[:, 3]].unsqueeze(1)  # (m, 1, R)
    options = {"threshold": settings.threshold, "epsilon": settings.loss_epsilon}
    of_heads = zip(heads, (batch.head_start, batch.head_end), strict=True)
    of_tails = zip(tails, (batch.tail_start, batch.tail_end), strict=True)
    return cascade_loss(
        tuple(tagging_loss(*pair, **options) for pair in of_heads),
        tuple(tagging_loss(*pair, allowed=rivals, **options) for pair in of_tails),
        mask[..., 0].bool(),
        batch.heads[:, 0],
        batch.weights,
        scale=settings.loss_scale,
        mask_pads=settings.mask_pads,
    )


def augment_sentences(sentences: Sequence[Sentence], generator: torch.Generator) -> list[Sentence]:
    """Rewrite about half of the sentences with entities of other ones (the release, on NYT11).

    One triple of the sentence and one training triple of the same relation are drawn; the subject,
    then the object of the first are replaced by those of the second everywhere in the text and in
    all triples, as substrings: the release hits inside other words too, and so does this.
    """
    by_relation: dict[str, list[Triple]] = defaultdict(list)
    for sentence in sentences:
        for triple in sentence.triples:
            by_relation[triple.relation].append(triple)
    draws = torch.rand(len(sentences), 3, generator=generator).tolist()
    rewritten = []
    for sentence, (chance, which, other) in zip(sentences, draws, strict=True):
        if chance >= 0.5 or not sentence.triples:
            rewritten.append(sentence)
            continue
        old = sentence.triples[int(which * len(sentence.triples))]
        pool = by_relation[old.relation]
        new = pool[int(other * len(pool))]

        def swap(text: str, old: Triple = old, new: Triple = new) -> str:
            return text.replace(old.subject, new.subject).replace(old.object, new.object)

        triples = tuple(Triple(swap(s), r, swap(o)) for s, r, o in sentence.triples)
        rewritten.append(Sentence(swap(sentence.text), triples))
    return rewritten
