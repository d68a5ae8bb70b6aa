"""Matrices of entity pairs for the tests of pair attention and inference."""

import torch

from relcl_lib.models.pair_attention import PairMatrix


def pair_matrix(sizes, n=None, keep=None):
    """Return every pair of documents with `sizes` entities, or those that `keep` (b, n, n) has."""
    n = n or max(sizes)
    valid = torch.zeros(len(sizes), n, n, dtype=torch.bool)
    for b, size in enumerate(sizes):
        valid[b, :size, :size] = True
    valid &= ~torch.eye(n, dtype=torch.bool)
    if keep is not None:
        valid &= keep
    return PairMatrix(valid.nonzero(), len(sizes), n)


def renumbered(cells, order):
    """The pairs of one document whose entity i is now order[i], and the places of its pairs before."""
    moved = cells.pairs.clone()
    moved[:, 1:] = torch.tensor(order)[cells.pairs[:, 1:]]
    rank = (moved[:, 1] * cells.n + moved[:, 2]).argsort()
    return cells._replace(pairs=moved[rank]), rank
