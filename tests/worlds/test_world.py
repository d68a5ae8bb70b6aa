import functools
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relcl_lib.worlds.grammar import AMBIGUOUS, NULL, PATTERNS, RELATIONS, SYMMETRIC, VIEWS
from relcl_lib.worlds.rules import (
    RULES,
    Fact,
    canonical,
    closure,
    derivations,
    proofs,
    relations_of,
)
from relcl_lib.worlds.world import make_world

TYPES_OF = {relation.id: (relation.head, relation.tail) for relation in RELATIONS}
FUNCTIONAL = ("birth", "death", "citizenship", "father", "mother", "capital", "country", "seat")
SMALL = 20
seeds = st.integers(0, 10_000)


@functools.cache
def world_of(seed):
    return make_world(seed, SMALL)


def naive_closure(facts):
    """Try every assignment of entities to variables until nothing new comes."""
    known = set()
    for predicate, a, b in facts:
        known |= {(predicate, a, b)} | ({(predicate, b, a)} if predicate in SYMMETRIC else set())
    entities = sorted({entity for _, *pair in known for entity in pair})
    while True:
        new = set()
        for premises, conclusion in RULES:
            variables = sorted({v for part in (*premises, conclusion) for v in part[1:]})
            for values in itertools.permutations(entities, len(variables)):
                bound = dict(zip(variables, values, strict=True))
                if all((p, bound[x], bound[y]) in known for p, x, y in premises):
                    predicate, x, y = conclusion
                    new.add((predicate, bound[x], bound[y]))
                    if predicate in SYMMETRIC:
                        new.add((predicate, bound[y], bound[x]))
        if new <= known:
            return {canonical(*fact) for fact in known}
        known |= new


def some_facts(world, seed, count):
    """Facts about few entities, so that rules apply."""
    rng = random.Random(seed)
    facts = [rng.choice(world.base)]
    for _ in range(count):
        near = {entity for fact in facts for entity in fact[1:]}
        facts.append(rng.choice([fact for fact in world.base if near & set(fact[1:])]))
    return sorted(set(facts))


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_closure_is_what_the_rules_derive_and_no_more(seed):
    facts = some_facts(world_of(seed % 5), seed, 7)
    assert set(closure(facts)) == naive_closure(facts)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_a_proof_derives_its_fact_and_is_the_fact_where_it_is_stated(seed):
    facts = some_facts(world_of(seed % 5), seed, 7)
    found = proofs(facts)
    assert set(found) == set(closure(facts))
    for fact, support in found.items():
        assert set(support) <= set(facts)
        assert fact in closure(support)
        if fact in facts:
            assert support == (fact,)


def fact(words):
    return Fact(*words.split())


@pytest.mark.parametrize(
    "stated, found, support",
    [
        # three hops by two rules
        ("author w p, birth p c, country c k", "origin w k", "author w p, birth p c, country c k"),
        ("author w p, birth p c, country c k", "citizenship p k", "birth p c, country c k"),
        ("capital k c", "country c k", "capital k c"),
        # of two ways the shorter one
        (
            "birth p c, country c k, birth p d, capital k d",
            "citizenship p k",
            "birth p c, country c k",
        ),
        # a stated fact needs no proof by another
        ("capital k c, country c k", "country c k", "country c k"),
    ],
)
def test_a_proof_is_the_smallest(stated, found, support):
    stated, support = (sorted(map(fact, text.split(", "))) for text in (stated, support))
    assert proofs(stated)[fact(found)] == tuple(support)


def test_different_variables_are_different_entities():
    facts = [Fact("father", "x", "f")]
    assert closure(facts) == tuple(facts)
    assert derivations(facts) == []


def test_relations_come_in_both_directions_where_there_is_an_inverse():
    assert relations_of(Fact("capital", "k", "c")) == [("k", "P36", "c"), ("c", "P1376", "k")]
    assert relations_of(canonical("spouse", "b", "a")) == [("a", "P26", "b"), ("b", "P26", "a")]
    assert relations_of(Fact("birth", "p", "c")) == [("p", "P19", "c")]


def test_there_are_24_relations_each_with_paraphrases_to_train_and_to_test():
    assert len({relation.id for relation in RELATIONS}) == len(RELATIONS) == 24
    assert {view for views in VIEWS.values() for view in views} == set(TYPES_OF)
    assert set(PATTERNS) == set(VIEWS)
    for patterns in PATTERNS.values():
        assert len({pattern.words for pattern in patterns}) == len(patterns) >= 8
        assert sum(not pattern.held_out for pattern in patterns) >= 5
        assert sum(pattern.held_out for pattern in patterns) >= 2


def test_every_phrase_names_each_argument_once_and_begins_with_its_subject():
    for table in (PATTERNS, AMBIGUOUS, NULL):
        for pattern in (p for patterns in table.values() for p in patterns):
            assert pattern.words.count("{a}") == pattern.words.count("{b}") == 1, pattern
            if "|" in pattern.words:
                assert pattern.words.index("|") == 1 and pattern.words[0] in ("{a}", "{b}")


def test_held_out_phrases_use_words_that_training_phrases_have():
    known = {word for ps in PATTERNS.values() for p in ps if not p.held_out for word in p.words}
    unseen = {w for ps in PATTERNS.values() for p in ps if p.held_out for w in p.words} - known
    assert not unseen


@settings(max_examples=6, deadline=None)
@given(seeds)
def test_a_world_is_consistent(seed):
    world = make_world(seed, SMALL)
    assert set(world.base) <= set(world.facts) == set(closure(world.base))
    for fact in world.facts:
        assert fact == canonical(*fact) and fact.a != fact.b
        for head, relation, tail in relations_of(fact):
            types = (world.entities[head].type, world.entities[tail].type)
            assert types == TYPES_OF[relation]
    for predicate in (*FUNCTIONAL, "author", "origin"):
        subjects = [fact.a for fact in world.facts if fact.predicate == predicate]
        assert len(subjects) == len(set(subjects)), predicate
    for predicate, a, b in world.facts:
        if predicate in ("father", "mother"):
            assert world.entities[b].gender == {"father": "m", "mother": "f"}[predicate]
            assert world.entities[a].kind == "person"


def test_the_same_seed_is_the_same_world_and_another_seed_another():
    assert make_world(3, SMALL) == make_world(3, SMALL)
    assert make_world(3, SMALL).facts != make_world(4, SMALL).facts


def test_names_are_not_unique_and_held_out_names_are_not_known():
    world = make_world(0)
    full = [entity.names[0] for entity in world.entities.values()]
    shared = {name for name in full if full.count(name) > 1}
    kinds = {e.kind for e in world.entities.values() if e.names[0] in shared}
    assert {"city", "book"} <= kinds
    surnames = [e.names[1] for e in world.entities.values() if e.kind == "person"]
    assert len(set(surnames)) < len(surnames) / 2

    def own_words(held_out):
        return {
            entity.names[-1].split()[-1]
            for entity in world.entities.values()
            if entity.held_out == held_out and entity.kind in ("person", "city", "country")
        }

    assert not own_words(True) & own_words(False)
    share = sum(entity.held_out for entity in world.entities.values()) / len(world.entities)
    assert 0.12 < share < 0.28


def test_train_and_test_have_facts_of_every_kind():
    world = make_world(0)
    train, test = (
        {fact.predicate for fact in world.facts if world.is_test(fact) == kept}
        for kept in (False, True)
    )
    assert train == test == set(VIEWS)
    known = [fact for fact in world.facts if not world.unseen(fact)]
    assert 0.12 < sum(map(world.is_test, known)) / len(known) < 0.18
    assert not any(world.entities[e].held_out for fact in known for e in fact[1:])


def test_too_small_a_world_is_refused_and_a_large_one_finds_titles():
    with pytest.raises(ValueError, match="10 or more"):
        make_world(0, 9)
    books = [e for e in make_world(0, 240).entities.values() if e.kind == "book"]
    assert len(books) > 484  # more than there are pairs of title words
