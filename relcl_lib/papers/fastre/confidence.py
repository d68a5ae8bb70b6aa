"""How sure a tagger is of a triple: the product of its boundary scores, made a probability.

A triple stands on four boundaries: start and end of its head and of its tail. Each has a margin, its
score over its threshold, and sigmoid(margin) is the tagger's own probability of it. Their product
orders triples; Platt scaling on validation sentences (two numbers) makes it the share of triples
that are right. The order stays, and few triples fit one number only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: bounds of a log-odds, so that a product that rounds to 1 has one
_LARGEST = 30.0
#: from so many triples on the slope is fitted, too
ENOUGH = 30


@dataclass(frozen=True)
class Calibration:
    """P(right) = sigmoid(slope * log-odds of the product + offset), fitted on `triples` found."""

    slope: float
    offset: float
    triples: int

    def __call__(self, log_products: Tensor) -> Tensor:
        """Probabilities of triples, from the logarithms of their products."""
        return torch.sigmoid(self.slope * log_odds(log_products) + self.offset)


def log_odds(log_products: Tensor) -> Tensor:
    """The log-odds of probabilities that are given by their logarithms."""
    log_products = log_products.double()
    odds = log_products - torch.log(-torch.expm1(log_products))
    return odds.clamp(-_LARGEST, _LARGEST)


def calibrate(log_products: Tensor, right: Tensor) -> Calibration | None:
    """Fit the probability that a triple is right; None where no triple was found.

    Platt's targets (n + 1) / (n + 2) and 1 / (n + 2) keep it off 0 and 1 where all are right or wrong.
    The slope is not negative, which would turn the order of the triples round; of fewer than
    `ENOUGH` triples it is 1, and the offset alone is fitted.
    """
    from sklearn.linear_model import LogisticRegression

    if not len(right):
        return None
    right = right.cpu().numpy().astype(bool)
    odds = log_odds(log_products.cpu()).numpy()
    hits = int(right.sum())
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))
    if len(right) < ENOUGH:
        return Calibration(1.0, _offset(odds, target), len(right))
    labels = np.repeat([1, 0], len(right))
    weights = np.concatenate([target, 1 - target])
    fit = LogisticRegression(C=np.inf).fit(np.tile(odds[:, None], (2, 1)), labels, weights)
    slope, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    # The likelihood is concave: where its maximum lies below 0, its best at 0 or above is at 0.
    if slope < 0:
        slope, offset = 0.0, _offset(0 * odds, target)
    return Calibration(slope, offset, len(right))


def _offset(odds: np.ndarray, target: np.ndarray) -> float:
    """The most likely offset of given log-odds: the mean probability is that of the targets."""
    from scipy.optimize import brentq
    from scipy.special import expit, logit

    share = target.mean()
    middle = float(logit(share))  # a mean of sigmoids lies between the least and the largest
    low, high = middle - odds.max() - 1, middle - odds.min() + 1
    return float(brentq(lambda offset: expit(odds + offset).mean() - share, low, high))


def describe_calibration(calibration: Calibration | None) -> str:
    """From how many triples a tagger's scores were calibrated, and whether they are rough."""
    if calibration is None:
        return "scores are not calibrated: validation has no triple, or none was found there"
    count = calibration.triples
    said = f"scores were calibrated on {count} triple{'s' * (count != 1)} found in validation"
    return said + (f": they are rough, below {ENOUGH}" if count < ENOUGH else "")


def reliability(probabilities: Any, right: Any, bins: int = 10) -> list[tuple[float, float, int]]:
    """The reliability curve: mean probability, share that is right and number, per bin of equal width.

    Bins without a triple are left out.
    """
    probabilities, right = np.asarray(probabilities, float), np.asarray(right, bool)
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    return [
        (float(probabilities[at].mean()), float(right[at].mean()), int(at.sum()))
        for at in (place == number for number in range(bins))
        if at.any()
    ]


def calibration_error(curve: list[tuple[float, float, int]]) -> float:
    """The mean distance between probability and share of a reliability curve, by number of triples."""
    total = sum(count for *_, count in curve)
    return math.fsum(abs(mean - share) * count for mean, share, count in curve) / max(total, 1)
