"""A base that knows what is stated: what is right beyond that is inferred."""

import pytest
import torch
from docre_data import parameters, tiny_data

from relcl_lib import docre_metrics
from relcl_lib.data.document_sets import assemble
from relcl_lib.docre_ii import DocreRun
from relcl_lib.docre_records import configuration
from relcl_lib.models.pair_inference import decode_relations
from relcl_lib.models.stated_facts import StatedFacts, build_stated_facts


def run_on(data, **changes):
    settings = parameters(stage1_epochs=0, stage2_epochs=1, **changes)
    return DocreRun(settings, data, 0, make_base=build_stated_facts)


def test_it_predicts_what_is_stated_and_nothing_else():
    data = tiny_data()
    run = run_on(data)
    batch = run.tokens("train").batch(torch.arange(5))
    scores = run.model.base(batch)
    assert (
        scores.features.shape
        == scores.logits.shape
        == (len(batch.pairs), run.model.base.feature_size)
    )
    decoded = decode_relations(scores.logits, 99)
    assert torch.equal(decoded[:, 1:], batch.stated)
    assert torch.equal(decoded[:, 0], ~batch.stated.any(1))
    stated = [document.gold() - document.inferred for document in data.test]
    found = run.predict("test", 0)[0]
    assert found == stated


def test_the_stated_labels_are_part_of_all_labels():
    tokens = run_on(tiny_data()).tokens("train")
    batch = tokens.batch(tokens.usable)
    assert not (batch.stated & ~batch.labels).any()
    inferred = sum(len(document.inferred) for document in tiny_data().train)
    assert int((batch.labels & ~batch.stated).sum()) == inferred > 0


def test_the_inference_module_trains_on_it_alone():
    run = run_on(tiny_data()).train()
    assert run.finished and not run.base_state
    scores = run.evaluate("test", 0)
    assert (scores["precision"], scores["recall_inferred"]) == (100, 0)
    assert configuration(run)["parameters"]["base"] == "stated_facts"
    assert not list(StatedFacts(3).parameters())


def test_data_that_does_not_say_what_is_stated_is_refused():
    data = tiny_data(4)
    plain = [type(d)(d.title, d.sentences, d.entities, d.facts) for d in data.train]
    data = assemble("mine", {"train": plain, "dev": data.dev}, relations=data.relations)
    with pytest.raises(ValueError, match="mine does not say which facts"):
        run_on(data)


def test_recall_by_the_facts_it_rests_on():
    documents = tiny_data().test
    nothing = docre_metrics.recall_by_hops([set() for _ in documents], documents)
    assert sum(row["facts"] for row in nothing.values()) == sum(len(d.facts) for d in documents)
    assert {row["recall"] for row in nothing.values()} == {0}
    one_hop = [
        {fact for fact, hops in zip(d.facts, d.hops, strict=True) if hops == 1} for d in documents
    ]
    found = docre_metrics.recall_by_hops(one_hop, documents)
    assert {hops: row["recall"] for hops, row in found.items()} == {
        hops: 100.0 * (hops == 1) for hops in found
    }
