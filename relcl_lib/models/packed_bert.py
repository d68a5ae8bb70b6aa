"""A BERT's layers over the tokens of a batch alone, without its pads.

A third of a padded batch of 32 sentences of FewRel is pads. Here the tokens of all sentences
lie in one matrix (T, H), which every linear layer, norm and dropout reads; only the attention maps
are padded, and those to the longest of a group of sentences of like length.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

#: Without cuDNN's, which newer torch prefers on newer GPUs: it plans anew for every shape of a batch
#: (on an H100 in bfloat16 the first steps took 770 ms, later ones 105, against 27 with these).
CUDA_KERNELS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
#: kinds of encoders whose layers are BERT's
BUILT_AS_BERT = ("bert", "roberta", "xlm-roberta", "camembert", "electra")


class Group(NamedTuple):
    """Sentences of like length: `slots` (t,) of their tokens in (rows * width,), `mask` of the keys."""

    rows: int
    width: int
    slots: Tensor | None  # None: all
    mask: Tensor  # (rows, 1, 1, width) bool


class Packing:
    """Where the tokens of a padded batch lie when its pads are left out.

    Args:
        mask: (B, n) of 0 and 1, tokens on the left; ValueError where a pad is before a token.
        groups: groups of like length for the attention maps; more of them pad less and launch more.
            0 keeps the pads: nothing is checked or read back, and all shapes are those of the mask.

    Attributes:
        order: (B,) rows of the batch by length; everything packed is in this order.
        slots: (T,) places of the tokens in the batch's rows so ordered, flattened to (B * n,), or all.
        starts: (B,) each sentence's first row in (T, H).
        groups: of sentences in this order.
        sizes: tokens of each group.
    """

    def __init__(self, mask: Tensor, groups: int = 1) -> None:
        if not groups:
            self.order = torch.arange(len(mask), device=mask.device)
            self.starts, self.slots = self.order * mask.shape[1], slice(None)
            self.groups = [Group(*mask.shape, None, mask.bool()[:, None, None])]
            self.sizes = [mask.numel()]
            return
        lengths = mask.sum(1)
        self.order = lengths.argsort(stable=True)
        gaps = (mask[:, 1:] > mask[:, :-1]).sum()
        *lengths, gaps = torch.cat([lengths[self.order], gaps[None]]).tolist()  # a GPU waits here
        if gaps:
            raise ValueError("a pad stands before a token: pads must be on the right")
        lengths = torch.tensor(lengths, dtype=torch.long)
        self.starts = (lengths.cumsum(0) - lengths).to(mask.device)
        self.slots = _tokens(lengths, mask.shape[1]).flatten().nonzero().squeeze(1).to(mask.device)
        self.groups = []
        for part in filter(len, lengths.tensor_split(groups)):
            tokens = _tokens(part, int(part[-1]))
            slots = tokens.flatten().nonzero().squeeze(1).to(mask.device)
            self.groups.append(Group(*tokens.shape, slots, tokens[:, None, None].to(mask.device)))
        self.sizes = [len(group.slots) for group in self.groups]

    def pack(self, padded: Tensor) -> Tensor:
        """The tokens (T, H) of a padded batch (B, n, H)."""
        return padded[self.order].flatten(0, 1)[self.slots]

    def rows(self, places: Tensor) -> Tensor:
        """Where in (T, H) positions (B, P) of the batch lie, (B, P), rows in `order`."""
        return self.starts.unsqueeze(1) + places[self.order]


def _tokens(lengths: Tensor, width: int) -> Tensor:
    return torch.arange(width) < lengths.unsqueeze(1)


class _Pad(torch.autograd.Function):
    """Rows (t, D) to their slots in (size, D), zeros elsewhere; each slot is used once."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, slots: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(slots)
        return rows.new_zeros(size, rows.shape[1]).index_copy_(0, slots, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad.index_select(0, *ctx.saved_tensors), None, None


class _Unpad(torch.autograd.Function):
    """The inverse: rows (size, D) at the slots, (t, D). torch's own gradient would add row by row."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(slots)
        ctx.size = len(padded)
        return padded.index_select(0, slots)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (slots,) = ctx.saved_tensors
        return grad.new_zeros(ctx.size, grad.shape[1]).index_copy_(0, slots, grad), None


def split_layers(network: nn.Module) -> tuple[nn.Module, nn.ModuleList | None]:
    """Take the layers out of a BERT (and its pooler off); (network, None) where it is built otherwise.

    What is left of the network returns its embeddings.
    """
    if getattr(network, "pooler", None) is not None:
        network.pooler = None
    config = network.config
    absolute = getattr(config, "position_embedding_type", "absolute") in (None, "absolute")
    # By name: others have layers of the same parts that compute something else.
    causal = getattr(config, "is_decoder", False)
    if config.model_type not in BUILT_AS_BERT or not absolute or causal:
        return network, None
    layers, network.encoder.layer = network.encoder.layer, nn.ModuleList()
    return network, layers


def apply_layer(
    layer: nn.Module, x: Tensor, packing: Packing, rows: Tensor | None = None
) -> Tensor:
    """Apply a `BertLayer` of transformers to packed tokens x (T, H).

    Its output is (T, H), or (B, P, H) where `rows` (B, P) say at which rows of x it is wanted (see
    `Packing.rows`).
    """
    own = layer.attention.self
    taken = x if rows is None else x[rows]
    mixed = _mix_all(own, x, packing) if rows is None else _mix_some(own, x, taken, packing)
    attended = layer.attention.output(mixed, taken)
    return layer.output(layer.intermediate(attended), attended)


def _mix_all(own: nn.Module, x: Tensor, packing: Packing) -> Tensor:
    """Self-attention (T, H) at all tokens."""
    mixed = []
    for (query, key, value), group in _heads(own, x, (own.query, own.key, own.value), packing):
        out = attend(query, key, value, group.mask, own.dropout.p * own.training)
        out = out.transpose(1, 2).flatten(0, 1).flatten(1)  # from (rows, heads, width, d)
        mixed.append(out if group.slots is None else _Unpad.apply(out, group.slots))
    return torch.cat(mixed)


def _mix_some(own: nn.Module, x: Tensor, taken: Tensor, packing: Packing) -> Tensor:
    """Self-attention (B, P, H) of queries `taken` (B, P, H) to all tokens x (T, H)."""
    queries = own.query(taken).unflatten(-1, (own.num_attention_heads, -1))  # (B, P, heads, d)
    queries = queries.transpose(1, 2)
    parts = queries.split([group.rows for group in packing.groups])
    states = _heads(own, x, (own.key, own.value), packing)
    p = own.dropout.p * own.training
    mixed = [
        attend(query, key, value, group.mask, p).transpose(1, 2).flatten(2)
        for query, ((key, value), group) in zip(parts, states, strict=True)
    ]
    return torch.cat(mixed)


def _heads(
    own: nn.Module, x: Tensor, projections: Sequence[nn.Linear], packing: Packing
) -> Iterator[tuple[Tensor, Group]]:
    """Yield for each group the projections of its tokens, padded: (len, rows, heads, width, d).

    One product serves all projections, their outputs side by side.
    """
    weight = torch.cat([layer.weight for layer in projections])
    states = F.linear(x, weight, torch.cat([layer.bias for layer in projections]))
    for part, group in zip(states.split(packing.sizes), packing.groups, strict=True):
        padded = part if group.slots is None else _Pad.apply(part, group.slots, group.mask.numel())
        heads = padded.view(group.rows, group.width, len(projections), own.num_attention_heads, -1)
        yield heads.permute(2, 0, 3, 1, 4), group


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, p: float) -> Tensor:
    """Scaled dot-product attention (R, heads, m, d) to keys in `mask`, with dropout of the maps."""
    with sdpa_kernel(CUDA_KERNELS) if query.is_cuda else contextlib.nullcontext():
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=p)
