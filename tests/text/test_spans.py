"""Triples located in their texts, and batches of their labels."""

from pathlib import Path
from unicodedata import normalize

import pytest
import torch
from fastre_data import FASTRE_HEADS

from relcl_lib.data.download import DataFormatError, search_folders
from relcl_lib.data.triples import Sentence, Triple, read_sentences
from relcl_lib.papers.fastre.lost import describe_lost, lost_share
from relcl_lib.text.decode import SpanRules, join_triples, pair_spans
from relcl_lib.text.schema import any_schema, paper_schema
from relcl_lib.text.spans import (
    BEYOND_CUT,
    INSIDE_A_WORD,
    NOT_IN_TEXT,
    UNKNOWN_RELATION,
    find_span,
    tag_sentences,
)
from relcl_lib.text.splitting import PUNCTUATION, split_sentences
from relcl_lib.text.triple_metrics import matched, overlap_patterns, triple_scores
from relcl_lib.text.words import WordReader, count_words, random_vectors


def tag(sentences, relations=("r", "q"), max_tokens=10, **options):
    reader = WordReader(
        random_vectors(count_words(s.text for s in sentences), 4, 0).words, max_tokens
    )
    return tag_sentences(sentences, reader, any_schema(relations), **options)


def test_first_occurrence_lower_cased_ends_inclusive():
    sentence = Sentence("In NEW York , new york City", (Triple("New York", "r", "New York city"),))
    tagged = tag([sentence])
    assert tagged.heads.tolist() == [[1, 2, 0]]
    assert tagged.tails.tolist() == [[4, 6, 0]]
    assert find_span(["a", "b"], ["a", "b", "c"]) is None
    assert find_span([], ["a"]) is None


@pytest.mark.parametrize("of_text, of_entity", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_accents_in_either_form_are_located(of_text, of_entity):
    text = normalize(of_text, "The Caf\u00e9 Ren\u00e9 is in N\u00eemes .")
    entities = (normalize(of_entity, "Caf\u00e9 Ren\u00e9"), normalize(of_entity, "N\u00eemes"))
    tagged = tag([Sentence(text, (Triple(entities[0], "r", entities[1]),))])
    assert tagged.heads.tolist() == [[1, 2, 0]] and tagged.tails.tolist() == [[5, 5, 0]]
    (split,) = split_sentences(
        [Sentence(text.replace(" .", "."), (Triple(entities[0], "r", entities[1]),))], PUNCTUATION
    )
    assert split.text == text  # as it was given
    assert split.triples[0][::2] == (" ".join(text.split()[1:3]), text.split()[5])
    assert [text[slice(*span)] for span in split.spans[0]] == list(split.triples[0][::2])


def test_what_cannot_be_tagged_is_counted():
    sentences = [
        Sentence("a b", (Triple("a", "r", "b"), Triple("a", "r", "zz"), Triple("a", "none", "b"))),
        Sentence("c " * 12 + "d", (Triple("c", "r", "d"),)),
        Sentence("", (Triple("a", "r", "b"),)),
        Sentence("   ", ()),
    ]
    report = tag(sentences, unknown_relations="skip").report
    assert report["triples"] == 5
    assert report["tagged"] == 1
    assert report["not_located"] == 2
    assert report["beyond_cut"] == 1
    assert report["unknown_relation"] == {"none": 1}
    assert report["cut_sentences"] == 1
    assert report["empty_sentences"] == 2
    examples = report["lost_examples"]
    assert examples[NOT_IN_TEXT] == (2, "sentence 1: 'zz'")
    assert examples[BEYOND_CUT][1].startswith("sentence 2, of 13 words: 'c'")
    assert examples[UNKNOWN_RELATION] == (1, "sentence 1: 'none'")
    said = describe_lost(report)
    assert said.startswith("4 of 5 triples are not trained on: 2 have an entity that is not in")
    assert "1 more reason" in describe_lost(report, most=2)
    assert "; 1 lies beyond the words that are read (" in said and "; 1 has a relation that" in said
    assert lost_share(report) == 3 / 4  # of relations that the schema has
    with pytest.raises(DataFormatError, match=r"sentence 1: the relation 'none'.*skip"):
        tag(sentences)


def test_an_entity_inside_a_word_is_shown_with_the_word():
    sentence = Sentence("the Lowford-based a", (Triple("Lowford", "r", "a"),))
    report = tag([sentence]).report
    assert report["lost_examples"] == {
        INSIDE_A_WORD: (1, "sentence 1: 'Lowford' in 'Lowford-based'")
    }


def test_plain_text_loses_no_entity_to_a_full_stop_or_to_capitals():
    rows = [
        ("Booker T. sang in Graz.", ("Booker T.", "r", "Graz")),
        ("Ada Lund works for Orbit Inc.", ("Ada Lund", "r", "Orbit Inc")),
        ("Oren Tace left Acme Corp. in May.", ("OREN TACE", "r", "ACME CORP.")),
    ]
    plain = [Sentence(text, (Triple(*triple),)) for text, triple in rows]
    tagged = tag(split_sentences(plain, PUNCTUATION))
    assert tagged.report["tagged"] == 3
    assert tagged.heads.tolist() == [[0, 1, 0]] * 3
    assert tagged.tails.tolist() == [[4, 4, 0], [4, 5, 0], [3, 4, 0]]


def test_spans_say_which_occurrence_is_meant():
    triple = Triple("a", "r", "b c")
    sentence = Sentence("a b c  a b c", (triple, triple), (((7, 8), (9, 12)), None))
    tagged = tag([sentence])
    assert tagged.heads.tolist() == [[3, 3, 0], [0, 0, 0]]
    assert tagged.tails.tolist() == [[4, 5, 0], [1, 2, 0]]
    # Half a word is no entity: the words are looked for instead.
    half = Sentence("ab a b", (Triple("a", "r", "b"),), (((0, 1), (1, 2)),))
    assert tag([half]).heads.tolist() == [[1, 1, 0]]
    far = Sentence("a " + "x " * 12 + "a b", (Triple("a", "r", "b"),), (((26, 27), (28, 29)),))
    assert tag([far]).report["beyond_cut"] == 1


def test_batches_hold_the_labels_of_a_loop():
    sentences = [
        Sentence(
            "a b c d", (Triple("a", "r", "b"), Triple("a", "q", "c d"), Triple("b", "r", "a"))
        ),
        Sentence("zz", ()),
        Sentence("a b", (Triple("b", "q", "a"),)),
    ]
    tagged = tag(sentences)
    assert tagged.usable.tolist() == [0, 2]
    batch = tagged.batch(torch.tensor([2, 0]), "sum")
    assert batch.inputs["words"].shape == (2, 4)
    assert batch.heads.tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 0]]
    assert batch.head_start[..., 0].tolist() == [
        [False, True, False, False],
        [True, True, False, False],
    ]
    assert batch.tail_start.nonzero().tolist() == [[0, 0, 1], [1, 1, 0], [1, 2, 1], [2, 0, 0]]
    assert batch.tail_end.nonzero().tolist() == [[0, 0, 1], [1, 1, 0], [1, 3, 1], [2, 0, 0]]
    assert batch.weights.tolist() == [1, 1, 1]
    assert tagged.batch(torch.tensor([2, 0]), "mean").weights.tolist() == [1, 0.5, 0.5]
    for draw, head in ((0.0, 0), (0.49, 0), (0.5, 1), (0.999, 1)):
        one = tagged.batch(torch.tensor([0]), "one", torch.tensor([draw]))
        assert one.heads.tolist() == [[0, head, head, 0]]
        assert torch.equal(one.head_start, tagged.batch(torch.tensor([0]), "sum").head_start)


def real(name, pattern):
    beside = Path(__file__).resolve().parents[3] / "shared" / "data" / name
    for folder in (*search_folders(name), beside):
        found = sorted(folder.glob(pattern)) if folder.is_dir() else []
        if found:
            return read_sentences(found[0])
    return pytest.skip(f"the real {name} is not on this machine")


def test_the_real_nyt10_test_file():

    sentences = real("nyt10", "new_test.json")
    assert len(sentences) == 4006
    assert sum(len(s.triples) for s in sentences) == 5859
    assert sum(len(matched(s.triples)) for s in sentences) == 5858
    patterns = [overlap_patterns(s.triples) for s in sentences]
    assert [sum(p in found for found in patterns) for p in ("normal", "EPO", "SEO")] == [
        *(2963, 715, 742)
    ]


@pytest.mark.parametrize("keep, ceiling", [(True, 99.95), (False, 99.93)])
def test_oracle_ceiling_of_the_real_nyt10_test_file(keep, ceiling):
    """Check 13: gold tags, decoded and scored."""
    sentences = real("nyt10", "new_test.json")
    schema, reader = paper_schema("nyt10"), WordReader((), 100)
    tagged = tag_sentences(sentences, reader, schema)
    assert len(tagged.heads) == 4705
    assert tagged.report["beyond_cut"] == 4
    found = [[] for _ in sentences]
    for rows in tagged.usable.split(256):
        batch, lengths = tagged.batch(rows, "sum"), tagged.inputs["lengths"][rows]
        # A head that the pairing does not give back loses its tails.
        decoded = pair_spans(batch.head_start, batch.head_end, FASTRE_HEADS, lengths)
        kept = (batch.heads.unsqueeze(1) == decoded).all(-1).any(1)
        assert len(decoded) == kept.sum()
        heads, rules = batch.heads[kept], SpanRules("nearest", 20, keep)
        tails = (batch.tail_start[kept], batch.tail_end[kept])
        tails = pair_spans(*tails, rules, lengths[heads[:, 0]])
        triples = join_triples(heads, tails, schema.mask())
        for row, a, b, _, relation, p, q in triples.tolist():
            at = int(rows[row])
            words = sentences[at].text.split()
            found[at].append(
                (" ".join(words[a : b + 1]), schema.relations[relation], " ".join(words[p : q + 1]))
            )
    scores = triple_scores(found, [s.triples for s in sentences])
    assert scores["precision"] == pytest.approx(100, abs=0.01)
    assert scores["F1"] == pytest.approx(ceiling, abs=0.006)
