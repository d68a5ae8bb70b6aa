"""Attention over the matrix of entity pairs: along crossing rows and columns, or over all pairs."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

HEADS = 4
#: attention scores (of all documents and heads together) that are computed at once: 32 MiB in float32
SCORES = 2**23


class PairMatrix(NamedTuple):
    """Where p pairs lie in b matrices of n x n cells; the other cells are not there.

    `pairs` (p, 3): document, subject, object, each cell once, none on the diagonal, and the
    documents in rising order.
    """

    pairs: Tensor
    b: int
    n: int

    def fill(self, values: Tensor) -> Tensor:
        """(b, n, n, ...) with the pairs' values (p, ...), 0 elsewhere."""
        index = self.index()
        flat = values.new_zeros(self.b * self.n * self.n, *values.shape[1:])
        return flat.index_copy(0, index, values).unflatten(0, (self.b, self.n, self.n))

    def read(self, matrix: Tensor) -> Tensor:
        """The pairs' values (p, ...) of (b, n, n, ...)."""
        return matrix.flatten(0, 2).index_select(0, self.index())

    def index(self) -> Tensor:
        """The place of each pair among the b n n cells: (p,)."""
        document, subject, other = self.pairs.unbind(1)
        return (document * self.n + subject) * self.n + other

    def valid(self) -> Tensor:
        """V (b, n, n) bool."""
        return self.fill(torch.ones(len(self.pairs), dtype=torch.bool, device=self.pairs.device))


def _by_line(values: Tensor) -> Tensor:
    """Lay keys out by the line that a head reads: (b, n, n, 4, e) to (4, b, line, place, e).

    Head 1 reads row s, (s, m); head 2 column o, (m, o); head 3 column s, (m, s); head 4 row o,
    (o, m). So heads 2 and 3 take columns, 1 and 4 rows.
    """
    row, column, into, out = values.unbind(3)
    return torch.stack([row, column.transpose(1, 2), into.transpose(1, 2), out])


def _queries_by_line(values: Tensor) -> Tensor:
    """Lay queries out by the line they read: heads 1 and 3 by subject, heads 2 and 4 by object."""
    row, column, into, out = values.unbind(3)
    return torch.stack([row, column.transpose(1, 2), into, out.transpose(1, 2)])


class _Attention(nn.Module):
    """The layers of both kinds: queries are `size` wide, what keys and values are made of `memory`.

    `own_bonus` is of crossed attention alone: the other kind has no slot for a pair's own cell.
    """

    def __init__(
        self, size: int, memory: int, dropout: float = 0.1, own_bonus: float = 0.0
    ) -> None:
        super().__init__()
        self.own_bonus, self.scale = own_bonus, 1 / math.sqrt(size // HEADS)
        self.query = nn.Linear(size, size)
        self.key, self.value = nn.Linear(memory, size), nn.Linear(memory, size)
        self.out = nn.Linear(size, size)
        self.dropout = nn.Dropout(dropout)

    def _heads(self, queries: Tensor, memory: Tensor) -> list[Tensor]:
        """Queries, keys and values of the pairs, (p, 4, e) each."""
        parts = ((self.query, queries), (self.key, memory), (self.value, memory))
        return [layer(x).unflatten(-1, (HEADS, -1)) for layer, x in parts]


class CrossedAttention(_Attention):
    """Extended cross attention (Eq. 5 to 7): pair (s, o) attends to the pairs that share s or o.

    Each head reads one line of the matrix and the pair's own cell beside it, whose score gets
    `own_bonus` (0; the release adds 1). In a full matrix that is 4 n - 6 cells. Scores are products
    of lines, 4 b n^2 (n + 1) numbers, so no key is copied for a query. `size` is a multiple of 4.
    """

    def forward(self, queries: Tensor, memory: Tensor, cells: PairMatrix) -> Tensor:
        """(p, size) for queries (p, size) and the memory (p, m) of the same pairs."""
        q, k, v = (cells.fill(x) for x in self._heads(queries, memory))
        attended = self.attend(q * self.scale, k, v, cells.valid())
        return self.dropout(self.out(cells.read(attended).flatten(1)))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, valid: Tensor) -> Tensor:
        """(b, n, n, 4, e) of scaled queries, keys and values of that shape; V (b, n, n)."""
        value = _by_line(v)  # (4, b, line, place, e)
        weights = self.dropout(self._weights(q, k, valid)).to(value.dtype)
        lines = weights[..., 1:] @ value + weights[..., :1] * _queries_by_line(v)
        row, column, into, out = lines.unbind(0)
        return torch.stack([row, column.transpose(1, 2), into, out.transpose(1, 2)], dim=3)

    def _weights(self, q: Tensor, k: Tensor, valid: Tensor) -> Tensor:
        """(4, b, line, place, 1 + n): of the own cell, then of the cells of the line that is read."""
        query, key = _queries_by_line(q), _by_line(k)  # (4, b, line, place, e)
        own = _queries_by_line((q * k).sum(-1, keepdim=True)) + self.own_bonus  # (4, b, n, n, 1)
        across = valid.transpose(1, 2)
        seen = torch.stack([valid, across, across, valid]).unsqueeze(3)  # (4, b, line, 1, place)
        n = valid.shape[1]
        itself = torch.eye(n, dtype=torch.bool, device=valid.device).expand(2, n, n)
        # In heads 1 and 2 the own cell lies on the line; it counts once, by its extra slot.
        itself = F.pad(itself, (0, 0, 0, 0, 0, 2))[:, None, None]
        scores = (query @ key.transpose(-1, -2)).masked_fill(~seen | itself, -math.inf)
        return torch.cat([own.to(scores.dtype), scores], dim=-1).softmax(-1)

    def attention_map(
        self, queries: Tensor, memory: Tensor, cells: PairMatrix, rows: Tensor
    ) -> Tensor:
        """Where the pairs `rows` (r,) look, mean over heads: (r, n, n), of sum 1 each."""
        q, k, _ = (cells.fill(x) for x in self._heads(queries, memory))
        weights = self._weights(q * self.scale, k, cells.valid())
        document, s, o = cells.pairs[rows].unbind(1)
        at = torch.arange(len(rows), device=rows.device)
        row, column = weights[0, document, s, o], weights[1, document, o, s]  # (r, 1 + n)
        into, out = weights[2, document, s, o], weights[3, document, o, s]
        seen = weights.new_zeros(len(rows), cells.n, cells.n)
        seen[at, s] += row[:, 1:]
        seen[at, :, o] += column[:, 1:]
        seen[at, :, s] += into[:, 1:]
        seen[at, o] += out[:, 1:]
        seen[at, s, o] += (row + column + into + out)[:, 0]
        return seen / HEADS


class PairAttention(_Attention):
    """Ordinary multi-head attention of each pair to all pairs of its document ("w/o ECA").

    Its scores are quadratic in the pairs. Torch's fused attention keeps none of them, but on a CPU
    it has no dropout, and the unfused form keeps them three times over. So where they are more than
    `SCORES`, queries go by in chunks whose scores are computed again for the gradient: what is kept
    for it is linear in the pairs, above a bound that does not depend on them.
    """

    def forward(self, queries: Tensor, memory: Tensor, cells: PairMatrix) -> Tensor:
        """(p, size) for queries (p, size) and the memory (p, m) of the same pairs."""
        document = cells.pairs[:, 0]
        count = document.bincount(minlength=cells.b)
        place = torch.arange(len(document), device=document.device)
        place = place - (count.cumsum(0) - count)[document]
        widest = int(count.max())
        heads = []
        for values in self._heads(queries, memory):
            padded = values.new_zeros(cells.b, widest, *values.shape[1:])
            heads.append(padded.index_put((document, place), values).transpose(1, 2))
        mask = torch.arange(widest, device=count.device) < count.unsqueeze(1)
        queries_at_once = max(1, SCORES // max(1, cells.b * HEADS * widest))
        attend = partial(
            F.scaled_dot_product_attention,
            attn_mask=mask[:, None, None],
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        q, k, v = heads  # (b, 4, widest, e)
        chunks = q.split(queries_at_once, dim=2)
        if len(chunks) > 1:
            attend = partial(checkpoint, attend, use_reentrant=False)
        attended = torch.cat([attend(chunk, k, v) for chunk in chunks], dim=2)
        attended = attended.transpose(1, 2).flatten(2)[document, place]
        return self.dropout(self.out(attended))

    def attention_map(
        self, queries: Tensor, memory: Tensor, cells: PairMatrix, rows: Tensor
    ) -> Tensor:
        """Where the pairs `rows` (r,) look, mean over heads: (r, n, n), of sum 1 each."""
        q, k, _ = (x.transpose(0, 1) for x in self._heads(queries, memory))  # (4, p, e)
        scores = q[:, rows] @ k.transpose(1, 2) / math.sqrt(q.shape[-1])  # (4, r, p)
        document, s, o = cells.pairs.unbind(1)
        elsewhere = document[rows].unsqueeze(1) != document
        weights = scores.masked_fill(elsewhere, -math.inf).softmax(-1).mean(0)  # (r, p)
        seen = weights.new_zeros(len(rows), cells.n * cells.n)
        return seen.index_add(1, s * cells.n + o, weights).unflatten(1, (cells.n, cells.n))
