"""Documents in DocRED's layout: what is read, what is refused, splits, the result file."""

import copy
import gzip
import json
import re
from pathlib import Path

import pytest

from relcl_lib.data.document_files import (
    Document,
    Fact,
    OtherNames,
    as_document,
    read_documents,
)
from relcl_lib.data.document_sets import assemble_documents
from relcl_lib.data.documents import DOCRED_RELATIONS, load_documents
from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.papers.docre_ii.command import read_predictions

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
RECORD = {
    "title": "Ann",
    "sents": [["Ann", "lives", "in", "Bonn", "."], ["Bonn", "is", "big", "."]],
    "vertexSet": [
        [{"name": "Ann", "sent_id": 0, "pos": [0, 1], "type": "PER"}],
        [
            {"name": "Bonn", "sent_id": 0, "pos": [3, 4], "type": "LOC"},
            {"name": "Bonn", "sent_id": 1, "pos": [0, 1], "type": "LOC"},
        ],
    ],
    "labels": [{"h": 0, "t": 1, "r": "P551", "evidence": [0]}],
}


def document(title):
    found = as_document("f", 1, RECORD)
    return Document(title, found.sentences, found.entities, found.facts)


def changed(change):
    record = copy.deepcopy(RECORD)
    change(record)
    return record


def mention(record):
    return record["vertexSet"][1][0]


def test_a_record_becomes_a_document():
    document = as_document("f", 1, RECORD)
    assert document.title == "Ann"
    assert document.facts == (Fact(0, "P551", 1),)
    assert document.entities[1][1].sentence == 1
    assert document.candidates() == [(0, 1), (1, 0)]
    assert document.inferred is None
    marked = changed(lambda r: r["labels"][0].update(stated=False))
    assert as_document("f", 1, marked).inferred == {Fact(0, "P551", 1)}


def test_mentions_with_another_name_than_their_words_are_counted(tmp_path):
    names = OtherNames()
    names.add("record 1", as_document("f", 1, RECORD))
    joined = changed(lambda r: mention(r).update(name=" Bo\u00a0nn"))  # white space does not count
    names.add("record 2", as_document("f", 2, joined))
    assert (names.mentions, names.other, str(names)) == (6, 0, "")
    shifted = changed(lambda r: mention(r).update(pos=[4, 5]))
    rows = [RECORD, joined, shifted]
    for name in ("train", "dev"):
        (tmp_path / f"{name}.json").write_text(json.dumps(rows[:1] if name == "dev" else rows))
    assert load_documents("own", tmp_path).other_names == (
        "1 of 12 mentions has another name than the words at their pos (train.json, record 3 'Ann', "
        "entity 1: 'Bonn', but '.' stands at [4, 5] of sentence 0): pos counts words from 0, the end "
        "exclusive"
    )
    assert load_documents("synthetic").other_names == ""


def test_a_label_given_twice_counts_once():
    assert (
        len(as_document("f", 1, changed(lambda r: r["labels"].append(r["labels"][0]))).facts) == 1
    )


@pytest.mark.parametrize(
    "change, field",
    [
        (lambda r: r.pop("vertexSet"), "no field vertexSet"),
        (lambda r: r.pop("labels"), "no field labels"),
        (lambda r: r.update(title=None), "field title: None is no text"),
        (lambda r: r.update(title=["Ann"]), "field title: ['Ann'] is no text"),
        (lambda r: r["vertexSet"].append([]), "entity 2 has no mention"),
        (lambda r: mention(r).update(pos=[3, 9]), "sentence 0, which has 5 tokens"),
        (lambda r: mention(r).update(pos=[3, 3]), "tokens 3 to 3"),
        (lambda r: mention(r).update(sent_id=2), "of 2 sentences"),
        (lambda r: mention(r).pop("pos"), "field vertexSet: entity 1: no field pos"),
        (lambda r: mention(r).update(pos=[0.9, 1.9]), "field vertexSet: entity 1: pos: 0.9 is no"),
        (lambda r: mention(r).update(pos=0), "entity 1: pos: 0 is no [start, end]"),
        (lambda r: mention(r).update(pos=[0, 1, 2]), "pos: [0, 1, 2] is no [start, end]"),
        (lambda r: r["vertexSet"].insert(0, mention(r)), "entity 0: a dict, no list of mentions"),
        (lambda r: r["vertexSet"].insert(1, ["Ann"]), "entity 1: 'Ann' is no mention"),
        (lambda r: mention(r).update(pos=["0", "1"]), "pos: '0' is no whole number"),
        (lambda r: mention(r).update(sent_id=0.5), "sent_id: 0.5 is no whole number"),
        (lambda r: r.update(vertexSet=None), "field vertexSet: a NoneType, no list of entities"),
        (lambda r: r.update(sents=None), "field sents: a NoneType, no list"),
        (
            lambda r: r.update(sents=["Ann lives in Bonn."] * 2),
            "sentence 0 is 'Ann lives in Bonn.'",
        ),
        (lambda r: r["sents"][1].append(None), "field sents: sentence 1 is ['Bonn'"),
        (lambda r: r.update(labels=None), "('Ann') has no field labels. Documents to train"),
        (lambda r: r.update(labels={}), "field labels: a dict, no list"),
        (lambda r: r["labels"][0].update(h=0.7), "field labels: h: 0.7 is no whole number"),
        (lambda r: r["labels"][0].update(t=0), "h = 0 and t = 0"),
        (lambda r: r["labels"][0].update(t=2), "not two of the 2 entities"),
        (lambda r: r["labels"][0].update(r="P0"), "relation 'P0' is unknown"),
        (lambda r: r["labels"][0].pop("r"), "field labels: no field r in {"),
    ],
)
def test_damaged_records_are_named(tmp_path, change, field):
    path = tmp_path / "dev.json"
    path.write_text(json.dumps([RECORD, changed(change)]))
    with pytest.raises(DataFormatError) as caught:
        read_documents(path, DOCRED_RELATIONS)
    message = str(caught.value)
    assert str(path) in message
    assert "record 2" in message
    assert field in message


def test_files_that_hold_no_documents(tmp_path):
    for text, word in (("[1]", "no object"), ("[{", "no JSON"), ("", "empty")):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(DataFormatError, match=word):
            read_documents(tmp_path / "x.json")


@pytest.mark.parametrize(
    "change", [lambda r: r.pop("labels"), lambda r: r.update(labels=None)], ids=["missing", "null"]
)
def test_unlabelled_test_documents_are_read_but_not_scored(tmp_path, change):
    path = tmp_path / "test.json"
    path.write_text(json.dumps([changed(change)]))
    (document,) = read_documents(path, labelled=False)
    assert document.facts is None
    with pytest.raises(ValueError, match="no public labels"):
        document.gold()


def test_the_synthetic_corpus():
    data = load_documents("synthetic")
    assert data.sizes == {"train": 240, "dev": 50, "test": 100}
    assert data.protocol == "stand-in"
    assert len(data.relations) == 24
    facts = [fact for document in data.train for fact in document.facts]
    inferred = [fact for document in data.train for fact in document.inferred]
    assert (len(facts), len(inferred)) == (5071, 1496)
    again = load_documents("synthetic", limit=3)
    assert again.sizes["train"] == 3
    assert again.fingerprint != data.fingerprint


def test_further_documents_are_generated():
    data, more = load_documents("synthetic", limit=240), load_documents("synthetic", generated=260)
    assert more.sizes == {"train": 500, "dev": 50, "test": 100}
    assert more.train[:240] == data.train and more.test == data.test
    assert more.protocol == "stand-in" and "260 generated" in more.source
    new = more.train[240:]
    texts = {document.sentences for document in new}
    assert len(texts) == 260
    assert not texts & {d.sentences for part in (data.train, data.dev, data.test) for d in part}
    assert 0.1 < sum(len(d.inferred) for d in new) / sum(len(d.facts) for d in new) < 0.5
    with pytest.raises(ValueError, match="generated for synthetic, not docred"):
        load_documents("docred", generated=1)


def test_own_files_with_relation_numbers(tmp_path):
    for name in ("train_annotated.json", "dev.json"):
        (tmp_path / name).write_text(json.dumps([RECORD] * 2))
    (tmp_path / "test.json").write_text(json.dumps([changed(lambda r: r.pop("labels"))]))
    data = load_documents("mine", tmp_path)
    assert data.relations == ("P551",)
    assert not data.is_labelled("test")
    assert data.protocol == "stand-in"
    (tmp_path / "rel2id.json").write_text(json.dumps({"Na": 0, "P1": 1, "P551": 2}))
    assert load_documents("mine", tmp_path).relations == ("P1", "P551")
    packed = gzip.compress((tmp_path / "rel2id.json").read_bytes())
    (tmp_path / "rel2id.json").unlink()
    for name in ("Rel2id.json.gz", "meta/REL2ID.json.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(packed)
        assert load_documents("mine", tmp_path).relations == ("P1", "P551")
        (tmp_path / name).unlink()
    for numbers in ({"P551": 0, "P1": 1}, {"P551": 1, "P1": 2}):  # without one for no relation
        (tmp_path / "rel2id.json").write_text(json.dumps(numbers))
        assert load_documents("mine", tmp_path).relations == ("P551", "P1")
    for numbers in ({"Na": 0, "P1": 5}, {"P1": "one"}, {"P1": "1", "P551": 0}):
        (tmp_path / "rel2id.json").write_text(json.dumps(numbers))
        with pytest.raises(DataFormatError, match=r"holds no relation -> number.*rel_info"):
            load_documents("mine", tmp_path)
    (tmp_path / "rel2id.json").write_text(json.dumps({"Na": 0, "P1": 1}))
    with pytest.raises(DataFormatError, match=r"'P551' is unknown.*add it to rel2id\.json"):
        load_documents("mine", tmp_path)


def test_a_missing_training_file_needs_the_reduced_switch(tmp_path):
    (tmp_path / "dev_revised.json").write_text(json.dumps([RECORD] * 20))
    with pytest.raises(DataNotFoundError, match="reduced=True"):
        load_documents("redocred", tmp_path)
    data = load_documents("redocred", tmp_path, reduced=True)
    assert data.sizes == {"train": 18, "dev": 2, "test": 0}
    assert "no training file" in data.note
    assert data.relations == DOCRED_RELATIONS


@pytest.mark.parametrize("reduced", [False, True])
def test_an_empty_training_file_is_none_to_replace(reduced, tmp_path):
    (tmp_path / "dev.json").write_text(json.dumps([RECORD] * 20))
    (tmp_path / "train.json").write_text("[]")
    with pytest.raises(DataFormatError, match=r"train\.json: holds no document"):
        load_documents("mine", tmp_path, reduced=reduced)


def test_relations_of_docred_are_96_different_ones():
    assert len(set(DOCRED_RELATIONS)) == 96


def test_assemble_refuses_too_little():
    with pytest.raises(DataFormatError, match="too few"):
        assemble_documents("mine", {"train": [document("a")]})


# --- real data ---------------------------------------------------------------------------------


@pytest.mark.skipif(not (REAL / "redocred").is_dir(), reason="no Re-DocRED beside the checkout")
def test_real_re_docred():
    """Figures of the specification, section 9: measured on the dev split."""
    documents = read_documents(REAL / "redocred" / "dev_revised.json", DOCRED_RELATIONS)
    assert len(documents) == 500
    assert sum(len(document.facts) for document in documents) == 17_284
    largest = max(documents, key=lambda document: len(document.entities))
    assert (len(largest.entities), len(largest.candidates())) == (36, 1260)
    assert max(sum(map(len, document.sentences)) for document in documents) == 481


def test_a_folder_without_a_dev_file_is_told_what_it_lacks(tmp_path):
    (tmp_path / "train.json").write_text("[]")
    with pytest.raises(DataNotFoundError) as caught:
        load_documents("own", tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} has train.json, but no file for dev (dev.json). A training and a dev file are "
        "needed, as the best epoch is chosen on dev: put some of the training documents there (other "
        "names: data/README.md)"
    )


def test_the_document_and_the_prediction_that_the_page_shows_are_read(tmp_path):
    page = (Path(__file__).resolve().parents[2] / "data" / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```json\n(.*?)\n```", page, re.MULTILINE | re.DOTALL)
    document, predicted = (json.loads(block) for block in blocks)  # a line each
    read = as_document("data/README.md", 1, document)
    assert read.gold() == {Fact(0, "P27", 1), Fact(0, "P19", 2)}
    words = [
        " ".join(read.sentences[m.sentence][m.start : m.end]) for e in read.entities for m in e
    ]
    assert words == [m["name"] for mentions in document["vertexSet"] for m in mentions]
    path = tmp_path / "facts.jsonl"
    path.write_text(blocks[1])
    found = read_predictions(path)[document["title"]]
    assert found == {Fact(0, "P27", 2), Fact(0, "P27", 1)}
    names = [mentions[0].name for mentions in read.entities]
    assert all(f["head_name"] == names[f["head"]] for f in predicted["facts"])
