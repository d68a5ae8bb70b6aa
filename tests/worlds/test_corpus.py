import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from relcl_lib.lab.files import packaged_data
from relcl_lib.worlds.corpus import main, schema, write_corpus

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data"
COMMITTED = packaged_data() / "synthetic"
SMALL = {
    "sentences": {"train": 2, "test": 1},
    "triples": {"train": 20, "valid": 10, "test": 10},
    "documents": {"train": 4, "dev": 2, "test": 2},
    "further": {"train": 2},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, 0, SMALL)
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


def test_the_committed_corpus_is_what_the_code_writes(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    manifest = write_corpus(tmp_path, 0)
    written, committed = contents(tmp_path), contents(COMMITTED)
    assert written.pop("notes.txt") == b"mine"
    assert written == {k: v for k, v in committed.items() if not k.startswith("encoder/")}
    assert manifest == json.loads(written.pop("manifest.json"))
    listed = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    assert listed == {name: hashlib.sha256(data).hexdigest() for name, data in written.items()}
    assert sum(map(len, written.values())) < 3_500_000


def test_the_same_seed_is_the_same_bytes_whatever_the_hash_seed(corpus, tmp_path):
    code = f"from relcl_lib.worlds.corpus import *; write_corpus('again', 0, {SMALL!r})"
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    assert contents(tmp_path / "again") == contents(corpus)


def test_another_seed_is_another_corpus(corpus, tmp_path):
    write_corpus(tmp_path, 1, SMALL)
    ours, others = contents(corpus), contents(tmp_path)
    assert ours.keys() == others.keys()
    same = {name for name in ours if ours[name] == others[name]}
    tables = {"schema.json"} | {name for name in ours if "rel" in name.split("/")[-1]}
    # Further documents are of worlds of their own.
    assert same == tables | {"fewrel/pid2name.json", "docred/further.json"}


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


@pytest.mark.skipif(not REAL.is_dir(), reason="the real sets are not beside us")
def test_the_layouts_are_the_real_ones(corpus):
    ours = read(corpus / "fewrel" / "train.json")["P22"][0]
    assert shape(ours) == shape(next(iter(read(REAL / "fewrel" / "val_wiki.json").values()))[0])
    names, real_names = (
        next(iter(read(path / "fewrel" / "pid2name.json").values())) for path in (corpus, REAL)
    )
    assert shape(names) == shape(real_names) and len(names) == len(real_names)
    for name in ("webnlg/train_triples.json", "nyt24/valid_triples.json"):
        ours = read(corpus / "nyt24" / "train_triples.json")[0]
        assert shape(ours) == shape(read(REAL / name)[0])
        assert len(ours["triple_list"][0]) == 3
    rows = [read(folder / "nyt24" / "rel2id.json") for folder in (corpus, REAL)]
    assert [len(row) for row in rows] == [2, 2]
    document = shape(read(corpus / "docred" / "train_annotated.json")[0])
    expected = shape(read(REAL / "redocred" / "dev_revised.json")[0])
    for label in document["labels"]:
        assert (label.pop("stated"), label.pop("hops")) == ("bool", "int")
    for mention in expected["vertexSet"][0]:
        # Re-DocRED's own addition; DocRED has the other four.
        del mention["global_pos"], mention["index"]
    assert document == expected


def test_the_schema_has_the_layout_and_the_types_of_fastres():
    real = read(ROOT / "relcl_lib" / "data" / "fastre_schemas.json")["nyt10"]
    assert shape(schema()) == shape(real)
    known = {kind for entry in real for kind in list(entry.values())[1:]}
    assert {kind for entry in schema() for kind in list(entry.values())[1:]} <= known


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
