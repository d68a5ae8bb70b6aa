"""A few documents, a tiny random encoder in a folder, and parameters for the tests of DocRE-II."""

import tempfile
from functools import cache
from pathlib import Path

from relcl_lib.data.document_sets import assemble_documents
from relcl_lib.data.documents import load_documents
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.worlds.encoder import build_tokenizer, tiny_bert

SMALL = {
    "dataset": "mine",
    "pair_network": "bilinear",
    "pair_size": 32,
    "block": 8,
    "mention": "opening",
    "inference_size": 16,
    "inference_layers": 1,
    "batch_size": 4,
    "stage1_epochs": 1,
    "stage2_epochs": 1,
    "encoder_rate": 1e-3,
    "classifier_rate": 3e-3,
    "base_rate": 1e-4,
    "inference_rate": 3e-3,
    "bucket": 2,
    "seeds": [0],
}


@cache
def tiny_data(count=12):
    data = load_documents("synthetic")
    splits = {"train": data.train[:count], "dev": data.dev[:4], "test": data.test[:4]}
    return assemble_documents("mine", splits, relations=data.relations)


@cache
def encoder_parts():
    texts = [" ".join(s) for d in load_documents("synthetic").train[:60] for s in d.sentences]
    tokenizer = build_tokenizer(texts)
    return tokenizer, tiny_bert(tokenizer, hidden=32, layers=2, heads=2)


_HOLD = tempfile.TemporaryDirectory()


@cache
def encoder_folder():
    tokenizer, network = encoder_parts()
    folder = Path(_HOLD.name) / "random-tiny-bert"
    tokenizer.save_pretrained(folder)
    network.save_pretrained(folder)
    return str(folder)


def parameters(**changes):
    return DocreParameters.create({**SMALL, "encoder": encoder_folder(), **changes})
