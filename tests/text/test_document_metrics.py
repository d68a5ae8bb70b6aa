"""Check 14 of the specification: scores of document-level relations."""

import math
from pathlib import Path

import pytest
import torch

from relcl_lib.data.document_files import Document, Fact, Mention, read_documents
from relcl_lib.text.document_metrics import (
    LIMIT,
    all_scores,
    average_precision,
    best_threshold,
    fact_scores,
    ignore_scores,
    inference_scores,
    is_intra,
    name_facts,
    paired_bootstrap,
    stated_recalls,
    threshold_f1,
    triangle_facts,
    within_limit,
)

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "redocred"


def document(facts, sentences=((0,), (0, 1), (1,), (2,)), **changes):
    """Four entities a, b, c, d; `sentences` says where each is mentioned."""
    entities = tuple(
        tuple(Mention(s, at, at + 1, "PER", f"{'abcd'[at]}{s}") for s in where)
        for at, where in enumerate(sentences)
    )
    text = tuple(tuple("abcd") for _ in range(3))
    return Document("t", text, entities, tuple(Fact(*fact) for fact in facts), **changes)


GOLD = [(0, "r", 1), (1, "r", 2), (0, "q", 2), (0, "s", 3)]


def facts(*rows):
    return {Fact(*row) for row in rows}


def test_micro_scores_over_documents():
    documents = [document(GOLD), document(GOLD[:1])]
    predicted = [facts(GOLD[0], GOLD[2], (3, "r", 0)), facts()]
    found = fact_scores(predicted, documents)
    assert found == pytest.approx({"precision": 200 / 3, "recall": 40, "F1": 50})
    assert fact_scores([facts()] * 2, documents)["F1"] == 0
    assert fact_scores([facts()], [document([])])["F1"] == 0


def test_ignored_facts_leave_the_precision_only():
    gold = document(GOLD)
    predicted = [facts(GOLD[0], GOLD[1], (3, "r", 0))]
    plain = fact_scores(predicted, [gold])
    assert ignore_scores(predicted, [gold], set())["IgnF1"] == pytest.approx(plain["F1"], abs=1e-2)
    # One name of each entity is enough.
    one = ignore_scores(predicted, [gold], {("a0", "b1", "r")})
    precision, recall = 1 / 2, 2 / 4
    assert one["precision"] == pytest.approx(100 * precision, abs=1e-2)
    assert one["IgnF1"] == pytest.approx(200 * precision * recall / (precision + recall), abs=1e-2)
    # A wrong prediction that training knows stays wrong.
    assert ignore_scores(predicted, [gold], {("d2", "a0", "r")}) == pytest.approx(
        ignore_scores(predicted, [gold], set())
    )
    every = ignore_scores(predicted, [gold], name_facts([gold]))
    assert every["IgnF1"] == 0
    assert every["recall"] == pytest.approx(50)


@pytest.mark.parametrize("relations", [1, 6, 12])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_best_threshold_is_that_of_a_plain_search(relations, seed):
    g = torch.Generator().manual_seed(seed)
    margins = torch.randn(30, relations, generator=g).mul(2).round(decimals=1)  # with ties
    labels = torch.rand(30, relations, generator=g) < 0.2
    gold = int(labels.sum()) + 3  # facts of pairs that were cut away

    def plain(threshold):
        hits = found = 0
        for row, right in zip(margins.tolist(), labels.tolist(), strict=True):
            first = sorted(range(relations), key=lambda r: -row[r])[:LIMIT]
            chosen = [r for r in first if row[r] > threshold]
            found += len(chosen)
            hits += sum(right[r] for r in chosen)
        return 200 * hits / (found + gold)

    distinct = margins.unique(sorted=False).tolist()
    best = best_threshold(margins, labels, gold)
    assert best not in distinct
    found = threshold_f1(margins, labels, gold, best)
    assert found == pytest.approx(plain(best))
    assert found == pytest.approx(max(plain(x - 1e-4) for x in distinct))


@pytest.mark.parametrize("limit", [1, 3, 40])
def test_the_limit_keeps_the_largest_of_equal_ones_the_first(limit):
    margins = torch.randn(200, 30, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    expected = []
    for row in margins.tolist():
        first = sorted(range(30), key=lambda r: (-row[r], r))[:limit]
        expected.append([x if r in first else -math.inf for r, x in enumerate(row)])
    assert within_limit(margins, limit).tolist() == torch.tensor(expected).tolist()


def test_where_nothing_right_is_found_no_threshold_is_best():
    none = torch.zeros(4, 2, dtype=torch.bool)
    for margins, labels in ((torch.randn(4, 2), none), (torch.zeros(0, 2), none[:0])):
        assert best_threshold(margins, labels, 5) == float("inf")
        assert threshold_f1(margins, labels, 5, float("inf")) == 0
    one = torch.tensor([[-3.0]])
    assert best_threshold(one, torch.tensor([[True]]), 1) < -3


def test_names_of_all_mentions_make_the_known_facts():
    found = name_facts([document([(0, "r", 1), (1, "r", 2)])])
    assert found == {
        *(("a0", "b0", "r"), ("a0", "b1", "r")),
        *(("b0", "c1", "r"), ("b1", "c1", "r")),
    }


def test_intra_and_inter_split_gold_and_predictions():
    gold = document(GOLD)
    assert [is_intra(gold, fact) for fact in gold.facts] == [True, True, False, False]
    predicted = [facts(GOLD[0], GOLD[2], (3, "r", 0))]
    intra = fact_scores(predicted, [gold], is_intra)
    inter = fact_scores(predicted, [gold], lambda d, f: not is_intra(d, f))
    assert intra == pytest.approx({"precision": 100, "recall": 50, "F1": 200 / 3})
    assert inter == pytest.approx({"precision": 50, "recall": 50, "F1": 50})


def test_triangles():
    assert triangle_facts(facts(*GOLD)) == facts(*GOLD[:3])
    assert triangle_facts(facts(*GOLD[:2], GOLD[3])) == set()
    # Every fact of a side counts, and going there and back is no triangle.
    assert triangle_facts(facts(*GOLD, (0, "x", 1))) == facts(*GOLD[:3], (0, "x", 1))
    assert triangle_facts(facts((0, "r", 1), (1, "r", 0), (0, "r", 2))) == set()
    assert triangle_facts(facts((0, "r", 0), (0, "r", 1), (1, "r", 0))) == set()  # two entities


def test_both_readings_of_inference_scores():
    gold = document(GOLD)
    perfect = [facts(*GOLD)]
    assert inference_scores(perfect, [gold])["F1"] == 100
    other = inference_scores(perfect, [gold], "all")
    assert (other["precision"], other["recall"]) == (75, 100)
    part = [facts(GOLD[0], GOLD[1])]
    assert inference_scores(part, [gold])["recall"] == 0  # no triangle among the predictions
    assert inference_scores(part, [gold], "all")["recall"] == pytest.approx(200 / 3)
    with pytest.raises(ValueError, match="variant='b'"):
        inference_scores(perfect, [gold], "b")


def test_stated_and_inferred_facts_apart():
    gold = document(GOLD, inferred=frozenset(facts(GOLD[2], GOLD[3])))
    found = stated_recalls([facts(GOLD[0], GOLD[1], GOLD[2])], [gold])
    assert found == {"recall_stated": 100, "recall_inferred": 50}
    assert stated_recalls([facts()], [document(GOLD)]) == {}


def test_all_scores_under_the_papers_names():
    found = all_scores([facts(*GOLD)], [document(GOLD)], name_facts([document(GOLD[:1])]))
    for name in ("F1", "Intra-F1", "Inter-F1", "Infer-F1", "Infer-P", "Infer-R"):
        assert found[name] == 100
    assert found["Infer-P_all"] == 75
    assert found["IgnF1"] == pytest.approx(100, abs=1e-2)


def test_inference_scores_are_left_out_where_no_gold_fact_lies_on_a_triangle():
    """CDR and GDA: between two kinds of entity there is none, and 0 would look like a score."""
    gold = [document([(0, "r", 1), (2, "r", 1)]), document(GOLD[:2])]
    predicted = [facts((0, "r", 1)), facts(*GOLD)]  # a triangle of predictions is none of gold
    found = all_scores(predicted, gold)
    assert not [name for name in found if name.startswith("Infer-")]
    assert found["F1"] > 0
    both = all_scores([*predicted, facts()], [*gold, document(GOLD)])
    assert both["Infer-R"] == 0


@pytest.mark.skipif(not REAL.is_dir(), reason="no Re-DocRED beside the checkout")
def test_real_re_docred():
    """Measured on the dev split: check 14."""
    documents = read_documents(REAL / "dev_revised.json")
    intra = sum(is_intra(d, fact) for d in documents for fact in d.facts)
    closed = sum(len(triangle_facts(d.gold())) for d in documents)
    assert (intra, 17_284 - intra, closed) == (7982, 9302, 12_024)


def test_average_precision_equals_its_definition():
    """Mean over the facts of the precision at the rank where each is found."""
    g = torch.Generator().manual_seed(0)
    for _ in range(5):
        margins, labels = torch.randn(30, 3, generator=g), torch.rand(30, 3, generator=g) < 0.2
        order = margins.flatten().argsort(descending=True)
        hits = labels.flatten()[order].tolist()
        precisions = [sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]
        gold = int(labels.sum()) + 4  # of pairs that were cut away
        expected = 100 * sum(precisions) / gold
        assert average_precision(margins, labels, gold) == pytest.approx(expected)


def test_average_precision_knows_of_no_threshold():
    margins, labels = torch.tensor([[2.0], [1.0], [-3.0]]), torch.tensor([[True], [True], [False]])
    assert average_precision(margins - 9, labels, 2) == pytest.approx(100)
    assert average_precision(margins, labels & False, 0) == 0


def test_the_bootstrap_equals_a_loop():
    entities = tuple((Mention(0, i, i + 1, "X", str(i)),) for i in range(4))
    documents = [
        Document(str(i), (("a", "b", "c", "d"),), entities, (Fact(0, "r", 1), Fact(1, "r", 2)))
        for i in range(6)
    ]
    right, wrong = Fact(0, "r", 1), Fact(2, "r", 3)
    one = [{right}, {wrong}, set(), {right, wrong}, {right}, set()]
    other = [{right, Fact(1, "r", 2)}, set(), {right}, {wrong}, {right}, {wrong}]
    found = paired_bootstrap(one, other, documents, draws=200)
    drawn = torch.randint(6, (200, 6), generator=torch.Generator().manual_seed(0)).tolist()
    loop = []
    for rows in drawn:
        some = [documents[i] for i in rows]
        f1 = [fact_scores([each[i] for i in rows], some)["F1"] for each in (one, other)]
        loop.append(f1[1] - f1[0])
    assert found["p"] == pytest.approx(sum(x <= 0 for x in loop) / 200)
    low, high = torch.tensor(loop).double().quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))
    whole = [fact_scores(each, documents)["F1"] for each in (one, other)]
    assert found["difference"] == pytest.approx(whole[1] - whole[0])
    assert found["low"] < found["difference"] < found["high"]
    same = paired_bootstrap(one, one, documents)
    assert same == {"difference": 0, "low": 0, "high": 0, "p": 1}
    better = paired_bootstrap([set()] * 6, [set(d.facts) for d in documents], documents)
    assert better == {"difference": 100, "low": 100, "high": 100, "p": 0}
