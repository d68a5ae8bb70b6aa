"""What a DocRE-II run is built of: base and inference module, the losses of both stages, optimizers."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from relcl_lib.data.document_files import Fact
from relcl_lib.data.document_sets import DocumentData
from relcl_lib.lab.runtime import seeded_initialisation
from relcl_lib.losses import adaptive_threshold_loss, view_agreement_loss, view_contrast_loss
from relcl_lib.models.atlop import Atlop, AtlopConfig, PairClassifier, PairScores
from relcl_lib.models.pair_attention import PairMatrix
from relcl_lib.models.pair_inference import (
    InferenceConfig,
    PairInference,
    add_noise,
    iterate_logits,
    with_class_zero,
)
from relcl_lib.models.window_encoder import WindowEncoder, extend_positions
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.papers.docre_ii.stated_facts import build_stated_facts
from relcl_lib.text.document_tokens import DocumentBatch
from relcl_lib.text.pretrained import load_encoder

#: settings and data -> tokenizer and base module; one of `BUILDERS` or one of your own
BaseBuilder = Callable[[DocreParameters, DocumentData], tuple[Any, nn.Module]]


#: what a first pass is handed in place of the base's predictions, see `fed_logits`
FED = ("gold", "none", "neighbours")
FED_PARTS = 4


class DocreNetwork(nn.Module):
    """A base module and the inference module on top of it."""

    def __init__(self, base: PairClassifier, inference: PairInference) -> None:
        super().__init__()
        self.base, self.inference = base, inference


def build_atlop(settings: DocreParameters, data: DocumentData) -> tuple[Any, Atlop]:
    """The tokenizer and ATLOP on the encoder of resolved parameters."""
    return build_atlop_on(*load_encoder(settings.encoder, attention="eager"), settings, data)


def build_atlop_on(
    tokenizer: Any, network: nn.Module, settings: DocreParameters, data: DocumentData
) -> tuple[Any, Atlop]:
    """The same on an encoder that is there, whose attention is `eager`."""
    if settings.long_documents == "positions":
        extend_positions(network)
    if settings.encoder_dropout is not None:
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = settings.encoder_dropout
    for name, parameter in network.named_parameters():
        if 0 <= _depth(name) < settings.frozen_layers + (settings.frozen_layers > 0):
            parameter.requires_grad_(False)
    config = AtlopConfig(
        n_relations=len(data.relations),
        size=settings.pair_size,
        block=settings.block,
        pair_network=settings.pair_network,
        mention=settings.mention,
        layers=settings.encoder_layers,
        document_vector=settings.document_vector,
        classifier=settings.base_classifier,
    )
    ends = (tokenizer.cls_token_id, tokenizer.sep_token_id)
    return tokenizer, Atlop(config, WindowEncoder(network, ends, settings.encoder_layers))


def _depth(name: str) -> int:
    """Of an encoder's parameter: 0 in its embeddings, i + 1 in its layer i, else (a pooler) -1."""
    layer = re.search(r"\blayers?\.(\d+)\.", name)
    return int(layer[1]) + 1 if layer else 0 if "embedding" in name else -1


#: `DocreParameters.base` -> what builds it; the records name a base as its builder, without `build_`
BUILDERS: dict[str, BaseBuilder] = {"atlop": build_atlop, "stated_facts": build_stated_facts}


def build_network(
    settings: DocreParameters, data: DocumentData, seed: int, make_base: BaseBuilder
) -> tuple[Any, DocreNetwork]:
    """The tokenizer and the network of a run, initialised by its seed."""
    with seeded_initialisation(seed):
        tokenizer, base = make_base(settings, data)
        config = InferenceConfig(
            n_relations=len(data.relations),
            feature_size=base.feature_size,
            size=settings.inference_size,
            layers=settings.inference_layers,
            attention=settings.attention,
            fusion=settings.fusion,
            mixing=settings.mixing,
            own_bonus=settings.own_bonus,
            relation=settings.relation,
            classifier=settings.inference_classifier,
            dropout=settings.dropout,
        )
        return tokenizer, DocreNetwork(base, PairInference(config))


def longest_document(settings: DocreParameters, base: nn.Module) -> int:
    """How many pieces a document may have: two windows cover no more than twice their size."""
    window = getattr(getattr(base, "encoder", None), "window", settings.max_pieces)
    return min(settings.max_pieces, 2 * window)


def encoder_type(base: nn.Module) -> str:
    """The kind of a base's pretrained encoder, `none` where it has none."""
    network = getattr(getattr(base, "encoder", None), "network", None)
    return getattr(getattr(network, "config", None), "model_type", "none")


def pair_matrix(batch: DocumentBatch) -> PairMatrix:
    """Where the pairs of a batch lie."""
    return PairMatrix(batch.pairs, len(batch.ids), batch.n_entities)


def base_loss(scores: PairScores, batch: DocumentBatch) -> Tensor:
    """L_R of stage 1: the adaptive threshold loss, mean over all pairs."""
    return adaptive_threshold_loss(scores.logits.float(), batch.labels).mean()


def stage_loss(
    network: DocreNetwork,
    batch: DocumentBatch,
    settings: DocreParameters,
    stage: int,
    generator: torch.Generator,
    handed: PairScores | None = None,
) -> Tensor:
    """The base's L_R; in stage 2 also L_R of the noisy view and the contrastive loss.

    `handed` is what the inference module reads in place of the base's scores (`held_out`).
    """
    frozen = stage == 2 and settings.freeze_base
    with torch.no_grad() if frozen else contextlib.nullcontext():
        scores = network.base(batch)
    loss = base_loss(scores, batch)
    if stage == 2:
        read = scores if handed is None else handed
        loss = loss + inference_loss(network.inference, read, batch, settings, generator)
    return loss


def inference_loss(
    inference: PairInference,
    scores: PairScores,
    batch: DocumentBatch,
    settings: DocreParameters,
    generator: torch.Generator,
) -> Tensor:
    """What stage 2 adds to the base's loss: L_R of a noisy view, and w L_C (Eq. 12 to 14).

    View A reads (F, R of the first noise draw), view B (R of the second, F): the same weights with
    the slots swapped. L_R is that of view A.
    """
    cells, gold = pair_matrix(batch), with_class_zero(batch.labels)
    if settings.feedback == "gold":
        known = gold
    else:
        known = inference.fed_back(scores.logits.detach())
    features = inference.embed_features(scores.features)
    noise = {
        "rate": settings.noise_range,
        "spurious": (0.05, 0.15) if settings.spurious else (0.0, 0.0),
        "spared": gold if settings.noise_draw == "not_gold" else None,
        "generator": generator,
    }
    draws = [add_noise(known, batch.pairs[:, 0], **noise) for _ in range(2)]
    left, right = map(inference.embed_relations, draws)
    view = inference(features, left, cells)
    logits = inference.classifier(view)
    loss = adaptive_threshold_loss(logits, batch.labels).mean()
    if settings.contrast == "none":
        return loss
    swapped = inference(right, features, cells)
    if settings.contrast == "agreement":
        contrast = view_agreement_loss(
            inference.predict(view).float(),
            inference.predict(swapped).float(),
            view.float(),
            swapped.float(),
            variant=settings.contrast_scale,
        )
    else:
        contrast = pair_contrast(inference, view, swapped, cells, settings.temperature)
    return loss + settings.contrast_weight * contrast


def pair_contrast(
    inference: PairInference, view: Tensor, swapped: Tensor, cells: PairMatrix, temperature: float
) -> Tensor:
    """The contrast in which the other pairs of a document are negatives, mean over documents."""
    left, right = (cells.fill(inference.predict(x).float()).flatten(1, 2) for x in (view, swapped))
    real = cells.valid().flatten(1)
    return view_contrast_loss(left, right, real, temperature=temperature).mean()


def parameter_groups(
    network: DocreNetwork, settings: DocreParameters, stage: int
) -> list[dict[str, Any]]:
    """AdamW's groups of a stage, each with its peak rate; biases and norms do not decay.

    Stage 1 has rates for the encoder and for the other parts of the base; stage 2 one for the whole
    base (none if it is frozen) and one for the inference module. Without a stage 1 the base keeps
    the rates of stage 1.
    """
    encoder = getattr(network.base, "encoder", None)
    of_encoder = {id(p) for p in encoder.parameters()} if encoder is not None else set()
    base = list(network.base.parameters())
    apart = [
        *_encoder_parts(encoder, settings),
        ([p for p in base if id(p) not in of_encoder], settings.classifier_rate),
    ]
    if stage == 1:
        parts = apart
    else:
        parts = apart if not settings.stage1_epochs else [(base, settings.base_rate)]
        parts = [] if settings.freeze_base else parts
        parts = [*parts, (list(network.inference.parameters()), settings.inference_rate)]
    groups = []
    for parameters, rate in parts:
        trained = [p for p in parameters if p.requires_grad]
        for matrices, decay in ((True, settings.weight_decay), (False, 0.0)):
            chosen = [p for p in trained if (p.dim() > 1) == matrices]
            if chosen:
                groups.append({"params": chosen, "peak": rate, "lr": rate, "weight_decay": decay})
    return groups


def _encoder_parts(
    encoder: nn.Module | None, settings: DocreParameters
) -> list[tuple[list[nn.Parameter], float]]:
    """The encoder's parameters with their rates, which with `layer_decay` fall from layer to layer."""
    if encoder is None:
        return [([], settings.encoder_rate)]
    parts: dict[int, list[nn.Parameter]] = {}
    named = list(encoder.named_parameters())
    top = max(_depth(name) for name, _ in named)
    for name, parameter in named:
        depth = top if settings.layer_decay == 1 or _depth(name) < 0 else _depth(name)
        parts.setdefault(depth, []).append(parameter)
    decay = settings.layer_decay
    return [
        (found, settings.encoder_rate * decay ** (top - depth)) for depth, found in parts.items()
    ]


def fed_logits(
    inference: PairInference,
    scores: PairScores,
    cells: PairMatrix,
    gold: Tensor,
    draw: torch.Generator,
    *,
    sum_logits: bool,
) -> list[Tensor]:
    """The logits (p, R + 1) of a first pass that reads each of `FED`, to see what is read.

    With `neighbours` a pair keeps its own prediction and three of four others have their gold
    relations, so it differs from the usual first pass by what is read of other pairs alone. For that
    the pairs are drawn into four parts, and each part has a pass in which it is not told. `gold` is
    (p, R + 1) bool, class 0 first; the rest is as for `iterate_logits`.
    """
    own = inference.fed_back(scores.logits.float())
    none = with_class_zero(torch.zeros_like(gold[:, 1:]))
    part = torch.randint(FED_PARTS, (len(gold),), generator=draw).to(gold.device)
    told = [torch.where((part == i).unsqueeze(1), own, gold) for i in range(FED_PARTS)]
    options = {"sum_logits": sum_logits, "fed": [gold, none, *told]}
    _, with_gold, with_none, *others = iterate_logits(inference, scores, cells, 0, **options)
    neighbours = torch.stack(others)[part, torch.arange(len(part), device=part.device)]
    return [with_gold, with_none, neighbours]


def as_facts(
    labels: Tensor, pairs: Tensor, rows: Tensor, relations: tuple[str, ...]
) -> list[tuple[int, Fact]]:
    """(document, fact) of every relation set in labels (p, R + 1) bool, class 0 first.

    The first column of `pairs` (p, 3) is a place in `rows` (b,), the documents of the batch.
    """
    pair, relation = labels[:, 1:].nonzero(as_tuple=True)
    document, subject, other = pairs[pair].unbind(1)
    columns = (rows[document], subject, relation, other)
    lists = torch.stack(columns, dim=1).tolist()
    return [(d, Fact(s, relations[r], o)) for d, s, r, o in lists]
