"""From scores of positions to spans, and from spans to triples; every rule is an argument.

Nothing loops over sentences, tokens or relations: the positions that are on are listed once
(`nonzero`) and paired by binary search, so the cost grows with what was found. Ends are inclusive.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EVERY, NEAREST = "every", "nearest"


@dataclass(frozen=True)
class SpanRules:
    """How starts and ends become spans.

    `pairing`: `every` takes each end together with the last start at or before it, so a start may
    give several spans and none reaches the next start; `nearest` takes each start together with the
    first end at or after it. `max_gap`: largest end - start, None for no limit. `keep_last_token`:
    False drops spans that end on the last token of the sentence.
    """

    pairing: str = NEAREST
    max_gap: int | None = None
    keep_last_token: bool = True

    def __post_init__(self) -> None:
        if self.pairing not in (EVERY, NEAREST):
            raise ValueError(f"pairing={self.pairing!r} must be {EVERY!r} or {NEAREST!r}")


CASREL = SpanRules(NEAREST)


def pair_spans(
    starts: Tensor, ends: Tensor, rules: SpanRules, lengths: Tensor | None = None
) -> Tensor:
    """Pair the starts and ends, each (N, n, C) bool, of each row and class.

    Positions beyond `lengths` (N,) are off; None: all n are real. The spans (S, 4) int64 are row,
    start, end, class, sorted by row, class, start, end.
    """
    _, n, classes = starts.shape
    if lengths is not None:
        real = (torch.arange(n, device=starts.device) < lengths.unsqueeze(1)).unsqueeze(-1)
        starts, ends = starts & real, ends & real
    first, last = _keys(starts), _keys(ends)
    if not len(first) or not len(last):
        return starts.new_zeros((0, 4), dtype=torch.long)
    # A key is ((row * C) + class) * n + position, so a search finds the neighbour in its own row and
    # class, or one of another, which the division shows.
    if rules.pairing == EVERY:
        at = torch.searchsorted(first, last, right=True) - 1
        first, found = first[at.clamp(min=0)], at >= 0
    else:
        at = torch.searchsorted(last, first)
        last, found = last[at.clamp(max=len(last) - 1)], at < len(last)
    group = first // n
    found &= group == last // n
    if rules.max_gap is not None:
        found &= last - first <= rules.max_gap
    if not rules.keep_last_token:
        final = torch.full_like(group, n) if lengths is None else lengths[group // classes]
        found &= last % n != final - 1
    first, last, group = first[found], last[found], group[found]
    return torch.stack([group // classes, first % n, last % n, group % classes], dim=1)


def _keys(on: Tensor) -> Tensor:
    _, n, classes = on.shape
    row, position, label = on.nonzero().unbind(1)
    return ((row * classes + label) * n + position).sort().values


def log_probability(starts: Tensor, ends: Tensor, spans: Tensor) -> Tensor:
    """log sigmoid of the margin of each span's start plus that of its end: (S,).

    `starts` and `ends` (N, n, C) are scores over their thresholds, `spans` (S, 4) of `pair_spans`.
    """
    row, first, last, label = spans.unbind(1)
    return F.logsigmoid(starts[row, first, label]) + F.logsigmoid(ends[row, last, label])


def join_triples(heads: Tensor, tails: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Put each tail entity beside its head entity, dropping relations the head's type may not have.

    Args:
        heads: (M, 4): sentence, start, end, type.
        tails: (P, 4): index of the head, start, end, relation.
        allowed: (K, R) bool, R'(type); None keeps all.

    Returns:
        (T, 7) int64: sentence, head start, head end, type, relation, tail start, tail end.
    """
    owner, start, end, relation = tails.unbind(1)
    found = torch.cat([heads[owner], torch.stack([relation, start, end], dim=1)], dim=1)
    return found if allowed is None else found[allowed[found[:, 3], relation]]
