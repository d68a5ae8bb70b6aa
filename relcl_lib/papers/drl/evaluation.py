"""Which images a DRL run tells right: one head, or a head a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from relcl_lib.models.taps import save_head, set_head
from relcl_lib.papers.hpcr.evaluation import TEST_BATCH

if TYPE_CHECKING:
    from relcl_lib.papers.drl.run import DrlRun


@torch.inference_mode()
def correct(run: DrlRun, sets: Sequence[Tensor]) -> list[Tensor]:
    """Return which images of each set are told right: (n,) bool each, on the CPU.

    One set: argmax over all classes, those to come among them. A set a task: by the head kept for it,
    over all its outputs (``heads="released"``) or over the task's classes (``masked``); a task to come
    has the head loaded last, as released. Network and head are left as they were.
    """
    training, live = run.network.training, save_head(run.network)
    run.network.eval()
    found = []
    for task, positions in enumerate(sets):
        if len(sets) > 1 and task < len(run.heads):
            set_head(run.network, run.heads[task])
        out = torch.zeros(run.data.n_classes, dtype=torch.bool, device=run.device)
        if len(sets) > 1 and run.settings.heads == "masked":
            out[:] = True
            out[run.stream.task_classes(task)] = False
        hits = []
        for batch in positions.split(TEST_BATCH[run.device.type]):
            logits, _ = run.network(run.pixels(batch))
            hits.append(logits.masked_fill(out, -torch.inf).argmax(-1) == run.labels_of(batch))
        found.append(torch.cat(hits).cpu())
    set_head(run.network, live)
    run.network.train(training)
    return found
