"""HPCR and its baselines: what each method adds to the shared online replay step, one loss each.

A method sees one `Step`: the stream rows and the memory rows after their forward passes (each
group holds the clean views first, then the augmented ones), and answers with one loss per seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from relcl_lib.losses import (
    class_counts,
    coupled_loss,
    cross_entropy_loss,
    dynamic_temperature_weight,
    proxy_contrastive_distillation_loss,
    proxy_contrastive_loss,
    sample_contrastive_distillation_loss,
    supervised_contrastive_loss,
)

#: Pairs between samples help once a step holds this many images (stream + memory, before
#: augmentation); the paper gives no number, its Fig. 5 puts the crossing near 60.
HC_MINIMUM = 60


class Rows(NamedTuple):
    """One group of a step's rows: logits (S, N, C), features (S, N, D), labels (S, N)."""

    logits: Tensor
    features: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Step:
    """What a method sees of one training step of S seeds.

    Attributes:
        stream: rows of the incoming batch.
        memory: rows of the replayed batch; None while the memory is empty or unused.
        stored: of the replayed images, the fields recorded when they were stored (S, m, ...).
        task: index of the task; step: index of the step in the task; total_step: in the run.
        images: images in the step per seed, before augmentation (N_raw).
        seen: (S, C) bool, classes of this and earlier tasks.
        switches: the run's settings (`ReplayParameters`, resolved).
    """

    stream: Rows
    memory: Rows | None
    stored: Mapping[str, Tensor]
    task: int
    step: int
    total_step: int
    images: int
    seen: Tensor
    switches: Any

    def joined(self) -> Rows:
        """Memory rows, then stream rows, as one group."""
        if self.memory is None:
            return self.stream
        pairs = zip(self.memory, self.stream, strict=True)
        return Rows(*(torch.cat(pair, dim=1) for pair in pairs))


def stream_loss(step: Step) -> Tensor:
    """Cross-entropy on the stream rows: fine-tuning (the floor), and IID (the ceiling)."""
    return cross_entropy_loss(step.stream.logits, step.stream.labels)


def experience_replay_loss(step: Step) -> Tensor:
    """ER: cross-entropy on the stream rows plus cross-entropy on the memory rows."""
    if step.memory is None:
        return stream_loss(step)
    return stream_loss(step) + cross_entropy_loss(step.memory.logits, step.memory.labels)


def asymmetric_loss(step: Step) -> Tensor:
    """ER-ACE: the stream's softmax spans the batch's classes and those never seen, not old ones."""
    labels, logits = step.stream.labels, step.stream.logits
    present = class_counts(labels, logits.shape[-1]) > 0
    old = step.seen & ~present
    masked = logits.masked_fill(old.unsqueeze(1), torch.finfo(logits.dtype).min)
    loss = cross_entropy_loss(masked, labels)
    if step.memory is None:
        return loss
    return loss + cross_entropy_loss(step.memory.logits, step.memory.labels)


def couple_of_losses(step: Step) -> Tensor | None:
    """Couple 1 (Eq. 7): ER's loss plus the supervised contrastive loss of the same rows."""
    if step.memory is None:
        return None
    rows = step.joined()
    contrast = supervised_contrastive_loss(
        rows.features, rows.labels, temperature=step.switches.temperature
    )
    return experience_replay_loss(step) + contrast


def couple_in_one_softmax(step: Step) -> Tensor | None:
    """Couple 2 (Eq. 8): all seen proxies and the other samples in one softmax."""
    if step.memory is None:
        return None
    rows = step.joined()
    return coupled_loss(
        rows.logits,
        rows.labels,
        rows.features,
        step.seen,
        temperature=step.switches.temperature,
    )


def holistic_loss(step: Step) -> Tensor | None:
    """HPCR (Eq. 26): m(s) L_PCR_C + alpha L_PCD + beta L_SCD; PCR with every switch off.

    None while the memory is empty: the first step of a run trains nothing, as released.
    """
    if step.memory is None:
        return None
    switches, rows = step.switches, step.joined()
    pairs = step.images >= HC_MINIMUM if switches.hc == "auto" else switches.hc == "on"
    loss = proxy_contrastive_loss(
        rows.logits,
        rows.labels,
        features=rows.features if pairs else None,
        temperature=switches.temperature,
    )
    if switches.ht != "off":
        count = step.step if switches.ht_counter == "task" else step.total_step
        loss = loss * dynamic_temperature_weight(
            count,
            temperature=switches.temperature,
            t_min=switches.t_min,
            t_max=switches.t_max,
            period=switches.ht_period,
            variant=switches.ht,
        )
    if step.task < switches.distil_from_task:
        return loss
    if switches.pcd:
        stored = _for_both_views(step.stored["logits"], step.memory.logits)
        counts = class_counts(rows.labels, rows.logits.shape[-1])
        loss = loss + switches.alpha * proxy_contrastive_distillation_loss(
            step.memory.logits, stored, counts
        )
    if switches.scd != "off":
        stored = _for_both_views(step.stored["features"], step.memory.features)
        loss = loss + switches.beta * sample_contrastive_distillation_loss(
            step.memory.features,
            stored,
            temperature=switches.temperature,
            variant=switches.scd,
        )
    return loss


def _for_both_views(stored: Tensor, rows: Tensor) -> Tensor:
    """Repeat what was stored once per image (S, m, ...) for each of its views (S, views * m, ...)."""
    return stored.repeat(1, rows.shape[1] // stored.shape[1], 1)


@dataclass(frozen=True)
class Method:
    """A row of the paper's tables.

    Attributes:
        loss: one value per seed, or None for a step that trains nothing.
        head: the classifier it uses unless told otherwise.
        replay: where the second batch of a step comes from.
        iid: whether all classes come in one shuffled task.
        switches: what it sets of HPCR's components (None there means: as the method says).
    """

    loss: Callable[[Step], Tensor | None]
    head: str = "linear"
    replay: str = "memory"  # or "none", "training set"
    iid: bool = False
    switches: Mapping[str, Any] = field(default_factory=dict)


def _proxy_method(**switches: Any) -> Method:
    off = {"hc": "off", "ht": "off", "pcd": False, "scd": "off"}
    return Method(holistic_loss, head="cosine", switches={**off, **switches})


#: Names as the paper's tables print them. "variant" stands for the run's own variant.
METHODS: dict[str, Method] = {
    "IID": Method(stream_loss, replay="none", iid=True),
    "IID++": Method(experience_replay_loss, replay="training set", iid=True),
    "FINE-TUNE": Method(stream_loss, replay="none"),
    "ER": Method(experience_replay_loss),
    "ER-ACE": Method(asymmetric_loss),
    "Couple (Eq. 7)": Method(couple_of_losses),
    "Couple (Eq. 8)": Method(couple_in_one_softmax, head="cosine"),
    "PCR": _proxy_method(),
    # Forced on: at 10 + 10 images "auto" leaves pairs out, and the paper's row differs from PCR.
    "PCR+HC": _proxy_method(hc="on"),
    "PCR+HC+HT": _proxy_method(hc="auto", ht="variant"),
    "PCR+HC+HT+PCD": _proxy_method(hc="auto", ht="variant", pcd=True),
    "HPCR": _proxy_method(hc="auto", ht="variant", pcd=True, scd="variant"),
}
