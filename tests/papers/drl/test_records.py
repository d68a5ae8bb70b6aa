"""Records of DRL runs and figures: fields, the stand-in's name, reading what exists, failures."""

import inspect
import json
from pathlib import Path

import pytest
import torch
from drl_data import make_run, tiny_data
from gratings import gratings

from relcl_lib.continual.sessions import load_sessions
from relcl_lib.data.images import load_images
from relcl_lib.lab.compare import compare
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.lab.records import as_dict, read_records
from relcl_lib.lab.run import DivergenceError
from relcl_lib.papers.drl import studies
from relcl_lib.papers.drl.run import validation_curve
from relcl_lib.papers.drl.similarity import disjoint_study, pair_study
from relcl_lib.papers.drl.studies import (
    PAIR_SETTINGS,
    FigureStudy,
    disjoint_records,
    pair_records,
)
from relcl_lib.papers.drl.tables import figure2_rows, printed_rows

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data"

FAST = {"limit": 8, "method": "ER"}


def test_fields():
    run = make_run(1, **FAST).train()
    record = run.record("a test")
    assert (record.paper, record.experiment, record.seed) == ("drl", "ni_standin_cifar10", 1)
    assert (record.method, record.variant, record.protocol) == ("ER", "released", "stand-in")
    assert record.dataset["name"] == "CORe50-standin(cifar10)"
    assert record.dataset["stream"] == "CORe50-standin(cifar10) NI"
    assert (record.dataset["track"], record.dataset["experiences"]) == ("NI", 8)
    assert record.backbone == "mlp"
    assert record.parameters["network"] == "MLP 2x100"
    assert record.parameters["drl_weight"] == run.settings.drl_weight
    assert not {"backbone", "track"} & set(record.parameters)
    assert set(record.metrics) == {"avg_valid_acc", "test_acc", "ram_mb", "time_min"}
    assert record.metrics["avg_valid_acc"] == pytest.approx(100 * run.valid.mean().item(), abs=1e-3)
    assert record.metrics["test_acc"] == pytest.approx(100 * run.test_accuracy(), abs=1e-3)
    assert record.metrics["ram_mb"] == pytest.approx(max(run.resident) / 2**20, rel=1e-3)
    assert len(run.resident) == 8
    assert max(run.resident) <= 1.01 * record.peak_memory_bytes
    assert record.metrics["time_min"] == pytest.approx(run.seconds / 60, abs=1e-3)
    assert "a test" in record.note
    expected = pytest.approx((100 * run.valid.mean(1)).tolist(), abs=1e-3)
    assert validation_curve(record) == record.curves["validation"] == expected
    assert record.accuracy_matrix is None
    json.dumps(as_dict(record), allow_nan=False)


def test_a_head_per_task_gives_a_matrix():
    run = make_run(track="Multi-Task-NC", **FAST).train()
    record = run.record()
    assert record.experiment == "multi_task_nc_standin_cifar10"
    assert len(record.accuracy_matrix) == 5
    mean = sum(map(sum, record.accuracy_matrix)) / 25
    assert record.metrics["avg_valid_acc"] == pytest.approx(mean, abs=0.01)


def test_the_curve_of_an_early_record_is_in_its_note():
    (record, *_) = read_records(paper="drl", experiment="ni_standin_cifar10")
    assert record.curves is None
    curve = validation_curve(record)
    assert len(curve) == record.dataset["experiences"]
    assert sum(curve) / len(curve) == pytest.approx(record.metrics["avg_valid_acc"], abs=0.01)


def test_a_backbone_in_a_folder_leaves_no_path(tmp_path):
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8, 8, 8], depths=[1, 1, 1, 1])
    ResNetForImageClassification(config).save_pretrained(tmp_path / "my-resnet")
    run = make_run(backbone=str(tmp_path / "my-resnet"), image_size=32)
    found = run.configuration()
    assert found["backbone"] == "my-resnet"
    assert found["parameters"]["network"] == "ResNet14"  # four blocks of three convolutions
    assert str(tmp_path) not in json.dumps(found)


# --- Figures 1 and 2 -----------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch):
    """Count the studies made; pairs of classes that the gratings have."""
    made = []

    def count(name):
        study = getattr(studies, name)
        monkeypatch.setattr(studies, name, lambda *a, **k: made.append(name) or study(*a, **k))

    count("pair_study")
    count("disjoint_findings")
    monkeypatch.setattr(studies, "FIGURE1_PAIRS", ((1, 3), (2, 4)))
    return made


def test_figure_1_has_a_record_per_seed_and_pair(tmp_path, counted):
    records = pair_records(gratings(), [0, 1], results=tmp_path)
    assert [(record.seed, record.dataset["set"]) for record in records] == [
        (0, "CIFAR10-{1,3}"),
        (0, "CIFAR10-{2,4}"),
        (1, "CIFAR10-{1,3}"),
        (1, "CIFAR10-{2,4}"),
    ]
    study = pair_study(gratings(), (2, 4), 1)
    assert records[3].metrics == pytest.approx(study.metrics(), abs=1e-4)
    assert set(records[0].metrics) == {
        "r_features_different",
        "r_features_same",
        "r_representations_different",
        "r_representations_same",
        "test_acc",
    }
    assert records[3].parameters == {
        "classifier": "closest",
        "classes": [2, 4],
        **PAIR_SETTINGS,
    }
    assert {record.protocol for record in records} == {"stand-in"}
    # No file of one pair or seed has taken another's place.
    assert len(read_records(tmp_path, experiment="figure1")) == len(counted) == 4
    assert pair_records(gratings(), [1, 0], results=tmp_path) == [*records[2:], *records[:2]]
    assert len(counted) == 4
    pair_records(gratings(), [1], classifier="written", results=tmp_path)
    assert len(counted) == 6


def test_an_unknown_classifier_is_refused(tmp_path):
    with pytest.raises(ValueError, match="classifier='x' is none of written, closest"):
        pair_records(gratings(), [0], classifier="x", results=tmp_path)
    assert not read_records(tmp_path, include_failed=True)


def test_pair_settings_are_those_of_the_study():
    own = inspect.signature(pair_study).parameters
    assert {name: own[name].default for name in PAIR_SETTINGS} == PAIR_SETTINGS


DISJOINT = {"dataset": "cifar10", "backbone": "mlp", "limit": 20, "device": "cpu"}


def figure_2(tmp_path, seeds, **changes):
    given = {"weights": [0.0, 0.01], "samples": 20, **DISJOINT, **changes}
    return disjoint_records(tiny_data(), seeds, results=tmp_path, **given)


def test_figure_2_has_a_record_per_seed_and_weight(tmp_path, counted):
    records = figure_2(tmp_path, [0, 1])
    assert [(record.seed, record.parameters["drl_weight"]) for record in records] == [
        (0, 0.0),
        (0, 0.01),
        (1, 0.0),
        (1, 0.01),
    ]
    found = disjoint_study(tiny_data(), 1, weights=[0.0, 0.01], samples=20, **DISJOINT)
    for record, study in zip(records[2:], found, strict=True):
        assert record.metrics == pytest.approx(study.metrics(), abs=1e-4)
    first = records[0]
    assert (first.experiment, first.method, first.protocol) == ("figure2", "BER", "stand-in")
    assert (first.dataset["track"], first.dataset["experiences"]) == ("Disjoint", 2)
    run = make_run(track="Disjoint", method="BER", **DISJOINT, batch_size=10)
    expected = {**run.configuration()["parameters"], "drl_weight": 0.0, "samples": 20}
    assert first.parameters == expected
    assert (expected["loss"], expected["taps"]) == ("released", "all")
    assert all(record.seconds > 0 for record in records)
    assert len(read_records(tmp_path, experiment="figure2")) == len(counted) == 4


def test_figure_2_is_read_where_it_exists(tmp_path, counted):
    records = figure_2(tmp_path, [0])
    assert figure_2(tmp_path, [0]) == records and len(counted) == 2
    figure_2(tmp_path, [0], weights=[0.01, 0.1])
    assert len(counted) == 3
    figure_2(tmp_path, [0], weights=[0.01], samples=10)
    figure_2(tmp_path, [0], weights=[0.01], loss="later")
    assert len(counted) == 5
    assert len(read_records(tmp_path, paper="drl")) == 5


def test_a_study_that_fails_leaves_a_record(tmp_path):
    with pytest.raises(DivergenceError):
        figure_2(tmp_path, [0], optimizer="sgd", learning_rate=1e30)
    (failed,) = read_records(tmp_path, include_failed=True)
    assert failed.experiment == "figure2" and "DivergenceError" in failed.note
    assert failed.parameters["drl_weight"] == 0 and not failed.metrics
    with pytest.raises(ParameterError, match="no_such"):
        figure_2(tmp_path, [0], no_such=1)


def test_a_study_that_fails_knows_how_long_it_took():
    study = FigureStudy({}, lambda: [][0], torch.device("cpu"))
    with pytest.raises(IndexError):
        study.records()
    assert study.seconds > 0


def test_where_mnist_is_both_figures_correspond_to_their_rows(tmp_path):
    if not (SHARED / "mnist").is_dir():
        pytest.skip("no MNIST beside the repository")
    mnist = load_images("mnist", SHARED, download=False)
    assert mnist.sizes == {"train": 60_000, "test": 10_000}
    # The well-known mean of the training pixels: nothing was lost or re-scaled on the way.
    assert mnist.train_images.double().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)
    pairs = pair_records(mnist, [0], results=tmp_path)
    disjoint = disjoint_records(load_sessions("mnist", SHARED), [0], results=tmp_path, device="cpu")
    assert {record.protocol for record in (*pairs, *disjoint)} == {"reduced"}
    found = compare("drl", [*printed_rows("Figure 1"), *figure2_rows()], [*pairs, *disjoint])
    assert (found["n"] == 1).all()
    assert set(found["configuration"]) == {"taps=all", "classifier=closest"}
    plain, with_loss = (record.metrics for record in disjoint)
    # What the paper's Figure 2 shows most clearly.
    assert with_loss["representations_different"] < plain["representations_different"] - 0.1
    assert with_loss["representations_different"] < with_loss["representations_same"]
    assert not any(str(SHARED.parents[1]) in path.read_text() for path in tmp_path.rglob("*.json"))
