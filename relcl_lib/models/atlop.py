"""The base module of DocRE-II: ATLOP's pair features on a Transformer.

Any other base serves as well: what the inference module needs of it is a `PairScores`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from relcl_lib.losses.basic import without_autocast
from relcl_lib.models.window_encoder import WindowEncoder
from relcl_lib.text.document_tokens import DocumentBatch

EPSILON = 1e-5  # added to the sum of pooling weights
MOST = 2**27  # outer products that a step keeps, size x block per pair: 0.5 GiB in float32


class PairScores(NamedTuple):
    """What a base module says of the p pairs of a batch, in the order of `batch.pairs`.

    `features` (p, D) of any width, and `logits` (p, R + 1) with class 0 first, which is both "no
    relation" and the threshold.
    """

    features: Tensor
    logits: Tensor


class ExactLinear(nn.Linear):
    """A layer that autocast has no say in: in bfloat16 many pairs would share their logits."""

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., in) of any floating-point format to (..., out) of the weights' format."""
        with without_autocast(vectors.device):
            return super().forward(vectors.to(self.weight.dtype))


class PairClassifier(Protocol):
    """A base module: a network that scores the pairs of a batch and names its features' width."""

    feature_size: int

    def __call__(self, batch: DocumentBatch) -> PairScores:
        """Features and logits of the batch's pairs."""


@dataclass(frozen=True)
class AtlopConfig:
    """Sizes and switches of the base module; the defaults are the paper's.

    `pair_network` is ATLOP's grouped `bilinear` form or `concat` (one linear layer on [z_s; z_o]).
    `mention` reads a mention at its `opening` marker, averages `both` markers (released), or reads
    its `first` piece, for an encoder that has not learned what a marker is. `layers` is how
    many last layers of the encoder are averaged (released: 3), `document_vector` appends h_CLS to
    the pair projections (released), `classifier` is `linear` or `normalised` (released).
    """

    n_relations: int
    size: int = 768
    block: int = 64
    pair_network: str = "bilinear"
    mention: str = "opening"
    layers: int = 1
    document_vector: bool = False
    classifier: str = "linear"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name, known in (
            ("pair_network", ("bilinear", "concat")),
            ("mention", ("opening", "both", "first")),
            ("classifier", ("linear", "normalised")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} must be one of {known}")


def pool_entities(vectors: Tensor, owner: Tensor, count: int) -> Tensor:
    """log sum exp over the mentions of each entity, `owner` (m,): (m, D) to (count, D), 0 without one."""
    index = owner.unsqueeze(1).expand_as(vectors)
    top = vectors.new_full((count, vectors.shape[1]), -torch.inf)
    # The largest is taken out for the range of exp only, so it needs no gradient.
    top = top.scatter_reduce(0, index, vectors.detach(), "amax")
    absent = top.isinf()
    top = top.masked_fill(absent, 0.0)
    total = top.new_zeros(top.shape).index_add(0, owner, (vectors - top[owner]).exp())
    return top + (total + absent).log()


def pool_context(attention: Tensor, hidden: Tensor) -> Tensor:
    """Localized context pooling: (b, N, heads, T) and (b, T, D) to c (b, N, N, D).

    a_so = mean over heads of A_s * A_o, divided by its sum (+ 1e-5); c_so = H^T a_so.
    """
    # In one piece: of strided matrices the batched product makes a copy each, one after the other.
    by_piece = attention.permute(0, 3, 1, 2).contiguous()  # (b, T, N, heads)
    weights = by_piece @ by_piece.transpose(-1, -2) / attention.shape[2]  # (b, T, N, N)
    weights = weights / (weights.sum(1, keepdim=True) + EPSILON)
    return (weights.flatten(2).mT @ hidden.to(weights.dtype)).unflatten(1, weights.shape[2:])


class GroupedBilinear(nn.Module):
    """ReLU of a linear layer on the outer products of `block`-wide groups of z_s and z_o.

    More than `MOST` products are not kept for the gradient: they are made again, for `chunk` pairs at
    a time, so that a document of many entities fits.
    """

    def __init__(self, size: int, block: int, chunk: int = 1024) -> None:
        super().__init__()
        if size % block:
            raise ValueError(f"size={size} must be a multiple of block={block}")
        self.block, self.chunk = block, chunk
        self.linear = nn.Linear(size * block, size)

    def _expand(self, left: Tensor, right: Tensor) -> Tensor:
        left, right = (z.unflatten(-1, (-1, self.block)) for z in (left, right))
        return self.linear((left.unsqueeze(-1) * right.unsqueeze(-2)).flatten(1)).relu()

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """(p, size) of z_s and z_o, each (p, size)."""
        kept = torch.is_grad_enabled() and left.numel() * self.block <= MOST
        if kept or len(left) <= self.chunk:
            return self._expand(left, right)
        parts = zip(left.split(self.chunk), right.split(self.chunk), strict=True)
        return torch.cat(
            [
                checkpoint(self._expand, *part, use_reentrant=False, preserve_rng_state=False)
                for part in parts
            ]
        )


class Atlop(nn.Module):
    """Pair features F_0 and base logits (section 2.1 of the paper).

    z_s = tanh(W_s [h(e_s); c_so]), z_o = tanh(W_o [h(e_o); c_so]), F = FNN([z_s; z_o]),
    logits = W_r F + b_r.
    """

    def __init__(self, config: AtlopConfig, encoder: WindowEncoder) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.feature_size = config.size
        width = encoder.size * (3 if config.document_vector else 2)
        self.subject, self.object = nn.Linear(width, config.size), nn.Linear(width, config.size)
        if config.pair_network == "bilinear":
            self.combine = GroupedBilinear(config.size, config.block)
        else:
            self.combine = nn.Linear(2 * config.size, config.size)
        columns = config.n_relations + 1
        self.classifier: nn.Module = ExactLinear(config.size, columns)
        if config.classifier == "normalised":
            self.classifier = nn.Sequential(
                nn.Dropout(config.dropout),
                nn.LayerNorm(config.size),
                ExactLinear(config.size, columns, bias=False),
            )

    def forward(self, batch: DocumentBatch) -> PairScores:
        """Features and logits of the pairs of a batch."""
        row, entity, opening, closing = batch.mentions.unbind(1)
        both = self.config.mention == "both"
        first = opening + (self.config.mention == "first")
        places = torch.cat([opening, closing]) if both else first
        rows = row.repeat(2) if both else row
        hidden, attention = self.encoder(batch.ids, batch.lengths, rows, places)
        vectors = hidden[rows, places]  # (m, H), and attention (m, heads, T)
        if both:
            vectors, attention = (x.unflatten(0, (2, -1)).mean(0) for x in (vectors, attention))
        n, b, owner = batch.n_entities, len(batch.ids), row * batch.n_entities + entity
        exact = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
        entities = pool_entities(exact, owner, b * n)  # (b n, H)
        mean = attention.new_zeros(b * n, *attention.shape[1:]).index_add(0, owner, attention)
        mean = mean / owner.bincount(minlength=b * n).clamp(min=1)[:, None, None]  # (b n, heads, T)
        context = pool_context(mean.unflatten(0, (b, n)), hidden)  # (b, n, n, H)
        document, subject, other = batch.pairs.unbind(1)
        shared = context[document, subject, other]  # (p, H)
        if self.config.document_vector:
            shared = torch.cat([shared, hidden[document, 0]], dim=1)
        left = self._project(self.subject, entities, document * n + subject, shared)
        right = self._project(self.object, entities, document * n + other, shared)  # (p, size)
        if isinstance(self.combine, GroupedBilinear):
            features = self.combine(left, right)
        else:
            features = self.combine(torch.cat([left, right], dim=1)).relu()
        return PairScores(features, self.classifier(features))

    def _project(self, layer: nn.Linear, entities: Tensor, which: Tensor, shared: Tensor) -> Tensor:
        """tanh(W [h(e); c]), the entities' part computed once for all pairs they are in."""
        of_entity, of_pair = layer.weight.split([entities.shape[1], shared.shape[1]], dim=1)
        own = nn.functional.linear(entities, of_entity, layer.bias)
        return (own[which] + nn.functional.linear(shared, of_pair)).tanh()
