"""Dropout at a fraction of torch's cost on a CPU, for whatever calls torch's own."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

LEVELS = 65536  # of 16 random bits
#: bytes of a number -> the integers that are as wide
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero elements with probability p and divide the others by 1 - p, so that the mean stays.

    torch draws 64 bits per element, which takes most of the time of a Transformer's dropout of
    attention maps on a CPU; here they serve four elements, and p is rounded to a multiple of 1/65536
    below 1, which it may not be. x is of any shape and floating-point format, on the CPU.
    """
    zeroed = round(LEVELS * p)
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    # Integers, and in place: comparing to booleans takes torch ten times as long.
    kept = bits.view(torch.int16)[: x.numel()].view(x.shape).ge_(zeroed - LEVELS // 2).neg_()
    return _Keep.apply(x, kept.to(INTEGERS[x.element_size()]), LEVELS / (LEVELS - zeroed))


class _Keep(torch.autograd.Function):
    """Multiply by a factor and zero what is not kept; `kept` are integers, -1 (all bits) or 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        y = x * scale
        y.view(kept.dtype).bitwise_and_(kept)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Keep.apply(grad, *ctx.saved_tensors, ctx.scale), None, None


class _FastDropout(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _INSTEAD.get(func, func)(*args, **(kwargs or {}))


def _dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if training and not inplace and x.device.type == "cpu" and 0 < p < 1 - 1 / LEVELS:
        return dropout(x, p)
    return F.dropout(x, p, training, inplace)


def _attention(query: Tensor, key: Tensor, value: Tensor, *more: Any, **options: Any) -> Tensor:
    """Scaled dot-product attention, step by step where its maps are to be dropped from."""
    mask, p, scale = (options.get(name) for name in ("attn_mask", "dropout_p", "scale"))
    other = more or options.get("is_causal") or options.get("enable_gqa")
    if not p or other or query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, *more, **options)
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.mT
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        scores = scores + mask.to(scores.dtype)
    return _dropout(scores.softmax(-1), p).to(value.dtype) @ value


_INSTEAD = {F.dropout: _dropout, F.scaled_dot_product_attention: _attention}


def fast_dropout(device: torch.device) -> contextlib.AbstractContextManager:
    """Inside the block torch's dropout is `dropout` on a CPU: `nn.Dropout`'s and fused attention's.

    It works for networks of other libraries as they are. On another device nothing changes.
    """
    return _FastDropout() if device.type == "cpu" else contextlib.nullcontext()
