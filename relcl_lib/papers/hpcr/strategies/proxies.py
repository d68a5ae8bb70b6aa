"""Proxies, pairs of samples, and both: HPCR with its components, and the couples of its Table VII."""

from __future__ import annotations

from typing import ClassVar

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
from relcl_lib.papers.hpcr.strategy import Step, Strategy, among

#: Pairs between samples help once a step holds this many images (stream + memory, before
#: augmentation); the paper gives no number, its Fig. 5 puts the crossing near 60.
HC_MINIMUM = 60


class CoupleOfLosses(Strategy):
    """Couple 1 (Eq. 7): ER's loss as printed (Eq. 3, one mean over all rows) plus SupCon's (Eq. 5)."""

    head = "cosine"
    on_proxies = True

    def loss(self, step: Step) -> Tensor | None:
        """Eq. 7; None while the memory is empty."""
        if step.memory is None:
            return None
        rows = step.joined()
        contrast = supervised_contrastive_loss(
            rows.features, rows.labels, temperature=self.settings.temperature
        )
        seen = among(rows.logits, step.batch.seen)
        return cross_entropy_loss(seen, rows.labels) + contrast


class CoupleInOneSoftmax(Strategy):
    """Couple 2 (Eq. 8): all seen proxies and the other samples in one softmax."""

    head = "cosine"
    on_proxies = True

    def loss(self, step: Step) -> Tensor | None:
        """Eq. 8; None while the memory is empty."""
        if step.memory is None:
            return None
        rows, temperature = step.joined(), self.settings.temperature
        return coupled_loss(
            rows.logits, rows.labels, rows.features, step.batch.seen, temperature=temperature
        )


class HPCR(Strategy):
    """HPCR (Eq. 26): g(s) L_C + alpha L_PCD + beta L_SCD; PCR with every switch off."""

    head = "cosine"
    on_proxies = True
    switches: ClassVar = {"hc": "auto", "ht": "variant", "pcd": True, "scd": "variant"}

    def loss(self, step: Step) -> Tensor | None:
        """Eq. 26; None while the memory is empty: the first step trains nothing, as released."""
        if step.memory is None:
            return None
        settings, rows = self.settings, step.joined()
        pairs = with_pairs(settings.hc, step.size)
        loss = proxy_contrastive_loss(
            rows.logits,
            rows.labels,
            features=rows.features if pairs else None,
            temperature=settings.temperature,
            variant=settings.hc_form or "released",
        )
        if settings.ht != "off":
            count = step.batch.step if settings.ht_counter == "task" else step.batch.total_step
            loss = loss * dynamic_temperature_weight(
                count,
                temperature=settings.temperature,
                t_min=settings.t_min,
                t_max=settings.t_max,
                period=settings.ht_period,
                variant=settings.ht,
            )
        if step.batch.task < settings.distil_from_task:
            return loss
        if settings.pcd:
            loss = loss + settings.alpha * self.distilled_logits(step)
        if settings.scd != "off":
            stored = for_both_views(step.stored["features"], step.memory.features)
            loss = loss + settings.beta * sample_contrastive_distillation_loss(
                step.memory.features,
                stored,
                temperature=settings.temperature,
                variant=settings.scd,
            )
        return loss

    def distilled_logits(self, step: Step) -> Tensor:
        """PCD: the stored logits of the classes in the step, by their counts."""
        stored = for_both_views(step.stored["logits"], step.memory.logits)
        counts = class_counts(step.joined().labels, stored.shape[-1])
        return proxy_contrastive_distillation_loss(step.memory.logits, stored, counts)


def with_pairs(hc: str, size: int) -> bool:
    """Whether a step of `size` images, before augmentation, contrasts samples with samples."""
    return size >= HC_MINIMUM if hc == "auto" else hc == "on"


def for_both_views(stored: Tensor, rows: Tensor) -> Tensor:
    """Repeat what was stored once per image (S, m, ...) for each of its views (S, views * m, ...)."""
    return stored.repeat(1, rows.shape[1] // stored.shape[1], 1)


class DistilledAsInDER(HPCR):
    """Table XI: PCD replaced by DER's distance, the mean over the stored logits of all classes.

    The paper names neither the row it changes nor its memory size; the row with PCD alone is inferred.
    """

    switches: ClassVar = {**HPCR.switches, "scd": "off"}

    def distilled_logits(self, step: Step) -> Tensor:
        """PCD with every count one."""
        stored = for_both_views(step.stored["logits"], step.memory.logits)
        counts = torch.ones_like(stored[:, 0])
        return proxy_contrastive_distillation_loss(step.memory.logits, stored, counts)
