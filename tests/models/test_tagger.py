"""Checks 1, 3, 6, 7, 8 and 9 of the FastRE specification, and the tail tagger against its formula."""

import math

import pytest
import torch
import torch.nn.functional as F

from relcl_lib.losses import adaptive_threshold_loss
from relcl_lib.models.convolution import GatedBlock, SelfAttention, convolve
from relcl_lib.models.tagger import FastRE, TaggerConfig, token_mask, trainable_parameters

SMALL = {"vector_size": 12, "hidden": 16, "type_size": 6, "attention_heads": 4, "n_relations": 7}


def make(words=50, **changes):
    torch.manual_seed(0)
    config = TaggerConfig(**{**SMALL, **changes})
    vectors = torch.randn(words, config.vector_size)
    vectors[:2] = 0
    return FastRE(config, vectors).eval()


def sentences(lengths, words=50, seed=0):
    g = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    ids = torch.randint(2, words, (len(lengths), int(lengths.max())), generator=g)
    ids = ids * (torch.arange(ids.shape[1]) < lengths.unsqueeze(1))
    return {"words": ids, "lengths": lengths}


def some_heads(lengths, types):
    spans = [(0, 0), (0, 2), (1, 1), (2, 5)]
    rows = [
        [b, min(s, n - 1), min(e, n - 1), t]
        for b, n in enumerate(lengths)
        for s, e in [*spans, (n - 1, n - 1), (0, n - 1)]
        for t in range(types)
    ]
    return torch.tensor(rows)


def literal_tail_logits(model, hidden, mask, head, length):
    """Section 2.6, one head entity at a time, all 4 d + d_t channels of it."""
    tails, (b, s, e, t) = model.tails, head
    at = torch.arange(hidden.shape[1])
    ends = tails.end_positions or tails.start_positions
    z = torch.cat(
        [
            hidden[b],
            tails.attention(hidden, mask)[b],
            hidden[b, s] + tails.start_positions.weight[(at - s).abs()],
            hidden[b, e] + ends.weight[(at - e).abs()],
            tails.types.weight[t].expand(len(at), -1),
        ],
        dim=-1,
    )
    if tails.mask_pads:
        z = z * mask[b]
    first = tails.first
    u = F.conv1d(z.T[None], first.weight, first.bias, padding=first.padding[0])[0].T
    if tails.start is None:
        return u[:length].chunk(2, dim=-1)
    return tails.start(u.relu())[:length], tails.end(u.relu())[:length]


@pytest.mark.parametrize(
    "types, relations, expected", [(4, 29, 1_096_390), (3, 12, 1_091_682), (4, 24, 1_095_100)]
)
def test_parameter_counts_of_the_paper(types, relations, expected):
    model = FastRE(TaggerConfig(n_types=types, n_relations=relations), torch.zeros(3, 300))
    assert trainable_parameters(model) == expected


def test_parameter_count_with_vectors_of_50_numbers():
    model = FastRE(TaggerConfig(vector_size=50), torch.zeros(2, 50))
    assert trainable_parameters(model) == 1_064_390


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"hidden": 30}, "hidden=30 must be a multiple of attention_heads=8"),
        ({"dilations": ()}, "at least one block"),
        ({"n_types": 0}, "n_types=0 must be at least 1"),
        ({"gate": "none of them"}, "must be one of"),
    ],
)
def test_sizes_that_cannot_work_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        TaggerConfig(**changes)


def test_vectors_and_sentences_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(10, 50\) must be \(words, vector_size=300\)"):
        FastRE(TaggerConfig(), torch.zeros(10, 50))
    model = FastRE(TaggerConfig(max_tokens=3), torch.zeros(10, 300))
    with pytest.raises(ValueError, match="4 words exceed max_tokens=3"):
        model.encode({"words": torch.ones(1, 4, dtype=torch.long), "lengths": torch.tensor([4])})


def test_parameter_counts_of_the_parts():
    model = FastRE(TaggerConfig(), torch.zeros(3, 300))
    count = trainable_parameters
    assert count(model.encoder) + count(model.heads) == 791_946
    assert count(model.tails) == 304_444
    assert count(model.encoder.positions) == 12_800
    assert count(model.encoder.projection) == 38_528
    assert [count(block) for block in model.encoder.blocks] == [98_560] * 6
    assert count(model.heads.attention) == count(model.tails.attention) == 49_536
    assert count(model.heads.convolution) == 98_432
    assert count(model.heads.start) == count(model.heads.end) == 645
    assert count(model.tails.start_positions) == count(model.tails.end_positions) == 12_800
    assert count(model.tails.types) == 256
    assert count(model.tails.first) == 221_312
    assert count(model.tails.start) == count(model.tails.end) == 3_870


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"dilations": (1, 2, 4)}, 800_710),
        ({"dilations": (1, 2, 4, 1, 2, 4, 1, 1, 1)}, 1_392_070),
        ({"n_types": 1}, 1_095_424),
        ({"gate": "paper"}, 1_096_390),
        ({"position_tables": 1}, 1_083_590),
        ({"taggers": "linear", "position_tables": 1}, 792_006),
    ],
)
def test_parameter_counts_of_the_variants(changes, expected):
    assert trainable_parameters(FastRE(TaggerConfig(**changes), torch.zeros(3, 300))) == expected


def test_trained_vectors_are_parameters_and_frozen_ones_are_not():
    vectors = torch.randn(10, 300)
    frozen, trained = FastRE(TaggerConfig(), vectors), FastRE(TaggerConfig(), vectors, True)
    assert trainable_parameters(trained) == trainable_parameters(frozen) + 3000


@pytest.mark.parametrize("n", [9, 60])  # a matrix product and the convolution
@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("channels", [(5, 7), (16, 24)], ids=str)
def test_convolve_is_the_convolution(n, dilation, channels):
    conv = torch.nn.Conv1d(*channels, 3, padding=dilation, dilation=dilation)
    x, y = torch.randn(2, 20, n, channels[0]).requires_grad_().unbind()
    seen = torch.randn(20, n, channels[1])

    def outputs_and_gradients(apply):
        out = apply()
        return [out, *torch.autograd.grad((out * seen).sum(), [x, conv.weight, conv.bias])]

    ours = outputs_and_gradients(lambda: convolve(conv, x))
    torch_own = outputs_and_gradients(lambda: conv(x.transpose(1, 2)).transpose(1, 2))
    torch.testing.assert_close(ours, torch_own, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(convolve(conv, y), conv(y.transpose(1, 2)).transpose(1, 2))


def test_gate_limits():
    x, h = torch.randn(2, 4, 8), torch.randn(2, 4, 8)
    released, paper = (GatedBlock(8, 1, gate=gate) for gate in ("released", "paper"))
    none, bare = GatedBlock(8, 1, gate="none"), GatedBlock(8, 1, residual=False)
    opened, closed = torch.ones_like(x), torch.zeros_like(x)
    torch.testing.assert_close(released.mix(opened, h, x), x)
    torch.testing.assert_close(released.mix(closed, h, x), h)
    torch.testing.assert_close(paper.mix(closed, h, x), x)
    torch.testing.assert_close(paper.mix(opened, h, x), h + x)
    torch.testing.assert_close(bare.mix(closed, h, x), h)
    torch.testing.assert_close(bare.mix(opened, h, x), 0 * h)
    assert none.convolution.out_channels == 8
    mask = torch.ones(2, 4, 1)
    torch.testing.assert_close(none.eval()(x, mask), convolve(none.convolution, x) + x)


@pytest.mark.parametrize("gate", ["released", "paper"])
def test_block_formula(gate):
    block = GatedBlock(8, 2, gate=gate).eval()
    x, mask = torch.randn(2, 9, 8), torch.ones(2, 9, 1)
    g, h = block.convolution(x.transpose(1, 2)).transpose(1, 2).split(8, dim=-1)
    s = torch.sigmoid(g)
    expected = s * x + (1 - s) * h if gate == "released" else h * s + x
    torch.testing.assert_close(block(x, mask), expected)


def test_attention_formula():
    attention, hidden = SelfAttention(16, 4), torch.randn(2, 7, 16)
    mask = token_mask(torch.tensor([7, 4]), 7)
    parts = []
    for head in range(4):
        cut = slice(4 * head, 4 * head + 4)
        q, k, v = (
            layer(hidden)[..., cut] for layer in (attention.query, attention.key, attention.value)
        )
        scores = (q @ k.transpose(1, 2) / 4**0.5).masked_fill(~mask.bool().mT, -math.inf)
        parts.append(scores.softmax(-1) @ v)
    torch.testing.assert_close(attention(hidden, mask), torch.cat(parts, dim=-1))
    weights = attention.weights(hidden, mask)
    assert weights.shape == (2, 4, 7, 7)
    assert (weights[1, :, :, 4:] == 0).all()


@pytest.mark.parametrize(
    "dilations, reach", [((1, 2, 4, 1, 1, 1), 10), ((1,) * 6, 6), ((1, 2, 4), 7)]
)
def test_receptive_field(dilations, reach):
    model = make(dilations=dilations)
    batch = sentences([50])
    changed = {**batch, "words": batch["words"].clone()}
    changed["words"][0, 25] = batch["words"][0, 25] % 48 + 2
    before, after = (model.encode(inputs)[0][0] for inputs in (batch, changed))
    moved = (before - after).abs().amax(-1).nonzero()[:, 0]
    assert moved.min() == 25 - reach
    assert moved.max() == 25 + reach


@pytest.mark.parametrize("lengths", [[1], [2, 1], [13, 6, 1, 12], [100, 37]])
@pytest.mark.parametrize(
    "changes",
    [{}, {"position_tables": 1}, {"mask_pads": False}, {"taggers": "linear"}],
    ids=["released", "one table", "pads", "linear"],
)
def test_tail_logits_by_parts_equal_the_formula(lengths, changes):
    model, batch = make(**changes), sentences(lengths)
    hidden, mask = model.encode(batch)
    heads = some_heads(lengths, 2)
    found = model.tail_logits(hidden, mask, heads, batch["lengths"])
    for at, head in enumerate(heads.tolist()):
        n = lengths[head[0]] if model.config.mask_pads else max(lengths)
        expected = literal_tail_logits(model, hidden, mask, head, n)
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine[at, :n], theirs, rtol=1e-4, atol=1e-5)


def test_tail_gradients_by_parts_equal_the_formula():
    model, lengths = make(), [8, 5]
    batch, heads = sentences(lengths), some_heads(lengths, 1)
    grads = []
    for literal in (True, False):
        model.zero_grad()
        hidden, mask = model.encode(batch)
        found = model.tail_logits(hidden, mask, heads, batch["lengths"])
        total = 0
        for at, head in enumerate(heads.tolist()):
            n = lengths[head[0]]
            mine = [part[at, :n] for part in found]
            chosen = literal_tail_logits(model, hidden, mask, head, n) if literal else mine
            total = total + sum(part.square().sum() for part in chosen)
        total.backward()
        grads.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, expected in grads[0].items():
        torch.testing.assert_close(grads[1][name], expected, rtol=1e-3, atol=1e-4)


def test_a_sentence_scores_the_same_in_any_batch():
    lengths = [5, 17, 30, 1, 8, 23, 11, 30] * 16
    batch = sentences(lengths)
    model = make()
    with torch.no_grad():
        hidden, mask = model.encode(batch)
        together = model.head_logits(hidden, mask)
        heads = torch.tensor([[b, 0, n // 2, 1] for b, n in enumerate(lengths)])
        tails = model.tail_logits(hidden, mask, heads, batch["lengths"])
        for rows in ([0], [3], list(range(8)), [1, 2]):
            n = max(lengths[row] for row in rows)
            part = {"words": batch["words"][rows, :n], "lengths": batch["lengths"][rows]}
            own, own_mask = model.encode(part)
            alone = model.head_logits(own, own_mask)
            of_rows = torch.cat([torch.arange(len(rows)).unsqueeze(1), heads[rows, 1:]], dim=1)
            own_tails = model.tail_logits(own, own_mask, of_rows, part["lengths"])
            for full, single in zip((*together, *tails), (*alone, *own_tails), strict=True):
                for at, row in enumerate(rows):
                    expected = full[row, : lengths[row]]
                    torch.testing.assert_close(
                        single[at, : lengths[row]], expected, rtol=1e-4, atol=1e-5
                    )


def test_with_pads_in_the_features_only_the_last_token_differs():
    model, batch = make(mask_pads=False), sentences([20, 9])
    alone = {"words": batch["words"][1:, :9], "lengths": batch["lengths"][1:]}
    with torch.no_grad():
        together = model.head_logits(*model.encode(batch))[0][1, :9]
        single = model.head_logits(*model.encode(alone))[0][0]
    assert (together - single)[:8].abs().max() < 1e-5
    assert (together - single)[8].abs().max() > 1e-4


def test_folded_vectors_give_the_same_states():
    model, batch = make(), sentences([12, 7])
    before = model.encode(batch)[0]
    model.encoder.fold()
    torch.testing.assert_close(model.encode(batch)[0], before, rtol=1e-5, atol=1e-6)
    model.encoder.folded = None
    assert torch.equal(model.encode(batch)[0], before)
    assert "encoder.folded" not in model.state_dict()
    assert all(p.requires_grad for p in model.parameters())


def test_an_unknown_word_leaves_only_bias_and_position():
    model = make(embedding_dropout=0.25)
    model.encoder.blocks = torch.nn.ModuleList()
    batch = {"words": torch.tensor([[1, 1, 0]]), "lengths": torch.tensor([2])}
    hidden = model.encode(batch)[0][0]
    expected = 0.75 * (model.encoder.projection.bias + model.encoder.positions.weight[:2])
    torch.testing.assert_close(hidden[:2], expected)
    assert (hidden[2] == 0).all()


def test_embedding_dropout_is_in_downgrade_mode():
    model = make(dropout=0.0)
    model.encoder.blocks = torch.nn.ModuleList()
    batch = sentences([50] * 40)
    still = model.encode(batch)[0]
    dropped = model.train().encode(batch)[0]
    kept = dropped != 0
    assert 0.72 < kept.float().mean() < 0.78
    torch.testing.assert_close(dropped[kept], still[kept] / 0.75)


def test_initial_loss_is_about_that_of_zero_logits():
    torch.manual_seed(0)
    vectors = torch.randn(500, 300) * 0.4
    model = FastRE(TaggerConfig(), vectors)
    batch = sentences([38] * 8, words=500)
    hidden, mask = model.encode(batch)
    heads = torch.tensor([[b, 3, 4, b % 4] for b in range(8)])
    logits = (
        *model.head_logits(hidden, mask),
        *model.tail_logits(hidden, mask, heads, batch["lengths"]),
    )
    loss = sum(
        adaptive_threshold_loss(part, torch.zeros(*part.shape[:-1], part.shape[-1] - 1)).mean()
        for part in logits
    )
    assert loss.item() == pytest.approx(2 * math.log(5) + 2 * math.log(30), rel=0.1)


@pytest.mark.parametrize("name", ["gate", "block_dropout", "taggers", "position_tables"])
def test_unknown_switches_are_refused(name):
    with pytest.raises(ValueError, match=name):
        TaggerConfig(**{name: "other"})
