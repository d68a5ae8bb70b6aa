"""Splitting off validation data where a data set comes without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from relcl_lib.lab.runtime import make_generator

SEED = 2019
T = TypeVar("T")


def split_off(items: Sequence[T], share: float) -> tuple[list[T], list[T]]:
    """(kept, a share drawn without replacement), the same each time, both in their order.

    At least one is drawn and one kept where there are two or more.
    """
    generator = make_generator(SEED, "hold out")
    order = torch.randperm(len(items), generator=generator).tolist()
    count = min(max(1, int(len(items) * share)), len(items) - 1) if items else 0
    taken = set(order[:count])
    kept = [item for i, item in enumerate(items) if i not in taken]
    return kept, [items[i] for i in sorted(taken)]
