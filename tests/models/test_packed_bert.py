"""Packed tokens against transformers' padded pass, in value and gradient."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import sdpa_kernel

from relcl_lib.models.marker_encoder import MarkerEncoder
from relcl_lib.models.packed_bert import CUDA_KERNELS, Packing, apply_layer, attend

SIZES = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
}
LENGTHS = (9, 14, 7, 14, 3)


def model(kind="bert", **changes):
    from transformers import AutoConfig, AutoModel

    sizes = {**SIZES, **changes}
    if kind == "electra":
        sizes["embedding_size"] = 16  # smaller than the layers, which a linear layer makes up for
    if kind == "distilbert":
        names = {
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
        }
        sizes = {names.get(name, name): value for name, value in sizes.items()}
    torch.manual_seed(0)
    return AutoModel.from_config(AutoConfig.for_model(kind, **sizes)).eval()


def mask_of(lengths, width=None):
    return (torch.arange(width or max(lengths)) < torch.tensor(lengths).unsqueeze(1)).long()


# --- where tokens lie -----------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=7),
    st.integers(0, 4),
    st.integers(1, 9),
)
def test_every_token_once_and_no_pad(lengths, wider, groups):
    mask = mask_of(lengths, max(lengths) + wider)
    packing = Packing(mask, groups)
    numbered = torch.arange(mask.numel()).view(*mask.shape, 1)
    packed = packing.pack(numbered).squeeze(1)
    assert sorted(packed.tolist()) == numbered[mask.bool()].flatten().tolist()
    assert sum(packing.sizes) == len(packed) == sum(lengths)
    # Each sentence's tokens lie together, in their order, at the places `rows` names.
    places = torch.arange(min(lengths)).expand(len(lengths), -1)
    assert torch.equal(packed[packing.rows(places)], numbered[packing.order, : min(lengths), 0])
    # The groups are the packed rows again, padded.
    for part, group in zip(packed.split(packing.sizes), packing.groups, strict=True):
        padded = torch.full((group.rows * group.width,), -1)
        padded[group.slots] = part
        assert torch.equal((padded >= 0).view(group.rows, group.width), group.mask[:, 0, 0])


def test_with_no_group_every_place_stays():
    mask = mask_of(LENGTHS, 16)
    packing = Packing(mask, 0)
    padded = torch.arange(mask.numel()).view(*mask.shape, 1)
    assert torch.equal(packing.pack(padded), padded.flatten(0, 1))
    places = torch.tensor([[0, 2], [13, 5], [6, 1], [13, 0], [2, 1]])
    expected = padded[torch.arange(5).unsqueeze(1), places]
    assert torch.equal(packing.pack(padded)[packing.rows(places)], expected)
    (group,) = packing.groups
    assert torch.equal(group.mask[:, 0, 0], mask.bool())


# --- one layer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [0, 1, 2, 5])
@pytest.mark.parametrize("at_some", [False, True])
def test_a_layer_is_that_of_transformers(groups, at_some):
    network, mask = model(), mask_of(LENGTHS)
    (layer,) = network.encoder.layer[:1]
    x = torch.randn(*mask.shape, 24, generator=torch.Generator().manual_seed(1)).requires_grad_()
    reference = copy.deepcopy(layer)
    bias = torch.zeros(len(LENGTHS), 1, 1, max(LENGTHS)).masked_fill(mask[:, None, None] == 0, -1e9)
    expected = reference(x, bias)
    expected = expected[0] if isinstance(expected, tuple) else expected
    places = torch.tensor([[0, 2], [5, 5], [6, 1], [13, 0], [2, 1]])
    packing = Packing(mask, groups)
    if at_some:
        found = apply_layer(layer, packing.pack(x), packing, packing.rows(places))
        found = found[packing.order.argsort()]
        expected = expected[torch.arange(5).unsqueeze(1), places]
    else:
        found = apply_layer(layer, packing.pack(x), packing)
        expected = packing.pack(expected)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    parameters = [x, *layer.parameters()]
    ours = torch.autograd.grad((found * weights).sum(), parameters)
    theirs = torch.autograd.grad((expected * weights).sum(), [x, *reference.parameters()])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_dropout_of_the_maps_keeps_their_mean():
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, n, 8, generator=g) for n in (3, 6, 6))
    mask = torch.tensor([1, 1, 1, 1, 0, 0]).bool()[None, None, None]
    torch.manual_seed(0)
    many = [part.expand(4000, -1, -1, -1) for part in (q, k, v)]
    drawn = attend(*many, mask, 0.3)
    plain = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(attend(q, k, v, mask, 0.0), plain)
    torch.testing.assert_close(drawn.mean(0, keepdim=True), plain, rtol=0, atol=0.05)
    assert drawn.std(0).min() > 0.05  # every row has masks of its own


def test_on_a_gpu_cudnn_plans_no_attention():
    with sdpa_kernel(CUDA_KERNELS):
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.mem_efficient_sdp_enabled()
        assert torch.backends.cuda.math_sdp_enabled()


def test_dropout_is_that_of_the_layer_and_only_in_training():
    network, mask = (
        model(attention_probs_dropout_prob=0.5, hidden_dropout_prob=0.0),
        mask_of((6, 4)),
    )
    layer, packing = network.encoder.layer[0], Packing(mask)
    x = packing.pack(torch.randn(2, 6, 24, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        still = apply_layer(layer, x, packing)
        assert torch.equal(still, apply_layer(layer, x, packing))
        layer.train()
        assert not torch.equal(still, apply_layer(layer, x, packing))
        layer.attention.self.dropout.p = 0.0
        torch.testing.assert_close(still, apply_layer(layer, x, packing))


# --- whole networks -------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize(
    "kind", ["bert", "roberta", "electra", "distilbert", "roformer", "convbert", "causal bert"]
)
def test_encoders_of_several_kinds(kind):
    # The last four compute otherwise, some in layers of the same parts, and run as they are.
    causal = {"is_decoder": True} if kind == "causal bert" else {}
    network, mask = model(kind.split()[-1], initializer_range=0.3, **causal), mask_of(LENGTHS)
    g = torch.Generator().manual_seed(3)
    ids = torch.where(mask.bool(), torch.randint(5, 60, mask.shape, generator=g), 1)
    batch = {
        "input_ids": ids,
        "attention_mask": mask,
        "head": torch.tensor([0, 3, 1, 13, 2]),
        "tail": torch.tensor([8, 1, 6, 4, 0]),
    }
    states = network(input_ids=ids, attention_mask=mask).last_hidden_state
    rows = torch.arange(5)
    expected = torch.cat([states[rows, batch["head"]], states[rows, batch["tail"]]], 1)
    encoder = MarkerEncoder(network, 60, groups=2).eval()
    assert (encoder.layers is None) == (kind not in ("bert", "roberta", "electra"))
    torch.testing.assert_close(encoder.entities(batch), expected, rtol=1e-4, atol=2e-5)


def test_a_pad_before_a_token_is_refused():
    for mask in ([[1, 1, 0], [0, 1, 1]], [[1, 0, 1]]):
        with pytest.raises(ValueError, match="on the right"):
            Packing(torch.tensor(mask))
