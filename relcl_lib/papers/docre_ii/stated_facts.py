"""A base module that reads perfectly and infers nothing: the inference module by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from relcl_lib.data.document_sets import DocumentData
from relcl_lib.models.atlop import PairScores
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.text.document_tokens import DocumentBatch
from relcl_lib.text.pretrained import load_encoder


class StatedFacts(nn.Module):
    """Gives a pair the relations that a sentence states, from the labels, and no other.

    Whatever is right beyond them the inference module has inferred. It has no parameters, so a run
    on it has no first stage, and it says nothing of reading: for study, on generated documents,
    whose labels tell stated facts from inferred ones.
    """

    def __init__(self, n_relations: int) -> None:
        super().__init__()
        self.feature_size = n_relations + 1

    def forward(self, batch: DocumentBatch) -> PairScores:
        """Features (p, R + 1), 1 at the stated relations or at class 0, and logits alike."""
        nothing = ~batch.stated.any(1, keepdim=True)
        features = torch.cat([nothing, batch.stated], dim=1).float()
        return PairScores(features, 2 * features - 1)


def build_stated_facts(settings: DocreParameters, data: DocumentData) -> tuple[Any, StatedFacts]:
    """A tokenizer, which only counts words here, and the module.

    Raises:
        ValueError: the data does not say which facts are stated.
    """
    if any(document.inferred is None for document in data.train if document.facts):
        raise ValueError(f"{data.name} does not say which facts its sentences state")
    return load_encoder(settings.encoder)[0], StatedFacts(len(data.relations))
