"""Pieces of FastRE's encoder: a convolution over (B, n, C), the gated block, self-attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Up to so many tokens a matrix product beats the CPU's convolution; in bfloat16 it does for any.
SMALL = 512


def convolve(conv: nn.Conv1d, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Apply a convolution that keeps the length: (B, n, in) to (B, n, out).

    Its kernel is odd and its padding as wide as the kernel reaches; `weight` (out, in, kernel) takes
    the place of its own.
    """
    weight = conv.weight if weight is None else weight
    (kernel,), (dilation,), (reach,), n = conv.kernel_size, conv.dilation, conv.padding, x.shape[1]
    if kernel == 1:
        return F.linear(x, weight[:, :, 0], conv.bias)
    as_product = x.shape[0] * n <= SMALL or x.dtype == torch.bfloat16
    if as_product and x.device.type == "cpu" and not torch.is_grad_enabled():
        padded = F.pad(x, (0, 0, reach, reach))
        seen = [padded[:, tap * dilation : tap * dilation + n] for tap in range(kernel)]
        return F.linear(torch.cat(seen, dim=-1), weight.transpose(1, 2).flatten(1), conv.bias)
    if x.device.type != "cpu":
        return F.conv1d(x.mT, weight, conv.bias, padding=reach, dilation=dilation).mT
    # As an image one row high: its kernels read channels that lie side by side, as x's do.
    shape = {"padding": (0, reach), "dilation": (1, dilation)}
    return F.conv2d(x.mT.unsqueeze(2), weight.unsqueeze(2), conv.bias, **shape).squeeze(2).mT


class GatedBlock(nn.Module):
    """One block of the encoder: out = A(g) h + B(g) x, with g and h two dilated convolutions of x.

    `released`: s h' = (1 - s) h + s x with s = sigmoid(g), a highway; `paper` (Eq. 4): s h + x;
    `none`: h + x, and g is not computed. Without the residual B is 0. Dropout is on the `gate`
    (released: on g, so that a dropped unit mixes half and half) or `between` the blocks (paper: on
    what the convolution reads).
    """

    def __init__(
        self,
        size: int,
        dilation: int,
        *,
        gate: str = "released",
        residual: bool = True,
        dropout: float = 0.1,
        dropout_on: str = "gate",
    ) -> None:
        super().__init__()
        self.gate, self.residual = gate, residual
        self.dropout, self.dropout_on = dropout, dropout_on
        channels = size if gate == "none" else 2 * size
        self.convolution = nn.Conv1d(size, channels, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, n, d), 0 at pads, from x (B, n, d) and mask (B, n, 1)."""
        read = x
        if self.dropout_on == "between":
            read = F.dropout(x, self.dropout, self.training)
        y = convolve(self.convolution, read).to(x.dtype)  # bfloat16 under autocast
        if self.gate == "none":
            return (y + x if self.residual else y) * mask
        g, h = y.chunk(2, dim=-1)  # (B, n, d) each
        if self.dropout_on == "gate":
            g = F.dropout(g, self.dropout, self.training)
        return self.mix(torch.sigmoid(g), h, x) * mask

    def mix(self, s: Tensor, h: Tensor, x: Tensor) -> Tensor:
        """A h + B x for the gate's value s."""
        if self.gate == "paper":
            return s * h + x if self.residual else s * h
        return torch.lerp(h, x, s) if self.residual else (1 - s) * h


class SelfAttention(nn.Module):
    """Multi-head self-attention without output projection, residual or norm (Eq. 5-8)."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.n_heads = heads
        self.query, self.key, self.value = (nn.Linear(size, size) for _ in range(3))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(B, n, d); no query attends to a pad, but queries at pads give values too."""
        q, k, v = self.projections(hidden)  # (B, heads, n, d / heads)
        keys = mask.bool().transpose(1, 2).unsqueeze(1)  # (B, 1, 1, n)
        if q.dtype == torch.bfloat16 and q.device.type == "cpu":  # where the fused form is slow
            scores = (q.float() @ k.float().transpose(-1, -2)) / math.sqrt(q.shape[-1])
            weights = scores.masked_fill_(~keys, -math.inf).softmax(-1)  # (B, heads, n, n)
            return (weights @ v.float()).to(v.dtype).transpose(1, 2).flatten(2)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)
        return mixed.transpose(1, 2).flatten(2)

    def projections(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, each (B, heads, n, d / heads)."""
        layers = (self.query, self.key, self.value)
        weight = torch.cat([layer.weight for layer in layers])
        out = F.linear(hidden, weight, torch.cat([layer.bias for layer in layers]))
        split = out.unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        return tuple(split.unbind(0))

    def weights(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The attention weights (B, heads, n, n), for looking at them."""
        q, k, _ = self.projections(hidden)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        keys = mask.bool().transpose(1, 2).unsqueeze(1)
        return scores.masked_fill(~keys, -math.inf).softmax(-1)


def initialise(module: nn.Module) -> None:
    """Start a layer as the release's framework does: Xavier, He for convolutions, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.xavier_uniform_(module.weight)
    elif isinstance(module, nn.Conv1d):
        nn.init.normal_(
            module.weight, std=math.sqrt(2 / (module.kernel_size[0] * module.in_channels))
        )
    if getattr(module, "bias", None) is not None:
        nn.init.zeros_(module.bias)
