"""Check 12 of the FastRE specification, and the patterns of overlap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relcl_lib.text.triple_metrics import (
    all_scores,
    count_class,
    matched,
    overlap_patterns,
    overlap_with_training,
    scores_by_number,
    scores_by_pattern,
    triple_scores,
)

LONG, SHORT = ("new york city", "r", "x"), ("new york", "r", "x")


def f1(predicted, gold, match="partial"):
    return triple_scores([predicted], [gold], match)["F1"]


def test_partial_match_compares_first_words_and_exact_whole_entities():
    assert f1([LONG], [SHORT]) == 100
    assert f1([LONG], [SHORT], "exact") == 0
    assert f1([LONG], [SHORT], "last") == 0
    assert f1([("Ada Byron", "r", "x")], [("Lord Byron", "r", "x")], "last") == 100


def test_what_is_the_same_under_the_match_counts_once():
    scores = triple_scores([[LONG, SHORT]], [[SHORT]])
    assert scores == {"precision": 100, "recall": 100, "F1": 100}
    assert triple_scores([[LONG, SHORT]], [[SHORT]], "exact")["precision"] == 50


def test_case_counts_and_spaces_do_not():
    assert f1([("York", "r", "x")], [("york", "r", "x")]) == 0
    assert f1([("new  york", "r", "x")], [("new york", "r", "x")], "exact") == 100


def test_hand_counts_over_sentences():
    predicted = [[("a", "r", "b"), ("a", "q", "b")], [], [("c", "r", "d")]]
    gold = [[("a", "r", "b")], [("e", "r", "f")], [("c", "r", "d"), ("d", "r", "c")]]
    scores = triple_scores(predicted, gold)
    assert scores["precision"] == pytest.approx(100 * 2 / 3)
    assert scores["recall"] == pytest.approx(50)
    assert scores["F1"] == pytest.approx(100 * 4 / 7)


def test_nothing_scores_nothing():
    assert triple_scores([[]], [[]]) == {"precision": 0, "recall": 0, "F1": 0}


WORDS = st.sampled_from("abcd")
TRIPLES = st.lists(st.lists(st.tuples(WORDS, st.sampled_from("rs"), WORDS)), max_size=5)


@given(TRIPLES, st.randoms())
def test_on_single_words_all_matches_agree_and_f1_is_the_harmonic_mean(gold, random):
    predicted = [[t for t in row if random.random() < 0.6] + [("d", "r", "d")] for row in gold]
    scores = triple_scores(predicted, gold)
    for match in ("exact", "last"):
        assert triple_scores(predicted, gold, match) == scores
    p, r = scores["precision"], scores["recall"]
    assert scores["F1"] == pytest.approx(2 * p * r / (p + r) if p + r else 0)
    assert triple_scores(gold, gold)["F1"] in (0, 100)


@pytest.mark.parametrize(
    "pairs, expected",
    [
        ([], set()),
        (["ab"], {"normal"}),
        (["ab", "cd"], {"normal"}),
        (["ab", "ab"], {"EPO"}),
        (["ab", "ac"], {"SEO"}),
        (["ab", "ba"], {"SEO"}),
        (["ab", "ab", "ac"], {"EPO", "SEO"}),
        (["ab", "ab", "cd"], {"EPO"}),
        (["aa"], {"SEO"}),
    ],
)
def test_overlap_patterns(pairs, expected):
    triples = [(pair[0], f"r{i}", pair[1]) for i, pair in enumerate(pairs)]
    assert overlap_patterns(triples) == expected


def test_scores_by_pattern_and_number():
    gold = [[("a", "r", "b")], [("a", "r", "b"), ("a", "q", "b")], [("a", "r", "b")] * 2, []]
    predicted = [[("a", "r", "b")], [("a", "r", "b")], [], [("x", "r", "y")]]
    by = scores_by_pattern(predicted, gold)
    assert set(by) == {"normal", "EPO"}
    assert by["normal"]["recall"] == 50  # the third sentence has one triple, annotated twice
    assert by["EPO"]["recall"] == 50
    assert set(scores_by_number(predicted, gold)) == {"1", "2"}
    assert [count_class([("a", str(i), "b") for i in range(n)]) for n in (0, 1, 4, 5, 9)] == [
        *("", "1", "4", "5+", "5+")
    ]
    flat = all_scores(predicted, gold)
    assert flat["F1_n1"] == scores_by_number(predicted, gold)["1"]["F1"]
    assert {"F1", "F1_exact", "F1_last", "F1_EPO", "precision_exact"} <= set(flat)


def test_share_of_test_triples_seen_in_training():
    assert overlap_with_training([[SHORT]], [[SHORT, LONG], [SHORT]]) == pytest.approx(200 / 3)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="match='fuzzy'"):
        matched([SHORT], "fuzzy")
    with pytest.raises(ValueError, match="without a word"):
        matched([(" ", "r", "x")])
    with pytest.raises(ValueError, match="zip"):
        triple_scores([], [[]])
