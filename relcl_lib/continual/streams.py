"""Task streams: which classes arrive when, and in which order their samples are shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Task:
    """One task: its classes and the positions of its samples in the data set's arrays."""

    index: int
    classes: tuple[int, ...]
    train_indices: Tensor  # (n_train,) int64
    test_indices: Tensor  # (n_test,) int64

    def batches(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """One shuffled pass over the training samples: (steps, batch_size) int64.

        A last batch that would be short is dropped, as in the released code (all the papers' task
        sizes divide by their batch size, so nothing is lost there).
        """
        order = self.train_indices[torch.randperm(len(self.train_indices), generator=generator)]
        steps = len(order) // batch_size
        if steps == 0:
            raise ValueError(
                f"task {self.index} has {len(order)} training samples, fewer than one batch of "
                f"{batch_size}; use a smaller batch or fewer tasks"
            )
        return order[: steps * batch_size].view(steps, batch_size)


@dataclass(frozen=True)
class TaskStream:
    """A sequence of tasks. The stream owns the class order; nothing else counts tasks."""

    tasks: tuple[Task, ...]
    class_order: tuple[int, ...]

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, index: int) -> Task:
        return self.tasks[index]

    def over(self, positions: Tensor) -> TaskStream:
        """The stream for training labels that were `all_labels[positions]`, as places in all of them."""
        tasks = (replace(task, train_indices=positions[task.train_indices]) for task in self)
        return TaskStream(tuple(tasks), self.class_order)

    def sizes(self) -> list[tuple[int, int]]:
        """(training samples, test samples) of each task."""
        return [(len(task.train_indices), len(task.test_indices)) for task in self]

    def classes_seen(self, task_index: int) -> list[int]:
        """The classes of tasks 0 .. `task_index`, in the order they came."""
        return [c for task in self.tasks[: task_index + 1] for c in task.classes]


def class_incremental_stream(
    train_labels: Tensor,
    test_labels: Tensor,
    n_tasks: int,
    generator: torch.Generator | None = None,
) -> TaskStream:
    """Split a labelled data set into `n_tasks` tasks of disjoint classes.

    The classes are shuffled with `generator` (kept in ascending order without one), then cut into
    consecutive chunks whose sizes differ by at most one.

    Labels are (N,) and (M,) int64; `n_tasks` is at most the number of classes.
    """
    classes = torch.unique(train_labels)
    if not 1 <= n_tasks <= len(classes):
        raise ValueError(
            f"n_tasks={n_tasks} does not fit: the data set has {len(classes)} classes, and every "
            f"task needs at least one; choose 1 to {len(classes)} tasks"
        )
    if generator is not None:
        classes = classes[torch.randperm(len(classes), generator=generator)]
    tasks = tuple(
        Task(
            index,
            tuple(chunk.tolist()),
            torch.isin(train_labels, chunk).nonzero().squeeze(1),
            torch.isin(test_labels, chunk).nonzero().squeeze(1),
        )
        for index, chunk in enumerate(classes.tensor_split(n_tasks))
    )
    return TaskStream(tasks, tuple(classes.tolist()))


def hold_out(labels: Tensor, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Split sample positions into (kept, held out), the same fraction of every class.

    For choosing hyper-parameters without touching the test set (the paper holds out 10 %).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction={fraction} must lie between 0 and 1")
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = shuffled[torch.argsort(labels[shuffled], stable=True)]
    sorted_labels = labels[by_class]
    counts = torch.bincount(sorted_labels)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(labels)) - starts[sorted_labels]
    held = rank < (counts * fraction).round().long()[sorted_labels]
    if not held.any() or held.all():
        raise ValueError(f"fraction={fraction} of classes this small leaves one side empty")
    return by_class[~held].sort().values, by_class[held].sort().values
