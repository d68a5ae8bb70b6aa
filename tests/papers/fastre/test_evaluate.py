"""A saved tagger on records of several sentences: read as `extract` reads them."""

import pytest
from fastre_data import learned_run, tiny_data

from relcl_lib.data.triples import Sentence, Triple
from relcl_lib.papers.fastre.evaluate import APART, evaluate_on, locate, parted
from relcl_lib.text import triple_metrics


@pytest.fixture
def extractor():
    extractor = learned_run().extractor()
    extractor.words = "punctuation"
    assert extractor.by_sentence
    return extractor


def paragraphs(size=6):
    train = [s for s in tiny_data().train if len(s.text.split()) <= 30]  # none is cut
    groups = [train[at : at + size] for at in range(0, len(train) - size + 1, size)]
    return [
        Sentence(
            "  ".join(s.text for s in group),
            tuple(dict.fromkeys(t for s in group for t in s.triples)),
        )
        for group in groups
    ]


@pytest.mark.parametrize("by_sentence", [True, False])
def test_evaluate_scores_what_extract_finds(extractor, by_sentence):
    extractor.by_sentence = by_sentence
    records = paragraphs()
    found = [
        [(t.subject, t.relation, t.object) for t in triples]
        for triples in extractor.extract([record.text for record in records])
    ]
    gold = [record.triples for record in records]
    result = evaluate_on(extractor, records)
    assert result["sentences"] == len(records)
    assert result["gold"] == sum(map(len, gold))
    assert result["found"] == sum(len(set(triples)) for triples in found) > 0
    for name, value in triple_metrics.all_scores(found, gold).items():
        assert result[name] == pytest.approx(value), name
    alone = evaluate_on(extractor, tiny_data().train)["F1_exact"]
    assert (result["F1_exact"] > 0.9 * alone) == by_sentence and alone > 30


def test_triples_are_located_in_what_is_read_at_a_time(extractor):
    records = paragraphs()
    total = sum(len(record.triples) for record in records)
    assert not any(extractor.extract_with_cuts([record.text for record in records])[1])
    report = locate(extractor, records)
    assert (report["triples"], report["tagged"], report["sentences"]) == (
        total,
        total,
        len(records),
    )
    assert report["beyond_cut"] == report["apart"] == 0
    extractor.by_sentence = False
    assert locate(extractor, records)["beyond_cut"] > total / 2  # of 30 words


def test_a_triple_belongs_to_the_sentence_where_it_stands(extractor):
    relation, other = extractor.schema.relations[:2]
    text = "Ada came. Bo left. Then Ada met Bo. Cy and Ada met Bo, too."
    triples = [
        ("Ada", relation, "Bo"),
        ("Bo", other, "Cy"),
        ("Ada", other, "Dee"),
        ("Bo", "?", "Ada"),
    ]
    apart = ("Ada came. Bo left.", (Triple("Ada", relation, "Bo"),))
    record = Sentence(text, tuple(Triple(*t) for t in triples))
    parts, rest = parted(extractor, record)
    assert [part.text for part in parts] == [
        "Ada came .",
        "Bo left .",
        "Then Ada met Bo .",
        "Cy and Ada met Bo , too .",
    ]
    assert [part.triples for part in parts] == [
        (),
        (),
        (record.triples[0], record.triples[3]),
        (record.triples[1],),
    ]
    assert rest.triples == (record.triples[2],)
    assert sorted(parted(extractor, record).triples) == sorted(record.triples)
    report = locate(extractor, [record, Sentence(*apart)])
    assert (report["sentences"], report["triples"], report["tagged"]) == (2, 5, 2)
    assert report["lost_examples"][APART] == (1, "record 2: 'Ada', 'Bo'")
    assert report["not_located"] == report["apart"] == 1 and report["unknown_relation"] == {"?": 1}
    assert "record 1: 'Dee'" in [example for _, example in report["lost_examples"].values()]


def test_given_spans_say_in_which_sentence(extractor):
    text, relation = "Ada met Bo. Now Ada met Bo. Ada left.", extractor.schema.relations[0]

    def at(subject, thing):
        spans = ((subject, subject + 3), (thing, thing + 2))
        return parted(extractor, Sentence(text, (Triple("Ada", relation, "Bo"),), (spans,)))

    second = text.index("Now") + 4
    parts, rest = at(second, text.index("Bo", second))
    assert [len(part.triples) for part in parts] == [0, 1, 0] and not rest.triples
    assert parts[1].spans == (((4, 7), (12, 14)),)
    # Spans in different sentences: the same names stand together elsewhere.
    parts, rest = at(text.rindex("Ada"), text.index("Bo"))
    assert [len(part.triples) for part in parts] == [1, 0, 0] and not rest.triples


def test_a_record_that_is_read_whole_stays_as_it_is(extractor):
    extractor.by_sentence = False
    for record in paragraphs()[:3]:
        parts, rest = parted(extractor, record)
        assert len(parts) == 1 and parts[0].triples == record.triples and not rest.triples


def test_an_entity_that_is_written_in_words_is_found_in_its_sentence(extractor):
    relation = extractor.schema.relations[0]
    text, triple = "Ada left. Bo likes Lowford (UK).", Triple("Bo", relation, "Lowford ( UK )")
    parts, rest = parted(extractor, Sentence(text, (triple,)))
    assert [part.triples for part in parts] == [(), (triple,)] and not rest.triples
    apart = Sentence(text, (triple._replace(subject="Ada"),))
    report = locate(extractor, [Sentence(text, (triple,)), apart])
    assert (report["triples"], report["tagged"], report["apart"]) == (2, 1, 1)
