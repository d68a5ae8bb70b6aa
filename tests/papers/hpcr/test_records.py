"""What records of HPCR say, one per seed of a run."""

import pytest
import torch
from gratings import gratings, make_run

from relcl_lib.lab.records import config_hash, read_records
from relcl_lib.papers.hpcr.methods import METHODS
from relcl_lib.papers.hpcr.parameters import ReplayParameters
from relcl_lib.papers.hpcr.run import ReplayRun, run_metrics

DATA = gratings()


def test_fields():
    run = make_run(DATA, seeds=[0, 2], method="PCR", buffer_size=30).train()
    records = run.records(note="a test")
    assert [record.seed for record in records] == [0, 2]
    for s, record in enumerate(records):
        assert (record.paper, record.experiment) == ("hpcr", "split_cifar10")
        assert (record.method, record.variant, record.protocol) == ("PCR", "released", "reduced")
        assert record.backbone == "Reduced ResNet-18, width 4"
        assert record.dataset["name"] == "cifar10"
        assert record.dataset["stream"] == "Split CIFAR10"
        assert record.dataset["sizes"] == {"train": 120, "test": 60}
        assert record.dataset["fingerprint"] == DATA.fingerprint
        assert record.parameters["buffer_size"] == 30
        assert record.parameters["precision"] == "float32"  # what ran, not "auto"
        assert None not in (record.parameters["ht"], record.parameters["n_tasks"])
        matrix = torch.tensor(record.accuracy_matrix)
        torch.testing.assert_close(matrix, 100 * run.accuracy[s], rtol=0, atol=1e-3)
        assert record.metrics["A_T"] == pytest.approx(float(matrix[-1].mean()), abs=1e-3)
        assert record.seconds == pytest.approx(run.seconds / 2, abs=0.01)
        assert record.peak_memory_bytes > 0
        assert "a test" in record.note and "2 seeds side by side" in record.note
        order = " ".join(map(str, run.streams[s].class_order))
        assert f"class order {order}" in record.note


def test_metrics_of_the_specifications_matrix():
    found = run_metrics([[80.0, 0, 0], [60.0, 70, 0], [50.0, 40, 90]])
    later = {
        "A_1": 80.0,
        "A_change": -20.0,
        "A_new": 80.0,
        "A_old": (60 + 45) / 2,
        "spread_old": 5.0,
    }
    assert found == pytest.approx(
        {"A_T": 60.0, "AAA": 68.3333, "F_T": 30.0, "F_T_released": 20.0, **later}, abs=1e-3
    )


def test_iid_has_one_task_and_forgets_nothing():
    record = make_run(DATA, method="IID", n_tasks=None).train().record()
    assert record.metrics["F_T"] == record.metrics["F_T_released"] == 0
    assert record.metrics["A_T"] == record.metrics["AAA"] == record.metrics["A_1"]
    assert "A_new" not in record.metrics


def test_neighbours_are_no_part_of_a_configuration():
    alone, beside = make_run(DATA, seeds=[1]), make_run(DATA, seeds=[0, 1])
    assert config_hash(alone.configuration()) == config_hash(beside.configuration(1))


def test_committed_records_are_found_by_what_their_runs_are():
    """A setting that came later and that a run does not read is no part of its configuration."""
    for record in read_records(paper="hpcr"):
        known = {k: v for k, v in record.parameters.items() if k in ReplayParameters.model_fields}
        given = ReplayParameters(
            method=record.method, variant=record.variant, seeds=[record.seed], **known
        )
        made = ReplayRun(given, DATA).configuration()
        assert made["parameters"] == record.parameters


def test_the_form_of_pairs_is_part_of_runs_with_pairs_alone():
    def name(**changes):
        return config_hash(make_run(DATA, **changes).configuration())

    assert name(hc_form="paper") == name()
    assert name(method="PCR+HC", hc_form="paper") != name(method="PCR+HC")
    assert "hc_form" not in make_run(DATA).configuration()["parameters"]


def test_both_masks_are_recorded_by_one_run():
    seen, every = (make_run(DATA, method="PCR", mask=mask).train() for mask in ("seen", "all"))
    first, second = seen.record(), every.record()
    for name in ("A_T", "AAA", "F_T", "F_T_released"):
        assert first.metrics[name] == second.metrics[f"{name}_seen"]
        assert first.metrics[f"{name}_all"] == second.metrics[name]
    curve = first.curves["average_accuracy_all"]
    assert sum(curve) / len(curve) == pytest.approx(first.metrics["AAA_all"], abs=1e-3)
    assert first.metrics["A_T"] == first.metrics["A_T_all"]  # every class is seen at the end
    assert config_hash(first) != config_hash(second)
    assert "mask" not in first.parameters and second.parameters["mask"] == "all"


def test_options_are_part_of_a_configuration(monkeypatch):
    monkeypatch.setattr(METHODS["ER-ACE"], "options", {"share": 0.5})
    runs = [make_run(DATA, method="ER-ACE", options=o) for o in ({}, {"share": 0.5}, {"share": 1})]
    usual, same, other = (config_hash(run.configuration()) for run in runs)
    assert usual == same != other
    assert runs[2].configuration()["parameters"]["options"] == {"share": 1}
