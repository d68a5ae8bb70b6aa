"""Relations arriving in tasks, and each relation's sentences split, as the released CRECL does it.

Both are drawn by Python's `random`, seeded with the seed of the run (2021 + 100 i in the paper's
runs), so that the same seed gives the task order and the split that the authors' code gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from random import Random
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from relcl_lib.continual.streams import Task, TaskStream
from relcl_lib.data.sentences import RelationSentences

#: Train, validation and test sentences of each relation of FewRel.
FEWREL_SIZES = (420, 140, 140)
#: Of relations that have fewer: no validation sentences, and this share for the test.
REDUCED_TEST_SHARE = 0.29
#: TACRED: a fifth of a relation's sentences for the test, but no more than this; then training
#: sentences up to this. The paper says 40; a counter in the released code admits one more.
TACRED_TEST_CAP, TACRED_TRAIN_CAP = 41, 320

Order = Literal["single", "double"]


class RelationSplits(NamedTuple):
    """Positions of each relation's sentences, by label; every tensor is (n,) int64."""

    train: tuple[Tensor, ...]
    validation: tuple[Tensor, ...]
    test: tuple[Tensor, ...]


def relation_order(n_relations: int, seed: int, order: Order = "single") -> list[int]:
    """Draw the order in which relations arrive: the inverse of a shuffled list of their labels.

    `single` shuffles once, as RP-CRE's code does; `double` takes the second shuffle, as CRECL's code
    does. The two differ, though the paper says that they are the same.
    """
    if order not in ("single", "double"):
        raise ValueError(f"order={order!r} must be 'single' or 'double'")
    rng = Random(seed)
    for _ in range(1 if order == "single" else 2):
        shuffled = list(range(n_relations))
        rng.shuffle(shuffled)
    return sorted(range(n_relations), key=shuffled.__getitem__)


def split_relations(
    data: RelationSentences, seed: int, *, sizes: Sequence[int] | None = None
) -> RelationSplits:
    """Split the sentences of each relation.

    Data that have a split keep it; of others each relation's list is shuffled. TACRED's gives a
    fifth, at most 41, to the test and then up to 320 to training; every other is cut by `sizes`.

    Args:
        data: from `load_sentences`.
        seed: of the run; each relation's list is shuffled by a generator seeded anew with it.
        sizes: (train, validation, test) sentences of each relation, where neither the data nor
            TACRED's rule decides. None: the paper's (420, 140, 140); of a relation that has fewer,
            29 % are for the test and the others for training (97 and 40 of 137), whatever other
            relations have.

    Raises:
        ValueError: a relation has too few sentences; the message says which, and what would do.
    """
    given, tacred = any(data.split), data.name == "tacred"
    if sizes is not None and (given or tacred):
        raise ValueError(
            f"sizes={tuple(sizes)}: {data.name} has a split of its own; leave them out"
        )
    groups: list[list[int]] = [[] for _ in data.relations]
    for position, sentence in enumerate(data.sentences):
        groups[sentence.label].append(position)
    if sizes is not None and (len(sizes) != 3 or min(sizes) < 0):
        raise ValueError(f"sizes={tuple(sizes)} must be three counts: train, validation and test")
    cut = []
    for relation, group in zip(data.relations, groups, strict=True):
        if given:
            parts = _given(data, group)
        elif tacred:
            parts = _tacred(group, seed)
        else:
            ends = list(accumulate(sizes or _sizes(len(group)), initial=0))
            shuffled = _shuffled(group, seed)
            parts = tuple(shuffled[start:end] for start, end in pairwise(ends))
        if not parts[0] or not parts[2] or (sizes is not None and len(group) < sum(sizes)):
            raise ValueError(
                f"relation {relation} of {data.name} has {len(group)} sentences, and needs "
                f"{_needed(given, tacred, sizes, min(map(len, groups)))}"
            )
        cut.append([torch.tensor(part, dtype=torch.long) for part in parts])
    return RelationSplits(*(tuple(part) for part in zip(*cut, strict=True)))


def relation_stream(
    data: RelationSentences,
    n_tasks: int,
    seed: int,
    *,
    order: Order = "single",
    sizes: Sequence[int] | None = None,
) -> TaskStream:
    """Make the tasks of a run: relations in random groups, each with its split.

    A task's indices are positions in `data.sentences`; its validation positions are
    `split_relations(...).validation` of its classes. `n_tasks` is 10 in the paper; where it does not
    divide the number of relations, sizes differ by one. `order` is that of `relation_order`,
    `sizes` those of `split_relations`.
    """
    if not 1 <= n_tasks <= len(data.relations):
        raise ValueError(
            f"n_tasks={n_tasks} does not fit: {data.name} has {len(data.relations)} relations, and "
            f"every task needs at least one; choose 1 to {len(data.relations)} tasks"
        )
    splits = split_relations(data, seed, sizes=sizes)
    classes = relation_order(len(data.relations), seed, order)
    chunks = [chunk.tolist() for chunk in torch.tensor(classes).tensor_split(n_tasks)]
    tasks = tuple(
        Task(
            index,
            tuple(chunk),
            torch.cat([splits.train[label] for label in chunk]),
            torch.cat([splits.test[label] for label in chunk]),
        )
        for index, chunk in enumerate(chunks)
    )
    return TaskStream(tasks, tuple(classes))


def _sizes(count: int) -> tuple[int, int, int]:
    """Train, validation and test sentences of a relation that has `count`."""
    test = round(REDUCED_TEST_SHARE * count)
    return FEWREL_SIZES if count >= sum(FEWREL_SIZES) else (count - test, 0, test)


def _needed(given: bool, tacred: bool, sizes: Sequence[int] | None, fewest: int) -> str:
    """How many sentences a relation needs, and what to do where it has fewer."""
    if given:
        return "one of each split"
    if sizes is not None and min(sizes[0], sizes[2]) < 1:
        return f"some to train and some to test; sizes={tuple(sizes)} gives none"
    least = 5 if tacred else 2
    if sizes is None or fewest < least:
        return f"{least}; take it out of the data, or add sentences"
    return (
        f"{sum(sizes)} ({', '.join(map(str, sizes))}); give sizes of at most {fewest} together, or "
        "take it out of the data"
    )


def _given(data: RelationSentences, group: list[int]) -> tuple[list[int], ...]:
    parts = {kind: [at for at in group if data.split[at] == kind] for kind in ("train", "test")}
    return parts["train"], [], parts["test"]


def _tacred(group: list[int], seed: int) -> tuple[list[int], ...]:
    shuffled = _shuffled(group, seed)
    test = min(len(group) // 5, TACRED_TEST_CAP)
    return shuffled[test : test + TACRED_TRAIN_CAP], [], shuffled[:test]


def _shuffled(group: list[int], seed: int) -> list[int]:
    shuffled = list(group)
    Random(seed).shuffle(shuffled)
    return shuffled
