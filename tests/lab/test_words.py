"""Every key that a table or a claim shows is a word."""

import pytest

from relcl_lib.commands.tables import paper_rows
from relcl_lib.lab import words
from relcl_lib.lab.claim_files import read_claims
from relcl_lib.papers.registry import PAPERS

#: symbols of the papers, which their notebooks define
SYMBOLS = ("A_T", "F_T", "N_I", "τ_min", "τ_max", "PCR_CT", "PCR_C")


def is_plain(text):
    for symbol in SYMBOLS:
        text = text.replace(symbol, "x")
    return not {"_", ";"} & set(text) and "  " not in text and text == text.strip()


def claimed(paper):
    comparisons = [each for claim in read_claims(paper) for each in claim.comparisons]
    settings = [each for claim in read_claims(paper) for each in claim.settings]
    read = [
        s.read(c) for claim in read_claims(paper) for s in claim.settings for c in claim.comparisons
    ]
    sides = [side for each in (*comparisons, *read) for side in (each.left, each.right)]
    metrics = {each.metric for each in (*comparisons, *read, *sides)} - {None}
    return metrics, {f"{k}={v}" for each in (*sides, *settings) for k, v in each.parameters.items()}


@pytest.mark.parametrize("paper", PAPERS)
def test_metrics_settings_and_names_are_words(paper):
    rows = paper_rows(paper)
    metrics, parts = claimed(paper)
    for key in metrics | {row.our_metric for row in rows}:
        assert words.metric(key) != key and is_plain(words.metric(key)), key
        assert is_plain(words.column(key)), key
    for part in parts | {part for row in rows for part in words.settings(row.setting)}:
        # What a setting is called where the table's name says it all may be nothing.
        assert is_plain(words.phrase(part)), part
    for row in rows:
        assert is_plain(words.name(row.dataset)) and is_plain(words.name(row.method)), row


@pytest.mark.parametrize("paper", PAPERS)
def test_every_table_says_what_it_shows(paper):
    unnamed = {row.table for row in paper_rows(paper) if not words.table(paper, row.table)}
    assert not unnamed


def test_what_shares_a_column_is_told_apart_by_the_setting():
    """Two metrics of one method and setting never come under one heading."""
    for paper in PAPERS:
        found = {}
        for row in paper_rows(paper):
            # A row whose setting is its metric is a column of its method's line.
            parts = tuple(p for p in words.settings(row.setting) if p != row.our_metric)
            line = (row.table, row.dataset, parts, row.shown or row.method)
            seen = found.setdefault((*line, words.column(row.our_metric)), row.our_metric)
            assert seen == row.our_metric, row


def test_parts_and_phrases():
    assert words.setting("buffer=200") == ("memory", "200")
    assert words.setting("partial match") == ("", "partial match")
    assert words.phrase("lambda=0.0002") == "λ = 0.0002"
    assert words.phrase("train_vectors=False") == "vectors fixed"
    assert words.phrase("some_key=some_value") == "some key some_value"
    assert words.metric("T10") == "accuracy after task 10 (%)"
    assert words.metric("F1") == "F1 (%)" and words.without_unit("F1 (%)") == "F1"
    assert words.settings("a=1;b") == ["a=1", "b"]
    assert words.settings("a=one, or two, b.c=2", ", ") == ["a=one, or two", "b.c=2"]
