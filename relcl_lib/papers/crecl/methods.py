"""How CRECL and its baselines train one task, and how they predict.

Each is a function of a run and the task's index. CRECL's rows and the curves of its Figure 3 differ
by settings only (`parameters.METHODS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from relcl_lib.losses import (
    cross_entropy_loss,
    dropout_consistency_loss,
    prototype_contrastive_loss,
)
from relcl_lib.papers.crecl.learner import Learner
from relcl_lib.papers.crecl.parameters import CreclParameters

EMAR_ROUNDS, EMAR_BATCH = 2, 5


# --- phases ----------------------------------------------------------------------------------


def classify(
    run: Learner,
    task: int,
    sentences: Tensor,
    epochs: int,
    *,
    phase: str = "classification",
    passes: int = 1,
    consistency: bool = False,
    batch_size: int | None = None,
) -> None:
    """Train encoder and head by cross-entropy (Eq. 2 and 3) on `sentences` (n,), places in the data.

    `phase` names the random streams and the entries of the run's history. The encoder sees a sentence
    once, whose dropout masks are `passes`; `consistency` adds the release's loss between them.
    """
    network, encoder, s = run.network, run.network.encoder, run.settings
    classes = torch.tensor(run.stream[task].classes, device=run.device)

    def loss(batch: Mapping[str, Tensor]) -> Tensor:
        labels, e = batch["labels"], encoder.entities(batch)
        logits = network.head(encoder.represent(e.expand(passes, *e.shape)))  # (M, B, rows)
        if s.head == "per_task":
            logits = logits[..., : len(classes)]
            labels = run.column[labels] - run.column[classes].min()
        value = cross_entropy_loss(logits, labels.expand(passes, -1)).mean()
        return value + dropout_consistency_loss(logits) if consistency else value

    rates = {encoder: s.learning_rate, network.head: s.head_learning_rate}
    run.fit(phase, task, sentences, epochs, loss, rates, batch_size=batch_size)


def contrast(run: Learner, phase: Literal["CL1", "CL2"], task: int, prototypes: Tensor) -> None:
    """Train encoder and projector by L_2 (Eq. 8): CL1 on the task's sentences, CL2 on the memory.

    In CL2 a sentence of an old relation gives M rows, each with a dropout mask of its own, which makes
    up for part of the rows that CL1 gave to the new ones; the BERT sees it once. The prototypes p
    (C, d) are those of the relations seen, in the order they came; they are not trained (Eq. 4).
    """
    if phase not in ("CL1", "CL2"):
        raise ValueError(f"phase is 'CL1' or 'CL2', not {phase!r}")
    network, encoder, s = run.network, run.network.encoder, run.settings
    old = len(prototypes) - len(run.stream[task].classes)
    memory = phase == "CL2"
    passes = s.memory_passes if memory else 1
    attend = s.attention_memory == "trained"

    def loss(batch: Mapping[str, Tensor]) -> Tensor:
        columns, e = run.column[batch["labels"]], encoder.entities(batch)
        if passes > 1:
            rows = torch.where(columns < old, passes, 1)
            e, columns = e.repeat_interleave(rows, 0), columns.repeat_interleave(rows)
        z = network.similarities(encoder.represent(e), prototypes, attend=attend)
        return prototype_contrastive_loss(
            z, columns, temperature=s.temperature, margin=s.margin, lambda1=s.lambda1
        )

    def loss_of_one_shape(batch: Mapping[str, Tensor]) -> Tensor:
        """The same with M rows per sentence, of which one counts where the relation is new."""
        columns, e = run.column[batch["labels"]].repeat(passes), encoder.entities(batch)
        counted = columns < old
        counted[: len(e)] = True
        h = encoder.represent(e.repeat(passes, 1))
        z = network.similarities(h, prototypes, attend=attend).unsqueeze(1)  # a loss per row
        losses = prototype_contrastive_loss(
            z, columns[:, None], temperature=s.temperature, margin=s.margin, lambda1=s.lambda1
        )
        return (losses * counted).sum() / counted.sum()

    rates = {encoder: s.contrast_learning_rate, network.projector: s.contrast_learning_rate}
    if attend:
        rates[network.attention_memory] = s.attention_learning_rate
    sentences = run.remembered() if memory else run.stream[task].train_indices
    epochs = s.epochs_memory if memory else s.epochs_current
    size = min(s.batch_size, len(prototypes)) if memory else s.batch_size
    chosen = loss_of_one_shape if s.cuda_graph and passes > 1 else loss
    run.fit(phase, task, sentences, epochs, chosen, rates, batch_size=size, fill=True)


# --- training of a task ----------------------------------------------------------------------


def train_crecl(run: Learner, task: int) -> None:
    """CRECL (Algorithm 1): classify, choose the memory, contrast on the task, then on the memory."""
    s = run.settings
    if s.head == "per_task":
        run.renew_head(task)
    fine_tune(run, task)
    run.note_separation("classification", task)
    run.remember(task)
    if s.attention_memory != "off":
        run.renew_attention_memory(task)
    prototypes = run.prototypes()  # of all relations seen, old ones encoded anew
    if s.contrast_current:
        contrast(run, "CL1", task, prototypes)
        run.note_separation("CL1", task)
    if s.refresh_prototypes:
        prototypes = run.prototypes()
    if s.contrast_memory:
        contrast(run, "CL2", task, prototypes)
        run.note_separation("CL2", task)


def phases(settings: CreclParameters) -> dict[str, int]:
    """The phases of a task that `train_crecl` trains with these settings, and the epochs of each."""
    s = settings
    epochs = {"warm-up": s.epochs_warmup, "classification": s.epochs_classification}
    epochs["CL1"] = s.epochs_current if s.contrast_current else 0
    epochs["CL2"] = s.epochs_memory if s.contrast_memory else 0
    return {phase: count for phase, count in epochs.items() if count}


def fine_tune(run: Learner, task: int) -> None:
    """Cross-entropy on the task's sentences alone: CRECL's first phase, and CRECL-CL, the floor."""
    s = run.settings
    new = run.stream[task].train_indices
    classify(run, task, new, s.epochs_warmup, phase="warm-up", batch_size=s.warmup_batch_size)
    passes, consistency = s.classification_passes, s.consistency
    classify(run, task, new, s.epochs_classification, passes=passes, consistency=consistency)


def train_jointly(run: Learner, task: int) -> None:
    """Cross-entropy on the sentences of all tasks so far: a reference with full memory.

    The first task is learned as by every method; after that `epochs_joint` may be fewer, as the
    older sentences are seen again with every task.
    """
    s = run.settings
    seen = torch.cat([run.stream[i].train_indices for i in range(task + 1)])
    later = s.epochs_joint or s.epochs_classification
    classify(run, task, seen, later if task else s.epochs_classification)


def train_rp_cre(run: Learner, task: int) -> None:
    """RP-CRE: classify, then attend to the prototypes while training on the memory.

    With memory activation (+MA) the classifier first goes over new data and memory together.
    """
    s, network, encoder = run.settings, run.network, run.network.encoder
    new = run.stream[task].train_indices
    old = [run.prototypes()] if task else []  # before the encoder moves
    classify(run, task, new, s.epochs_classification)
    if s.method.endswith("+MA"):
        both = torch.cat([new, run.remembered()])
        classify(run, task, both, s.epochs_classification, phase="memory activation")
    run.remember(task)
    n_old = len(old[0]) if old else 0
    prototypes = torch.cat([*old, run.prototypes()[n_old:]])
    run.renew_attention_memory(task)

    def loss(batch: Mapping[str, Tensor]) -> Tensor:
        u = network.head.hidden(encoder(batch))
        logits = network.head.linear(network.attention_memory(u, prototypes))
        return cross_entropy_loss(logits, batch["labels"])

    rates = {
        encoder: s.learning_rate,
        network.head: s.head_learning_rate,
        network.attention_memory: s.attention_learning_rate,
    }
    memory = run.remembered()
    run.fit("memory", task, memory, s.epochs_memory, loss, rates, fixed_order=True)
    run.remember(task)


def train_emar(run: Learner, task: int) -> None:
    """EMAR on our encoder: classify new data with the memory, then twice consolidate the memory.

    One vector of a sentence serves the head, the memory, the prototypes and the scores, as in EMAR:
    u, which the head reads. EMAR also averages a relation's embedded name into its prototype; a name
    has no entity markers to be read at, so that part is left out.
    """
    s, encoder, head = run.settings, run.network.encoder, run.network.head
    new = run.stream[task].train_indices
    both = torch.cat([new, run.remembered()])
    classify(run, task, both, s.epochs_classification)
    run.remember(task)
    both = torch.cat([new, run.remembered()])
    for i in range(EMAR_ROUNDS):
        prototypes = run.prototypes()
        classify(run, task, both, 1, phase=f"round {i + 1}")

        def loss(batch: Mapping[str, Tensor], prototypes: Tensor = prototypes) -> Tensor:
            scores = head.hidden(encoder(batch)) @ prototypes.T
            return cross_entropy_loss(scores, run.column[batch["labels"]])

        # u is the encoder's, whose LayerNorm is the last of it where that is the norm's group.
        parts = [encoder, head.norm] if s.norm_group == "encoder" else [encoder]
        phase, rates = f"consolidation {i + 1}", dict.fromkeys(parts, s.contrast_learning_rate)
        run.fit(phase, task, run.remembered(), 1, loss, rates, batch_size=EMAR_BATCH)


# --- prediction: scores of h (n, d) for relations in the order they came -------------------------


def nearest_prototype(run: Learner, h: Tensor) -> Tensor:
    """Cosines (n, C) of h (n, d) to prototypes made anew from the memory (Eq. 9)."""
    if run.settings.prediction == "head":
        return head_scores(run, h)
    attend = run.settings.attention_memory != "off"
    return run.network.similarities(h, run.prototypes(), attend=attend)


def nearest_attended(run: Learner, h: Tensor) -> Tensor:
    """The same, with h and prototypes through the attention memory that is in place (CRECL+ATM)."""
    return run.network.similarities(h, run.prototypes(), attend=True)


def head_scores(run: Learner, h: Tensor) -> Tensor:
    """Logits (n, C) of the head (Eq. 1 and 2) for h (n, d)."""
    return run.network.head(h)[:, run.relations]


def attended_scores(run: Learner, h: Tensor) -> Tensor:
    """RP-CRE's logits (n, C) for h (n, d): the head on u after the attention memory."""
    u = run.network.attention_memory(run.network.head.hidden(h), run.prototypes())
    return run.network.head.linear(u)[:, run.relations]


def dot_products(run: Learner, h: Tensor) -> Tensor:
    """EMAR's scores (n, C) for h (n, d): dot products of u with the prototypes."""
    return run.network.head.hidden(h) @ run.prototypes().T


#: (run, h) -> (n, C)
Score = Callable[[Learner, Tensor], Tensor]


@dataclass(frozen=True)
class Procedure:
    """Training of one task, and scores for prediction.

    Attributes:
        train: (run, task index).
        score: (run, h) -> (n, C), column c for the c-th relation of the stream; C may be the
            relations seen or all.
        holds_u: whether memory and prototypes hold u, not h.
        attends: whether there is an attention memory.
    """

    train: Callable[[Learner, int], None]
    score: Score
    holds_u: bool = False
    attends: bool = False


_RP_CRE = Procedure(train_rp_cre, attended_scores, holds_u=True, attends=True)
_OTHERS = {
    "CRECL-CL": Procedure(fine_tune, head_scores),
    "JOINT": Procedure(train_jointly, head_scores),
    "RP-CRE": _RP_CRE,
    "RP-CRE+MA": _RP_CRE,
    "RP-CRE (25 epochs)": _RP_CRE,
    "EMAR+BERT": Procedure(train_emar, dot_products, holds_u=True),
}


def procedure(method: str) -> Procedure:
    """What a row of the tables does."""
    return _OTHERS.get(method, Procedure(train_crecl, nearest_prototype))
