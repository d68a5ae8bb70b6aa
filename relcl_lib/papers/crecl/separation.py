"""Figures 1 and 5 of CRECL: the instances of two tasks before and after contrastive training."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from relcl_lib.papers.crecl.run import CreclRun


class Instances(NamedTuple):
    """Training sentences of two tasks: h (n, d), projections s (n, d // 2), relations, tasks (n,)."""

    h: Tensor
    projections: Tensor
    labels: Tensor
    tasks: Tensor


@torch.no_grad()
def instances(run: CreclRun, old: int = 0, new: int = 1) -> Instances:
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
    """Return how well relations and tasks lie apart (ours; the paper shows pictures only).

    Args:
        features: (n, d).
        labels: (n,) relations.
        tasks: (n,), two values; the smaller is the old task.

    Returns:
        `silhouette` over the relations, in [-1, 1]; `mixed`, the share in per cent of the old
        task's points whose nearest other point is of the new task.
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


def note(run: CreclRun, phase: str, task: int) -> None:
    """Keep, in `run.separation`, how far the first two tasks lie apart after a phase of the second.

    Names are like `mixed_s_CL2`: the measure, the space (h or s), and the phase.
    """
    if task != 1:
        return
    found = instances(run)
    for space, features in (("h", found.h), ("s", found.projections)):
        values = separation(features, found.labels, found.tasks)
        run.separation |= {f"{name}_{space}_{phase}": value for name, value in values.items()}
