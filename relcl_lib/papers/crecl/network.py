"""What a CRECL run is built of: its tasks, its network, its optimizer's groups and its batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from relcl_lib.continual.relation_tasks import relation_stream, split_relations
from relcl_lib.continual.streams import TaskStream
from relcl_lib.data.sentences import RelationSentences
from relcl_lib.lab.runtime import resolve_device, resolve_precision, seeded_initialisation
from relcl_lib.models.contrastive_network import CreclNetwork
from relcl_lib.models.marker_encoder import MarkerEncoder
from relcl_lib.papers.crecl.parameters import CreclParameters
from relcl_lib.text.pretrained import usable_positions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: groups of like length of a batch's attention maps: a GPU is bound by launches, not by padding
GROUPS = {"cpu": 3, "cuda": 1}


def task_stream(settings: CreclParameters, data: RelationSentences, seed: int) -> TaskStream:
    """A run's tasks; with `settings.validation` the validation sentences are their tests.

    Raises:
        ValueError: the split leaves no validation sentences, or does not fit the data.
    """
    stream = relation_stream(
        data, settings.n_tasks, seed, order=settings.order, sizes=settings.sizes
    )
    if settings.train_limit is not None:
        stream = limited(stream, data, settings.train_limit)
    if not settings.validation:
        return stream
    held_out = split_relations(data, seed, sizes=settings.sizes).validation
    if not all(len(part) for part in held_out):
        raise ValueError(
            f"{data.name} has no validation sentences in this split; give sizes=[train, validation, "
            "test], for example [77, 20, 40] for relations of 137 sentences"
        )
    return TaskStream(
        tuple(
            replace(task, test_indices=torch.cat([held_out[label] for label in task.classes]))
            for task in stream
        ),
        stream.class_order,
    )


def limited(stream: TaskStream, data: RelationSentences, limit: int) -> TaskStream:
    """The stream with the first `limit` training sentences of each relation."""

    def first(indices: Tensor) -> Tensor:
        labels = data.labels[indices]
        parts = [indices[labels == label][:limit] for label in labels.unique()]
        return torch.cat(parts).sort().values

    tasks = (replace(task, train_indices=first(task.train_indices)) for task in stream)
    return TaskStream(tuple(tasks), stream.class_order)


def without_lost(
    stream: TaskStream, data: RelationSentences, usable: Tensor, max_length: int, room: int
) -> TaskStream:
    """The stream with no other sentences than those at the places `usable` (k,).

    Args:
        max_length: tokens that these have at most.
        room: the encoder's positions, which no advice exceeds.

    Raises:
        ValueError: a relation has none left to train on, or a task none to test.
    """

    def kept(indices: Tensor) -> Tensor:
        return indices[torch.isin(indices, usable)]

    tasks = tuple(
        replace(task, train_indices=kept(task.train_indices), test_indices=kept(task.test_indices))
        for task in stream
    )
    raised = f"raise it (the encoder has {room} positions), or " if max_length < room else ""
    for task in tasks:
        left = set(data.labels[task.train_indices].tolist())
        if gone := [data.relations[label] for label in task.classes if label not in left]:
            raise ValueError(
                f"no training sentence of {data.name}'s relation {gone[0]} has its entities within "
                f"max_length={max_length}: {raised}take the relation out of the data"
            )
        if not len(task.test_indices):
            raise ValueError(f"no test sentence of task {task.index + 1} is short enough")
    return TaskStream(tasks, stream.class_order)


def parameter_groups(
    network: CreclNetwork, rates: Mapping[nn.Module, float], norm_group: str
) -> list[dict[str, Any]]:
    """Groups of parameters for an optimizer, one for each module of `rates`: module -> rate.

    u's LayerNorm belongs to the head here, and to the encoder in the released codes of CRECL and
    RP-CRE: `norm_group` says with which of them it learns and is clipped.
    """
    parts = {part: list(part.parameters()) for part in rates}
    if norm_group == "encoder" and network.head in parts:
        parts[network.encoder] += network.head.norm.parameters()
        parts[network.head] = list(network.head.linear.parameters())
    return [{"params": parts[part], "lr": rate} for part, rate in rates.items()]


def build_network(
    settings: CreclParameters,
    tokenizer: PreTrainedTokenizerFast,
    bert: nn.Module,
    stream: TaskStream,
    seed: int,
    longest: int,
    attends: bool,
) -> CreclNetwork:
    """Build the network of a run on an encoder, which is taken apart; new weights come from the seed.

    The tokenizer has the markers, and the stream the relations to tell apart; `longest` are the tokens
    of the longest sentence, and `attends` asks for an attention memory.

    Raises:
        ValueError: the encoder has fewer positions than the longest sentence has tokens.
    """
    longest = settings.max_length if settings.attend_pads else longest
    room = usable_positions(bert.config)
    if longest > room:
        raise ValueError(
            f"sentences of {longest} tokens need an encoder with as many positions; "
            f"{settings.encoder} has {room}. Set max_length to {room} or less"
        )
    rows = len(stream.class_order)
    if settings.head == "per_task":
        rows = max(len(task.classes) for task in stream)
    with seeded_initialisation(seed):
        encoder = MarkerEncoder(
            bert,
            len(tokenizer),
            size=settings.size,
            dropout=settings.dropout,
            pooling=settings.pooling,
            attend_pads=settings.attend_pads,
            groups=0 if settings.cuda_graph else GROUPS[resolve_device(settings.device).type],
            precision=resolve_precision(settings.precision, resolve_device(settings.device)),
        )
        return CreclNetwork(
            encoder,
            rows,
            head_bias=settings.head_bias,
            projector_norm=settings.projector_norm,
            attention_memory=attends,
        )


def shuffled_batches(
    count: int, size: int, generator: torch.Generator, *, fill: bool = False
) -> list[Tensor]:
    """Cut a shuffle of 0 .. count-1 into batches of `size`; the last may be short.

    With `fill` it is completed by drawing without replacement from all of them, as released, so
    that a few sentences come twice in an epoch.
    """
    order = torch.randperm(count, generator=generator)
    missing = -count % size if fill else 0
    drawn = torch.randperm(count, generator=generator)[:missing]
    return list(torch.cat([order, drawn]).split(size))
