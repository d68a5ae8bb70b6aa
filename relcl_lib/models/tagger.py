"""FastRE's network: the gated dilated encoder, the head-entity tagger and the tail-entity tagger.

Hidden states are (B, n, d) throughout, ends of entities inclusive. With adaptive thresholds column
0 of every tagger's logits is the threshold class AT; K + 1 and R + 1 below are K and R without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relcl_lib.models.convolution import GatedBlock, SelfAttention, convolve, initialise


@dataclass(frozen=True)
class TaggerConfig:
    """Sizes and switches of the network; the defaults are the released one on NYT10."""

    n_types: int = 4
    n_relations: int = 29
    vector_size: int = 300
    hidden: int = 128
    type_size: int = 64
    max_tokens: int = 100
    dilations: tuple[int, ...] = (1, 2, 4, 1, 1, 1)
    attention_heads: int = 8
    gate: str = "released"
    residual: bool = True
    block_dropout: str = "gate"
    dropout: float = 0.1
    embedding_dropout: float = 0.25
    taggers: str = "convolution"
    position_tables: int = 2
    threshold: str = "adaptive"
    mask_pads: bool = True

    def __post_init__(self) -> None:
        for name, known in (
            ("gate", ("released", "paper", "none")),
            ("block_dropout", ("gate", "between")),
            ("taggers", ("convolution", "linear")),
            ("position_tables", (1, 2)),
            ("threshold", ("adaptive", "global")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} must be one of {known}")
        for name, value in vars(self).items():
            if type(value) is int and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if self.hidden % self.attention_heads:
            raise ValueError(
                f"hidden={self.hidden} must be a multiple of attention_heads={self.attention_heads}"
            )
        if not self.dilations:
            raise ValueError("dilations=() must name at least one block")

    @property
    def columns(self) -> tuple[int, int]:
        """Logits per position of the head and the tail tagger: with AT where it is adaptive."""
        extra = self.threshold == "adaptive"
        return self.n_types + extra, self.n_relations + extra


class ConvEncoder(nn.Module):
    """Word vectors (V, vector_size), projection, learned positions, L gated dilated blocks (Eq. 1-4).

    Without `train_vectors` the vectors are no parameters, as released.
    """

    def __init__(self, config: TaggerConfig, vectors: Tensor, train_vectors: bool = False) -> None:
        super().__init__()
        given, size = tuple(vectors.shape), config.vector_size
        if given[1:] != (size,):
            raise ValueError(f"vectors {given} must be (words, vector_size={size})")
        self.config, self.size = config, config.hidden
        if train_vectors:
            self.vectors = nn.Parameter(vectors.clone())
        else:
            self.register_buffer("vectors", vectors, persistent=False)
        self.projection = nn.Linear(config.vector_size, config.hidden)
        self.positions = nn.Embedding(config.max_tokens, config.hidden)
        self.blocks = nn.ModuleList(
            GatedBlock(
                config.hidden,
                dilation,
                gate=config.gate,
                residual=config.residual,
                dropout=config.dropout,
                dropout_on=config.block_dropout,
            )
            for dilation in config.dilations
        )
        self.register_buffer("folded", None, persistent=False)
        for module in self.modules():
            initialise(module)

    def fold(self) -> ConvEncoder:
        """Replace vectors and projection by their product (V, hidden): same states, for inference.

        Setting `folded` to None undoes it, which training needs: the product has no gradient.
        """
        with torch.no_grad():
            self.folded = self.projection(self.vectors)
        return self

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """H (B, n, d), exactly 0 at pads, of `words` (B, n) ids and the mask (B, n, 1)."""
        words = inputs["words"]
        if self.folded is not None:
            x = F.embedding(words, self.folded)
        else:
            x = self.projection(F.embedding(words, self.vectors))
        x = x + self.positions.weight[: words.shape[1]]
        rate = self.config.embedding_dropout
        # The release drops without scaling up and scales by 1 - p in evaluation instead.
        x = (1 - rate) * F.dropout(x, rate, self.training) * mask  # (B, n, d)
        for block in self.blocks:
            x = block(x, mask)
        return x


class HeadTagger(nn.Module):
    """Start and end of head entities by type (Eq. 5-10)."""

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        d, columns = config.hidden, config.columns[0]
        self.mask_pads = config.mask_pads
        self.attention = SelfAttention(d, config.attention_heads)
        convolution = config.taggers == "convolution"
        self.convolution = nn.Conv1d(2 * d, d, 3, padding=1) if convolution else None
        self.start = nn.Linear(d if convolution else 2 * d, columns)
        self.end = nn.Linear(d if convolution else 2 * d, columns)
        for module in self.modules():
            initialise(module)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end logits, each (B, n, K + 1)."""
        u = torch.cat([hidden, self.attention(hidden, mask)], dim=-1)  # (B, n, 2d)
        if self.mask_pads:  # or the kernel at the last token reads attention output at a pad
            u = u * mask
        if self.convolution is not None:
            u = convolve(self.convolution, u).relu()  # (B, n, d)
        return two_linears(self.start, self.end, u)


class TailTagger(nn.Module):
    """Start and end of tail entities by relation, for given head entities (Eq. 13, 14).

    The first layer is linear in z = [H ; H_t ; w_a + PosS ; w_b + PosE ; type], so it is computed by
    parts: [H ; H_t] once per sentence instead of once per head entity, positions once per distance,
    the rest once per head entity. The sum is the same; 576 channels per head entity and token are
    never built. Only the first and last token differ, where the kernel hangs over the edge.
    """

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        d, columns = config.hidden, config.columns[1]
        self.mask_pads, self.max_tokens = config.mask_pads, config.max_tokens
        self.attention = SelfAttention(d, config.attention_heads)
        self.start_positions = nn.Embedding(config.max_tokens, d)
        self.end_positions = None
        if config.position_tables == 2:
            self.end_positions = nn.Embedding(config.max_tokens, d)
        self.types = nn.Embedding(config.n_types, config.type_size)
        width = 4 * d + config.type_size
        if config.taggers == "convolution":
            self.first = nn.Conv1d(width, d, 3, padding=1)
            self.start, self.end = nn.Linear(d, columns), nn.Linear(d, columns)
        else:
            self.first = nn.Conv1d(width, 2 * columns, 1)
            self.start = self.end = None
        for module in self.modules():
            initialise(module)

    def forward(
        self, hidden: Tensor, mask: Tensor, heads: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Start and end logits, each (M, n, R + 1), of M head entities.

        `hidden` (B, n, d) is H of the encoder, `heads` (M, 4) int64 are row in the batch, start, end
        (inclusive) and type, `lengths` (B,) the real tokens of each row.
        """
        rows, start, end, kind = heads.unbind(1)  # (M,) each
        n, d = hidden.shape[1:]
        taps = self.first.kernel_size[0]
        by_sentence, by_head = self.first.weight.split([2 * d, 2 * d + self.types.embedding_dim], 1)
        shared = torch.cat([hidden, self.attention(hidden, mask)], dim=-1)  # (B, n, 2d)
        if self.mask_pads:
            shared = shared * mask
        shared = convolve(self.first, shared, weight=by_sentence)  # (B, n, out)
        own = torch.cat([hidden[rows, start], hidden[rows, end], self.types(kind)], dim=-1)
        own = _by_tap(own, by_head)  # (M, taps, out)
        # One distance past the table has the vector 0: only a tap over the edge asks for it.
        ends = self.end_positions or self.start_positions
        tables = [
            F.pad(_by_tap(table.weight, weight), (0, 0, 0, 0, 0, 1))  # (max_tokens + 1, taps, out)
            for table, weight in (
                (self.start_positions, by_head[:, :d]),
                (ends, by_head[:, d : 2 * d]),
            )
        ]
        at = torch.arange(n, device=hidden.device)
        z = shared[rows] + own.sum(1, keepdim=True)  # (M, n, out)
        for table, anchor in zip(tables, (start, end), strict=True):
            z = z + F.embedding(at - anchor.unsqueeze(1) + n - 1, _by_offset(table, n))
        if taps == 3:
            last = lengths[rows] - 1 if self.mask_pads else torch.full_like(rows, n - 1)
            every = torch.arange(len(rows), device=rows.device)
            left = own[:, 0] + tables[0][start + 1, 0] + tables[1][end + 1, 0]  # (M, out)
            right = own[:, 2]
            for table, anchor in zip(tables, (start, end), strict=True):
                right = right + table[(last + 1 - anchor).abs(), 2]
            z[:, 0] -= left
            z[every, last] -= right
        if self.start is None:
            return z.chunk(2, dim=-1)
        return two_linears(self.start, self.end, z.relu_())


def _by_tap(vectors: Tensor, weight: Tensor) -> Tensor:
    """Apply each tap of a kernel to vectors: (N, in), (out, in, taps) to (N, taps, out)."""
    flat = vectors @ weight.permute(1, 2, 0).flatten(1)
    return flat.unflatten(1, (weight.shape[2], weight.shape[0]))


def _by_offset(table: Tensor, n: int) -> Tensor:
    """Sum the taps at each signed distance: (max + 1, taps, out) to (2n - 1, out), from -(n-1)."""
    taps = table.shape[1]
    signed = torch.arange(-(n - 1), n, device=table.device)
    total = 0
    for tap in range(taps):
        distance = (signed + tap - taps // 2).abs().clamp(max=len(table) - 1)
        total = total + table[distance, tap]
    return total


def two_linears(first: nn.Linear, second: nn.Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    """Apply two linear layers to the same input in one product."""
    weight = torch.cat([first.weight, second.weight])
    out = F.linear(x, weight, torch.cat([first.bias, second.bias]))
    return out.split([first.out_features, second.out_features], dim=-1)


class FastRE(nn.Module):
    """FastRE: the encoder of Eq. 1 to 4 on word vectors (V, vector_size), head and tail tagger.

    Row 0 of the vectors is for pads, row 1 for unknown words.
    """

    def __init__(self, config: TaggerConfig, vectors: Tensor, train_vectors: bool = False) -> None:
        super().__init__()
        self.config = config
        self.encoder = ConvEncoder(config, vectors, train_vectors)
        self.heads, self.tails = HeadTagger(config), TailTagger(config)

    @property
    def threshold(self) -> float | None:
        """None where each position has its own threshold in column 0, else the default 0.5."""
        return None if self.config.threshold == "adaptive" else 0.5

    def encode(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """H (B, n, d) and the mask (B, n, 1) of `words` (B, n) ids and `lengths` (B,), at least 1."""
        n, most = inputs["words"].shape[1], self.config.max_tokens
        if n > most:
            raise ValueError(f"sentences of {n} words exceed max_tokens={most}")
        mask = token_mask(inputs["lengths"], n)
        mask = mask.to(self.encoder.projection.weight.dtype)
        return self.encoder(inputs, mask), mask

    def head_logits(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end logits of head entities, each (B, n, K + 1)."""
        return self.heads(hidden, mask)

    def tail_logits(
        self, hidden: Tensor, mask: Tensor, heads: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Start and end logits of tail entities, each (M, n, R + 1); see `TailTagger`."""
        return self.tails(hidden, mask, heads, lengths)


def token_mask(lengths: Tensor, n: int) -> Tensor:
    """The mask of real tokens: (B,) to (B, n, 1) float."""
    return (torch.arange(n, device=lengths.device) < lengths.unsqueeze(1)).float().unsqueeze(-1)


def trainable_parameters(module: nn.Module) -> int:
    """Count the trained numbers; frozen word vectors are none of them."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
