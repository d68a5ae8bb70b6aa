"""Sentences of one's own: offsets, markers in place, FewRel's layout; and what is wrong with a record."""

import gzip
import json
import random

import pytest

from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.marked_text import NO_RELATION, as_marked, read_marked
from relcl_lib.data.sentences import MarkedSentence
from relcl_lib.text.markers import marked_text

TEXT = "Ada Byron was born in London, England."
OFFSETS = {"text": TEXT, "head": [0, 9], "tail": [22, 28], "relation": "born in"}
INLINE = {
    "text": "[E11]Ada Byron[E12] was born in [E21] London [E22], England.",
    "relation": "born in",
}


def spelled(sentence):
    return marked_text(MarkedSentence(sentence.tokens, sentence.head, sentence.tail, 0))


def test_both_forms_are_one_sentence():
    by_place = as_marked("mine", 1, OFFSETS)
    assert by_place.relation == "born in" and by_place.place == "mine, record 1"
    assert by_place.tokens == ("Ada", "Byron", "was", "born", "in", "London", ",", "England.")
    assert (by_place.head, by_place.tail) == ((0, 2), (5, 6))
    assert as_marked("mine", 1, INLINE) == by_place
    assert spelled(by_place) == ("[E11] Ada Byron [E12] was born in [E21] London [E22] , England.")


def test_entities_within_compounds_overlapping_tail_first_and_in_any_script():
    found = as_marked(
        "m", 1, {"text": "a London-born poet", "head": [14, 18], "tail": [2, 8]}, labelled=False
    )
    assert spelled(found) == "a [E21] London [E22] -born [E11] poet [E12]"
    nested = {"text": "the king of Spain", "head": [4, 17], "tail": [12, 17], "relation": "r"}
    assert spelled(as_marked("m", 1, nested)) == "the [E11] king of [E21] Spain [E22] [E12]"
    inline = {"text": "the [E11]king of [E21]Spain[E22][E12]", "relation": "r"}
    assert as_marked("m", 1, inline) == as_marked("m", 1, nested)
    korean = {"text": "서울에서 5km", "head": [0, 2], "tail": [5, 6], "relation": "r"}
    assert spelled(as_marked("m", 1, korean)) == "[E11] 서울 [E12] 에서 [E21] 5 [E22] km"
    other = {"text": "李白生于碎叶城", "head": [0, 2], "tail": [4, 7], "relation": "出生地"}
    assert spelled(as_marked("m", 1, other)) == "[E11] 李白 [E12] 生于 [E21] 碎叶城 [E22]"


def test_words_and_spans_agree_with_the_text_whatever_is_marked():
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(rng.choice("天地 人") for _ in range(12))  # a script without spaces
        head, tail = (sorted(rng.sample(range(13), 2)) for _ in range(2))
        record = {"text": text, "head": head, "tail": tail, "relation": "r"}
        if not (text[slice(*head)].strip() and text[slice(*tail)].strip()):
            with pytest.raises(DataFormatError, match="the entity is empty"):
                as_marked("m", 1, record)
            continue
        if text[slice(*head)].strip() == text[slice(*tail)].strip() and max(head[0], tail[0]) < min(
            head[1], tail[1]
        ):
            with pytest.raises(DataFormatError, match="head and tail are the same words"):
                as_marked("m", 1, record)
            continue
        found = as_marked("m", 1, record)
        assert "".join(found.tokens) == text.replace(" ", "")
        for span, (start, end) in ((head, found.head), (tail, found.tail)):
            assert "".join(found.tokens[start:end]) == text[slice(*span)].replace(" ", "")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"text": None}, "record 7, field text: is null"),
        ({"text": 5}, "record 7, field text: 5 is no text"),
        ({"text": "a\ud800b"}, "field text: holds half a surrogate"),
        ({"relation": None}, "record 7, field relation: is null"),
        ({"relation": " "}, "field relation: ' ' is no name"),
        ({"head": None}, "record 7, field head: is null. A sentence is {"),
        ({"tail": None}, "record 7, field tail: is null. A sentence is {"),
        ({"head": 5}, "field head: 5 is no [start, end] in a text of 38 characters"),
        ({"head": [0, 39]}, "field head: [0, 39]"),
        ({"tail": [5, 5]}, "field tail: [5, 5]"),
        ({"tail": [-1, 5]}, "field tail: [-1, 5]"),
        ({"tail": [True, 5]}, "field tail: [True, 5]"),
        ({"tail": [0.0, 5]}, "field tail"),
        ({"tail": "London"}, "field tail: 'London'"),
        ({"tail": [9, 10]}, "field tail: the entity is empty, or holds spaces only"),
        ({"text": "[E11]" + TEXT}, "field text: holds [E11] beside head and tail"),
        ({"head": None, "tail": None}, "each of [E11] [E12] [E21] [E22] has to stand in it once"),
        ({"tail": [0, 9]}, "record 7, field tail: head and tail are the same words, 'Ada Byron'"),
        ({"tail": [0, 10]}, "field tail: head and tail are the same words"),
        (
            {"head": [0, 7]},
            "field head: [0, 7] cuts a word, 'Ada Byr|on was bor'; entities are whole",
        ),
        ({"tail": [23, 28]}, "field tail: [23, 28] cuts a word"),
        ({"text": "in 1999, Éva", "head": [3, 5], "tail": [9, 12]}, "head: [3, 5] cuts a word"),
        ({"text": "Éva in Pest", "head": [0, 1], "tail": [7, 11]}, "head: [0, 1] cuts a word"),
        ({"text": "a Москва", "head": [0, 1], "tail": [2, 5]}, "tail: [2, 5] cuts a word"),
        (
            {**INLINE, "text": "[E11]Ada[E12]s in [E21]Ely[E22]", "head": None, "tail": None},
            "head: [0, 3] cuts a word",
        ),
        (
            {**INLINE, "text": "[E12] a [E11] b [E21] c [E22]", "head": None, "tail": None},
            "before its",
        ),
        (
            {**INLINE, "text": "[E11] [E12] b [E21] c [E22]", "head": None, "tail": None},
            "head: the entity is empty",
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(change, words):
    with pytest.raises(DataFormatError) as caught:
        as_marked("mine.jsonl", 7, {**OFFSETS, **change})
    assert words in str(caught.value) and "A sentence is {" in str(caught.value)


@pytest.mark.parametrize("name", ["text", "relation", "head"])
def test_a_missing_field_is_told_with_those_that_are_there(name):
    record = {key + "s" * (key == name): value for key, value in OFFSETS.items()}
    has = ", ".join(record)
    with pytest.raises(DataFormatError) as caught:
        as_marked("mine.jsonl", 7, record)
    assert f"record 7, field {name}: missing (it has {has})" in str(caught.value)


def test_without_labels_the_relation_is_not_looked_at():
    for relation in (None, 5, "born in"):
        found = as_marked("m", 1, {**OFFSETS, "relation": relation}, labelled=False)
        assert found.relation == ""


def test_a_sentence_of_no_relation_is_read_where_that_is_asked_for(tmp_path):
    path = tmp_path / "test.jsonl"
    none = {**OFFSETS, "relation": None}
    path.write_text("\n".join(map(json.dumps, [none, OFFSETS, none])))
    found = read_marked(path, none=True)
    assert {relation: len(rows) for relation, rows in found.items()} == {
        NO_RELATION: 2,
        "born in": 1,
    }
    with pytest.raises(DataFormatError, match="record 1, field relation: is null"):
        read_marked(path)
    del none["relation"]  # forgotten, which says nothing
    path.write_text(json.dumps(none))
    with pytest.raises(DataFormatError, match="record 1, field relation: missing"):
        read_marked(path, none=True)


def test_white_space_around_a_relation_is_no_part_of_its_name(tmp_path):
    path = tmp_path / "train.jsonl"
    names = ("born in ", "born in", "\u00a0born in\n", "born  in")
    path.write_text("\n".join(json.dumps({**OFFSETS, "relation": name}) for name in names))
    found = read_marked(path)
    assert {name: len(rows) for name, rows in found.items()} == {"born in": 3, "born  in": 1}
    assert {row.relation for row in found["born in"]} == {"born in"}
    row = {"tokens": ["Ada", "in", "Ely"], "h": ["", "", [[0]]], "t": ["", "", [[2]]]}
    path.write_text(json.dumps({"born in ": [row], "born in": [row]}))
    [(name, rows)] = read_marked(path).items()
    assert name == "born in" and [row.relation for row in rows] == ["born in"] * 2
    for name in ("", " "):
        path.write_text(json.dumps({name: [row]}))
        with pytest.raises(DataFormatError, match=f"relation's name, {name!r}, is no name"):
            read_marked(path)
    path.write_text(json.dumps({"born in": [row, {**row, "t": row["h"]}]}))
    with pytest.raises(DataFormatError, match="record 2: head and tail are the same words, 'Ada'"):
        read_marked(path)


def test_files_in_every_form(tmp_path):
    records = [OFFSETS, {**INLINE, "relation": "lives in"}, OFFSETS]
    lines = "\n".join(map(json.dumps, records))
    fewrel = {
        "born in": [{"tokens": ["Ada", "in", "Ely"], "h": ["", "", [[0]]], "t": ["", "", [[2]]]}]
    }
    (tmp_path / "a.jsonl").write_text(lines + "\n\n")
    (tmp_path / "b.json").write_text(json.dumps(records))
    (tmp_path / "c.json").write_text(lines)
    (tmp_path / "d.jsonl").write_text(json.dumps(OFFSETS))
    (tmp_path / "e.json").write_text(json.dumps(fewrel))
    (tmp_path / "f.json").write_text(json.dumps(fewrel, indent=1))
    for name in ("a.jsonl", "b.json", "c.json"):
        found = read_marked(tmp_path / name)
        assert {relation: len(rows) for relation, rows in found.items()} == {
            "born in": 2,
            "lives in": 1,
        }
    assert list(read_marked(tmp_path / "d.jsonl")) == ["born in"]
    for name in ("e.json", "f.json"):
        assert read_marked(tmp_path / name)["born in"][0].tokens == ("Ada", "in", "Ely")
    with pytest.raises(DataNotFoundError, match=r"none of train\.jsonl, .*but a\.jsonl, b\.json"):
        read_marked(tmp_path)
    (tmp_path / "test.json.gz").write_bytes(gzip.compress(json.dumps(fewrel).encode()))
    assert read_marked(tmp_path, split="test")["born in"][0].tokens == ("Ada", "in", "Ely")
    (tmp_path / "train.json").write_text(json.dumps(fewrel))
    assert read_marked(tmp_path) == {
        name: [row._replace(place=row.place.replace("e.json", "train.json")) for row in rows]
        for name, rows in read_marked(tmp_path / "e.json").items()
    }
    with pytest.raises(DataNotFoundError, match=r"nothing\.jsonl is not there\. Name a file"):
        read_marked(tmp_path / "nothing.jsonl")
    (tmp_path / "none.json").write_text("[]")
    with pytest.raises(DataFormatError, match=r"none\.json: holds no sentence\. A sentence is {"):
        read_marked(tmp_path / "none.json")
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(DataFormatError, match=r"none\.json: record 1, field text: missing"):
        read_marked(tmp_path / "none.json")
    (tmp_path / "bad.jsonl").write_text(f"{json.dumps(OFFSETS)}\n{{")
    with pytest.raises(DataFormatError, match=r"bad\.jsonl: line 2 is no JSON.*Mend line 2"):
        read_marked(tmp_path / "bad.jsonl")
