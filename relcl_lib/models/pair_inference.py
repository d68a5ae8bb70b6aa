"""The inference module of DocRE-II: layers of attention over the matrix of entity pairs.

It reads a base's pair features F and the relations predicted so far, embedded as R, and predicts
again. Pairs are rows (p, d) in the order of `PairMatrix.pairs`; only attention sees the matrix.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relcl_lib.models.atlop import ExactLinear, PairScores
from relcl_lib.models.pair_attention import CrossedAttention, PairAttention, PairMatrix
from relcl_lib.text.document_metrics import LIMIT, within_limit

ATTENTIONS = {"crossed": CrossedAttention, "all": PairAttention}


@dataclass(frozen=True)
class InferenceConfig:
    """Sizes and switches of the inference module.

    `attention` is the extended cross attention (`crossed`) or that of every pair of a document to
    every other (`all`, the paper's "w/o ECA"). `fusion` is the gate. `mixing` makes the keys' input
    of [F; R] by a linear layer and layer norm (`projected`, released) or takes it as it is
    (`concat`, paper). `own_bonus` is added to the score of a pair's own cell (1 in the release).
    `relation` embeds the predicted `set` (released) or the `argmax` (paper). `classifier` is
    `linear` (paper) or `projected` (released: 2d to d, dropout, layer norm first).
    """

    n_relations: int
    feature_size: int
    size: int = 512
    layers: int = 2
    attention: str = "crossed"
    fusion: bool = True
    mixing: str = "projected"
    own_bonus: float = 0.0
    relation: str = "set"
    classifier: str = "linear"
    dropout: float = 0.1


def decode_relations(logits: Tensor, limit: int = LIMIT) -> Tensor:
    """Which classes a pair is given: (p, R + 1) logits to (p, R + 1) bool.

    A relation needs a logit strictly above that of class 0 and a place among the `limit` largest, of
    equal ones the lower number's first. Class 0 is set where no relation is.
    """
    return with_class_zero(within_limit(logits[:, 1:] - logits[:, :1], limit) > 0)


def with_class_zero(labels: Tensor) -> Tensor:
    """Put class 0 before the relations, set where none is: (p, R) bool to (p, R + 1) bool."""
    return torch.cat([~labels.any(-1, keepdim=True), labels], dim=-1)


def add_noise(
    predicted: Tensor,
    documents: Tensor,
    *,
    rate: tuple[float, float] = (0.0, 0.4),
    spurious: tuple[float, float] = (0.0, 0.0),
    spared: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Replace relations of a document by others (sections 2.3 and 3.2 of the paper).

    Of the pairs with a predicted relation a share r ~ U(rate) is changed, r drawn for each
    document. With `spurious` above 0 pairs without one get a relation too, as in the release: 5 P q
    of them in the mean, P the pairs with a relation and q ~ U(spurious). A changed pair has one
    class, drawn from those that are not predicted: what is read then says of gold no more than the
    predictions do.

    `predicted` and the result are (p, R + 1) bool, class 0 first; `documents` (p,) numbers the
    document of each pair from 0. A range of (0, 0) leaves its pairs as they are. `spared` classes,
    (p, R + 1) bool, are not drawn either; a pair for which none is left stays. Sparing gold tells
    gold: of one relation only right predictions would ever be changed.
    """
    if not len(predicted):
        return predicted
    count = int(documents.max()) + 1
    draws = torch.rand(2, count, generator=generator).to(predicted.device)
    chance, which = torch.rand(2, len(predicted), generator=generator).to(predicted.device)
    related = ~predicted[:, 0]
    positives = related.new_zeros(count, dtype=torch.float).index_add(0, documents, related.float())
    negatives = documents.bincount(minlength=count) - positives
    r = rate[0] + draws[0] * (rate[1] - rate[0])
    share = spurious[0] + draws[1] * (spurious[1] - spurious[0])
    share = 5 * share * positives / negatives.clamp(min=1)
    limits = torch.where(related, r[documents], share[documents])
    allowed = ~predicted if spared is None else ~(predicted | spared)
    options = allowed.sum(-1)
    # The k-th allowed class, k uniform: one draw per pair, whatever the number of classes.
    k = (which * options).long() + 1
    chosen = allowed & (allowed.cumsum(-1) == k.unsqueeze(-1))
    changed = (chance < limits) & (options > 0)
    return torch.where(changed.unsqueeze(-1), chosen, predicted)


def _joined(d: int, dropout: float) -> nn.Sequential:
    """What makes one vector of [first; second]: (p, 2d) to (p, d)."""
    return nn.Sequential(nn.Linear(2 * d, d), nn.Dropout(dropout), nn.LayerNorm(d))


class InferenceLayer(nn.Module):
    """One layer (Eq. 5 to 11): attention for each slot, gate, and a residual network for each."""

    def __init__(self, config: InferenceConfig) -> None:
        super().__init__()
        d, memory = config.size, 2 * config.size
        self.mix: nn.Module = nn.Identity()
        if config.mixing == "projected":
            self.mix, memory = _joined(d, config.dropout), d
        elif config.mixing != "concat":
            raise ValueError(f"mixing={config.mixing!r} must be 'projected' or 'concat'")
        if config.attention not in ATTENTIONS:
            raise ValueError(
                f"attention={config.attention!r} must be one of {', '.join(ATTENTIONS)}"
            )
        attention = ATTENTIONS[config.attention]
        self.attend = nn.ModuleList(
            attention(d, memory, config.dropout, config.own_bonus) for _ in range(2)
        )
        self.gate = nn.Linear(2 * d, d) if config.fusion else None
        self.networks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(d, 2 * d), nn.ReLU(), nn.Linear(2 * d, d), nn.Dropout(config.dropout)
            )
            for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(2))

    def forward(self, slots: tuple[Tensor, Tensor], cells: PairMatrix) -> tuple[Tensor, Tensor]:
        """Both slots, each (p, d), after the layer."""
        memory = self.mix(torch.cat(slots, dim=1))  # (p, d), or (p, 2d) as it is
        seen = [
            attend(slot, memory, cells) for attend, slot in zip(self.attend, slots, strict=True)
        ]
        if self.gate is not None:
            weight = self.gate(torch.cat(seen, dim=1)).sigmoid()  # (p, d)
            seen = [weight * seen[0] + (1 - weight) * seen[1]] * 2
        parts = zip(slots, seen, self.networks, self.norms, strict=True)
        first, second = (norm(slot + network(new)) for slot, new, network, norm in parts)
        return first, second

    def attention_map(
        self, slots: tuple[Tensor, Tensor], cells: PairMatrix, rows: Tensor
    ) -> Tensor:
        """Where the pairs `rows` (r,) look, mean over both attentions: (r, n, n)."""
        memory = self.mix(torch.cat(slots, dim=1))
        units = zip(self.attend, slots, strict=True)
        maps = [attend.attention_map(slot, memory, cells, rows) for attend, slot in units]
        return torch.stack(maps).mean(0)


class PairInference(nn.Module):
    """Layers, relation embedding, classifier, and the predictor of the contrastive loss.

    Works on any base module: it reads its features and a set of relations for each pair.
    """

    def __init__(self, config: InferenceConfig) -> None:
        super().__init__()
        self.config, d = config, config.size
        if config.relation not in ("set", "argmax"):
            raise ValueError(f"relation={config.relation!r} must be 'set' or 'argmax'")
        if d % 4:
            raise ValueError(f"size={d} must be a multiple of 4, one part per head")
        columns = config.n_relations + 1
        self.reduce = nn.Linear(config.feature_size, d, bias=False)
        self.relations = nn.Parameter(nn.init.xavier_uniform_(torch.empty(columns, d)))
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(InferenceLayer(config) for _ in range(config.layers))
        self.project: nn.Module = nn.Identity()
        width = 2 * d
        if config.classifier == "projected":
            self.project, width = _joined(d, config.dropout), d
        elif config.classifier != "linear":
            raise ValueError(f"classifier={config.classifier!r} must be 'linear' or 'projected'")
        self.classifier = ExactLinear(width, columns)
        self.predictor = nn.Sequential(
            nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width)
        )

    def embed_features(self, features: Tensor) -> Tensor:
        """F: a base's features (p, D) to (p, d)."""
        return self.dropout(self.reduce(features))

    def embed_relations(self, labels: Tensor) -> Tensor:
        """R: (p, R + 1) bool to (p, d), the sum of the embeddings of a pair's classes."""
        return labels.to(self.relations.dtype) @ self.relations

    def fed_back(self, logits: Tensor) -> Tensor:
        """The classes that the next pass reads: the decoded set, or the largest logit's."""
        if self.config.relation == "set":
            return decode_relations(logits)
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).bool()

    def forward(self, first: Tensor, second: Tensor, cells: PairMatrix) -> Tensor:
        """[first; second] after all layers, (p, 2d), or its projection (p, d).

        Usually `first` is F and `second` R; the contrastive loss swaps them.
        """
        slots = (first, second)
        for layer in self.layers:
            slots = layer(slots, cells)
        return self.project(torch.cat(slots, dim=1))

    def attention_map(
        self, first: Tensor, second: Tensor, cells: PairMatrix, rows: Tensor
    ) -> Tensor:
        """Where the pairs `rows` (r,) look in the matrix of their document: (r, n, n), of sum 1 each.

        The mean over heads, slots and layers, of the attention weights alone: what residuals and
        the gate carry past them is not in it.
        """
        slots, maps = (first, second), []
        for layer in self.layers:
            maps.append(layer.attention_map(slots, cells, rows))
            slots = layer(slots, cells)
        return torch.stack(maps).mean(0)

    def predict(self, vectors: Tensor) -> Tensor:
        """What the predictor makes of pair vectors, for the contrastive loss.

        Its batch norm needs two pairs to train on; a single one is normalised by what it has seen.
        """
        self.predictor.train(self.training and len(vectors) > 1)
        return self.predictor(vectors)

    def slot_weights(self) -> tuple[float, float]:
        """The mean absolute classifier weight of the F half and the R half (Figure 5)."""
        layer = self.classifier if self.config.classifier == "linear" else self.project[0]
        halves = layer.weight.detach().abs().split(self.config.size, dim=1)
        return halves[0].mean().item(), halves[1].mean().item()


@torch.no_grad()
def iterate_logits(
    inference: PairInference,
    scores: PairScores,
    cells: PairMatrix,
    iterations: int,
    *,
    sum_logits: bool = False,
    fed: Iterable[Tensor] = (),
) -> list[Tensor]:
    """Predict, feed the predictions back, and predict again (section 2.2).

    Args:
        inference: in evaluation mode.
        scores: of any base module, for the pairs of `cells`.
        cells: the pairs.
        iterations: K.
        sum_logits: decode the sum of the base's and all iterations' logits (released) in place of
            the last iteration's alone (paper).
        fed: (p, R + 1) bool each, class 0 first: what a first pass of its own reads in place of the
            base's prediction, to see what the feedback changes.

    Returns:
        K + 1 tensors (p, R + 1) float32, threshold first: the base's logits, then those of each
        iteration; after them one for each of `fed`.
    """
    features = inference.embed_features(scores.features)  # (p, d)
    logits = scores.logits.float()  # (p, R + 1)

    def one_pass(labels: Tensor, before: Tensor) -> Tensor:
        vectors = inference(features, inference.embed_relations(labels), cells)  # (p, 2d) or (p, d)
        new = inference.classifier(vectors)
        return before + new if sum_logits else new

    apart = [one_pass(labels, logits) for labels in fed]
    found = [logits]
    for _ in range(iterations):
        found.append(one_pass(inference.fed_back(found[-1]), found[-1]))
    return found + apart
