"""Dropout whose random numbers cost a quarter on a CPU, for whatever calls torch's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

LEVELS = 65536  # of 16 random bits


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero elements with probability p and divide the others by 1 - p, so that the mean stays.

    torch draws 64 bits per element, which takes most of the time of a Transformer's dropout of
    attention maps on a CPU; here they serve four elements, and p is rounded to a multiple of 1/65536
    below 1, which it may not be. x is of any shape and floating-point format, on the CPU.
    """
    zeroed = round(LEVELS * p)
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    levels = bits.view(torch.int16)[: x.numel()].view(x.shape)
    kept = (levels >= zeroed - LEVELS // 2).to(x.dtype)
    return x * kept.mul_(LEVELS / (LEVELS - zeroed))


class _FastDropout(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        return (_dropout if func is F.dropout else func)(*args, **kwargs)


def _dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if training and not inplace and x.device.type == "cpu" and 0 < p < 1 - 1 / LEVELS:
        return dropout(x, p)
    return F.dropout(x, p, training, inplace)


def fast_dropout(device: torch.device) -> contextlib.AbstractContextManager:
    """Inside the block `torch.nn.functional.dropout`, and so `nn.Dropout`, is `dropout` on a CPU.

    It works for networks of other libraries as they are. On another device nothing changes.
    """
    return _FastDropout() if device.type == "cpu" else contextlib.nullcontext()
