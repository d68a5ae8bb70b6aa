"""Figures 1 and 5 of CRECL: the instances of two tasks before and after contrastive training."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from relcl_lib.continual.streams import TaskStream
from relcl_lib.models.contrastive_network import CreclNetwork
from relcl_lib.text.markers import MarkedTokens


class Encoding(Protocol):
    """What of a run encodes sentences."""

    device: torch.device
    stream: TaskStream
    network: CreclNetwork
    tokens: MarkedTokens
    embed: Callable[[Tensor], Tensor]


class Instances(NamedTuple):
    """Training sentences of two tasks: h (n, d), projections s (n, d // 2), relations, tasks (n,)."""

    h: Tensor
    projections: Tensor
    labels: Tensor
    tasks: Tensor


@torch.no_grad()
def instances(run: Encoding, old: int = 0, new: int = 1) -> Instances:
    """Encode the training sentences of two tasks with a run's network as it is now, on the CPU.

    Called from `on_phase` after `classification` of the new task it gives Figure 1, after `CL2`
    Figure 5.
    """
    parts = [run.stream[task].train_indices for task in (old, new)]
    sentences = torch.cat(parts)
    h = run.embed(sentences)
    labels = run.tokens.labels[sentences.to(run.device)].cpu()
    tasks = torch.tensor([old, new]).repeat_interleave(torch.tensor([len(part) for part in parts]))
    return Instances(h.cpu(), run.network.projector(h).cpu(), labels, tasks)


def separation(features: Tensor, labels: Tensor, tasks: Tensor) -> dict[str, float]:
    """How well relations and tasks lie apart (ours; the paper shows pictures only).

    Of features (n, d) with relations (n,) and tasks (n,), the smaller of two values the old one:
    `silhouette` over the relations, in [-1, 1], and `mixed`, the share in per cent of the old task's
    points whose nearest other point is of the new task.
    """
    from sklearn.metrics import silhouette_score

    distances = torch.cdist(features.double(), features.double())
    distances.fill_diagonal_(torch.inf)
    old = tasks == tasks.min()
    nearest = distances[old].argmin(1)
    return {
        "silhouette": float(silhouette_score(features.double().numpy(), labels.numpy())),
        "mixed": 100 * float((~old)[nearest].double().mean()),
    }
