"""Order of the batches of an epoch, and the learning rate of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a command's help reads settings, and needs no torch
    import torch
    from torch import Tensor


def epoch_batches(
    lengths: Tensor, batch_size: int, bucket: int, generator: torch.Generator
) -> list[Tensor]:
    """Shuffle N texts into batches of alike lengths; the last, smaller batch is kept.

    The shuffled texts are sorted by length within groups of `bucket` batches, cut, and the
    batches shuffled again, so that little padding is computed and order stays random.

    Args:
        lengths: (N,) on the CPU.
        batch_size: texts a batch.
        bucket: batches a group; 0 sorts nothing.
        generator: of the order.

    Returns:
        Index tensors that together hold each of 0 .. N-1 once.
    """
    import torch

    order = torch.randperm(len(lengths), generator=generator)
    if not bucket:
        return list(order.split(batch_size))
    groups = [
        group[lengths[group].argsort(stable=True)] for group in order.split(bucket * batch_size)
    ]
    batches = [batch for group in groups for batch in group.split(batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def warm_up_then_fall(step: int, steps: int, *, peak: float, warmup: float = 0.06) -> float:
    """Learning rate of a step, counted from 0: linear up to the peak, then linear down to 0.

    Args:
        step: number of the step.
        steps: of the whole training; the rate is 0 from there on.
        peak: highest rate.
        warmup: share of the steps that the rise takes.
    """
    top = warmup * steps
    if step < top:
        return peak * step / top
    return peak * max(0.0, (steps - step) / max(steps - top, 1e-9))
