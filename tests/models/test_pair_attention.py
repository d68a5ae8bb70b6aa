"""Checks 4 to 7 of the specification: extended cross attention against a loop over cells and heads."""

import math

import pytest
import torch
from pair_matrices import pair_matrix, renumbered

from relcl_lib.models import pair_attention
from relcl_lib.models.pair_attention import CrossedAttention, PairAttention


def by_head(layer, queries, memory):
    """Queries, keys and values of all pairs, (p, 4, e) each."""
    pairs = ((layer.query, queries), (layer.key, memory), (layer.value, memory))
    return [part(x).unflatten(-1, (4, -1)) for part, x in pairs]


@torch.no_grad()
def naive(layer, queries, memory, cells):
    """The four heads, cell by cell, from their definition."""
    valid = cells.valid()
    q, k, v = map(cells.fill, by_head(layer, queries, memory))
    out = []
    for b, s, o in cells.pairs.tolist():
        heads = []
        for h in range(4):
            line = [((s, m), (m, o), (m, s), (o, m))[h] for m in range(cells.n)]
            line = [cell for cell in line if valid[b, *cell] and not (h < 2 and cell == (s, o))]
            scores = [float(q[b, s, o, h] @ k[b, s, o, h]) * layer.scale + layer.own_bonus]
            scores += [float(q[b, s, o, h] @ k[b, *cell, h]) * layer.scale for cell in line]
            weights = [math.exp(x) for x in scores]
            values = [v[b, s, o, h], *(v[b, *cell, h] for cell in line)]
            heads.append(sum(w * x for w, x in zip(weights, values, strict=True)) / sum(weights))
        out.append(layer.out(torch.cat(heads)))
    return torch.stack(out)


def make(cells, size=8, memory=12, bonus=0.0, attention=CrossedAttention, seed=0):
    torch.manual_seed(seed)
    layer = attention(size, memory, 0.1, bonus).double().eval()
    p = len(cells.pairs)
    return layer, *(torch.randn(p, w, dtype=torch.float64) for w in (size, memory))


def holes(sizes, share, seed=1):
    g = torch.Generator().manual_seed(seed)
    n = max(sizes)
    return torch.rand(len(sizes), n, n, generator=g) < share


@pytest.mark.parametrize("bonus", [0.0, 1.0])
@pytest.mark.parametrize(
    "sizes, share", [([5], 1.0), ([2], 1.0), ([4, 2, 6], 0.6), ([3, 1, 5], 0.4), ([1, 3], 1.0)]
)
def test_equals_the_loop(sizes, share, bonus):
    cells = pair_matrix(sizes, keep=holes(sizes, share))
    layer, queries, memory = make(cells, bonus=bonus)
    found = layer(queries, memory, cells)
    expected = naive(layer, queries, memory, cells)
    assert (found - expected).abs().max() < 1e-10


@pytest.mark.parametrize("attention", [CrossedAttention, PairAttention])
def test_no_pair_at_all(attention):
    cells = pair_matrix([1, 1])
    layer, queries, memory = make(cells, attention=attention)
    assert layer(queries, memory, cells).shape == (0, 8)


@pytest.mark.parametrize("n", [3, 5, 7])
def test_a_pair_sees_4n_minus_6_cells(n):
    cells = pair_matrix([n])
    layer, queries, memory = make(cells)
    memory.requires_grad_()
    for at, (_, s, o) in enumerate(cells.pairs.tolist()):
        (gradient,) = torch.autograd.grad(layer(queries, memory, cells)[at].square().sum(), memory)
        seen = gradient.abs().amax(1) > 0
        assert int(seen.sum()) == 4 * n - 6
        for (_, a, c), hit in zip(cells.pairs.tolist(), seen.tolist(), strict=True):
            assert hit == bool({a, c} & {s, o})


@pytest.mark.parametrize("bonus", [0.0, 1.0, 7.0])
def test_a_pair_that_is_alone_reads_itself(bonus):
    keep = torch.zeros(1, 4, 4, dtype=torch.bool)
    keep[0, 2, 1] = True
    cells = pair_matrix([4], keep=keep)
    layer, queries, memory = make(cells, bonus=bonus)
    torch.testing.assert_close(layer(queries, memory, cells), layer.out(layer.value(memory)))


def test_a_uniform_orientation_leaves_heads_3_and_4_their_own_cell():
    """Spec 5.31: with every pair from {0, 1} to {2, 3, 4} no pair ends where another starts."""
    keep = torch.zeros(1, 5, 5, dtype=torch.bool)
    keep[0, :2, 2:] = True
    cells = pair_matrix([5], keep=keep)
    layer, queries, memory = make(cells)
    q, k, v = map(cells.fill, by_head(layer, queries, memory))
    attended = layer.attend(q * layer.scale, k, v, cells.valid())
    torch.testing.assert_close(cells.read(attended)[:, 2:], cells.read(v)[:, 2:])


@pytest.mark.parametrize("attention", [CrossedAttention, PairAttention])
def test_permuting_entities_permutes_pairs(attention):
    cells = pair_matrix([5], keep=holes([5], 0.7))
    layer, queries, memory = make(cells, attention=attention)
    other, rank = renumbered(cells, [3, 0, 4, 1, 2])
    torch.testing.assert_close(
        layer(queries[rank], memory[rank], other), layer(queries, memory, cells)[rank]
    )


@pytest.mark.parametrize("attention", [CrossedAttention, PairAttention])
def test_padding_and_neighbours_change_nothing(attention):
    sizes = [3, 6]
    cells = pair_matrix(sizes)
    layer, queries, memory = make(cells, attention=attention)
    together = layer(queries, memory, cells)
    first = cells.pairs[:, 0] == 0
    alone = pair_matrix([3])
    torch.testing.assert_close(layer(queries[first], memory[first], alone), together[first])


def test_attention_to_all_pairs_equals_a_loop():
    cells = pair_matrix([3, 4], keep=holes([3, 4], 0.7))
    layer, queries, memory = make(cells, attention=PairAttention)
    q, k, v = by_head(layer, queries, memory)
    found = layer(queries, memory, cells)
    documents = cells.pairs[:, 0]
    for i in range(len(queries)):
        same = documents == documents[i]
        weights = torch.einsum("he,jhe->hj", q[i], k[same]) / math.sqrt(q.shape[-1])
        expected = torch.einsum("hj,jhe->he", weights.softmax(-1), v[same])
        torch.testing.assert_close(found[i], layer.out(expected.flatten()))


# --- what is kept for the gradient ---------------------------------------------------------------


def kept_bytes(layer, queries, memory, cells):
    """Bytes that autograd keeps of a forward pass, each block of memory once."""
    blocks = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        blocks[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = layer(
            queries, memory, cells
        )  # held, so that no block is freed and counted as another
    del out
    return sum(blocks.values())


def test_chunks_of_queries_change_no_number(monkeypatch):
    cells = pair_matrix([5, 3], keep=holes([5, 3], 0.8))
    found = []
    for scores in (2**23, 2 * 4 * len(cells.pairs), 1):  # all queries, a few, one at once
        monkeypatch.setattr(pair_attention, "SCORES", scores)
        layer, queries, memory = make(cells, attention=PairAttention)
        layer.dropout.p = 0.0
        queries.requires_grad_(), memory.requires_grad_()
        out = layer.train()(queries, memory, cells)
        out.square().sum().backward()
        found.append((out, queries.grad, memory.grad, layer.key.weight.grad))
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            torch.testing.assert_close(another, one)


def test_dropout_of_chunks_is_the_same_in_both_passes(monkeypatch):
    """The scores made again for the gradient meet the zeros of the first time."""
    cells = pair_matrix([4])
    layer, queries, memory = make(cells, attention=PairAttention)
    layer.train().dropout.p = 0.5
    monkeypatch.setattr(pair_attention, "SCORES", 4 * len(cells.pairs))

    def loss(values):
        torch.manual_seed(3)
        return layer(queries, values, cells).square().sum()

    assert torch.autograd.gradcheck(loss, memory.requires_grad_())


def test_attention_to_all_pairs_keeps_nothing_quadratic_in_the_pairs():
    """At 60 entities the scores alone are 191 MiB, and three of that kind were kept."""
    kept = {}
    for n in (40, 60):
        cells = pair_matrix([n])
        layer, queries, memory = make(cells, size=16, memory=16, attention=PairAttention)
        layer, queries, memory = layer.float().train(), queries.float(), memory.float()
        kept[n] = kept_bytes(layer, queries, memory, cells)
    pairs = {n: n * (n - 1) for n in kept}
    assert kept[60] < 4 * 4 * pairs[60] ** 2 / 100
    assert kept[60] / kept[40] < 1.1 * pairs[60] / pairs[40]


def test_crossed_attention_keeps_n_cubed_scores():
    """Its scores are 4 n^2 (n + 1), those of attention to all pairs 4 n^4: nothing to chunk."""
    kept = {}
    for n in (20, 60):
        cells = pair_matrix([n])
        layer, queries, memory = make(cells, size=4, memory=4)
        layer, queries, memory = layer.float().train(), queries.float(), memory.float()
        kept[n] = kept_bytes(layer, queries, memory, cells)
        assert kept[n] < 5 * 4 * 4 * n**2 * (n + 1)
    assert kept[60] / kept[20] < 3**3


def test_matrices_are_filled_and_read_back():
    cells = pair_matrix([2, 3], keep=holes([2, 3], 0.8))
    values = torch.randn(len(cells.pairs), 2)
    matrix = cells.fill(values)
    assert torch.equal(cells.read(matrix), values)
    assert (matrix[~cells.valid()] == 0).all()
    assert int(cells.valid().sum()) == len(values)


@pytest.mark.parametrize("attention", [CrossedAttention, PairAttention])
@pytest.mark.parametrize("sizes, share", [([5], 1.0), ([4, 2, 6], 0.6), ([2, 1], 1.0)])
def test_the_map_is_what_the_values_are_weighted_with(attention, sizes, share):
    cells = pair_matrix(sizes, keep=holes(sizes, share))
    layer, queries, memory = make(cells, bonus=0.5, attention=attention)
    rows = torch.arange(len(cells.pairs)).flip(0)
    seen = layer.attention_map(queries, memory, cells, rows)
    assert seen.shape == (len(rows), cells.n, cells.n)
    torch.testing.assert_close(seen.sum((1, 2)), torch.ones(len(rows), dtype=seen.dtype))
    # With values of 1 for one pair, and an output that sums the heads, a pair gets its weight.
    with torch.no_grad():
        for part in (layer.value.weight, layer.value.bias, layer.out.weight, layer.out.bias):
            part.zero_()
        layer.value.weight[:, 0] = 1
        layer.out.weight[0] = 1 / 8
        layer.key.weight[:, 0] = 0  # the mark is no part of the keys
        seen = layer.attention_map(queries, memory, cells, rows)
        for at, (document, s, o) in enumerate(cells.pairs.tolist()):
            marked = memory.clone()
            marked[:, 0] = 0
            marked[at, 0] = 1
            share_of_it = layer(queries, marked, cells)[rows, 0]
            same = cells.pairs[rows, 0] == document
            torch.testing.assert_close(seen[same, s, o], share_of_it[same])
            assert not share_of_it[~same].any()
