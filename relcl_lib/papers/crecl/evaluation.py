"""How a CRECL run is scored: predictions, accuracy by task, and CRECL read at its head."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from relcl_lib.papers.crecl.methods import Score, head_scores

if TYPE_CHECKING:
    from relcl_lib.papers.crecl.run import CreclRun


@torch.no_grad()
def predictions(run: CreclRun, sentences: Tensor, task: int, *scores: Score) -> list[Tensor]:
    """Return the relation (n,) of sentences (n,) for each way to score them.

    The encoder sees the sentences once; the candidates are the relations of tasks 0 .. `task`.
    """
    run.network.eval()
    h, seen = run.embed(sentences), len(run.stream.classes_seen(task))
    return [run.relations[score(run, h)[:, :seen].argmax(1)] for score in scores]


def accuracies(run: CreclRun, task: int, *scores: Score) -> Tensor:
    """Return (len(scores), T): accuracy in [0, 1] on the test sets of tasks 0 .. `task`, else 0."""
    tests = [run.stream[i].test_indices for i in range(task + 1)]
    sentences, sizes = torch.cat(tests), [len(test) for test in tests]
    labels = run.tokens.labels[sentences.to(run.device)]
    found = torch.zeros(len(scores), len(run.stream))
    for row, predicted in enumerate(predictions(run, sentences, task, *scores)):
        parts = (predicted == labels).split(sizes)
        found[row, : task + 1] = torch.stack([part.float().mean() for part in parts])
    return found


def score_task(run: CreclRun, task: int) -> None:
    """Fill the run's row of accuracies after training `task`; CRECL's at its head as well."""
    if has_two_readings(run):
        both = accuracies(run, task, run.procedure.score, head_scores)
        run.accuracy[task], run.head_accuracy[task] = both
    else:
        run.accuracy[task] = run.evaluate(task)


def has_two_readings(run: CreclRun) -> bool:
    """Whether the run is CRECL as written, whose classifier's head can be read as well."""
    chosen = run.settings
    written = chosen.prediction == "prototypes" and chosen.head == "fixed"
    return chosen.method == "CRECL" and written


def at_head(run: CreclRun) -> CreclRun:
    """Return CRECL(C), the run read at its classifier's head (Figure 3); it shares the network.

    Raises:
        ValueError: the run is not CRECL, whose nearest prototype is the other reading.
    """
    if not has_two_readings(run):
        raise ValueError(
            f"only CRECL that predicts by prototypes has a second reading, at a head of all "
            f"relations; this is {run.settings.method}, head {run.settings.head!r}, "
            f"prediction {run.settings.prediction!r}"
        )
    twin = copy.copy(run)
    changes = {"method": "CRECL(C)", "prediction": "head"}
    twin.settings = run.settings.model_copy(update=changes)
    twin.accuracy = run.head_accuracy
    return twin
