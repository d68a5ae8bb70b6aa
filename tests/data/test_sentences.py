"""Loaders of sentences with one relation: FewRel, its subset, the generated corpus, TACRED."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from relcl_lib.continual.relation_tasks import relation_stream
from relcl_lib.data import sentences as module
from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.sentences import (
    FEWREL_RELATIONS,
    TACRED_RELATIONS,
    MarkedSentence,
    load_sentences,
)

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
    names = tmp_path / "pid2name.json"
    (tmp_path / "PID2name.json.gz").write_bytes(gzip.compress(names.read_bytes()))
    names.unlink()
    assert load_sentences("fewrel", tmp_path).relation_names == data.relation_names
    assert data.labels.tolist() == [0, 0, 1, 2] and data.labels.dtype == torch.int64
    assert data.sentences[0] == MarkedSentence(tuple(TOKENS), (0, 2), (4, 7), 0)
    assert data.sentences[2].head == (7, 8)  # the first mention listed
    assert data.split == (None,) * 4 and data.protocol == "reduced"
    assert data.report["repeated"] == data.report["repeated_with_mentions"] == 1
    assert data.report["several_mentions"] == 1 and data.report["tail_first"] == 1
    assert "train_wiki.json, relation P3, record 1 (P3: 'Ada Byron" in data.describe(2)


def test_only_the_papers_sizes_are_the_papers_protocol(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FEWREL_COUNTS", (1, 1))
    monkeypatch.setattr(module, "FEWREL_EACH", 2)
    two = [record(), record(TOKENS[:-1])]
    assert load_sentences("fewrel", fewrel(tmp_path, {"P7": two}, {"P1": two})).protocol == "paper"
    fewrel(tmp_path, {"P7": two}, {"P1": two[:1]})
    assert load_sentences("fewrel", tmp_path).protocol == "reduced"
    assert load_sentences("fewrel_val", tmp_path).protocol == "reduced"


def test_fewrels_relations_have_the_labels_of_the_published_list_whatever_the_files_order(tmp_path):
    """The order of the tasks is drawn over labels: in another order it would be another stream."""
    last, first = FEWREL_RELATIONS[64:], FEWREL_RELATIONS[:64]
    given = {relation: [record()] for relation in reversed(first)}
    fewrel(tmp_path / "whole", given, {relation: [record()] for relation in last})
    assert load_sentences("fewrel", tmp_path / "whole").relations == FEWREL_RELATIONS
    assert load_sentences("fewrel_val", tmp_path / "whole").relations == last
    moved = [*(name for name in FEWREL_RELATIONS if name != "P364"), "P364"]  # as one copy has it
    for i, names in enumerate((FEWREL_RELATIONS, moved)):
        write(
            tmp_path / str(i),
            fewrel80_subset={name: [record([name, "a"], ((0,),), ((1,),))] for name in names},
        )
    one, other = (load_sentences("fewrel", tmp_path / str(i)) for i in range(2))
    assert (one.relations, one.sentences) == (FEWREL_RELATIONS, other.sentences)
    assert one.fingerprint == other.fingerprint
    part = {name: [record()] for name in ("P921", "P931")}
    assert load_sentences("fewrel", write(tmp_path / "part", fewrel80_subset=part)).relations == (
        "P931",
        "P921",
    )


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
    assert load_sentences("fewrel").note == "also there and not read: fewrel80_subset.json"


def test_a_data_set_of_ones_own(tmp_path):
    two = {"P5": [record(), record()], "P4": [record(), record()]}
    one = load_sentences("mine", write(tmp_path / "a", mine=two))
    assert (one.relations, one.source, one.protocol) == (("P5", "P4"), "mine.json", "stand-in")
    assert relation_stream(one, 2, 1).sizes() == [(1, 1)] * 2
    folder = write(tmp_path / "b" / "mine", train=two, test=dict(reversed(two.items())))
    given = load_sentences("mine", tmp_path / "b")
    assert given.split == ("train", "train", "test", "test") * 2
    assert relation_stream(given, 2, 1).sizes() == [(2, 2)] * 2
    write(folder, test={"P5": [record()]})
    with pytest.raises(DataFormatError, match=r"test\.json: .*train\.json: P4 is in one of them"):
        load_sentences("mine", folder)
    with pytest.raises(DataNotFoundError, match=r"(?s)train\.json.*other\.json or fewrel80_sub"):
        load_sentences("other", tmp_path / "a")


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
        ("", ["cannot be read", "get the file again"]),
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


# --- TACRED is licensed: files of the same layout, with skewed counts --------------------------

FOUNDED = ["Ada", "Byron", "founded", "the", "Engine", "Works", "."]


def tacred_record(relation="org:founded_by", subject=(4, 5), object_=(0, 1), number=0):
    return {
        "id": f"x{number}",
        "docid": "d",
        "relation": relation,
        "token": [*FOUNDED, str(number)],
        **{"subj_start": subject[0], "subj_end": subject[1]},
        **{"obj_start": object_[0], "obj_end": object_[1]},
        "subj_type": "ORGANIZATION",
        "obj_type": "PERSON",
    }


def tacred(folder, **files):
    return write(folder, **{"train": [], "dev": [], "test": []} | files)


def test_the_released_list_has_forty_relations():
    assert len(TACRED_RELATIONS) == len(set(TACRED_RELATIONS)) == 40
    assert TACRED_RELATIONS[0] == "org:founded_by" and TACRED_RELATIONS[39] == "per:charges"
    assert TACRED_RELATIONS[26] == "org:dissolved" and TACRED_RELATIONS[12].endswith("/employees")
    assert "per:country_of_death" not in TACRED_RELATIONS


def test_ends_are_inclusive_and_the_three_files_are_pooled(tmp_path):
    folder = write(
        tmp_path,
        train=[tacred_record("per:charges"), tacred_record("no_relation"), tacred_record()],
        dev=[
            tacred_record(subject=(0, 0), object_=(5, 5), number=1),
            tacred_record("per:country_of_death"),
        ],
        test=[tacred_record(number=2)],
    )
    data = load_sentences("tacred", folder)
    assert data.relations == data.relation_names == TACRED_RELATIONS
    assert data.labels.tolist() == [0, 0, 0, 39]
    first, second, *_ = data.sentences
    assert (first.head, first.tail) == ((4, 6), (0, 2))  # the subject is the head
    assert (second.head, second.tail) == ((0, 1), (5, 6))
    assert data.report["left_out"] == 2 and data.protocol == "reduced"


def test_the_official_number_of_sentences_is_the_papers_protocol(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TACRED_SENTENCES", 3)
    folder = tacred(
        tmp_path, train=[tacred_record(), tacred_record("no_relation")], dev=[tacred_record()]
    )
    assert load_sentences("tacred", folder).protocol == "paper"


@pytest.mark.parametrize(
    "content, words",
    [
        ("[", ["no JSON array"]),
        ([{"sentence": "a"}], ["record 1 lacks relation, token", "no file of TACRED"]),
        ([tacred_record(), "x"], ["record 2 lacks relation", "LDC2018T24"]),
        (
            [tacred_record(subject=(4, 8))],
            ["record 1 (org:founded_by)", "subj_end", "outside the 8 tokens"],
        ),
        ([tacred_record(object_=(3, 2))], ["fields obj_start and obj_end", "3 to 2"]),
        ([tacred_record(object_=(True, 2))], ["fields obj_start", "True"]),
        ([tacred_record(object_=(None, 2))], ["fields obj_start", "None"]),
        ([{**tacred_record(), "token": "Ada"}], ["field token: not a list of words"]),
        (
            [tacred_record("org:founded")] * 2 + [tacred_record("per:job")],
            ["record 3", "'per:job'", "relabelled"],
        ),
    ],
)
def test_files_that_are_not_tacred(tmp_path, content, words):
    with pytest.raises(DataFormatError) as caught:
        load_sentences("tacred", tacred(tmp_path, dev=content))
    assert all(word in str(caught.value) for word in ["dev.json", *words]), caught.value


def test_files_without_a_relation(tmp_path):
    folder = tacred(tmp_path, train=[tacred_record("no_relation")], dev=[], test=[])
    with pytest.raises(DataFormatError, match=r"dev\.json, test\.json hold no sentence"):
        load_sentences("tacred", folder)


def test_nothing_is_downloaded(tmp_path):
    tacred(tmp_path)
    (tmp_path / "dev.json").unlink()
    with pytest.raises(DataNotFoundError, match=r"LDC2018T24(.|\n)*no automatic download"):
        load_sentences("tacred", tmp_path)


def test_a_stream_with_skewed_counts(tmp_path):
    counts = {0: 33, 1: 100, 2: 205, 3: 361, 4: 400}
    rows = [
        tacred_record(relation, number=number)
        for label, relation in enumerate(TACRED_RELATIONS)
        for number in range(counts.get(label, 5))
    ]
    data = load_sentences(
        "tacred", tacred(tmp_path, train=rows[::3], dev=rows[1::3], test=rows[2::3])
    )
    stream = relation_stream(data, 10, 2021, order="double")
    assert stream[0].classes == (27, 15, 11, 8)
    labels, found = data.labels, {}
    for task in stream:
        for label in task.classes:
            parts = [
                part[labels[part] == label] for part in (task.test_indices, task.train_indices)
            ]
            found[label] = tuple(map(len, parts))
    expected = {0: (6, 27), 1: (20, 80), 2: (41, 164), 3: (41, 320), 4: (41, 320)}
    assert found == {label: expected.get(label, (1, 4)) for label in range(40)}


# --- real data ---------------------------------------------------------------------------------


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
    assert data.labels.bincount().tolist() == [700] * 80 and data.relations == FEWREL_RELATIONS
    assert data.protocol == "paper" and data.relation_names[0] == "place served by transport hub"

    for name in ("fewrel80_subset.json", "pid2name.json"):
        (tmp_path / name).symlink_to(SHARED / "fewrel" / name)
    subset = load_sentences("fewrel", tmp_path)
    assert subset.labels.bincount().tolist() == [137] * 80 and subset.protocol == "reduced"
    assert subset.relations == FEWREL_RELATIONS  # the file has P364 last
