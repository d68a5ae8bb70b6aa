"""Task orders and splits of relations, against the released code's table and a naive form."""

import csv
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from relcl_lib.continual.relation_tasks import relation_order, relation_stream, split_relations
from relcl_lib.data.sentences import (
    FEWREL_RELATIONS,
    MarkedSentence,
    RelationSentences,
)

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
# Relations of task 1 by seed: one shuffle (RP-CRE's code), two shuffles (CRECL's code).
TABLE = """
80 2021 26 15 11 58 75 21 64 53 | 34 73 44 9 6 50 61 49
80 2121 6 32 70 75 78 66 41 34 | 9 39 43 0 25 42 18 50
80 2221 42 27 52 11 38 7 73 77 | 61 47 77 25 10 13 9 14
80 2321 31 70 62 25 12 63 28 42 | 27 39 42 1 45 48 25 74
80 2421 41 24 79 42 71 29 62 72 | 9 56 69 24 33 3 28 6
40 2021 3 24 35 22 | 27 15 11 8
40 2121 29 35 38 1 | 1 36 39 0
40 2221 10 8 30 37 | 18 27 12 11
40 2321 31 22 8 10 | 34 14 31 30
40 2421 2 39 31 32 | 9 23 32 22
"""
LAST_TWO = {80: ((29, 32), (42, 18)), 40: ((14, 7), (30, 33))}


def sentences(counts, name="mine", split=None):
    rows = [
        MarkedSentence((f"w{i}", "a"), (0, 1), (1, 2), label)
        for label, count in enumerate(counts)
        for i in range(count)
    ]
    relations = tuple(f"P{label}" for label in range(len(counts)))
    marks = tuple(split or [None] * len(rows))
    return RelationSentences(name, "reduced", relations, relations, tuple(rows), marks, {})


@pytest.mark.parametrize("line", TABLE.strip().splitlines())
def test_the_first_task_is_that_of_the_released_code(line):
    n, seed, *first = (int(word) for word in line.replace("|", "").split())
    each = n // 10
    data = sentences([5] * n)
    for order, expected in (("single", first[:each]), ("double", first[each:])):
        stream = relation_stream(data, 10, seed, order=order)
        assert list(stream[0].classes) == expected
        assert sorted(stream.class_order) == list(range(n))
        assert [label for task in stream for label in task.classes] == list(stream.class_order)
        if seed == 2021:
            assert tuple(stream.class_order[-2:]) == LAST_TWO[n][order == "double"]


def test_all_tasks_of_fewrel_are_those_of_the_five_published_runs():
    """`rp_cre_tasks.csv` has what RP-CRE's released sampler draws from its own list of relations."""
    with (Path(__file__).parent / "rp_cre_tasks.csv").open() as file:
        published = {(row["seed"], row["task"]): row["relations"] for row in csv.DictReader(file)}
    assert len(published) == 50
    found = {}
    for seed in (2021, 2121, 2221, 2321, 2421):
        order = [FEWREL_RELATIONS[label] for label in relation_order(80, seed)]
        for task in range(10):
            found[str(seed), str(task + 1)] = " ".join(order[8 * task : 8 * task + 8])
    assert found == published


def naive_order(n, seed, order):
    random.seed(seed)
    for _ in range({"single": 1, "double": 2}[order]):
        drawn = list(range(n))
        random.shuffle(drawn)
    return np.argsort(drawn).tolist()


def naive_split(groups, seed, train, validation, test):
    parts = []
    for group in groups:
        group = list(group)
        random.seed(seed)
        random.shuffle(group)
        parts.append((group[:train], group[train : train + validation], group[-test:]))
    return parts


@pytest.mark.parametrize("order", ["single", "double"])
@pytest.mark.parametrize("n", [1, 7, 24])
def test_orders_and_splits_equal_the_naive_form(n, order):
    data = sentences([10] * n)
    state = random.getstate()
    groups = [range(10 * label, 10 * label + 10) for label in range(n)]
    try:
        expected_order, expected = naive_order(n, 3, order), naive_split(groups, 3, 6, 2, 2)
    finally:
        random.setstate(state)
    assert relation_order(n, 3, order) == expected_order
    splits = split_relations(data, 3, sizes=(6, 2, 2))
    for label, (train, validation, test) in enumerate(expected):
        assert splits.train[label].tolist() == train
        assert splits.validation[label].tolist() == validation
        assert splits.test[label].tolist() == test
    assert random.getstate() == state  # the global generator is the caller's


def test_fewrel_sizes():
    data = sentences([700] * 80, "fewrel")
    splits = split_relations(data, 2021)
    assert {tuple(map(len, parts)) for parts in zip(*splits, strict=True)} == {(420, 140, 140)}
    everything = torch.cat([part for parts in splits for part in parts])
    assert everything.sort().values.tolist() == list(range(56_000))
    stream = relation_stream(data, 10, 2021)
    assert stream.sizes() == [(3360, 1120)] * 10
    seen = [sum(len(task.test_indices) for task in stream.tasks[: k + 1]) for k in range(10)]
    assert seen == [1120 * k for k in range(1, 11)]
    labels = data.labels
    for task in stream:
        assert set(labels[task.train_indices].tolist()) == set(task.classes)
        assert torch.equal(task.test_indices, torch.cat([splits.test[c] for c in task.classes]))


@pytest.mark.parametrize(
    "count, expected",
    [(137, (97, 0, 40)), (699, (496, 0, 203)), (700, (420, 140, 140)), (3, (2, 0, 1))],
)
def test_smaller_relations_have_no_validation(count, expected):
    splits = split_relations(sentences([count] * 3), 1)
    assert {tuple(map(len, parts)) for parts in zip(*splits, strict=True)} == {expected}


def test_each_relation_is_split_by_itself():
    alone = split_relations(sentences([60, 60, 60]), 3)
    splits = split_relations(sentences([60, 3, 700]), 3)
    sizes = [tuple(map(len, parts)) for parts in zip(*splits, strict=True)]
    assert sizes == [(43, 0, 17), (2, 0, 1), (420, 140, 140)]
    assert torch.equal(splits.train[0], alone.train[0])


def test_the_split_changes_with_the_seed_and_not_between_equal_relations():
    data = sentences([137, 137])
    first, second = split_relations(data, 1), split_relations(data, 2)
    assert not torch.equal(first.test[0], second.test[0])
    assert torch.equal(first.test[0] + 137, first.test[1])


def test_a_given_split_is_kept():
    split = ["train", "test", "train"] * 4
    data = sentences([6, 6], "mine", split)
    splits = split_relations(data, 9)
    assert splits.train[1].tolist() == [6, 8, 9, 11] and splits.test[0].tolist() == [1, 4]
    assert [len(part) for part in splits.validation] == [0, 0]
    assert relation_stream(data, 2, 9).sizes() == [(4, 2)] * 2


def test_tasks_of_unlike_size():
    stream = relation_stream(sentences([5] * 7), 3, 0)
    assert [len(task.classes) for task in stream] == [3, 2, 2]


@pytest.mark.parametrize(
    "counts, options, words",
    [
        (
            [10, 9],
            {"sizes": (6, 2, 2)},
            ["relation P1 of mine has 9", "10 (6, 2, 2)", "at most 9 together"],
        ),
        ([10, 1], {"sizes": (6, 2, 2)}, ["relation P1 of mine has 1", "needs 2", "take it out"]),
        ([10, 1], {}, ["relation P1 of mine has 1", "needs 2", "take it out"]),
        ([10, 9], {"sizes": (6, 2, 0)}, ["relation P0", "sizes=(6, 2, 0) gives none"]),
        ([10, 0], {"sizes": (1, 0, 1)}, ["relation P1 of mine has 0"]),
        ([10], {"sizes": (1, 1)}, ["three counts"]),
        ([10], {"order": "triple"}, ["'single' or 'double'"]),
        ([10], {"n_tasks": 2}, ["n_tasks=2", "1 relations"]),
    ],
)
def test_what_does_not_fit_is_named(counts, options, words):
    with pytest.raises(ValueError) as caught:
        relation_stream(sentences(counts), **{"n_tasks": 1, "seed": 0, **options})
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_split_that_is_not_by_sizes():
    tacred, given = sentences([10, 4], "tacred"), sentences([1, 1], split=["train", "test"])
    with pytest.raises(ValueError, match="relation P1 of tacred has 4 sentences, and needs 5"):
        split_relations(tacred, 0)
    with pytest.raises(ValueError, match=r"relation P0 of mine .* needs one of each split"):
        split_relations(given, 0)
    for data in (tacred, given):
        with pytest.raises(ValueError, match=rf"sizes=\(1, 1, 1\).*{data.name} has a split"):
            split_relations(data, 0, sizes=(1, 1, 1))
