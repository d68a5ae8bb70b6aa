"""Metrics of continual learning: small pure functions on an accuracy matrix.

The accuracy matrix `a` has shape `(..., T, T)`: `a[..., i, j]` is the accuracy on the test
set of task j after training on task i, both counted from 0. Only the lower triangle, diagonal
included, is read: what a model does on tasks it has not met is not part of any metric here, so
those entries may hold zeros or NaN. A NaN inside the lower triangle reaches the result.

Every function takes nested lists, NumPy arrays or torch tensors (on any device), works in float64,
keeps leading dimensions (seeds, methods) and keeps the unit: per cent in, per cent out. Where it
says (...), a single matrix gives a NumPy scalar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

# --- helpers ---------------------------------------------------------------------------------


def _array(values: ArrayLike) -> NDArray[np.float64]:
    # A tensor that is on a GPU, asks for gradients or is bfloat16 cannot go to NumPy directly;
    # asking for the method keeps torch out of this module's imports.
    if hasattr(values, "detach"):
        values = values.detach().cpu().double()
    return np.asarray(values, dtype=np.float64)


def _matrix(a: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    array = _array(a)
    if array.ndim < 2 or array.shape[-1] != array.shape[-2] or array.shape[-1] == 0:
        raise ValueError(
            f"an accuracy matrix has shape (..., T, T) with T >= 1, this has shape {array.shape}"
        )
    return array, np.tri(array.shape[-1], dtype=bool)


# --- accuracy matrix -------------------------------------------------------------------------


def average_accuracy(a: ArrayLike) -> NDArray[np.float64]:
    """Mean accuracy over the tasks met so far, after each task: A_i = (1/i) sum_{j<=i} a_ij, (..., T)."""
    array, seen = _matrix(a)
    return np.where(seen, array, 0.0).sum(-1) / seen.sum(-1)


def final_accuracy(a: ArrayLike) -> NDArray[np.float64]:
    """Mean accuracy over all tasks after the last one: A_T, (...)."""
    return average_accuracy(a)[..., -1]


def average_anytime_accuracy(a: ArrayLike) -> NDArray[np.float64]:
    """Mean of the average accuracies over the whole run: AAA = (1/T) sum_i A_i, (...)."""
    return average_accuracy(a).mean(-1)


def forgetting(
    a: ArrayLike, variant: Literal["paper", "released"] = "paper"
) -> NDArray[np.float64]:
    """How much accuracy on earlier tasks is lost by the end of the run: F_T, (...).

    `paper`: (1/(T-1)) sum_{j<T} [max_{j<=l<=T-1} a_lj - a_Tj]; negative if old tasks improve
    at the end. `released`: (1/T) sum_{j<=T} [max_{j<=l<=T} a_lj - a_Tj]; never negative, and
    the last task always adds 0. Where no task is at its best at the end, the second is (T-1)/T
    of the first. A single task has nothing to forget: 0 in both.
    """
    if variant not in ("paper", "released"):
        raise ValueError(f"variant is 'paper' or 'released', not {variant!r}")
    array, seen = _matrix(a)
    tasks = array.shape[-1]
    if tasks == 1:
        return np.zeros(array.shape[:-2])[()]
    # The best so far must come from after the task was trained: -inf hides the rows before.
    known = np.where(seen, array, -np.inf)
    if variant == "released":
        return (known.max(-2) - array[..., -1, :]).mean(-1)
    best = known[..., :-1, :-1].max(-2)
    return (best - array[..., -1, :-1]).mean(-1)


def new_task_accuracy(a: ArrayLike) -> NDArray[np.float64]:
    """Accuracy on each task right after training on it: the diagonal a_ii, (..., T)."""
    array, _ = _matrix(a)
    return np.diagonal(array, axis1=-2, axis2=-1).copy()


def old_task_accuracy(a: ArrayLike) -> NDArray[np.float64]:
    """Mean accuracy over the earlier tasks, after each task: (1/(i-1)) sum_{j<i} a_ij, (..., T).

    NaN for the first task, which has no earlier one.
    """
    array, _ = _matrix(a)
    tasks = array.shape[-1]
    earlier = np.tri(tasks, k=-1, dtype=bool)
    result = np.full(array.shape[:-1], np.nan)
    total = np.where(earlier, array, 0.0).sum(-1)
    result[..., 1:] = total[..., 1:] / np.arange(1, tasks)
    return result


# --- over runs -------------------------------------------------------------------------------

#: with fewer seeds an interval says next to nothing, and nothing is decided
LEAST_SEEDS = 3


def confidence_interval(
    values: ArrayLike, level: float = 0.95, axis: int = -1
) -> tuple[float, float] | tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over runs and the half width of its Student t confidence interval.

    The half width is t_{(1+level)/2, n-1} * sd / sqrt(n) with the sample deviation (ddof=1). It
    is NaN for n = 1: one run says nothing about the spread, and 0 would claim it does.

    The runs of `values` lie along `axis`; both results are floats for (n,), else arrays without it.
    """
    array = _array(values)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level lies between 0 and 1, not {level}")
    if array.ndim == 0 or array.shape[axis] == 0:
        raise ValueError(f"a confidence interval needs at least one run, got shape {array.shape}")
    runs = array.shape[axis]
    mean = array.mean(axis)
    if runs == 1:
        half = np.full_like(mean, np.nan)
    else:
        from scipy.special import stdtrit  # late: the other metrics need no SciPy

        factor = stdtrit(runs - 1, 0.5 * (1.0 + level)) / math.sqrt(runs)
        half = factor * array.std(axis, ddof=1)
    if array.ndim == 1:
        return float(mean), float(half)
    return mean, half


def mean_and_half(values: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds and half of its 95 % interval; NaN for that of fewer than `LEAST_SEEDS`."""
    mean, half = confidence_interval(values)
    return mean, half if len(values) >= LEAST_SEEDS else math.nan
