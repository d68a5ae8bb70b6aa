"""What a record says beyond scores: counts, times, seen triples, attention, convergence."""

import math

import pytest
import torch
from fastre_data import parameters, tiny_data

from relcl_lib.papers.fastre import measures
from relcl_lib.papers.fastre import run as fastre_run
from relcl_lib.papers.fastre.analysis import f1_tuned
from relcl_lib.papers.fastre.extract import Extractor
from relcl_lib.papers.fastre.run import FastreRun, seek_threshold
from relcl_lib.text.triple_metrics import recall_by_seen, triple_scores


@pytest.fixture(scope="module")
def run():
    changes = {"epochs": 12, "learning_rate": 0.01, "heads": "mean", "threshold_curve": True}
    return FastreRun(parameters(**changes), tiny_data()).train()


def test_convergence_is_the_first_epoch_near_the_best():
    assert measures.convergence([0, 50, 96, 100, 90]) == 3
    assert measures.convergence([100]) == 1
    assert measures.convergence([0, 0]) == 1


def test_recalls_of_seen_and_unseen_triples():
    a, b, c = ("A x", "r", "B"), ("C", "r", "D"), ("E", "q", "F")
    found = recall_by_seen([[a, b]], [[("A y", "r", "B")], [c]], [[a, b, b], [c]])
    assert found == {"recall_seen": 50, "recall_unseen": 100, "seen_share": 100 * 2 / 3}
    assert recall_by_seen([], [[]], [[a]]) == {"recall_unseen": 0, "seen_share": 0}
    assert recall_by_seen([[a]], [], []) == {}


def test_the_network_is_counted_without_its_vectors(run):
    vectors = run.model.encoder.vectors.numel()
    everything = sum(parameter.numel() for parameter in run.model.parameters())
    assert measures.network_thousands(run.model) == (everything - vectors) / 1000
    frozen = FastreRun(parameters(train_vectors=False), tiny_data())
    assert measures.network_thousands(frozen.model) == frozen.parameter_count / 1000


def test_a_clock_that_stands_still_is_no_error(run, monkeypatch):
    monkeypatch.setattr(measures, "process_seconds", lambda device: 0.0)
    found = measures.inference_times(run)
    assert found["infer_ms_batch128"] == 0 and math.isfinite(found["infer_log10_ms"])


def test_a_record_has_all_of_it(run):
    record = run.record()
    found = record.metrics
    assert all(0 <= found[name] <= 100 for name in ("recall_unseen", "F1_valid"))
    # Of nothing that was found there is no error, and of no progress no epoch.
    assert ("calibration_error" in found) == bool(len(run.judged("test")[0]))
    assert 0 <= found.get("calibration_error", 0) <= 100
    assert found["seen_share"] == 0  # the facts of the corpus's test are new
    assert math.isclose(found["recall_unseen"], found["recall"], abs_tol=0.1)
    assert all(found[f"infer_ms_batch{size}"] > 0 for size in (1, 8, 128))
    assert math.isclose(10 ** found["infer_log10_ms"], found["infer_ms_batch128"], rel_tol=1e-2)
    assert found["train_seconds"] > 0
    assert 0 <= found["gradient_function_words"] <= 1
    assert found["attention_heads_boundary"] > 0
    assert set(record.curves) == {"loss", "valid_F1", "valid_F1_tuned", "tuned_threshold"}
    for name, values in record.curves.items():
        assert values == [epoch[name] for epoch in run.history]
    curves = (record.curves[name] for name in ("valid_F1", "valid_F1_tuned"))
    assert all(tuned >= plain for plain, tuned in zip(*curves, strict=True))
    ends = {"valid_F1": "epochs_to_95", "valid_F1_tuned": "epochs_to_95_tuned"}
    moved = {end for name, end in ends.items() if max(record.curves[name])}
    assert {name for name in found if "epochs_to" in name} == moved | {f"log10_{n}" for n in moved}
    for name in moved:
        assert math.isclose(10 ** found[f"log10_{name}"], found[name], rel_tol=1e-3)
    assert found["F1_tuned"] == pytest.approx(f1_tuned(run), abs=1e-4)
    assert found["F1_valid_tuned"] >= found["F1_valid"]


def test_times_are_per_sentence_and_of_each_batch_size(run, monkeypatch):
    clock, sizes = iter([0.0, 5.0, 10.0, 12.0, 20.0, 20.1]), []
    monkeypatch.setattr(measures, "process_seconds", lambda device: next(clock))

    def noted(extractor, inputs, plain=Extractor.predict):
        sizes.append(extractor.batch_size)
        return plain(extractor, inputs)

    monkeypatch.setattr(Extractor, "predict", noted)
    found = measures.inference_times(run)
    assert sizes == [1, 8, 128]
    wanted = {"infer_ms_batch1": 500, "infer_ms_batch8": 200, "infer_ms_batch128": 10}  # of 10
    assert found == pytest.approx({**wanted, "infer_log10_ms": 1})


def test_the_curve_is_what_the_best_threshold_gives(run, monkeypatch):
    threshold, score = run.tune_threshold(0.5, step=0.1)
    gold = [sentence.triples for sentence in run.data.valid]
    found = run.predict("valid", threshold=threshold)
    assert triple_scores(found, gold)["F1"] == score >= run.evaluate("valid")["F1"]
    monkeypatch.setattr(fastre_run, "KEPT", 0)  # read anew for each threshold
    assert run.tune_threshold(0.5, step=0.1) == (threshold, score)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "hills, best",
    [
        ({0.5: 80, 0.55: 79.9, 0.6: 81}, 0.6),  # one step without gain is not the end
        ({0.5: 80, 0.55: 79, 0.6: 79, 0.65: 90}, 0.5),  # two are
        ({0.5: 80, 0.55: 81, 0.6: 82, 0.65: 81}, 0.6),
    ],
)
def test_a_threshold_is_sought_alike_in_both_directions(hills, best, turned):
    def place(threshold):
        return round(1 - threshold, 2) if turned else threshold

    asked = {place(threshold): score for threshold, score in hills.items()}
    found = seek_threshold(lambda threshold: asked.get(threshold, 10.0), 0.5, 0.05)
    assert found == (place(best), hills[best])


def test_the_curve_changes_no_number(run):
    changes = {"epochs": 12, "learning_rate": 0.01, "heads": "mean"}
    without = FastreRun(parameters(**changes), tiny_data())
    assert without.configuration() == run.configuration()
    without.train()
    assert all(
        torch.equal(value, run.model.state_dict()[name])
        for name, value in without.model.state_dict().items()
    )


def test_casrel_has_no_taggers_that_attend():
    changes = {"method": "CasRel tagger + FastRE encoder", "epochs": 1}
    casrel = FastreRun(parameters(**changes), tiny_data()).train()
    assert measures.where_it_looks(casrel) == {}
    assert "attention_heads_boundary" not in casrel.record().metrics
