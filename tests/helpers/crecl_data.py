"""A small data set, a tiny BERT and parameters for the tests of CRECL."""

import atexit
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from relcl_lib.data.sentences import MarkedSentence, load_sentences
from relcl_lib.papers.crecl.parameters import CreclParameters
from relcl_lib.papers.crecl.run import CreclRun
from relcl_lib.worlds.encoder import build_tokenizer, tiny_bert

SMALL = {
    "dataset": "synthetic",
    "n_tasks": 3,
    "max_length": 128,
    "memory_size": 3,
    "epochs_classification": 2,
    "epochs_current": 1,
    "epochs_memory": 1,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "contrast_learning_rate": 1e-3,
    "precision": "float32",
    "device": "cpu",
}


@cache
def tiny_data(relations=6, train=12, test=4):
    """Return the first sentences of the first relations of the generated corpus."""
    data = load_sentences("synthetic")
    kept, left = [], {}
    for place, (sentence, split) in enumerate(zip(data.sentences, data.split, strict=True)):
        room = left.setdefault((sentence.label, split), {"train": train, "test": test}[split])
        if sentence.label < relations and room:
            left[sentence.label, split] -= 1
            kept.append(place)
    return replace(
        data,
        relations=data.relations[:relations],
        relation_names=data.relation_names[:relations],
        sentences=tuple(data.sentences[i] for i in kept),
        split=tuple(data.split[i] for i in kept),
        fingerprint=f"{relations}-{train}-{test}",
    )


#: One of the generated corpus's commonest words for each relation of `easy_data`.
WORDS = ("the", "of", "in", "and", "was", "is")


@cache
def easy_data(train=16, test=6):
    """Return sentences of three words whose middle one is the relation."""
    sentences = tuple(
        MarkedSentence((f"a{i}", WORDS[label], f"b{i}"), (0, 1), (2, 3), label)
        for label in range(len(WORDS))
        for i in range(train + test)
    )
    return replace(
        tiny_data(),
        sentences=sentences,
        split=(("train",) * train + ("test",) * test) * len(WORDS),
        fingerprint="easy",
    )


@cache
def tiny_encoder(hidden=32, layers=2):
    """Return the folder of a BERT with random weights."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    texts = [" ".join(sentence.tokens) for sentence in tiny_data().sentences]
    tokenizer = build_tokenizer(texts)
    tokenizer.save_pretrained(folder.name)
    tiny_bert(tokenizer, hidden, layers, heads=2).save_pretrained(folder.name)
    return str(Path(folder.name))


def parameters(**changes):
    return CreclParameters.create({"encoder": tiny_encoder(), **SMALL, **changes})


def make_run(seed=2021, work_dir=None, data=None, **changes):
    return CreclRun(parameters(**changes), data or tiny_data(), seed, work_dir)
