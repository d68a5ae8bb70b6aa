"""The tracks of DRL: NI, Multi-Task-NC and NIC on images with sessions, and disjoint classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from relcl_lib.continual.streams import Task, TaskStream, class_incremental_stream
from relcl_lib.data.core50 import SessionData
from relcl_lib.lab.runtime import make_generator


@dataclass(frozen=True)
class DomainStream(TaskStream):
    """The experiences of a track, and the image sets it is scored on.

    `class_order` holds the classes in order of first appearance.

    Attributes:
        labels: (N,) int64, the labels of all images as the track numbers classes: in order of first
            appearance where tasks are told apart (Multi-Task-NC), else the data set's own.
        tests: positions of the test images: one set, or one for each task where tasks are told apart.
        valid_every: k, every k-th image of a test set validates. So validation images are test
            images, as in the challenge: neither set is fit for choosing anything else.
    """

    labels: Tensor
    tests: tuple[Tensor, ...]
    valid_every: int

    @property
    def validation(self) -> tuple[Tensor, ...]:
        """Positions of the validation images, a set for each test set."""
        return tuple(test[:: self.valid_every] for test in self.tests)

    @property
    def multi_head(self) -> bool:
        """Whether a task label comes with each image, in training and in test."""
        return len(self.tests) > 1

    def task_classes(self, index: int) -> list[int]:
        """The labels of the classes that a task is tested on, as `labels` numbers them."""
        return self.labels[self.tests[index]].unique().tolist()

    def joined(self) -> DomainStream:
        """All experiences as one; test sets and labels stay as they are."""
        train, test = (torch.cat([t.train_indices for t in self]), torch.cat(self.tests))
        return replace(self, tasks=(Task(0, self.class_order, train, test),))


def domain_stream(
    track: str, data: SessionData, order: int = 0, *, limit: int | None = None
) -> DomainStream:
    """The experiences of a track.

    CORe50 brings its own lists for NI, Multi-Task-NC and NIC; a stand-in's are made by the rules that
    CORe50's follow, in an order that `order` draws (a simplification: NIC's official order is no plain
    permutation). `Disjoint` is the class-incremental stream of DRL's Figure 2: classes in ascending
    order, two per task (of an odd number three in the first), one head, no task labels.

    Args:
        track: a key of `TRACKS`.
        data: images with sessions; CORe50 has been loaded with the same `order`.
        order: which order.
        limit: training images kept of each experience, drawn by `order`; None keeps all.
    """
    if track not in TRACKS:
        raise ValueError(f"track={track!r} must be one of {', '.join(TRACKS)}")
    stream = TRACKS[track](data, make_generator(order, f"{track} order"))
    if limit is None:
        return stream
    return replace(stream, tasks=tuple(_limited(task, limit, order) for task in stream))


def padded_batches(positions: Tensor, batch_size: int, generator: torch.Generator) -> Tensor:
    """One shuffled pass over all positions: (steps, batch_size) int64.

    The first samples are repeated so that no batch is short, as released: up to `batch_size` - 1 more
    are seen, of fewer samples than a batch has each several times.
    """
    steps = -(-len(positions) // batch_size)
    repeated = positions.repeat(-(-batch_size // len(positions)) + 1)[: steps * batch_size]
    return repeated[torch.randperm(len(repeated), generator=generator)].view(steps, batch_size)


def _limited(task: Task, limit: int, order: int) -> Task:
    kept = torch.randperm(
        len(task.train_indices), generator=make_generator(order, "limit", task.index)
    )[:limit]
    return replace(task, train_indices=task.train_indices[kept.sort().values])


# --- tracks --------------------------------------------------------------------------------------


def _official(track: str, data: SessionData) -> tuple[list[Tensor], Tensor] | None:
    lists = data.experiences.get(track)
    if lists is not None:
        return list(lists[:-1]), lists[-1]
    if data.name == "core50":
        raise ValueError(
            f"the CORe50 folder holds no lists for the track {track}; it has them for "
            f"{', '.join(data.experiences)}"
        )
    return None


def _videos(data: SessionData, classes: Sequence[int], sessions: Sequence[int]) -> Tensor:
    """The positions of the images of some classes in some sessions, in order."""
    chosen = torch.isin(data.labels, torch.tensor(classes))
    return (chosen & torch.isin(data.sessions, torch.tensor(sessions))).nonzero()[:, 0]


def _test_images(data: SessionData) -> Tensor:
    return data.is_test.nonzero()[:, 0]


def _shuffled(values: Sequence, generator: torch.Generator) -> list:
    return [values[i] for i in torch.randperm(len(values), generator=generator).tolist()]


def _one_head(data: SessionData, experiences: list[Tensor], test: Tensor) -> DomainStream:
    tasks = tuple(
        Task(index, tuple(data.labels[positions].unique().tolist()), positions, test)
        for index, positions in enumerate(experiences)
    )
    order = dict.fromkeys(c for task in tasks for c in task.classes)
    return DomainStream(tasks, tuple(order), data.labels, (test,), data.valid_every)


def _new_instances(data: SessionData, generator: torch.Generator) -> DomainStream:
    """NI: each experience is one training session with all classes."""
    experiences, test = _official("NI", data) or (
        [
            _videos(data, range(data.n_classes), [session])
            for session in _shuffled(data.train_sessions, generator)
        ],
        _test_images(data),
    )
    return _one_head(data, experiences, test)


def _new_instances_and_classes(data: SessionData, generator: torch.Generator) -> DomainStream:
    """NIC: a first experience of C/5 classes in one session, then one video at a time."""
    official = _official("NIC", data)
    if official is None:
        first, sessions = max(1, data.n_classes // 5), data.train_sessions
        pairs = [
            (label, session)
            for label in range(data.n_classes)
            for session in sessions
            if label >= first or session != sessions[0]
        ]
        videos = [_videos(data, [c], [s]) for c, s in _shuffled(pairs, generator)]
        start = _videos(data, range(first), sessions[:1])
        # Images of one's own may lack a class in a session.
        official = [video for video in (start, *videos) if len(video)], _test_images(data)
    return _one_head(data, *official)


def _new_classes(data: SessionData, generator: torch.Generator) -> DomainStream:
    """Multi-Task-NC: new classes in all sessions, numbered in order of first appearance.

    50 classes come as 10, then 8 times 5; fewer as five tasks of one size.
    """
    official = _official("Multi-Task-NC", data)
    if official is None:
        drawn = _shuffled(range(data.n_classes), generator)
        sizes = [10, *8 * [5]] if len(drawn) == 50 else None
        classes = torch.tensor(drawn)
        chunks = classes.split(sizes) if sizes else classes.tensor_split(min(5, len(drawn)))
        groups = [chunk.tolist() for chunk in chunks]
        experiences = [_videos(data, group, data.train_sessions) for group in groups]
        test = _test_images(data)
    else:
        experiences, test = official
        # In order of appearance within a list too: it is what the list's labels follow.
        groups = [list(dict.fromkeys(data.labels[part].tolist())) for part in experiences]
    tasks = tuple(
        Task(index, tuple(group), part, test[torch.isin(data.labels[test], torch.tensor(group))])
        for index, (group, part) in enumerate(zip(groups, experiences, strict=True))
    )
    order = tuple(c for group in groups for c in group)
    number = torch.full((data.n_classes,), -1)  # of a class in no list
    number[list(order)] = torch.arange(len(order))
    tests = tuple(task.test_indices for task in tasks)
    return DomainStream(tasks, order, number[data.labels], tests, data.valid_every)


def _disjoint(data: SessionData, generator: torch.Generator) -> DomainStream:
    train, test = (~data.is_test).nonzero()[:, 0], _test_images(data)
    tasks = max(1, data.n_classes // 2)
    stream = class_incremental_stream(data.labels[train], data.labels[test], tasks).over(train)
    return _one_head(data, [task.train_indices for task in stream], test)


#: the paper's names of the tracks, and the stream of its Figure 2
TRACKS: dict[str, Callable[[SessionData, torch.Generator], DomainStream]] = {
    "NI": _new_instances,
    "Multi-Task-NC": _new_classes,
    "NIC": _new_instances_and_classes,
    "Disjoint": _disjoint,
}
