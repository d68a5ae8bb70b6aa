"""A base that knows what is stated: what is right beyond that is inferred."""

import pytest
import torch
from docre_data import parameters, tiny_data

from relcl_lib.data.document_sets import assemble_documents
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.models.pair_inference import decode_relations
from relcl_lib.papers.docre_ii.network import BUILDERS
from relcl_lib.papers.docre_ii.parameters import STAGE_2, DocreParameters
from relcl_lib.papers.docre_ii.run import DocreRun, train_or_read
from relcl_lib.papers.docre_ii.stated_facts import StatedFacts, build_stated_facts
from relcl_lib.text import document_metrics as docre_metrics


def run_on(data, **changes):
    settings = parameters(base="stated_facts", stage1_epochs=0, stage2_epochs=1, **changes)
    return DocreRun(settings, data, 0)


def test_every_base_has_its_builder_and_is_named_by_it():
    annotation = DocreParameters.model_fields["base"].annotation
    assert set(BUILDERS) == set(annotation.__args__)
    assert all(make.__name__ == f"build_{name}" for name, make in BUILDERS.items())
    assert "base" not in STAGE_2  # it shapes stage 1


def test_it_has_no_stage_1_and_a_profile_asks_for_none():
    for profile in DocreParameters.profiles:
        given = DocreParameters.create(profile=profile, base="stated_facts")
        resolved = given.resolved()
        assert resolved.stage1_epochs == resolved.resolved().stage1_epochs == 0
        assert (
            resolved.stage2_epochs
            == given.model_copy(update={"base": "atlop"}).resolved().stage2_epochs
        )
    with pytest.raises(ParameterError, match="base: Input should be 'atlop' or 'stated_facts'"):
        DocreParameters.create(base="none")


def test_the_parameter_and_the_builder_are_the_same_base(tmp_path):
    data, epochs = tiny_data(4), {"stage1_epochs": 0, "stage2_epochs": 1}
    named = DocreRun(parameters(base="stated_facts", **epochs), data, 0, tmp_path)
    built = DocreRun(parameters(**epochs), data, 0, tmp_path, make_base=build_stated_facts)
    atlop = DocreRun(parameters(**epochs), data, 0, tmp_path)
    assert named.configuration() == built.configuration()
    assert atlop.configuration()["parameters"]["base"] == "atlop"
    folders = [run.folder for run in (named, built, atlop)]
    assert folders[0] == folders[1] != folders[2]


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
    assert run.configuration()["parameters"]["base"] == "stated_facts"
    assert not list(StatedFacts(3).parameters())
    base = run.evaluate_base("test")
    assert run.has_base and base.pop("AP") > 0
    assert base == scores_of_the_base(run)


def scores_of_the_base(run):
    found = run.predict("test", 0)[0]
    return docre_metrics.all_scores(found, run.data.test, run.known)


def test_its_records_hold_its_own_scores_and_are_read_again(tmp_path):
    chosen = parameters(base="stated_facts", stage1_epochs=0)
    options = {"data": tiny_data(4), "results": tmp_path}
    (record,) = train_or_read(chosen, **options)
    metrics = record.metrics
    assert (metrics["precision_base"], metrics["recall_stated_base"]) == (100, 100)
    assert metrics["recall_inferred_base"] == 0
    assert metrics["F1_base"] == metrics["F1_K0"] < 100
    assert (record.parameters["base"], record.parameters["stage1_epochs"]) == ("stated_facts", 0)
    assert record.parameters["encoder_type"] == "none"
    again = train_or_read(chosen, on_unit=lambda run: pytest.fail("trained"), **options)
    assert again == [record]


def test_a_base_that_no_stage_trained_has_no_scores_of_its_own():
    run = DocreRun(parameters(method="w/o pre-training"), tiny_data(4), 0).train()
    assert not run.has_base
    assert not any("_base" in name for name in run.record().metrics)
    with pytest.raises(ValueError, match="there was none"):
        run.predict_base("test")


def test_data_that_does_not_say_what_is_stated_is_refused():
    data = tiny_data(4)
    plain = [type(d)(d.title, d.sentences, d.entities, d.facts) for d in data.train]
    data = assemble_documents("mine", {"train": plain, "dev": data.dev}, relations=data.relations)
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
