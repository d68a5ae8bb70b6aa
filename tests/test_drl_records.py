"""Records of DRL runs: fields, the stand-in's name, reading what exists, failures."""

import json

import pytest
from drl_data import make_run, parameters, tiny_data
from gratings import gratings

from relcl_lib import drl_records
from relcl_lib.divergence import DivergenceError
from relcl_lib.drl import DrlRun
from relcl_lib.drl_records import (
    pair_records,
    run_record,
    train_or_read,
    validation_curve,
)
from relcl_lib.records import as_dict, read_records

FAST = {"limit": 8, "method": "ER"}


def read(tmp_path, **changes):
    given = parameters(**{**FAST, **changes})
    return train_or_read(given, data=tiny_data(), results=tmp_path / "results")


def test_fields():
    run = make_run(1, **FAST).train()
    record = run_record(run, note="a test")
    assert (record.paper, record.experiment, record.seed) == ("drl", "ni_standin_cifar10", 1)
    assert (record.method, record.variant, record.protocol) == ("ER", "released", "stand-in")
    assert record.dataset["name"] == "CORe50-standin(cifar10)"
    assert record.dataset["stream"] == "CORe50-standin(cifar10) NI"
    assert (record.dataset["track"], record.dataset["experiences"]) == ("NI", 8)
    assert record.backbone == "mlp"
    assert record.parameters["network"] == "MLP 2x100"
    assert record.parameters["drl_weight"] == run.settings.drl_weight
    assert not {"device", "seeds", "data_root", "backbone", "track"} & set(record.parameters)
    assert set(record.metrics) == {"avg_valid_acc", "test_acc", "ram_mb", "time_min"}
    assert record.metrics["avg_valid_acc"] == pytest.approx(100 * run.valid.mean().item(), abs=1e-3)
    assert record.metrics["test_acc"] == pytest.approx(100 * run.test_accuracy(), abs=1e-3)
    assert record.metrics["ram_mb"] == pytest.approx(record.peak_memory_bytes / 2**20, rel=1e-3)
    assert record.metrics["time_min"] == pytest.approx(run.seconds / 60, abs=1e-3)
    assert "a test" in record.note
    expected = (100 * run.valid.mean(1)).tolist()
    assert validation_curve(record) == pytest.approx(expected, abs=0.01)
    assert record.accuracy_matrix is None
    json.dumps(as_dict(record), allow_nan=False)


def test_a_head_a_task_gives_a_matrix():
    run = make_run(track="Multi-Task-NC", **FAST).train()
    record = run_record(run)
    assert record.experiment == "multi_task_nc_standin_cifar10"
    assert len(record.accuracy_matrix) == 5
    mean = sum(map(sum, record.accuracy_matrix)) / 25
    assert record.metrics["avg_valid_acc"] == pytest.approx(mean, abs=0.01)


def test_a_run_that_is_not_done_has_none():
    with pytest.raises(ValueError, match=r"0 of 8 experiences are done: call run\.train"):
        run_record(make_run())


def test_a_backbone_in_a_folder_leaves_no_path(tmp_path):
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8, 8, 8], depths=[1, 1, 1, 1])
    ResNetForImageClassification(config).save_pretrained(tmp_path / "my-resnet")
    run = make_run(backbone=str(tmp_path / "my-resnet"), image_size=32)
    found = drl_records.configuration(run)
    assert found["backbone"] == "my-resnet"
    assert found["parameters"]["network"] == "ResNet50"
    assert str(tmp_path) not in json.dumps(found)


def test_what_exists_is_read(tmp_path, monkeypatch):
    trained, train = [], DrlRun.train
    monkeypatch.setattr(
        DrlRun, "train", lambda run, *rest: trained.append(run.seed) or train(run, *rest)
    )
    first = read(tmp_path, seeds=[0, 1])
    assert [record.seed for record in first] == [0, 1] == trained
    assert read(tmp_path, seeds=[1, 0]) == first[::-1]
    read(tmp_path, seeds=[1, 2])
    assert trained == [0, 1, 2]
    read(tmp_path, seeds=[1], drl_weight=0.5)
    assert trained == [0, 1, 2, 1]
    assert len(read_records(tmp_path / "results", paper="drl")) == 4


def test_a_failure_leaves_a_record(tmp_path):
    with pytest.raises(DivergenceError):
        read(tmp_path, optimizer="sgd", learning_rate=1e30)
    (failed,) = read_records(tmp_path / "results", include_failed=True)
    assert failed.failed and "DivergenceError" in failed.note and not failed.metrics


def test_data_is_loaded_by_name_and_order(tmp_path, monkeypatch):
    asked = []

    def load(name, root, *, order):
        asked.append((name, root, order))
        return tiny_data()

    monkeypatch.setattr(drl_records, "load_sessions", load)
    train_or_read(parameters(**FAST, data_root="some/folder", order=2), results=tmp_path)
    assert asked == [("cifar10", "some/folder", 2)]


def test_figure_1(tmp_path, monkeypatch):
    monkeypatch.setattr(drl_records, "FIGURE1_PAIRS", ((1, 3),))
    records = pair_records(gratings(), [0, 1], results=tmp_path)
    assert [record.seed for record in records] == [0, 1]
    assert records[0].dataset["set"] == "CIFAR10-{1,3}"
    assert set(records[0].metrics) == {
        *("r_features_different", "r_features_same", "test_acc"),
        *("r_representations_different", "r_representations_same"),
    }
    assert len(read_records(tmp_path, experiment="figure1")) == 2
