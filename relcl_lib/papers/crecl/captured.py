"""A phase's training step as CUDA graphs, one per shape of a batch that comes often.

On a GPU a step of these networks is bound by the CPU that starts its kernels, over a thousand of them.
A phase repeats it with the same weights and the same Adam; what changes are the sentences, whose
tokens lie here in tensors of fixed places, and the dropout, whose generator torch moves on. Batches are
padded to a few widths (`Learner.padded_batch`), so that there are few shapes.

    step = CapturedSteps(training_step, device)
    for batch in batches:  # on the CPU
        step(batch)

On a CPU nothing is captured: the same step runs as it is, which is how the tests compare it with that
over batches without pads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

#: tokens that a batch is padded to, the least that its longest sentence fits in
WIDTHS = (32, 48, 64, 96, 128)


class CapturedSteps:
    """A step that reads nothing back, and updates nothing but what lies in fixed places.

    Args:
        step: of one batch on the device.
        device: where it trains.
    """

    #: steps of each shape that run as they are, so that Adam has its moments and the libraries have
    #: chosen their kernels; a rare shape, such as that of an epoch's last batch, is never captured
    warm_up = 3

    def __init__(self, step: Callable[[Mapping[str, Tensor]], None], device: torch.device) -> None:
        self.step, self.device = step, device
        self.count: Counter[torch.Size] = Counter()
        self.held: dict[torch.Size, dict[str, Tensor]] = {}
        self.graphs: dict[torch.Size, torch.cuda.CUDAGraph] = {}
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)
            # One for all: nothing that a replay leaves there is read by the next one.
            self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, batch: Mapping[str, Tensor]) -> None:
        """Train one step on a batch of `MarkedTokens.batch`, on the CPU."""
        shape = batch["input_ids"].shape
        self.count[shape] += 1
        if shape not in self.held:
            self.held[shape] = {
                name: torch.empty_like(value, device=self.device) for name, value in batch.items()
            }
        held = self.held[shape]
        for name, value in batch.items():
            held[name].copy_(value, non_blocking=True)
        if self.device.type != "cuda":
            self.step(held)
        elif self.count[shape] <= self.warm_up:
            # On the stream that records, where what autograd keeps then belongs.
            self.stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(self.stream):
                self.step(held)
            torch.cuda.current_stream(self.device).wait_stream(self.stream)
        else:
            if shape not in self.graphs:
                self.graphs[shape] = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self.graphs[shape], self.pool, self.stream):  # nothing runs
                    self.step(held)
            self.graphs[shape].replay()
