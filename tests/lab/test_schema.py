import numpy as np
import pytest
import torch
from example_records import failed, make
from pydantic import ValidationError

from relcl_lib.lab.records import RecordError, as_dict, config_hash, configuration

KEYS = [
    *("schema", "paper", "experiment", "method", "variant", "dataset", "protocol", "backbone"),
    *("parameters", "seed", "metrics", "accuracy_matrix", "seconds", "peak_memory_bytes", "device"),
    *("versions", "commit", "date", "note"),
]


# --- the record -------------------------------------------------------------------------------


def test_keys_are_those_of_the_design():
    assert list(as_dict(make())) == KEYS


def test_arrays_and_tuples_become_plain():
    record = make(
        seed=np.int64(2),
        metrics={"A_T": np.float32(51.5), "F1": torch.tensor(3.0)},
        accuracy_matrix=torch.ones(2, 2),
        parameters={"taus": (0.05, 0.16), "buffer_size": np.int64(200)},
        seconds=1,
    )
    assert type(record.seed) is int
    assert type(record.metrics["A_T"]) is float
    assert record.metrics == {"A_T": 51.5, "F1": 3.0}
    assert record.accuracy_matrix == [[1.0, 1.0], [1.0, 1.0]]
    assert record.parameters["taus"] == [0.05, 0.16]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"surprise": 1}, "surprise"),
        ({"schema_version": 1}, "schema_version"),
        ({"schema": 2}, "schema"),
        ({"metrics": {"A_T": float("nan")}}, r"metrics\.A_T"),
        ({"metrics": {"A_T": float("inf")}}, r"metrics\.A_T"),
        ({"metrics": {"A_T": "51"}}, r"metrics\.A_T"),
        ({"metrics": {"seed": 1.0}}, "metrics"),
        ({"metrics": {}}, "note"),
        ({"note": "failed: but it has metrics"}, "failed"),
        ({"parameters": {"lr": float("nan")}}, "parameters"),
        ({"parameters": {"deep": [{"lr": float("inf")}]}}, "parameters"),
        ({"parameters": {"seeds": [0, 1]}}, "seeds"),
        ({"parameters": {"model": object()}}, "parameters"),
        ({"dataset": {"stream": "Split CIFAR10"}}, "dataset"),
        ({"dataset": "cifar10"}, "dataset"),
        ({"protocol": "full"}, "protocol"),
        ({"variant": "relaesed"}, "variant"),
        ({"paper": "../hpcr"}, "paper"),
        ({"experiment": ""}, "experiment"),
        ({"seed": "0"}, "seed"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"seconds": -1.0}, "seconds"),
        ({"date": "yesterday"}, "date"),
        ({"accuracy_matrix": [[1.0, 2.0]]}, "square"),
        ({"accuracy_matrix": [[101.0]]}, "per cent"),
        ({"accuracy_matrix": [[float("nan")]]}, "accuracy_matrix"),
    ],
)
def test_bad_input_names_the_field(changes, field):
    with pytest.raises(ValidationError, match=field):
        make(**changes)


def test_a_record_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        make().seed = 1


# --- the configuration ------------------------------------------------------------------------


def test_hash_is_of_the_configuration_alone():
    record = make()
    other = make(
        metrics={"A_T": 1.0},
        accuracy_matrix=None,
        seconds=1.0,
        device="cuda",
        versions={"torch": "9"},
        date="2020-01-01",
        note="slow",
        dataset={"name": "cifar10", "fingerprint": "ab12", "source": "hub"},
        parameters={"taus": (0.05, 0.16), "views": None, "lr": 0.1, "buffer_size": 200.0},
    )
    assert config_hash(record) == config_hash(other) == config_hash(configuration(record))
    assert config_hash(record) == config_hash(failed())
    assert len(config_hash(record)) == 12
    assert int(config_hash(record), 16) >= 0


@pytest.mark.parametrize(
    "changes",
    [
        {"paper": "drl"},
        {"experiment": "other"},
        {"method": "IID"},
        {"variant": "paper"},
        {"dataset": {"name": "cifar10", "fingerprint": "cd34"}},
        {"dataset": {"name": "cifar100", "fingerprint": "ab12"}},
        {"protocol": "reduced"},
        {"backbone": "tiny"},
        {"parameters": {"buffer_size": 100}},
        {"seed": 1},
    ],
)
def test_hash_changes_with_each_part_of_the_configuration(changes):
    assert config_hash(make(**changes)) != config_hash(make())


def test_hash_stays_the_same_between_versions():
    # A change here orphans every committed record: raise the schema version with it.
    assert config_hash(make()) == "3ea172d64627"


def test_incomplete_configuration():
    config = configuration(make())
    del config["backbone"], config["seed"]
    with pytest.raises(RecordError, match="backbone, seed"):
        config_hash(config)
    with pytest.raises(RecordError, match="'name'"):
        config_hash({**configuration(make()), "dataset": "cifar10"})
