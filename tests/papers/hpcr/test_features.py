"""Features that lie beside a record: what is kept is the run's, and nothing else is read."""

import pytest
import torch
from example_records import make
from gratings import gratings, make_run
from safetensors.torch import save_file

from relcl_lib.lab.records import RecordError, find_record, read_records, write_record
from relcl_lib.losses import cosine_similarity
from relcl_lib.papers.hpcr.features import features_path, keep_features, main, read_features


@pytest.fixture(scope="module")
def trained():
    return make_run(gratings(n_train=40), method="PCR", seeds=[0, 3]).train()


def test_what_is_kept_is_what_the_network_gives(trained, tmp_path):
    paths = keep_features(trained, tmp_path, per_class=2)
    records = read_records(tmp_path)
    assert sorted(paths) == sorted(features_path(record, tmp_path) for record in records)
    for record in records:
        found = read_features(record, tmp_path)
        wanted = trained.test_features([0, 3].index(record.seed), per_class=2)
        assert torch.equal(found.labels, wanted[1]) and found.labels.bincount().tolist() == [2] * 6
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
        named = cosine_similarity(found.features, found.proxies).argmax(1)
        assert torch.equal(named, cosine_similarity(wanted[0], wanted[2]).argmax(1))
    assert (
        keep_features(trained, tmp_path, per_class=2) == paths
    )  # beside the records that are there


def test_the_command_trains_and_keeps_them(tmp_path, capsys):
    words = ["method=PCR", "dataset=digits", "profile=quick", "seeds=0", "n_tasks=2", "width=4"]
    words += ["stream_batch=100"]
    given = ["--results", str(tmp_path), "--per-class", "3"]
    assert main(["features", *given, *words]) == 0
    (record,) = read_records(tmp_path)
    found = read_features(record, tmp_path)
    assert found.labels.bincount().tolist() == [3] * 10
    told = ["task 1/2", "task 2/2", str(features_path(record, tmp_path))]
    assert capsys.readouterr().out.splitlines() == told


def test_features_stand_beside_no_other_training(trained, tmp_path):
    record = trained.record(seed=3)
    matrix = [[100.0, 0, 0]] * 3
    write_record(record.model_copy(update={"accuracy_matrix": matrix}), tmp_path)
    with pytest.raises(RecordError, match=r"trained anew.*--results"):
        keep_features(trained, tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert find_record(trained.configuration(0), tmp_path) is None


def test_a_record_without_features_has_none(tmp_path):
    assert read_features(make(method="ER"), tmp_path) is None


def tensors(**changes):
    found = {
        "features": torch.rand(4, 3),
        "labels": torch.tensor([0, 1, 1, 0], dtype=torch.uint8),
        "proxies": torch.rand(2, 3),
    }
    return {name: value for name, value in {**found, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"proxies": None}, "proxies"),
        ({"proxies": torch.rand(2, 4)}, "do not fit"),
        ({"labels": torch.zeros(3, dtype=torch.uint8)}, "do not fit"),
        ({"labels": torch.full((4,), 2, dtype=torch.uint8)}, "a label has no proxy"),
        ({"features": torch.full((4, 3), torch.nan)}, "not finite"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, changes, message):
    path = features_path(make(method="ER"), tmp_path)
    path.parent.mkdir(parents=True)
    save_file(tensors(), path)
    assert read_features(make(method="ER"), tmp_path).labels.tolist() == [0, 1, 1, 0]
    save_file(tensors(**changes), path)
    with pytest.raises(RecordError, match=rf"(?s){path.name}.*{message}.*hpcr features"):
        read_features(make(method="ER"), tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    path = features_path(make(method="ER"), tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x80\x04 no tensors")
    with pytest.raises(RecordError, match=path.name):
        read_features(make(method="ER"), tmp_path)
