"""The generated world in the layouts of FewRel, NYT, WebNLG and DocRED, as Python objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from relcl_lib.worlds.documents import Document, draw_documents
from relcl_lib.worlds.grammar import RELATIONS
from relcl_lib.worlds.sentences import Example, draw_sentences, draw_triples
from relcl_lib.worlds.text import Sentence
from relcl_lib.worlds.world import World

SENTENCE_SIZES = {"train": 120, "test": 20}
TRIPLE_SIZES = {"train": 1200, "valid": 200, "test": 400}
SPO_SIZES = {"train": 400, "valid": 80, "test": 160}
DOCUMENT_SIZES = {"train": 240, "dev": 50, "test": 100}

Record = dict[str, Any]


def schema() -> list[dict[str, str]]:
    """List every relation with its types, in the order of the relation numbers.

    Returns:
        Dicts of `relation` (a path as in NYT), `subject_type` and `object_type` (PER, LOC, ORG,
        OTH).
    """
    return [{"relation": r.path, "subject_type": r.head, "object_type": r.tail} for r in RELATIONS]


def _fewrel(example: Example, world: World) -> Record:
    record: Record = {"tokens": list(example.sentence.tokens)}
    for key, entity in (("h", example.head), ("t", example.tail)):
        name = example.sentence.surface(entity).lower()
        record[key] = [name, entity, example.sentence.mentions(entity)]
    return record


def make_sentences(
    world: World, sizes: Mapping[str, int] = SENTENCE_SIZES
) -> dict[str, dict[str, list[Record]]]:
    """Make sentences for relation classification in FewRel's layout.

    Args:
        world: from `make_world`.
        sizes: sentences of each relation, for `train` and `test`.

    Returns:
        Split -> relation id -> records of `tokens`, `h` and `t` ([lower-cased name, entity id,
        lists of token positions, one a mention]).
    """
    drawn = draw_sentences(world, sizes["train"], sizes["test"])
    return {
        split: {key: [_fewrel(example, world) for example in found] for key, found in by.items()}
        for split, by in drawn.items()
    }


def _triple_record(sentence: Sentence, layout: str) -> Record:
    paths = {relation.id: relation.path for relation in RELATIONS}
    text = " ".join(sentence.tokens)
    triples = [
        (sentence.surface(h), paths[r], sentence.surface(t)) for h, r, t in sentence.triples()
    ]
    if layout == "triple_list":
        return {"text": text, "triple_list": [list(triple) for triple in triples]}
    return {
        "text": text.lower(),
        "spo_list": [
            {"subject": head.lower(), "object": tail.lower(), "predicate": path}
            for head, path, tail in triples
        ],
    }


def make_triples(
    world: World,
    sizes: Mapping[str, int] = TRIPLE_SIZES,
    layout: Literal["triple_list", "spo_list"] = "triple_list",
) -> dict[str, list[Record]]:
    """Make sentences for triple extraction.

    Of each split 50 % are normal, 20 % have an entity pair with two relations (EPO) and 30 %
    share single entities only (SEO).

    Args:
        world: from `make_world`.
        sizes: sentences of each split; `test` is the one with held-out words, facts and names.
        layout: `triple_list` for NYT24 and WebNLG, `spo_list` for NYT10 (lower-cased).
    """
    drawn = draw_triples(world, sizes)
    return {split: [_triple_record(s, layout) for s in found] for split, found in drawn.items()}


def _docred(document: Document, world: World) -> Record:
    order = {entity: i for i, entity in enumerate(document.entities())}
    vertices: list[list[Record]] = [[] for _ in order]
    for number, sentence in enumerate(document.sentences):
        for key, start, end in sentence.spans:
            kind = world.entities[key].type
            vertices[order[key]].append(
                {
                    "name": " ".join(sentence.tokens[start:end]),
                    "sent_id": number,
                    "pos": [start, end],
                    "type": "MISC" if kind == "OTH" else kind,
                }
            )
    labels = [
        {
            "h": order[label.head],
            "t": order[label.tail],
            "r": label.relation,
            "evidence": list(label.evidence),
            "stated": label.stated,
            "hops": label.hops,
        }
        for label in document.labels
    ]
    sents = [list(sentence.tokens) for sentence in document.sentences]
    return {"title": document.title, "sents": sents, "vertexSet": vertices, "labels": labels}


def make_documents(
    world: World, sizes: Mapping[str, int] = DOCUMENT_SIZES
) -> dict[str, list[Record]]:
    """Make documents of 4 to 8 sentences in DocRED's layout.

    Args:
        world: from `make_world`.
        sizes: documents of each split; `test` is the one with held-out words and entities.

    Returns:
        Split -> records of `title`, `sents`, `vertexSet` (pronouns are no mentions) and `labels`,
        each with `stated` and `hops` beside DocRED's keys.
    """
    drawn = draw_documents(world, sizes)
    return {split: [_docred(d, world) for d in found] for split, found in drawn.items()}
