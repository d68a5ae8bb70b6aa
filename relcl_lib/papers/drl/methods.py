"""The methods of DRL's tables and their baselines: what a step replays, and how its gradient is bent.

Each replay strategy is a function of the memory that returns what joins the current batch. The loss is
the same for all, so any of them runs with the discriminative loss or without (weight 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from relcl_lib.continual.gradients import (
    cosines,
    group_gradients,
    per_sample_gradients,
    project_agem,
    project_gem,
)
from relcl_lib.continual.memory import ExperienceMemory, Generators, GradientMemory, Memory
from relcl_lib.lab.run import DivergenceError
from relcl_lib.models.taps import TappedNetwork

Drawn = dict[str, Tensor] | None

#: samples whose gradients are computed at a time
GRADIENT_CHUNK = 32


class GradientRun(Protocol):
    """What a method that looks at gradients sees of a run; `DrlRun` says what each of it does."""

    settings: Any
    memory: Memory
    network: TappedNetwork
    gradient: Callable[[Tensor], Tensor]
    pixels: Callable[[Tensor], Tensor]
    labels_of: Callable[[Tensor], Tensor]


def experience_replay(
    memory: ExperienceMemory, batch_size: int, er: str, generators: Generators
) -> Drawn:
    """ER: as many stored samples as current ones, drawn from all groups together (`paper`).

    `released`: B divided by the number of past experiences, rounded down, of each of them: B or
    fewer in all, and none once there are more of them than B. The 0.04 of Table 3 is fine-tuning.
    """
    if er == "paper":
        return memory.sample_union(batch_size, generators)
    return memory.sample_groups(batch_size // max(1, len(memory.group_sizes)), generators)


def balanced_experience_replay(
    memory: ExperienceMemory, batch_size: int, er: str, generators: Generators
) -> Drawn:
    """BER (Algorithm 1): B samples of each past experience, so the t-th has batches of t B."""
    return memory.sample_groups(batch_size, generators)


def uniform_replay(memory: Memory, batch_size: int, er: str, generators: Generators) -> Drawn:
    """As many stored samples as current ones, without replacement."""
    return memory.sample(batch_size, generators)


def gem(run: GradientRun, gradient: Tensor, generators: Generators) -> Tensor:
    """GEM (Eq. 2): no step against the mean gradient of any past experience's memory."""
    stored, sizes = run.memory.contents()["position"][0], run.memory.group_sizes.tolist()
    references = [run.gradient(group) for group in stored.split(sizes)]
    return project_gem(gradient, torch.stack(references), margin=run.settings.gem_margin)


def agem(run: GradientRun, gradient: Tensor, generators: Generators) -> Tensor:
    """A-GEM: no step against the mean gradient of a random part of the memory."""
    drawn = run.memory.sample(run.settings.reference_size, generators)
    return project_agem(gradient, run.gradient(drawn["position"][0]))


def keep_diverse(run: GradientRun, positions: Tensor, generators: Generators) -> None:
    """GSS-greedy: offer the current batch with the scores of its gradients.

    A score is the largest cosine with the mean gradients of random parts of the memory. Gradients are
    those of the network after the step, in evaluation mode.

    Raises:
        DivergenceError: a gradient is not finite.
    """
    memory: GradientMemory = run.memory
    rows = {"position": positions.unsqueeze(0)}
    if not len(memory):
        memory.add(generators, **rows)
        return
    size = min(run.settings.gss_part, len(memory))
    parts = [memory.sample(size, generators)["position"][0] for _ in range(run.settings.gss_parts)]
    stored, chunk = torch.stack(parts), {"chunk_size": max(1, GRADIENT_CHUNK // size)}
    network = run.network
    with network.in_float32():
        references = group_gradients(network, run.pixels(stored), run.labels_of(stored), **chunk)
        found = per_sample_gradients(
            network, run.pixels(positions), run.labels_of(positions), chunk_size=GRADIENT_CHUNK
        )
    score = cosines(found, references).amax(1, keepdim=True).T
    if not bool(torch.isfinite(score).all()):
        raise DivergenceError(
            "GSS cannot score: a gradient is not finite, the training has diverged; use a "
            "smaller learning_rate"
        )
    batch_score = cosines(found.mean(0, keepdim=True), references).amax(1)
    memory.add(generators, score=score, batch_score=batch_score, **rows)


@dataclass(frozen=True)
class Method:
    """A way to use the memory.

    Attributes:
        draw: what joins each current batch; None: nothing.
        shuffle: train on all stored samples mixed with the current ones.
        project: changes the gradient of a step once there is a memory.
        offer: what a step offers to a memory of gradients; None: an `ExperienceMemory` takes a
            sample of each experience when it has been trained.
        memory: whether there is one.
        joint: train on all experiences at once, so there is no stream.
    """

    draw: Callable[..., Drawn] | None = None
    shuffle: bool = False
    project: Callable[[GradientRun, Tensor, Generators], Tensor] | None = None
    offer: Callable[[GradientRun, Tensor, Generators], None] | None = None
    memory: bool = True
    joint: bool = False


#: Shuffle, ER and BER as in Tables 1 to 3, between a floor and a ceiling; the others are the methods
#: that the paper argues from.
METHODS: dict[str, Method] = {
    "FINE-TUNE": Method(memory=False),
    "JOINT": Method(memory=False, joint=True),
    "Shuffle": Method(shuffle=True),
    "ER": Method(draw=experience_replay),
    "BER": Method(draw=balanced_experience_replay),
    "GEM": Method(project=gem),
    "A-GEM": Method(project=agem),
    "GSS": Method(draw=uniform_replay, offer=keep_diverse),
}
