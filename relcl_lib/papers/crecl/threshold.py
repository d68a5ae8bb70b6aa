"""Where a classifier refuses: a threshold on the cosine to the nearest relation.

What lies below it says how it treats known sentences, held out from training. How it treats those of
unknown relations can only be measured while they are unknown: training on a relation pushes its
sentences away from all others, so hiding its prototype afterwards makes refusing look easy. Each new
relation's sentences are therefore scored before the lesson that brings it. Training moves all
cosines, so what is kept of a score is its place: the share of known sentences that lay below it then.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: where no unknown sentences have been scored, one known sentence in so many gets no answer
ONE_IN = 10
#: far enough from a cosine that rounding turns no answer
MARGIN = 1e-4


def shares_below(scores: Tensor, known: Tensor) -> Tensor:
    """The share (m,) float64 of the known sentences' scores (n,) that lie below each score (m,)."""
    return torch.searchsorted(known.sort().values, scores).double() / len(known)


def keep_most(best: Tensor) -> float:
    """The threshold below which one in `ONE_IN` of the known sentences' scores (n,) lies, no more.

    With fewer sentences than that it is just below all of them.
    """
    ordered = best.sort().values
    return _cut(ordered, int((ordered < ordered[len(best) // ONE_IN]).sum()))


def weigh(best: Tensor, right: Tensor, places: Tensor) -> float:
    """The threshold with most known sentences answered right, less the unknown ones answered.

    Both are shares of their kind. Of thresholds that do equally well the lowest is taken.

    Args:
        best: (n,) scores of known sentences.
        right: (n,) bool, whether their nearest relation is theirs.
        places: (m,) of unknown sentences, see `shares_below`.
    """
    ordered, order = best.sort()
    # How many known ones lie below each score, then all of them: nothing parts equal scores.
    refused = torch.searchsorted(ordered, ordered.unique())
    refused = torch.cat([refused, refused.new_tensor([len(best)])])
    hits = right[order].double()
    answered = hits.sum() - torch.cat([hits.new_zeros(1), hits.cumsum(0)])[refused]
    wrongly = 1 - refused_share(places, refused.double() / len(best))
    return _cut(ordered, int(refused[(answered / len(best) - wrongly).argmax()]))


def refused_share(places: Tensor, known_refused: Tensor) -> Tensor:
    """The share (k,) of unknown sentences refused where these shares (k,) of the known ones are.

    One that lies in the same gap between known scores as the threshold counts as answered.
    """
    least = known_refused - 1e-9  # 7 of 12 and 14 of 24 are equal, whatever rounding makes of them
    return torch.searchsorted(places.sort().values, least).double() / len(places)


def _cut(ordered: Tensor, refused: int) -> float:
    """A threshold below which that many of the ascending scores (n,) lie, halfway between two."""
    around = torch.cat([ordered[:1] - MARGIN, ordered, ordered[-1:] + MARGIN])
    return float((around[refused] + around[refused + 1]) / 2)
