"""Figures 1 and 5 of CRECL: the instances of two tasks before and after contrastive training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from relcl_lib.lab.files import atomic_write_bytes
from relcl_lib.papers.crecl.learner import Learner

#: what a run leaves beside its checkpoint
FEATURES = "two_tasks.safetensors"
#: relations of each task in Figures 1 and 5, and sentences of each relation here
DRAWN, EACH = 4, 50


class Instances(NamedTuple):
    """Training sentences of two tasks: h (n, d), projections s (n, d // 2), relations, tasks (n,)."""

    h: Tensor
    projections: Tensor
    labels: Tensor
    tasks: Tensor


@torch.no_grad()
def instances(run: Learner, old: int = 0, new: int = 1) -> Instances:
    """Encode the training sentences of two tasks with a run's network as it is now, on the CPU.

    After `classification` of the new task it gives Figure 1, after `CL2` Figure 5.
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
    points whose nearest other point is of the new task. `silhouette` is left out where it has no
    value: each relation has one point, or there is one relation.
    """
    from sklearn.metrics import silhouette_score

    distances = torch.cdist(features.double(), features.double())
    distances.fill_diagonal_(torch.inf)
    old = tasks == tasks.min()
    nearest = distances[old].argmin(1)
    found = {}
    if 1 < len(labels.unique()) < len(labels):
        found["silhouette"] = float(silhouette_score(features.double().numpy(), labels.numpy()))
    return {**found, "mixed": 100 * float((~old)[nearest].double().mean())}


def few_of(found: Instances) -> dict[str, Tensor]:
    """What the figures draw: the first sentences of the first relations of both tasks, in float16."""
    places = []
    for task in found.tasks.unique().tolist():
        of_task = found.tasks == task
        for label in list(dict.fromkeys(found.labels[of_task].tolist()))[:DRAWN]:
            own = of_task & (found.labels == label)
            places.append(own.nonzero().squeeze(1)[:EACH])
    chosen = torch.cat(places)
    kept = {name: value[chosen] for name, value in found._asdict().items()}
    return {name: v.half() if v.is_floating_point() else v for name, v in kept.items()}


def write_features(path: Path, features: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write features as safetensors, whole or not at all; `about` goes with them as JSON."""
    tensors = {name: value.contiguous() for name, value in features.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, save(tensors, {"about": json.dumps(about)}))


def read_features(path: Path) -> tuple[dict[str, Instances], dict[str, Any]]:
    """What `write_features` wrote: phase -> instances, and what goes with them."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = json.loads(file.metadata()["about"])
    phases = dict.fromkeys(name.split(".")[0] for name in tensors)
    order = [phase for phase in ("classification", "CL1", "CL2") if phase in phases]
    found = {
        phase: Instances(*(tensors[f"{phase}.{name}"] for name in Instances._fields))
        for phase in order
    }
    return found, about
