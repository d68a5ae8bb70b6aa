"""A small data set and parameters for the tests of FastRE."""

from functools import cache

from relcl_lib.data.triples import assemble_triples, load_triples
from relcl_lib.papers.fastre.network import span_rules
from relcl_lib.papers.fastre.parameters import FastreParameters
from relcl_lib.papers.fastre.run import FastreRun

SMALL = {
    "dataset": "mine",
    "hidden": 32,
    "type_size": 8,
    "vector_size": 24,
    "attention_heads": 4,
    "dilations": [1, 2],
    "batch_size": 4,
    "epochs": 2,
    "learning_rate": 0.01,
    "seeds": [0],
}
#: with which a tagger learns the small data set
LEARNING = {
    "epochs": 30,
    "batch_size": 8,
    "learning_rate": 5e-3,
    "heads": "mean",
    "dropout": 0.0,
    "embedding_dropout": 0.0,
    "max_tokens": 30,
    "allow_lost": True,
}

#: how FastRE reads off heads and tails, by default
FASTRE_HEADS, FASTRE_TAILS = span_rules(FastreParameters().resolved())


@cache
def tiny_data(count=40):
    data = load_triples("synthetic")
    splits = {"train": data.train[:count], "valid": data.train[:10], "test": data.test[:10]}
    return assemble_triples("mine", splits, relations=data.relations)


def parameters(**changes):
    return FastreParameters.create({**SMALL, **changes})


@cache
def learned_run():
    """A run whose tagger has learned the small data set; whoever changes it changes it back."""
    return FastreRun(parameters(**LEARNING), tiny_data()).train()
