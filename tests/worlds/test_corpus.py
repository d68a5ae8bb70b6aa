import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from relcl_lib.data.download import DataFormatError
from relcl_lib.worlds.corpus import check_corpus, main, schema, write_corpus
from relcl_lib.worlds.layouts import (
    DOCUMENT_SIZES,
    SENTENCE_SIZES,
    SPO_SIZES,
    TRIPLE_SIZES,
)

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
COMMITTED = ROOT / "data" / "synthetic"
SMALL = {
    "sentence_sizes": {"train": 2, "test": 1},
    "triple_sizes": {"train": 20, "valid": 10, "test": 10},
    "spo_sizes": {"train": 10, "valid": 10, "test": 10},
    "document_sizes": {"train": 4, "dev": 2, "test": 2},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, 0, **SMALL)
    return folder


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def shape(value):
    """The keys and types of a record, lists by their first element."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_the_same_seed_is_the_same_bytes_whatever_the_hash_seed(corpus, tmp_path):
    for seed in ("1", "77"):
        code = f"from relcl_lib.worlds.corpus import *; write_corpus({seed!r}, 0, **{SMALL!r})"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
        assert contents(tmp_path / seed) == contents(corpus)


def test_another_seed_is_another_corpus(corpus, tmp_path):
    write_corpus(tmp_path, 1, **SMALL)
    ours, others = contents(corpus), contents(tmp_path)
    assert ours.keys() == others.keys()
    same = {name for name in ours if ours[name] == others[name]}
    tables = {"schema.json"} | {name for name in ours if "rel" in name.split("/")[-1]}
    assert same == tables | {"fewrel/pid2name.json"}


def test_the_manifest_lists_every_file_and_finds_a_change(tmp_path):
    manifest = write_corpus(tmp_path, 0, **SMALL)
    assert manifest == check_corpus(tmp_path)
    written = contents(tmp_path)
    assert set(manifest["files"]) == set(written) - {"manifest.json"}
    for name, entry in manifest["files"].items():
        assert entry["sha256"] == hashlib.sha256(written[name]).hexdigest()
    assert manifest["counts"]["fewrel train"] == {"sentences": 48, "relations": 24}
    (tmp_path / "docred" / "dev.json").write_text("[]")
    with pytest.raises(DataFormatError, match=r"dev\.json: it differs"):
        check_corpus(tmp_path)
    (tmp_path / "docred" / "dev.json").unlink()
    with pytest.raises(DataFormatError, match=r"dev\.json: the file is missing"):
        check_corpus(tmp_path)
    for broken in ("{", "[]", '{"files": 3}', '{"files": {"a": 1}}'):
        (tmp_path / "manifest.json").write_text(broken)
        with pytest.raises(DataFormatError, match="no readable manifest"):
            check_corpus(tmp_path)


def test_other_files_in_the_folder_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_corpus(tmp_path, 0, **SMALL)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_relation_tables_agree(corpus):
    names = read(corpus / "fewrel" / "pid2name.json")
    assert list(names) == list(read(corpus / "fewrel" / "train.json"))
    assert list(names) == list(read(corpus / "docred" / "rel_info.json"))
    assert read(corpus / "docred" / "rel2id.json") == {
        "Na": 0,
        **{key: i for i, key in enumerate(names, start=1)},
    }
    paths = [entry["relation"] for entry in schema()]
    assert read(corpus / "schema.json") == {"synthetic": schema()}
    assert [path for _, path in names.values()] == paths
    forth, back = read(corpus / "nyt24" / "rel2id.json")
    assert back == {path: i for i, path in enumerate(paths)}
    assert forth == {str(i): path for path, i in back.items()}


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the real sets are not beside us")
def test_the_layouts_are_the_real_ones(corpus):
    real = SHARED / "data"
    ours = read(corpus / "fewrel" / "train.json")["P22"][0]
    assert shape(ours) == shape(next(iter(read(real / "fewrel" / "val_wiki.json").values()))[0])
    names, real_names = (
        next(iter(read(path / "fewrel" / "pid2name.json").values())) for path in (corpus, real)
    )
    assert shape(names) == shape(real_names) and len(names) == len(real_names)
    for name in ("webnlg/train_triples.json", "nyt24/valid_triples.json"):
        ours = read(corpus / "nyt24" / "train_triples.json")[0]
        assert shape(ours) == shape(read(real / name)[0])
        assert len(ours["triple_list"][0]) == 3
    rows = [read(folder / "nyt24" / "rel2id.json") for folder in (corpus, real)]
    assert [len(row) for row in rows] == [2, 2]
    spo = read(corpus / "nyt10" / "new_test.json")[0]
    assert shape(spo) == shape(read(real / "nyt10" / "new_test.json")[0])
    document = shape(read(corpus / "docred" / "train_annotated.json")[0])
    expected = shape(read(real / "redocred" / "dev_revised.json")[0])
    for label in document["labels"]:
        assert (label.pop("stated"), label.pop("hops")) == ("bool", "int")
    for mention in expected["vertexSet"][0]:
        # Re-DocRED's own addition; DocRED has the other four.
        del mention["global_pos"], mention["index"]
    assert document == expected


@pytest.mark.skipif(
    not (SHARED / "papers").is_dir(), reason="the papers' schemas are not beside us"
)
def test_the_schema_has_the_layout_of_fastres(corpus):
    real = read(SHARED / "papers" / "fastre_schemas.json")["nyt10"]
    ours = read(corpus / "schema.json")["synthetic"]
    assert shape(ours) == shape(real)
    known = {kind for entry in real for kind in list(entry.values())[1:]}
    assert {kind for entry in ours for kind in list(entry.values())[1:]} <= known


@pytest.mark.skipif(not COMMITTED.is_dir(), reason="no corpus is committed in this checkout")
def test_the_committed_corpus_is_what_the_code_writes(tmp_path):
    manifest = check_corpus(COMMITTED)
    assert write_corpus(tmp_path, manifest["seed"]) == manifest
    assert sum(entry["bytes"] for entry in manifest["files"].values()) < 3_000_000
    counts = manifest["counts"]
    assert counts["fewrel train"]["sentences"] == 24 * SENTENCE_SIZES["train"]
    assert counts["nyt24 test"]["sentences"] == TRIPLE_SIZES["test"]
    assert counts["nyt10 valid"]["sentences"] == SPO_SIZES["valid"]
    assert counts["docred train"]["documents"] == DOCUMENT_SIZES["train"]


def test_the_command_writes_the_corpus(tmp_path, capsys, monkeypatch):
    written = []
    monkeypatch.setattr(
        "relcl_lib.worlds.corpus.write_corpus",
        lambda folder, seed: (
            written.append((folder, seed))
            or {"counts": {"x": {"things": 3}}, "files": {"a": {"bytes": 2_000_000}}}
        ),
    )
    main(["--out", str(tmp_path), "--seed", "4"])
    assert written == [(str(tmp_path), 4)]
    assert capsys.readouterr().out == f"x: 3 things\n1 files, 2.00 MB in {tmp_path}\n"
