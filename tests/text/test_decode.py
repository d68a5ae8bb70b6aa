"""Check 11 of the FastRE specification: the decoder against a loop written from the rules."""

import pytest
import torch
from fastre_data import FASTRE_HEADS, FASTRE_TAILS
from hypothesis import given, settings
from hypothesis import strategies as st

from relcl_lib.text.decode import SpanRules, join_triples, pair_spans


def naive_heads(starts, ends, length, max_gap=19):
    """Inference rule 2: every end before the next start of the type, shorter than the limit."""
    found = set()
    for row in range(len(starts)):
        for kind in range(starts.shape[2]):
            begin = [i for i in range(length[row]) if starts[row, i, kind]]
            close = [i for i in range(length[row]) if ends[row, i, kind]]
            for k, a in enumerate(begin):
                if not close:
                    continue
                limit = begin[k + 1] if k + 1 < len(begin) else close[-1] + 2
                for e in close:
                    if a <= e < limit and e - a < max_gap + 1:
                        found.add((row, a, e, kind))
    return found


def naive_tails(starts, ends, length, max_gap=20, keep_last_token=True):
    """Inference rule 4: the first end at or after each start."""
    found = set()
    for row in range(len(starts)):
        for relation in range(starts.shape[2]):
            for p in range(length[row]):
                if not starts[row, p, relation]:
                    continue
                q = next((q for q in range(p, length[row]) if ends[row, q, relation]), None)
                if q is None or (max_gap is not None and q - p > max_gap):
                    continue
                if q == length[row] - 1 and not keep_last_token:
                    continue
                found.add((row, p, q, relation))
    return found


def tags(*on, n=60, classes=1, rows=1):
    out = torch.zeros(rows, n, classes, dtype=torch.bool)
    for place in on:
        row, position, label = place if isinstance(place, tuple) else (0, place, 0)
        out[row, position, label] = True
    return out


@given(seed=st.integers(0, 10**6), share=st.floats(0, 0.6), n=st.integers(1, 50))
@settings(max_examples=120, deadline=None)
def test_equals_the_naive_loops(seed, share, n):
    g = torch.Generator().manual_seed(seed)
    starts, ends = (torch.rand(3, n, 3, generator=g) < share for _ in range(2))
    lengths = torch.randint(1, n + 1, (3,), generator=g)
    heads = pair_spans(starts, ends, FASTRE_HEADS, lengths).tolist()
    assert len(set(map(tuple, heads))) == len(heads)
    assert set(map(tuple, heads)) == naive_heads(starts, ends, lengths.tolist())
    for gap in (20, None):
        for last in (True, False):
            rules = SpanRules("nearest", gap, last)
            tails = pair_spans(starts, ends, rules, lengths).tolist()
            assert len(set(map(tuple, tails))) == len(tails)
            expected = naive_tails(starts, ends, lengths.tolist(), gap, last)
            assert set(map(tuple, tails)) == expected


def spans(rules, starts, ends, lengths=None):
    found = pair_spans(tags(*starts), tags(*ends), rules, lengths)
    return [tuple(row[1:3]) for row in found.tolist()]


def test_two_starts_before_one_end():
    assert spans(FASTRE_HEADS, [2, 5], [8]) == [(5, 8)]
    assert spans(FASTRE_TAILS, [2, 5], [8]) == [(2, 8), (5, 8)]


def test_an_end_at_the_next_start_belongs_to_that_start():
    assert spans(FASTRE_HEADS, [2, 5], [5]) == [(5, 5)]
    assert spans(FASTRE_TAILS, [2, 5], [5]) == [(2, 5), (5, 5)]


def test_several_ends_of_one_start():
    assert spans(FASTRE_HEADS, [2], [2, 4, 9]) == [(2, 2), (2, 4), (2, 9)]
    assert spans(FASTRE_TAILS, [2], [2, 4, 9]) == [(2, 2)]


@pytest.mark.parametrize("gap", [19, 20, 21])
def test_span_limits(gap):
    assert bool(spans(FASTRE_HEADS, [3], [3 + gap])) == (gap < 20)
    assert bool(spans(FASTRE_TAILS, [3], [3 + gap])) == (gap <= 20)


def test_last_token_rule():
    lengths = torch.tensor([10])
    strict = SpanRules("nearest", 20, keep_last_token=False)
    assert spans(FASTRE_TAILS, [9], [9], lengths) == [(9, 9)]
    assert spans(strict, [9, 4], [9], lengths) == []
    assert spans(strict, [4], [8, 9], lengths) == [(4, 8)]
    assert spans(strict, [59], [59]) == []


def test_nothing_crosses_rows_classes_or_the_end():
    starts = tags((0, 58, 0), (1, 3, 1), (1, 40, 0), rows=2, classes=2)
    ends = tags((1, 2, 0), (1, 5, 0), (0, 59, 1), (1, 50, 0), rows=2, classes=2)
    for rules in (FASTRE_HEADS, FASTRE_TAILS):
        assert pair_spans(starts, ends, rules).tolist() == [[1, 40, 50, 0]]
        assert pair_spans(starts, ends, rules, torch.tensor([60, 45])).tolist() == []


def test_empty_inputs():
    none = torch.zeros(0, 5, 3, dtype=torch.bool)
    assert pair_spans(none, none, FASTRE_HEADS).shape == (0, 4)
    assert pair_spans(tags(1), tags(), FASTRE_TAILS).shape == (0, 4)
    heads = torch.zeros(0, 4, dtype=torch.long)
    assert join_triples(heads, heads).shape == (0, 7)


def test_the_map_drops_relations_of_other_types():
    heads = torch.tensor([[0, 1, 2, 0], [0, 1, 2, 1]])
    tails = torch.tensor([[0, 4, 4, 0], [0, 5, 5, 1], [1, 4, 4, 0], [1, 5, 5, 1]])
    allowed = torch.tensor([[True, False], [False, True]])
    assert len(join_triples(heads, tails)) == 4
    kept = join_triples(heads, tails, allowed).tolist()
    assert kept == [[0, 1, 2, 0, 0, 4, 4], [0, 1, 2, 1, 1, 5, 5]]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_no_triple_violates_the_map_and_one_type_makes_it_a_no_op(seed):
    g = torch.Generator().manual_seed(seed)
    on = [torch.rand(2, 12, 3, generator=g) < 0.3 for _ in range(2)]
    lengths = torch.randint(1, 13, (2,), generator=g)
    heads = pair_spans(*on, FASTRE_HEADS, lengths)
    tail_on = [torch.rand(len(heads), 12, 4, generator=g) < 0.3 for _ in range(2)]
    tails = pair_spans(*tail_on, FASTRE_TAILS, lengths[heads[:, 0]])
    allowed = torch.rand(3, 4, generator=g) < 0.5
    free, kept = join_triples(heads, tails), join_triples(heads, tails, allowed)
    assert allowed[kept[:, 3], kept[:, 4]].all()
    assert {tuple(t) for t in kept.tolist()} <= {tuple(t) for t in free.tolist()}
    everything = torch.ones(3, 4, dtype=torch.bool)
    assert torch.equal(join_triples(heads, tails, everything), free)


def test_an_unknown_pairing_is_refused():
    with pytest.raises(ValueError, match="pairing"):
        SpanRules("some")
