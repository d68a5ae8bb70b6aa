import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from example_records import failed, make
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import relcl_lib.lab.records as records_module
from relcl_lib.lab.records import (
    SCHEMA_VERSION,
    RecordError,
    as_dict,
    config_hash,
    configuration,
    find_record,
    gains,
    read_record,
    read_records,
    record_path,
    results_root,
    shape_of,
    write_record,
)


def rewrite(path, **changes):
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **changes}))


def all_files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


# --- the record -------------------------------------------------------------------------------


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
        ({"schema_version": 2}, "schema_version"),
        ({"schema": 3}, "schema"),
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
        ({"curves": {"validation": [float("nan")]}}, "curves"),
        ({"curves": {"": [1.0]}}, "curves"),
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
        protocol="reduced",
        backbone="the same by another name",
        number_format="bfloat16",
        parameters={"taus": (0.05, 0.16), "clip": None, "lr": 0.1, "buffer_size": 200.0},
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
        {"inputs": {"encoder": "ab12"}},
        {"parameters": {"buffer_size": 100}},
        {"seed": 1},
    ],
)
def test_hash_changes_with_each_part_of_the_configuration(changes):
    assert config_hash(make(**changes)) != config_hash(make())


def test_hash_stays_the_same_between_versions():
    # A change here orphans every committed record: raise the schema version with it.
    assert config_hash(make()) == "f9941e190698"


def test_what_was_read_counts_by_its_content_and_not_by_its_name():
    def of(name, digest):
        return make(parameters={"word_vectors": name}, inputs={"word_vectors": digest})

    assert config_hash(of("vectors.txt", "ab12")) == config_hash(of("other.txt", "ab12"))
    assert config_hash(of("vectors.txt", "ab12")) != config_hash(of("vectors.txt", "cd34"))


def test_gains_are_of_the_seeds_in_common():
    def records(values):
        return [make(seed=seed, metrics={"test_acc": v}) for seed, v in values.items()]

    more, less = records({2: 71.0, 0: 80.0, 5: 1.0}), records({0: 78.5, 2: 72.0, 7: 9.0})
    assert gains(more, less, "test_acc") == [1.5, -1.0]
    assert gains(more, [], "test_acc") == []


def test_incomplete_configuration():
    config = configuration(make())
    del config["variant"], config["seed"]
    with pytest.raises(RecordError, match="variant, seed"):
        config_hash(config)
    with pytest.raises(RecordError, match="'name'"):
        config_hash({**configuration(make()), "dataset": "cifar10"})


def test_a_shape_leaves_out_the_seed_and_what_is_free():
    parameters = {"buffer_size": 200, "lr": 0.1}
    one = make(seed=0, parameters=parameters)
    other = make(seed=1, parameters=parameters | {"lr": 0.2})
    assert shape_of(one) == shape_of(make(seed=1, parameters=parameters)) != shape_of(other)
    assert shape_of(one, "lr") == shape_of(other, "lr")
    half = make(number_format="bfloat16", parameters=parameters)
    assert shape_of(one) != shape_of(half)


# --- files ---------------------------------------------------------------------------------


def test_round_trip(tmp_path):
    record = make(note='größer ± "quoted"\n[1,\n 2]', versions={"torch": "2"}, commit="ab", seed=3)
    path = write_record(record, tmp_path)
    assert path == record_path(record, tmp_path)
    assert path.parent == tmp_path / "hpcr" / "split_cifar10"
    assert path.name == f"iid++-seed3-{config_hash(record)}.json"
    assert read_record(path) == record
    assert list(json.loads(path.read_text())) == list(as_dict(record))
    assert "  [60.5, 70.0]\n" in path.read_text()
    assert all_files(tmp_path) == [path]


def test_a_committed_record_is_written_again_as_it_is(tmp_path):
    for folder in sorted(path for path in results_root().glob("*/*") if path.is_dir()):
        path = min(folder.glob("*.json"))
        written = write_record(read_record(path), tmp_path)
        assert written.name == path.name
        assert written.read_bytes() == path.read_bytes()


def test_curves_are_a_field_that_older_records_lack(tmp_path):
    curves = {"validation": torch.tensor([40.0, 51.5])}
    record = make(curves=curves)
    assert record.curves == {"validation": [40.0, 51.5]}
    assert config_hash(record) == config_hash(make())
    path = write_record(record, tmp_path)
    assert read_record(path) == record
    assert '  "validation": [40.0, 51.5]\n' in path.read_text()
    assert "curves" not in as_dict(make())


@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda name: name not in ("seed", "seeds")),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**53), 2**53)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=6,
        ),
        max_size=4,
    ),
    st.text(),
)
def test_any_parameters_round_trip(tmp_path_factory, parameters, note):
    record = make(parameters=parameters, note="note: " + note)
    path = write_record(record, tmp_path_factory.getbasetemp() / "any")
    assert read_record(path) == record
    assert config_hash(read_record(path)) == config_hash(record)


def test_a_finished_cell_is_found_and_a_failed_one_is_not(tmp_path):
    config = configuration(make())
    assert find_record(config, tmp_path) is None
    write_record(failed(), tmp_path)
    assert find_record(config, tmp_path) is None
    path = write_record(make(), tmp_path)
    assert find_record(config, tmp_path) == make(date=read_record(path).date)
    assert find_record({**config, "seed": 1}, tmp_path) is None


def test_a_failed_run_does_not_replace_a_finished_one(tmp_path):
    write_record(make(), tmp_path)
    with pytest.raises(RecordError, match="finished"):
        write_record(failed(), tmp_path)
    assert find_record(make(), tmp_path).metrics


def test_read_records_selects_and_sorts(tmp_path):
    assert read_records(tmp_path / "absent") == []
    for seed in (10, 2):
        write_record(make(seed=seed), tmp_path)
    write_record(make(paper="drl", experiment="ni"), tmp_path)
    write_record(failed(seed=3), tmp_path)
    (tmp_path / "hpcr" / "split_cifar10" / ".x.json.tmp-0-1-2").write_text("{")
    assert [(r.paper, r.seed) for r in read_records(tmp_path)] == [
        ("drl", 0),
        ("hpcr", 2),
        ("hpcr", 10),
    ]
    assert [r.seed for r in read_records(tmp_path, paper="hpcr", include_failed=True)] == [2, 3, 10]
    assert len(read_records(tmp_path, experiment="ni")) == 1
    assert [r.failed for r in read_records(tmp_path, paper="hpcr", include_failed=True)][1]


def test_the_default_folder_is_the_repositorys(tmp_path, monkeypatch):
    monkeypatch.setattr(records_module, "repository_root", lambda: tmp_path)
    path = write_record(make())
    assert path.is_relative_to(tmp_path / "data" / "results")
    assert len(read_records()) == 1
    assert find_record(make()) is not None


@pytest.mark.parametrize("found", [0, SCHEMA_VERSION + 1, "1", None])
def test_other_schema_version(tmp_path, found):
    path = write_record(make(), tmp_path)
    rewrite(path, schema=found, new_field=1)
    with pytest.raises(RecordError) as caught:
        read_record(path)
    message = str(caught.value)
    assert str(path) in message
    assert f"version {found!r} found, {SCHEMA_VERSION} expected" in message
    advice = {SCHEMA_VERSION + 1: "update this checkout"}
    assert advice.get(found, "run the cell again") in message


def test_a_record_of_the_first_schema_says_what_upgrades_it(tmp_path):
    path = write_record(make(), tmp_path)
    rewrite(path, schema=1)
    with pytest.raises(RecordError, match="python -m relcl_lib upgrade"):
        read_record(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "surprise: "),
        ({"seed": "0"}, "seed: "),
        ({"metrics": {"A_T": None}}, r"metrics\.A_T: "),
        ({"metrics": {"A_T": float("nan")}}, r"metrics\.A_T: "),
        ({"dataset": {}}, "dataset: "),
    ],
)
def test_bad_file_names_file_and_field(tmp_path, changes, message):
    path = write_record(make(), tmp_path)
    rewrite(path, **changes)
    with pytest.raises(RecordError, match=message) as caught:
        read_record(path)
    assert str(path) in str(caught.value)
    with pytest.raises(RecordError, match=message):
        read_records(tmp_path)


def test_missing_fields_and_broken_files(tmp_path):
    path = write_record(make(), tmp_path)
    data = json.loads(path.read_text())
    del data["commit"], data["schema"]
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError, match="missing schema, commit"):
        read_record(path)
    for text in ("", "{", "[]", "\x00"):
        path.write_text(text)
        with pytest.raises(RecordError, match=r"read as a record|JSON object"):
            read_record(path)
    with pytest.raises(RecordError, match="absent"):
        read_record(tmp_path / "absent.json")


def test_a_folder_that_is_a_file(tmp_path):
    root = tmp_path / "results"
    root.write_text("")
    with pytest.raises(RecordError, match="folder writable") as caught:
        write_record(make(), root)
    assert str(root) in str(caught.value)
    assert all_files(tmp_path) == [root]


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="file modes do not bind this user"
)
def test_a_folder_without_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RecordError, match="Permission denied"):
            write_record(make(), tmp_path)
    finally:
        tmp_path.chmod(0o700)


def no_space(*arguments, **named):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_full_disk(tmp_path, monkeypatch, call):
    path = write_record(make(), tmp_path)
    before = path.read_text()
    owner = os if call == "fsync" else Path
    monkeypatch.setattr(owner, call, no_space)
    with pytest.raises(RecordError, match="No space left on device") as caught:
        write_record(make(metrics={"A_T": 1.0}), tmp_path)
    monkeypatch.undo()
    assert str(path.parent) in str(caught.value)
    assert "Free some space" in str(caught.value)
    assert all_files(tmp_path) == [path]
    assert path.read_text() == before


def test_records_stay_light():
    program = "import relcl_lib.lab.records, relcl_lib.lab.metrics, sys; print(*sys.modules)"
    root = Path(records_module.__file__).parents[2]
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "pandas", "scipy"} & set(loaded)


def test_a_record_in_the_place_of_another_is_not_taken_for_it(tmp_path):
    right, wrong = make(), make(seed=7)
    write_record(wrong, tmp_path).replace(record_path(right, tmp_path))
    with pytest.raises(RecordError, match="another configuration"):
        find_record(right, tmp_path)
