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
def test_a_sentence_states_the_relation_asked_for_and_no_other_of_the_pair(seed):
    world = make_world(seed, 40)
    for by in draw_sentences(world, 12, 8).values():
        for relation, examples in by.items():
            for sentence, head, asked, tail in examples:
                assert asked == relation
                assert [t for t in sentence.triples() if (t[0], t[2]) == (head, tail)] == [
                    (head, asked, tail)
                ]
                assert all(fact in world.facts for fact in sentence.facts)


@few
@given(seeds)
def test_train_and_test_share_no_asked_fact_no_held_out_paraphrase_and_no_sentence(seed):
    world = make_world(seed, 40)
    drawn = draw_sentences(world, 12, 8)
    train = [example for examples in drawn["train"].values() for example in examples]
    test = [example for examples in drawn["test"].values() for example in examples]
    assert not HELD_OUT & {key for example in train for key in example.sentence.keys}
    assert not any(world.is_test(fact) for example in train for fact in example.sentence.facts)
    asked = {example[1:] for example in train}
    assert not asked & {example[1:] for example in test}
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


def test_a_world_without_facts_for_a_relation_is_refused():
    facts = tuple(fact for fact in world().facts if fact.predicate != "capital")
    lacking = dataclasses.replace(world(), facts=facts)
    with pytest.raises(ValueError, match=r"no capital for train: make a larger world"):
        draw_sentences(lacking, 1, 1)
    with pytest.raises(ValueError, match=r"no capital for train: make a larger world"):
        draw_triples(lacking, {"train": 1})


def test_more_sentences_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(synthetic_sentences, "_example", lambda *_: None)
    with pytest.raises(ValueError, match=r"only 0 different train sentences .* ask for fewer"):
        draw_sentences(world(), 1, 1)
    monkeypatch.setattr(synthetic_sentences, "_findable", lambda _: False)
    with pytest.raises(ValueError, match=r"too few different .* for train: ask for fewer"):
        draw_triples(world(), {"train": 1})


def test_overlap_kinds_are_casrels():
    assert overlap_kind([("a", "r", "b"), ("c", "r", "d")]) == "normal"
    assert overlap_kind([("a", "r", "b"), ("a", "s", "b")]) == "epo"
    assert overlap_kind([("a", "r", "b"), ("b", "s", "a")]) == "seo"
    assert overlap_kind([("a", "r", "b"), ("b", "r", "c")]) == "seo"
    assert overlap_kind([("a", "r", "b"), ("a", "s", "b"), ("b", "r", "c")]) == "epo"
    assert overlap_kind([("a", "r", "b")]) == "normal"


@few
@given(seeds)
def test_triples_are_found_in_the_text_and_fit_the_schema(seed):
    world = make_world(seed, 40)
    types = {entry["relation"]: tuple(entry.values())[1:] for entry in schema()}
    names = {}
    for entity in world.entities.values():
        for name in entity.names:
            names.setdefault(name, set()).add(entity.type)
    for records in make_triples(world, TRIPLES).values():
        for record in records:
            triples = [tuple(triple) for triple in record["triple_list"]]
            assert len(set(triples)) == len(triples) > 0
            for head, relation, tail in triples:
                assert f" {head} " in f" {record['text']} "
                assert f" {tail} " in f" {record['text']} "
                assert types[relation][0] in names[head] and types[relation][1] in names[tail]


@few
@given(seeds)
def test_the_first_match_of_a_name_is_the_entity(seed):
    world = make_world(seed, 40)
    for sentence in (s for split in draw_triples(world, TRIPLES).values() for s in split):
        low = [token.lower() for token in sentence.tokens]
        for head, _, tail in sentence.triples():
            for entity in (head, tail):
                words = sentence.surface(entity).lower().split()
                first = next(i for i in range(len(low)) if low[i : i + len(words)] == words)
                assert list(range(first, first + len(words))) in sentence.mentions(entity)


@few
@given(seeds)
def test_overlap_shares_are_as_stated(seed):
    world = make_world(seed, 40)
    drawn = make_triples(world, TRIPLES)
    for split, size in TRIPLES.items():
        kinds = Counter(overlap_kind(record["triple_list"]) for record in drawn[split])
        assert kinds == {"normal": size * 0.5, "epo": size * 0.2, "seo": size * 0.3}
        assert len({record["text"] for record in drawn[split]}) == size


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
