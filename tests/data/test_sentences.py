"""Loaders of sentences with one relation: FewRel's files, the subset, the generated corpus."""

import json
from pathlib import Path

import pytest
import torch

from relcl_lib.data import sentences as module
from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.sentences import MarkedSentence, load_sentences

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
real = pytest.mark.skipif(not (SHARED / "fewrel").is_dir(), reason="no FewRel beside the checkout")
TOKENS = ["Ada", "Byron", "lives", "in", "New", "York", "City", "."]


def record(tokens=TOKENS, h=((0, 1),), t=((4, 5, 6),)):
    h, t = ([list(positions) for positions in mentions] for mentions in (h, t))
    return {"tokens": list(tokens), "h": ["ada byron", "Q1", h], "t": ["new york city", "Q2", t]}


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        text = value if isinstance(value, str) else json.dumps(value)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


def fewrel(folder, first, second=None):
    return write(folder, train_wiki=first, val_wiki=second or {"P9": [record()]})


def test_the_two_files_in_order_with_names(tmp_path):
    later = record(h=((7,), (0, 1)))
    fewrel(tmp_path, {"P7": [record(), record()], "P3": [later]}, {"P1": [record()]})
    write(tmp_path, pid2name={"P7": ["lives in", "where"], "P1": ["x", "y"]})
    data = load_sentences("fewrel", tmp_path)
    assert data.relations == ("P7", "P3", "P1")
    assert data.relation_names == ("lives in", "P3", "x")
    assert data.labels.tolist() == [0, 0, 1, 2] and data.labels.dtype == torch.int64
    assert data.sentences[0] == MarkedSentence(tuple(TOKENS), (0, 2), (4, 7), 0)
    assert data.sentences[2].head == (7, 8)  # the first mention listed
    assert data.split == (None,) * 4 and data.protocol == "reduced"
    assert data.report["repeated"] == data.report["repeated_with_mentions"] == 1
    assert data.report["several_mentions"] == 1 and data.report["tail_first"] == 1
    assert "train_wiki.json, relation P3, record 1 (P3: 'Ada Byron" in data.describe(2)


def test_only_the_papers_sizes_are_the_papers_protocol(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FEWREL_RELATIONS", (1, 1))
    monkeypatch.setattr(module, "FEWREL_EACH", 2)
    two = [record(), record(TOKENS[:-1])]
    assert load_sentences("fewrel", fewrel(tmp_path, {"P7": two}, {"P1": two})).protocol == "paper"
    fewrel(tmp_path, {"P7": two}, {"P1": two[:1]})
    assert load_sentences("fewrel", tmp_path).protocol == "reduced"
    assert load_sentences("fewrel_val", tmp_path).protocol == "reduced"


def test_which_folder_and_file_is_read(tmp_path, monkeypatch):
    write(tmp_path / "fewrel", fewrel80_subset={"P5": [record()], "P4": [record()]})
    for root in (tmp_path, tmp_path / "fewrel"):
        data = load_sentences("fewrel", root)
        assert data.relations == ("P5", "P4") and data.source == "fewrel80_subset.json"
    monkeypatch.setenv("RELCL_DATA", str(tmp_path))
    assert load_sentences("fewrel").relations == ("P5", "P4")
    with pytest.raises(DataNotFoundError, match=r"val_wiki\.json"):
        load_sentences("fewrel_val", tmp_path)
    fewrel(tmp_path / "fewrel", {"P7": [record()]})
    assert load_sentences("fewrel").relations == ("P7", "P9")  # the whole files go first
    assert load_sentences("fewrel_val").relations == ("P9",)
    with pytest.raises(ValueError, match="fewrel_val, tacred"):
        load_sentences("nyt10", tmp_path)


def test_the_fingerprint_is_of_the_content(tmp_path):
    prints = set()
    for i, change in enumerate(({}, {"tokens": TOKENS[::-1]}, {"t": ((4, 5),)}, {})):
        folder = fewrel(tmp_path / str(i), {"P7": [record(**change)]})
        prints.add(load_sentences("fewrel", folder).fingerprint)
    assert len(prints) == 3


def test_a_mention_with_a_gap_and_entities_that_overlap_are_counted(tmp_path):
    folder = fewrel(tmp_path, {"P7": [record(h=((4, 6),), t=((5,),))]})
    data = load_sentences("fewrel", folder)
    assert data.sentences[0].head == (4, 7)
    assert data.report["not_contiguous"] == data.report["overlapping"] == 1


@pytest.mark.parametrize(
    "content, words",
    [
        ("", ["cannot be read", "Get the file again"]),
        ('{"P7": [{"tokens": ', ["cannot be read", "incomplete"]),
        ("[1]", ["a list, not an object"]),
        ({"P7": []}, ["relation P7", "no list of records"]),
        ({"P7": [record(), {"tokens": ["a"], "h": 1}]}, ["relation P7, record 2 lacks t"]),
        ({"P7": [record(tokens=["a", 1])]}, ["P7, record 1, field tokens", "list of words"]),
        ({"P7": [record(t=((7, 8),))]}, ["P7, record 1, field t", "[7, 8]", "outside the 8 tok"]),
        ({"P7": [record(h=((-1, 0),))]}, ["P7, record 1, field h", "outside"]),
        ({"P7": [record(h=())]}, ["P7, record 1, field h", "no entity with a mention"]),
        ({"P7": [record(h=((0.0, 1.0),))]}, ["P7, record 1, field h", "no entity with a mention"]),
        ({"P7": [record(t=((True,),))]}, ["P7, record 1, field t", "no entity with a mention"]),
        ({"P7": [record(h=((),))]}, ["P7, record 1, field h", "no entity with a mention"]),
        ('{"P7": [], "P8": [], "P7": []}', ["'P7' occurs twice", "Join or rename"]),
        ({"P9": [record()]}, ["val_wiki.json", "the relation P9 is in train_wiki.json as well"]),
    ],
)
def test_damaged_files_are_named_with_record_and_field(tmp_path, content, words):
    fewrel(tmp_path, content)
    with pytest.raises(DataFormatError) as caught:
        load_sentences("fewrel", tmp_path)
    assert all(word in str(caught.value) for word in ["wiki.json", *words]), caught.value


def test_damaged_names(tmp_path):
    write(fewrel(tmp_path, {"P7": [record()]}), pid2name={"P7": "lives in"})
    with pytest.raises(DataFormatError, match=r"pid2name\.json: holds no relation"):
        load_sentences("fewrel", tmp_path)


def test_the_generated_corpus():
    data = load_sentences("synthetic")
    assert data.protocol == "stand-in" and data.relation_names[0] == "father"
    for kind, each in (("train", 120), ("test", 20)):
        chosen = torch.tensor([split == kind for split in data.split])
        assert data.labels[chosen].bincount().tolist() == [each] * 24
    assert data.report["repeated"] == 0


@real
def test_the_real_validation_file():
    data = load_sentences("fewrel_val", SHARED)
    expected = "P177 P364 P2094 P361 P641 P59 P413 P206 P412 P155 P26 P410 P25 P463 P40 P921"
    assert " ".join(data.relations) == expected
    assert data.relation_names[:2] == ("crosses", "original language of film or TV show")
    assert data.labels.bincount().tolist() == [700] * 16
    measured = {"repeated": 126, "repeated_with_mentions": 1, "several_mentions": 420}
    measured |= {"not_contiguous": 0, "overlapping": 0, "tail_first": 5072, "longest": 36}
    assert measured.items() <= data.report.items()


@real
def test_the_real_files_and_the_subset_of_them(tmp_path):
    data = load_sentences("fewrel", SHARED / "fewrel")
    assert data.labels.bincount().tolist() == [700] * 80 and data.relations[0] == "P931"
    assert data.protocol == "paper" and data.relation_names[0] == "place served by transport hub"

    for name in ("fewrel80_subset.json", "pid2name.json"):
        (tmp_path / name).symlink_to(SHARED / "fewrel" / name)
    subset = load_sentences("fewrel", tmp_path)
    assert subset.labels.bincount().tolist() == [137] * 80 and subset.protocol == "reduced"
