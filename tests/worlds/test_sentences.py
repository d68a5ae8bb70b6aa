import dataclasses
import functools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relcl_lib.worlds import sentences as synthetic_sentences
from relcl_lib.worlds.corpus import make_sentences, make_triples, schema
from relcl_lib.worlds.grammar import PATTERNS, RELATIONS
from relcl_lib.worlds.rules import relations_of
from relcl_lib.worlds.sentences import draw_sentences, draw_triples, overlap_kind
from relcl_lib.worlds.world import make_world

SIZES = {"train": 12, "test": 8}
ONE = {"train": 1}
TRIPLES = {"train": 100, "valid": 20, "test": 60}
HELD_OUT = {p.key for patterns in PATTERNS.values() for p in patterns if p.held_out}
PATHS = {relation.id: relation.path for relation in RELATIONS}
few = settings(max_examples=4, deadline=None)
# Seeds are drawn, not worlds: a failure would print the whole world.
seeds = st.integers(0, 10_000)


@functools.cache
def world():
    return make_world(0)


@few
@given(seeds)
def test_fewrel_spans_are_the_names(seed):
    world = make_world(seed, 40)
    for split, by in make_sentences(world, SIZES).items():
        assert list(by) == [relation.id for relation in RELATIONS]
        for record in (record for records in by.values() for record in records):
            assert set(record) == {"tokens", "h", "t"}
            taken = set()
            for name, key, mentions in (record["h"], record["t"]):
                for positions in mentions:
                    words = [record["tokens"][i] for i in positions]
                    assert " ".join(words).lower() == name
                    assert positions == list(range(positions[0], positions[-1] + 1))
                    assert not taken & set(positions)
                    taken |= set(positions)
                assert name in [n.lower() for n in world.entities[key].names]
            assert record["tokens"][-1] == "."
        assert {len(records) for records in by.values()} == {SIZES[split]}


@few
@given(seeds)
def test_sentences_state_the_relation_asked_for_and_splits_are_apart(seed):
    world = make_world(seed, 40)
    drawn = {
        split: [example for examples in by.values() for example in examples]
        for split, by in draw_sentences(world, 12, 8).items()
    }
    for sentence, head, asked, tail in (e for examples in drawn.values() for e in examples):
        same_pair = [t for t in sentence.triples() if (t[0], t[2]) == (head, tail)]
        assert same_pair == [(head, asked, tail)]
        assert set(sentence.facts) <= set(world.facts)
    train, test = drawn["train"], drawn["test"]
    assert not HELD_OUT & {key for example in train for key in example.sentence.keys}
    assert not any(world.is_test(fact) for example in train for fact in example.sentence.facts)
    assert not {example[1:] for example in train} & {example[1:] for example in test}
    tokens = [example.sentence.tokens for example in train + test]
    assert len(set(tokens)) == len(tokens)


def test_about_half_of_the_test_is_held_out_words_and_three_per_cent_is_open():
    drawn = draw_sentences(world(), 60, 40)
    keys = {
        split: Counter(key for v in by.values() for e in v for key in e.sentence.keys)
        for split, by in drawn.items()
    }
    told = {
        split: sum(n for key, n in counted.items() if ":" not in key)
        for split, counted in keys.items()
    }
    unseen = sum(n for key, n in keys["test"].items() if key in HELD_OUT)
    assert 0.4 < unseen / told["test"] < 0.6
    # Every training paraphrase occurs, and every held-out one.
    assert set(keys["train"]) >= {p.key for ps in PATTERNS.values() for p in ps} - HELD_OUT
    assert set(keys["test"]) >= HELD_OUT
    open_ones = sum(n for key, n in keys["train"].items() if key.startswith("ambiguous:"))
    assert 0.015 < open_ones / (open_ones + told["train"]) < 0.05


def test_what_cannot_be_drawn_is_refused(monkeypatch):
    facts = tuple(fact for fact in world().facts if fact.predicate != "capital")
    lacking = dataclasses.replace(world(), facts=facts)
    for draw in (lambda: draw_sentences(lacking, 1, 1), lambda: draw_triples(lacking, ONE)):
        with pytest.raises(ValueError, match=r"no capital for train: make a larger world"):
            draw()
    monkeypatch.setattr(synthetic_sentences, "_example", lambda *_: None)
    with pytest.raises(ValueError, match=r"only 0 different train sentences .* ask for fewer"):
        draw_sentences(world(), 1, 1)
    monkeypatch.setattr(synthetic_sentences, "_findable", lambda _: False)
    with pytest.raises(ValueError, match=r"too few different .* for train: ask for fewer"):
        draw_triples(world(), ONE)


@pytest.mark.parametrize(
    "triples, kind",
    [
        ("arb crd", "normal"),
        ("arb asb", "epo"),
        ("arb bsa", "seo"),
        ("arb brc", "seo"),
        ("arb asb brc", "epo"),
        ("arb", "normal"),
    ],
)
def test_overlap_kinds_are_casrels(triples, kind):
    assert overlap_kind(map(tuple, triples.split())) == kind


@few
@given(seeds)
def test_triples_fit_the_schema_and_are_found_where_their_names_first_stand(seed):
    world = make_world(seed, 40)
    types = {entry["relation"]: tuple(entry.values())[1:] for entry in schema()}
    drawn, written = draw_triples(world, TRIPLES), make_triples(world, TRIPLES)
    for split, size in TRIPLES.items():
        kinds = Counter(overlap_kind(record["triple_list"]) for record in written[split])
        assert kinds == {"normal": size * 0.5, "epo": size * 0.2, "seo": size * 0.3}
        assert len({record["text"] for record in written[split]}) == size
        for sentence, record in zip(drawn[split], written[split], strict=True):
            assert record["text"].split(" ") == list(sentence.tokens)
            low = [token.lower() for token in sentence.tokens]
            for (head, relation, tail), triple in zip(
                sentence.triples(), record["triple_list"], strict=True
            ):
                assert triple == [sentence.surface(head), PATHS[relation], sentence.surface(tail)]
                entities = [world.entities[key] for key in (head, tail)]
                assert types[triple[1]] == tuple(entity.type for entity in entities)
                for entity, name in zip(entities, triple[::2], strict=True):
                    assert name in entity.names
                    words = name.lower().split()
                    first = next(i for i in range(len(low)) if low[i : i + len(words)] == words)
                    assert list(range(first, first + len(words))) in sentence.mentions(entity.id)


def test_triples_of_train_and_test_are_apart_as_stated():
    drawn = draw_triples(world(), TRIPLES)
    seen = {fact for split in ("train", "valid") for s in drawn[split] for fact in s.facts}
    assert not any(world().is_test(fact) for fact in seen)
    keys = {key for split in ("train", "valid") for s in drawn[split] for key in s.keys}
    assert not keys & HELD_OUT
    test = [sentence for sentence in drawn["test"] if sentence.facts]
    unseen = sum(any(world().is_test(fact) for fact in s.facts) for s in test)
    assert 0.3 < unseen / len(test) < 0.7
    labels = {PATHS[r] for s in drawn["train"] for f in s.facts for _, r, _ in relations_of(f)}
    assert labels == set(PATHS.values())
