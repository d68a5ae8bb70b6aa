"""A task's training step as one CUDA graph, repeated with random choices of its own each time.

On a GPU a step of these small networks is bound by the CPU that starts its thousands of kernels. What
changes from step to step is little: which images come, the step's count, and what is drawn on the CPU,
places in the memory and the views' parameters. Here all of it lies in tensors of fixed places, which
each repetition fills anew before the kernels run again.

    step = CapturedStep(run, task, seen, draws)
    for number, indices in enumerate(batches):  # (S, b) each
        step(indices, number)

The draws are those of `ReplayRun.training_step` in their order, so the numbers are the same. On a CPU
nothing is captured: the same step runs as it is, which is how the tests compare the two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from relcl_lib.continual.augment import Augmentation
from relcl_lib.continual.memory import ReservoirMemory
from relcl_lib.papers.hpcr.strategy import Draws

#: methods whose step reads a value back, or draws elsewhere than in the memory and the views
NOT_CAPTURED = ("ASER", "GSS", "IID++", "OCM", "OnPro", "SS-IL")

Drawn = dict[str, Tensor]


class Choices:
    """What one step draws, in the order in which it asks, each in tensors of a fixed place."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.asked: list[Callable[[], Drawn]] = []
        self.held: list[Drawn] = []
        self.place = 0

    def next(self, draw: Callable[[], Drawn]) -> Drawn:
        """The choice that is asked for now; the first step draws it, for later ones `renew` has."""
        if self.place == len(self.asked):
            self.asked.append(draw)
            self.held.append({name: value.to(self.device) for name, value in draw().items()})
        self.place += 1
        return self.held[self.place - 1]

    def renew(self) -> None:
        """Draw all of them for the next step."""
        for draw, held in zip(self.asked, self.held, strict=True):
            for name, value in draw().items():
                held[name].copy_(value, non_blocking=True)


class _Memory:
    """A full reservoir whose draws are choices, and whose writes have one shape."""

    def __init__(self, memory: ReservoirMemory, choices: Choices) -> None:
        self.memory, self.choices = memory, choices
        self.take, self.replace = memory.take, memory.replace

    def __len__(self) -> int:
        return len(self.memory)

    def draw(self, n: int, generators: Any) -> Tensor:
        return self.choices.next(lambda: {"slots": self.memory.draw(n, generators)})["slots"]

    def sample(self, n: int, generators: Any) -> dict[str, Tensor] | None:
        return self.take(self.draw(n, generators)) if len(self) else None

    def add(self, generators: Any, **rows: Tensor) -> None:
        batch = next(iter(rows.values())).shape[1]
        drawn = self.choices.next(
            lambda: padded(self.memory.places(batch, generators), self.memory)
        )
        slots, kept = drawn["slots"], drawn["kept"]
        # A row that is not kept writes back what its slot has.
        old = self.take(slots)
        for name, value in rows.items():
            wanted = kept.view(*kept.shape, *[1] * (value.dim() - 2))
            self.replace(slots, **{name: torch.where(wanted, value.to(old[name].dtype), old[name])})


class _Views:
    """An augmentation whose draws are choices."""

    def __init__(self, augmentation: Augmentation, choices: Choices) -> None:
        self.augmentation, self.choices = augmentation, choices
        self.apply = augmentation.apply

    def draw(self, *given: Any) -> Drawn:
        return self.choices.next(lambda: self.augmentation.draw(*given))


def padded(slots: Tensor, memory: ReservoirMemory) -> Drawn:
    """Places (S, b), -1 for rows that are not kept, as distinct slots and what is kept: (S, b) each."""
    kept = slots >= 0
    taken = torch.zeros(memory.seeds, memory.capacity + 1, dtype=torch.long)
    taken.scatter_(1, slots.where(kept, memory.capacity), 1)
    free = taken[:, :-1].argsort(dim=1, stable=True)  # those not taken first
    rank = (~kept).long().cumsum(1) - 1
    return {"slots": slots.where(kept, free.gather(1, rank.clamp(min=0))), "kept": kept}


class CapturedStep:
    """`ReplayRun.training_step` of a task, captured once its shapes stay the same.

    The first steps, those that fill the memory among them, run as they are. They also let the libraries
    choose their kernels, which a capture cannot.

    Args:
        run: of a method that is none of `NOT_CAPTURED`.
        task, seen, draws: as of `training_step`.
    """

    #: steps of each task that are not captured
    warm_up = 3

    def __init__(self, run: Any, task: int, seen: Tensor, draws: Draws) -> None:
        self.run, self.given = run, (task, seen, draws)
        self.choices = Choices(run.device)
        self.done = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.loss: Tensor | None = None

    def __call__(self, indices: Tensor, step: int) -> Tensor | None:
        """Train one step on images (S, b); the losses (S,), or None as of `training_step`."""
        task, seen, draws = self.given
        memory, self.done = self.run.memory, self.done + 1
        steady = len(memory) in (0, memory.capacity) and indices.shape[1] <= memory.capacity
        if self.done <= self.warm_up or not steady:
            return self.run.training_step(indices, task, step, seen, draws)
        first = not self.choices.asked
        if first:
            self.indices = indices.clone()
            self.counts = torch.zeros(2, dtype=torch.float64, device=self.run.device)
        else:
            self.indices.copy_(indices)
            self.choices.renew()
        counted = torch.tensor([step, self.run.total_step], dtype=torch.float64)
        self.counts.copy_(counted, non_blocking=True)
        if self.run.device.type != "cuda":
            self.loss = self._step()
        elif first:  # on the stream that records, where what autograd keeps then belongs
            self.stream = torch.cuda.Stream()
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                self.loss = self._step()
            torch.cuda.current_stream().wait_stream(self.stream)
        else:
            if self.graph is None:
                self.graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self.graph, stream=self.stream):  # recorded, nothing runs
                    self.loss = self._step()
            self.graph.replay()
        return self.loss

    def _step(self) -> Tensor | None:
        task, seen, draws = self.given
        self.choices.place = 0
        step, total = self.counts.unbind()
        with self._choosing():
            return self.run.training_step(self.indices, task, step, seen, draws, total)

    @contextlib.contextmanager
    def _choosing(self) -> Iterator[None]:
        """Inside the block memory and views of the run take their draws from the choices."""
        memory, augmentation = self.run.memory, self.run.augmentation
        self.run.memory = _Memory(memory, self.choices)
        self.run.augmentation = _Views(augmentation, self.choices)
        try:
            yield
        finally:
            self.run.memory, self.run.augmentation = memory, augmentation
