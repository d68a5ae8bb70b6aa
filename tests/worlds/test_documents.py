import functools
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from relcl_lib.worlds.corpus import make_documents
from relcl_lib.worlds.documents import draw_documents
from relcl_lib.worlds.grammar import AMBIGUOUS, NULL, PATTERNS, RELATIONS
from relcl_lib.worlds.rules import closure, relations_of
from relcl_lib.worlds.text import Ref, null_clause
from relcl_lib.worlds.world import make_world

SIZES = {"train": 14, "dev": 4, "test": 10}
TYPES = {relation.id: (relation.head, relation.tail) for relation in RELATIONS}
HELD_OUT = {p.key for patterns in PATTERNS.values() for p in patterns if p.held_out}
PRONOUNS = {"he", "she", "it"}
few = settings(max_examples=4, deadline=None)
# Seeds are drawn, not worlds: a failure would print the whole world.
seeds = st.integers(0, 10_000)
_TABLES = {"": PATTERNS, "ambiguous": AMBIGUOUS, "null": NULL}


@functools.cache
def drawn():
    world = make_world(0)
    return world, draw_documents(world, {"train": 60, "dev": 10, "test": 40})


def documents(found):
    return [document for split in found.values() for document in split]


@few
@given(seeds)
def test_mentions_are_names_at_their_place(seed):
    world = make_world(seed, 40)
    for records in make_documents(world, SIZES).values():
        for record in records:
            assert 4 <= len(record["sents"]) <= 8
            for mentions in record["vertexSet"]:
                assert mentions and len({mention["type"] for mention in mentions}) == 1
                for mention in mentions:
                    start, end = mention["pos"]
                    words = record["sents"][mention["sent_id"]][start:end]
                    assert " ".join(words) == mention["name"]
                    assert mention["name"].lower() not in PRONOUNS
                    assert mention["type"] in ("PER", "LOC", "ORG", "MISC")


@few
@given(seeds)
def test_labels_are_the_closure_of_what_is_said_and_evidence_is_enough(seed):
    world = make_world(seed, 40)
    for document in documents(draw_documents(world, SIZES)):
        said = [set(sentence.facts) for sentence in document.sentences]
        assert set().union(*said) <= set(world.facts)
        assert len(document.labels) == len({label[:3] for label in document.labels})
        assert {label[:3] for label in document.labels} == triples_of(closure(set().union(*said)))
        for label in document.labels:
            types = (world.entities[label.head].type, world.entities[label.tail].type)
            assert types == TYPES[label.relation]
            stating = tuple(i for i, facts in enumerate(said) if label[:3] in triples_of(facts))
            assert label.stated == bool(stating)
            if stating:
                assert label.evidence == stating and label.hops == 1
            premises = {fact for i in label.evidence for fact in said[i]}
            assert label[:3] in triples_of(closure(premises))


def triples_of(facts):
    return {triple for fact in facts for triple in relations_of(fact)}


def _runs(key):
    """The runs of plain words of a paraphrase."""
    table, _, name = key.rpartition(":")
    name, _, number = name.partition("/")
    runs, run = [], []
    for word in _TABLES[table][name][int(number)].words:
        if word.startswith(("{", "[")) or word == "|":
            runs, run = [*runs, run], []
        else:
            run.append(word)
    return [r for r in [*runs, run] if r]


def test_a_stated_fact_is_worded_in_its_sentence():
    _, found = drawn()
    for document in documents(found):
        for sentence in document.sentences:
            text = f" {' '.join(sentence.tokens).lower()} "
            named = {span.entity for span in sentence.spans}
            keys = [key for key in sentence.keys if not key.startswith("null:")]
            assert len(keys) == len(sentence.facts)
            for key, fact in zip(keys, sentence.facts, strict=True):
                assert key.removeprefix("ambiguous:").split("/")[0] == fact.predicate
                assert all(f" {' '.join(run)} ".lower() in text for run in _runs(key))
                # One of the two may be a pronoun, never both.
                absent = {fact.a, fact.b} - named
                assert not absent or (len(absent) == 1 and PRONOUNS & set(text.split()))


def test_a_clause_that_states_nothing_names_two_that_no_fact_connects():
    world, rng = make_world(0), Random("null clauses")
    connected = {frozenset((fact.a, fact.b)) for fact in world.facts}
    near = [entity for fact in world.facts[::40] for entity in fact[1:]]
    drawn = [null_clause(rng, world, near) for _ in range(300)]
    for clause in filter(None, drawn):
        named = [word.entity for word in clause.words if isinstance(word, Ref)]
        assert clause.fact is None and len(named) == 2
        assert frozenset(named) not in connected
    assert sum(clause is not None for clause in drawn) > 100


def test_pronouns_refer_to_the_subject_of_the_sentence_before():
    world, found = drawn()
    pronouns = 0
    for document in documents(found):
        mentioned = set()
        for sentence in document.sentences:
            named = {span.entity for span in sentence.spans}
            referents = {entity for fact in sentence.facts for entity in fact[1:]} - named
            assert len(referents) <= 1
            for entity in referents:
                form = {"m": "he", "f": "she", "": "it"}[world.entities[entity].gender]
                assert form in [token.lower() for token in sentence.tokens]
                assert entity in mentioned
                pronouns += 1
            mentioned = named | referents
    assert pronouns > 20


def test_the_first_mention_is_the_full_name_and_later_ones_often_are_not():
    world, found = drawn()
    aliases = 0
    for document in documents(found):
        introduced = set()
        for sentence in document.sentences:
            for entity, start, end in sentence.spans:
                names = world.entities[entity].names
                name = " ".join(sentence.tokens[start:end])
                assert name in names and (entity in introduced or name == names[0])
                introduced.add(entity)
                aliases += name != names[0]
    assert aliases > 100


def test_a_share_of_the_facts_is_inferred_some_over_three_hops():
    _, found = drawn()
    labels = [label for document in documents(found) for label in document.labels]
    inferred = [label for label in labels if not label.stated]
    assert 0.2 < len(inferred) / len(labels) < 0.4
    assert sum(label.hops >= 3 for label in labels) > 0.01 * len(labels)
    assert sum(len(label.evidence) > 1 for label in inferred) > 0.6 * len(inferred)
    pairs = sum(len(d.entities()) * (len(d.entities()) - 1) for d in documents(found))
    related = sum(len({label[:3:2] for label in d.labels}) for d in documents(found))
    assert related / pairs < 0.3


def test_only_the_test_split_has_held_out_entities_and_words():
    world, found = drawn()
    for split, of_split in found.items():
        unseen = [any(world.entities[e].held_out for e in d.entities()) for d in of_split]
        keys = {key for d in of_split for s in d.sentences for key in s.keys}
        assert any(unseen) == bool(keys & HELD_OUT) == (split == "test")
    assert 0.4 < sum(unseen) / len(unseen) < 0.95


def test_titles_and_texts_are_unique():
    _, found = drawn()
    titles = [document.title for document in documents(found)]
    texts = [tuple(s.tokens for s in document.sentences) for document in documents(found)]
    assert len(set(titles)) == len(titles) and len(set(texts)) == len(texts)
