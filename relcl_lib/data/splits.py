"""Splitting off validation data where a data set comes without."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import torch

from relcl_lib.lab.runtime import make_generator

SEED = 2019
T = TypeVar("T")


def split_off(
    items: Sequence[T], share: float, alike: Callable[[T], Hashable] | None = None
) -> tuple[list[T], list[T]]:
    """(kept, a share drawn without replacement), the same each time, both in their order.

    At least one is drawn and one kept where there are two or more. Items of which `alike` gives the
    same are drawn as one and stay together; where no two are, the draw is that without `alike`.
    """
    keys = list(map(alike, items)) if alike else list(range(len(items)))
    distinct = list(dict.fromkeys(keys))
    generator = make_generator(SEED, "hold out")
    order = torch.randperm(len(distinct), generator=generator).tolist()
    count = min(max(1, int(len(distinct) * share)), len(distinct) - 1) if items else 0
    taken = {distinct[i] for i in order[:count]}
    kept = [item for key, item in zip(keys, items, strict=True) if key not in taken]
    return kept, [item for key, item in zip(keys, items, strict=True) if key in taken]
