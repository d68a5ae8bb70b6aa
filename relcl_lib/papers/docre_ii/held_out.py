"""What the inference module is handed for training documents by bases that do not know them by heart.

A base that has learnt its training documents is nearly always right on them, so that in stage 2
nothing is left to infer. Here R_0 and F_0 of a training document come from a base that has not seen
it (`out_of_fold`), or from one that was trained a third as long (`early`): not the run's own base
stopped early, but another, whose rates rise and fall within a third of the epochs. They are fixed: no
gradient reaches the base through them, only through its own loss. On dev and test it is the base.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from relcl_lib.data.ragged import ranges
from relcl_lib.lab.runtime import make_generator, releasing_memory
from relcl_lib.models.atlop import PairScores
from relcl_lib.text.document_tokens import DocumentTokens

if TYPE_CHECKING:
    from relcl_lib.lab.run import Run

FOLDS = 5
#: of stage 1's epochs, one in so many
EARLY = 3


class HandedScores(NamedTuple):
    """Features (P, D) and logits (P, R + 1) of all training pairs, document by document."""

    scores: PairScores
    tokens: DocumentTokens

    def of(self, rows: Tensor) -> PairScores:
        """Those of a batch of the documents `rows` (b,)."""
        _, index = ranges(self.tokens.pairs_first, rows)
        return PairScores(self.scores.features[index], self.scores.logits[index])


def draw_folds(count: int, seed: int) -> list[Tensor]:
    """Numbers of documents in `FOLDS` parts of one size or nearly so, in rising order."""
    order = torch.randperm(count, generator=make_generator(seed, "folds"))
    return [part.sort().values for part in order.tensor_split(FOLDS)]


def _bases(run: Run, seed: int) -> Iterator[tuple[Run, Tensor]]:
    """Trained bases, each with the documents that it scores."""
    count, data = len(run.data.train), run.data
    values: dict[str, Any] = run.given.model_dump() | {
        "method": "ATLOP (base)",
        "training_scores": "own",
    }

    def train(train_on: Any, **changes: Any) -> Run:
        given = type(run.given).model_validate(values | changes)
        return type(run)(given, train_on, seed, run.work_dir, run.make_base).train()

    if run.settings.training_scores == "early":
        epochs = max(1, run.settings.stage1_epochs // EARLY)
        yield train(data, stage1_epochs=epochs), torch.arange(count)
        return
    for number, fold in enumerate(draw_folds(count, seed)):
        out = set(fold.tolist())
        kept = tuple(document for at, document in enumerate(data.train) if at not in out)
        name = f"{data.fingerprint} without fold {number} of {FOLDS}, seed {seed}"
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        yield train(replace(data, train=kept, fingerprint=digest)), fold


def held_out_scores(run: Run) -> HandedScores:
    """Train the bases that `training_scores` names, or find their checkpoints, and read what they say."""
    tokens = run.tokens("train")
    features, logits, index = [], [], []
    for other, documents in _bases(run, run.seed):
        other.model.eval()
        usable = documents.to(run.device)
        usable = usable[tokens.pairs_first.diff()[usable] > 0]
        usable = usable[tokens.lengths[usable].argsort(stable=True)]
        groups = usable.split(2 * run.settings.batch_size) if len(usable) else ()
        for rows in releasing_memory(groups):
            with torch.no_grad(), other.autocast():
                scores = other.model.base(tokens.batch(rows))
            features.append(scores.features)
            logits.append(scores.logits)
            index.append(ranges(tokens.pairs_first, rows)[1])
    place = torch.cat(index).argsort()
    return HandedScores(PairScores(torch.cat(features)[place], torch.cat(logits)[place]), tokens)
