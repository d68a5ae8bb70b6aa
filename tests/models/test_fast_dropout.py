import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from relcl_lib.models.fast_dropout import LEVELS, dropout, fast_dropout

CPU = torch.device("cpu")


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
def test_shares_and_scale_are_torchs(p, kind):
    torch.manual_seed(0)
    x = torch.ones(400_001, dtype=kind)  # not a multiple of 4
    y = dropout(x, p)
    assert y.dtype == kind
    # Five standard deviations of a share of 400,001 draws.
    assert float((y == 0).double().mean()) == pytest.approx(p, abs=5 * (p * (1 - p) / 4e5) ** 0.5)
    assert len(y.unique()) == 2
    assert float(y.max()) == pytest.approx(
        1 / (1 - p), rel=4e-3 if kind is torch.bfloat16 else 1e-4
    )


def test_elements_are_drawn_apart():
    """The four that share a draw are as independent as any others."""
    torch.manual_seed(0)
    zero = (dropout(torch.ones(100_000, 4), 0.3) == 0).double()
    correlations = torch.corrcoef(zero.T) - torch.eye(4)
    assert correlations.abs().max() < 5 / 100_000**0.5


def test_the_mean_stays_in_a_coarse_format_too():
    """The factor is not rounded to the numbers' format before they are multiplied by it."""
    torch.manual_seed(0)
    x = torch.ones(400_001, dtype=torch.bfloat16)
    y = torch.stack([dropout(x * part, 0.1).double().sum() for part in torch.linspace(1, 2, 50)])
    assert float(y.sum() / (1.5 * 50 * len(x))) == pytest.approx(1, abs=5e-4)


@given(st.lists(st.integers(0, 5), max_size=4), st.floats(0, 0.99))
def test_any_shape(shape, p):
    x = torch.ones(shape)
    y = dropout(x, p)
    assert y.shape == x.shape
    scale = LEVELS / (LEVELS - round(LEVELS * p))
    assert torch.all((y == 0) | torch.isclose(y, torch.tensor(scale)))


def test_gradient_passes_where_the_element_did():
    x = torch.randn(1000, requires_grad=True)
    y = dropout(x, 0.5)
    y.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)
    assert x.grad.max() == 2


def test_second_gradients_and_tensors_that_do_not_lie_in_order():
    torch.manual_seed(0)
    x = torch.randn(6, 5, dtype=torch.float64).t().requires_grad_()

    def drawn(x):
        torch.manual_seed(1)
        return dropout(x, 0.4)

    assert torch.equal(drawn(x) == 0, drawn(x.contiguous()) == 0)
    assert torch.autograd.gradcheck(drawn, x)
    assert torch.autograd.gradgradcheck(lambda x: drawn(x) ** 2, x)


def test_a_seed_gives_the_same_draws():
    x = torch.ones(1000)
    torch.manual_seed(3)
    one = dropout(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.5), one)
    assert not torch.equal(dropout(x, 0.5), one)


def test_modules_use_it_inside_the_block_only():
    layer, x = nn.Dropout(0.5), torch.ones(1000)
    torch.manual_seed(0)
    expected = dropout(x, 0.5)
    torch.manual_seed(0)
    with fast_dropout(CPU):
        inside = layer(x)
    torch.manual_seed(0)
    outside = layer(x)
    assert torch.equal(inside, expected)
    assert not torch.equal(outside, expected)


def test_what_it_does_not_do_is_torchs():
    x = torch.ones(8)
    with fast_dropout(CPU):
        assert nn.Dropout(0.5).eval()(x) is x
        assert torch.equal(nn.Dropout(0.0)(x), x)
        assert torch.equal(nn.Dropout(1.0)(x), torch.zeros(8))
        in_place = x.clone()
        assert nn.Dropout(0.5, inplace=True)(in_place) is in_place
    assert fast_dropout(torch.device("meta")).__enter__() is None


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mask", ["none", "of keys", "added"])
def test_attention_drops_from_its_maps_and_keeps_their_mean(mask, kind):
    """Of 4,000 draws; without dropout, and outside the block, it is torch's."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, n, 8).to(kind) for n in (3, 6, 6))
    keys = torch.tensor([1, 1, 1, 1, 0, 0]).bool()[None, None, None]
    kept = {
        "none": None,
        "of keys": keys,
        "added": torch.zeros(1, 1, 1, 6, dtype=kind).masked_fill(~keys, torch.finfo(kind).min),
    }[mask]
    options = {"attn_mask": kept, "scale": 0.5}
    plain = F.scaled_dot_product_attention(q, k, v, **options)
    many = [part.expand(4000, -1, -1, -1) for part in (q, k, v)]
    with fast_dropout(CPU):
        assert torch.equal(F.scaled_dot_product_attention(q, k, v, **options), plain)
        drawn = F.scaled_dot_product_attention(*many, dropout_p=0.3, **options)
    assert drawn.dtype == kind
    torch.testing.assert_close(
        drawn.float().mean(0, keepdim=True), plain.float(), rtol=0, atol=0.05
    )
    assert drawn.float().std(0).min() > 0.05  # every row has masks of its own


def test_attention_draws_by_the_fast_dropout_and_hands_on_what_it_does_not_know():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, 5, 8) for _ in range(3))
    torch.manual_seed(1)
    maps = (q @ k.mT * 8**-0.5).softmax(-1)
    by_hand = dropout(maps, 0.3) @ v
    torch.manual_seed(1)
    with fast_dropout(CPU):
        inside = F.scaled_dot_product_attention(q, k, v, dropout_p=0.3)
    torch.testing.assert_close(inside, by_hand)
    for other in ({"is_causal": True}, {"enable_gqa": True}):
        torch.manual_seed(2)
        outside = F.scaled_dot_product_attention(q, k, v, dropout_p=0.3, **other)
        torch.manual_seed(2)
        with fast_dropout(CPU):
            assert torch.equal(
                F.scaled_dot_product_attention(q, k, v, dropout_p=0.3, **other), outside
            )
