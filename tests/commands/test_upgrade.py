"""Records of the first schema are rewritten so that each is found by what it was, and by nothing else."""

import json

import pytest

from relcl_lib.commands.upgrade import ENCODERS, OTHER_TASKS, main, upgraded
from relcl_lib.data.weights import weights_digest, weights_folder
from relcl_lib.lab.records import (
    Record,
    as_dict,
    find_record,
    read_records,
    record_path,
    results_root,
    write_record,
)


def first_schema(record):
    """A record as the first schema had it."""
    old = as_dict(record)
    inputs = old.pop("inputs", {})
    if old["parameters"].get("precision") == "auto":
        old["parameters"]["precision"] = old["number_format"]
    del old["number_format"]
    if record.paper == "drl":
        old["parameters"].pop("width", None)
    if old["parameters"].get("noise_draw") == "not_gold":
        del old["parameters"]["noise_draw"]
    if old["parameters"].get("norm_group") == "head":
        del old["parameters"]["norm_group"], old["parameters"]["memory_dropout"]
    old["note"] = old["note"].removesuffix(OTHER_TASKS).removesuffix("; ")
    return {**old, "schema": 1, "parameters": old["parameters"]}, inputs


def write(root, record, old):
    path = record_path(record, root).with_name(f"of-{id(record)}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(old))
    return path


@pytest.mark.parametrize("paper", ["crecl", "docre_ii", "drl", "fastre", "hpcr"])
def test_the_committed_records_come_out_of_their_first_form(paper, tmp_path, capsys):
    # The first form knew no linear model, and no record of it was on GloVe or CasRel's encoder.
    records = [
        r
        for r in read_records(paper=paper)
        if r.parameters.get("base") != "linear"
        and not r.parameters.get("word_vectors", "").startswith(("GloVe", "encoder"))
    ]
    for record in records:
        old, _ = first_schema(record)
        write(tmp_path, record, old)
    assert main([str(tmp_path)]) == 0
    assert f"{len(records)} records upgraded" in capsys.readouterr().out
    assert read_records(tmp_path) == records
    for record in records:
        place = record_path(record, results_root())
        assert (tmp_path / place.relative_to(results_root())).read_bytes() == place.read_bytes()
    assert main([str(tmp_path)]) == 0  # nothing is left to do
    assert "0 records upgraded" in capsys.readouterr().out


def test_noise_that_spared_gold_is_named_in_records_of_both_schemas(tmp_path, capsys):
    """So none is taken for a run of today's noise, and each is found by what it was."""
    tries = read_records(results_root().parent / "tries", paper="docre_ii")
    (record, *_) = [r for r in tries if r.parameters.get("noise_draw") == "not_gold"]
    second = as_dict(record)
    del second["parameters"]["noise_draw"]
    first = {**first_schema(record)[0], "seed": record.seed + 100}
    for old in (first, second):
        write(tmp_path, record, old).rename(
            tmp_path / "docre_ii" / record.experiment / f"{old['seed']}.json"
        )
    today = {**as_dict(record), "seed": record.seed + 200}
    today["parameters"] = {**today["parameters"], "noise_draw": "blind"}
    kept = write_record(Record(**today), tmp_path)
    assert main([str(tmp_path)]) == 0
    assert "2 records upgraded" in capsys.readouterr().out
    found = {r.seed - record.seed: r for r in read_records(tmp_path)}
    assert {n: r.parameters["noise_draw"] for n, r in found.items()} == {
        0: "not_gold",
        100: "not_gold",
        200: "blind",
    }
    assert found[0] == record and kept.exists()
    assert find_record(record, tmp_path) == record
    asked = record.model_copy(update={"parameters": {**record.parameters, "noise_draw": "blind"}})
    assert find_record(asked, tmp_path) is None


def test_crecls_layer_norm_that_learned_with_the_head_is_named(tmp_path, capsys):
    records = [r for r in read_records(paper="crecl") if r.parameters["norm_group"] == "head"]
    record, small = (
        next(r for r in records if r.dataset["source"] == source)
        for source in ("fewrel80_subset.json", "val_wiki.json")
    )
    assert record.note.endswith(OTHER_TASKS) and OTHER_TASKS not in small.note
    old = as_dict(record)
    del old["parameters"]["norm_group"], old["parameters"]["memory_dropout"]
    for note in (record.note, record.note.removesuffix(f"; {OTHER_TASKS}")):
        root = tmp_path / str(len(note))
        write(root, record, {**old, "note": note})
        assert main([str(root)]) == 0
        (found,) = read_records(root)
        assert found == record and find_record(record, root) == record
    today = {**record.parameters, "norm_group": "encoder"}
    assert find_record(record.model_copy(update={"parameters": today}), root) is None


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize("failed", [False, True])
def test_a_record_whose_place_stays_is_rewritten_there(schema, failed, tmp_path, capsys):
    records = [r for r in read_records(paper="crecl") if r.note.endswith(OTHER_TASKS)]
    record = records[0]
    if failed:
        note = f"failed: OSError: disk full; {OTHER_TASKS}"
        record = Record(**{**as_dict(record), "metrics": {}, "note": note})
    old = first_schema(record)[0] if schema == 1 else as_dict(record)
    old["note"] = record.note.removesuffix(OTHER_TASKS).removesuffix("; ")
    place = record_path(record, tmp_path)
    write(tmp_path, record, old).rename(place)
    assert main([str(tmp_path)]) == 0
    assert "1 records upgraded" in capsys.readouterr().out
    assert read_records(tmp_path, include_failed=True) == [record]
    assert [*place.parent.glob("*.json")] == [place]


def test_names_stand_for_the_encoders_that_the_records_were_made_with():
    assert ENCODERS["tiny"] == weights_digest(weights_folder("tiny"))
    (record, *_) = read_records(paper="crecl")
    old, _ = first_schema(record)
    unknown = upgraded({**old, "backbone": "best"})
    assert unknown["inputs"] == {
        "encoder": "unknown: best"
    }  # no digest: no other run is taken for it


def test_protocols_are_judged_anew():
    (record, *_) = [r for r in read_records(paper="hpcr") if r.protocol == "paper"]
    old, _ = first_schema(record)
    assert upgraded(old)["protocol"] == "paper"
    lossy = {**old, "dataset": {**old["dataset"], "note": "images encoded as JPEG in this copy"}}
    assert upgraded(lossy)["protocol"] == "reduced"
    tuned = {**old, "parameters": {**old["parameters"], "learning_rate": 1.0}}
    assert upgraded(tuned)["protocol"] == "reduced"


def test_what_cannot_be_upgraded_is_named_and_stays(tmp_path, capsys):
    (record, *_) = read_records(paper="hpcr")
    old, _ = first_schema(record)
    twice = [write(tmp_path, record, old), write(tmp_path, record.model_copy(), old)]
    broken = twice[0].with_name("broken.json")
    broken.write_text("{")
    assert main([str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert "broken.json" in errors and "are records of one run; remove one of them" in errors
    assert broken.exists() and sum(path.exists() for path in twice) == 1
