"""Loaders of triples: layouts, cuts, and damaged files."""

import gzip
import json
from dataclasses import replace

import pytest

from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.triples import (
    Sentence,
    Triple,
    as_sentence,
    assemble_triples,
    describe_repeats,
    load_triples,
    read_sentences,
)

TEXT, TRIPLE = "Ada Byron lives in New York City .", ("Ada Byron", "lives", "New York City")
RECORDS = [
    {
        "text": TEXT,
        "spo_list": [dict(zip(("subject", "predicate", "object"), TRIPLE, strict=True))],
    },
    {"text": TEXT, "triple_list": [list(TRIPLE)]},
    {
        "sentext": f'"{TEXT}"\r\n',
        "relations": [
            {"em1": TRIPLE[0], "rtext": "lives", "em2": TRIPLE[2], "tags": []},
            {"em1": "x", "rtext": "None", "em2": "y"},
        ],
    },
    {
        "sentText": TEXT,
        "relationMentions": [{"em1Text": TRIPLE[0], "label": "lives", "em2Text": TRIPLE[2]}],
    },
]


def spanned(subject, thing, names=("subject_span", "object_span")):
    """A file of one's own with a triple and its characters."""
    triple = dict(zip(("subject", "relation", "object"), TRIPLE, strict=True))
    triple |= dict(zip(names, (subject, thing), strict=True))
    return json.dumps([{"text": TEXT, "triples": [triple]}])


def write(path, value, lines=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(map(json.dumps, value)) if lines else json.dumps(value)
    path.write_text(text, encoding="utf-8")
    return path


def simple(count, relation="lives"):
    return [{"text": f"a{i} in b", "triple_list": [[f"a{i}", relation, "b"]]} for i in range(count)]


@pytest.mark.parametrize("record", RECORDS, ids=["spo_list", "triple_list", "HRL-RE", "CasRel"])
@pytest.mark.parametrize("lines", [False, True])
def test_every_layout(tmp_path, record, lines):
    (sentence,) = read_sentences(write(tmp_path / "x.json", [record], lines))
    assert sentence == Sentence(TEXT, (Triple(*TRIPLE),))


def test_offsets_are_read_as_well_as_strings(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(spanned([0, 9], [19, 32]))
    (sentence,) = read_sentences(path)
    assert sentence == Sentence(TEXT, (Triple(*TRIPLE),), (((0, 9), (19, 32)),))
    (record,) = json.loads(spanned([0, 9], [19, 32], ("subj_char_span", "obj_char_span")))
    (triple,) = record.pop("triples")
    triple["predicate"] = triple["relation"]
    assert read_sentences(write(path, [record | {"relation_list": [triple]}])) == [sentence]
    without = Sentence(TEXT, (Triple(*TRIPLE),))
    splits = {name: [s] * 4 for name, s in (("train", sentence), ("valid", without))}
    with_spans = assemble_triples("mine", splits | {"test": [without]})
    assert (
        with_spans.fingerprint
        != assemble_triples("mine", splits | {"train": [without] * 4}).fingerprint
    )


def test_one_object_over_several_lines_is_one_record(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(RECORDS[0], indent=1))
    assert len(read_sentences(path)) == 1


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ["empty", "Get the file again"]),
        ('[{"text": "a", "spo_', ["JSON", "Mend it there", "incomplete"]),
        (
            '{"text": "a b", "spo_list": []}\n{"text": "a',
            ["line 2 is no JSON", "(column 10). Mend line 2", "incomplete"],
        ),
        ("[1]", ["record 1", "int"]),
        ("[null]", ["record 1 is null, not an object"]),
        ('[{"text": "a"}]', ["record 1", "text", "spo_list"]),
        (
            '[{"text": "a", "triple_lists": []}]',
            ["Did you mean triple_list? Write it as one of: one's"],
        ),
        ('[{"texts": "a", "spo_list": []}]', ["Did you mean text? Write"]),
        ('[{"text": null, "spo_list": []}]', ["record 1, field text: null is no text"]),
        ('[{"text": 3, "spo_list": []}]', ["record 1", "field text", "3"]),
        ('[{"text": "a", "spo_list": [{"subject": "a"}]}]', ["record 1", "predicate"]),
        ('[{"text": "a", "triple_list": [["a", "r"]]}]', ["record 1", "no triple", "three texts"]),
        ('[{"text": "a", "triple_list": [["a", "r", " "]]}]', ["record 1", "not empty"]),
        (spanned([0, 3], [4, 9]), ["record 1", "'Ada'", "not 'Ada Byron'", "not bytes"]),
        (spanned([0, 8], [19, 32]), ["'Ada Byro'", "end be one past the last"]),
        (spanned([0, 9], [19, 99]), ["object_span is [19, 99]", "within the 34 characters"]),
        (spanned([9, 0], [19, 32]), ["subject_span is [9, 0]", "Count from 0"]),
        (spanned([0, 9], None), ["object_span is None", "leave both spans out"]),
        (
            spanned([0, 9], [19, 32]).replace("object_span", "thing_span"),
            ["object_span is missing, no [start"],
        ),
    ],
)
def test_damaged_files_are_named_with_record_field_and_remedy(tmp_path, text, words):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(DataFormatError) as error:
        read_sentences(path)
    assert "bad.json" in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_other_fields_are_told_every_layout(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps([{"sentence": TEXT, "facts": []}]))
    with pytest.raises(DataFormatError, match="record 1 has the fields sentence, facts") as error:
        read_sentences(path)
    for own in ("{text, triples: [", "relation_list", "spo_list", "triple_list", "sentText"):
        assert own in str(error.value)
    path.write_text(json.dumps([{f"field {n}": 0 for n in range(70)}]))
    with pytest.raises(DataFormatError, match=r"fields field 0, .*, field 7 and 62 more"):
        read_sentences(path)


def test_triples_in_two_fields_are_refused_and_a_relation_has_no_spaces_around():
    record = {"text": "Ada was born in Ely", "triples": [["Ada", " born in\n", "Ely"]]}
    assert as_sentence("f", 1, record).triples == (("Ada", "born in", "Ely"),)
    with pytest.raises(DataFormatError, match="record 1 has triples in spo_list and triples"):
        as_sentence("f", 1, {**record, "spo_list": []})


def test_the_case_of_an_ending_does_not_count(tmp_path):
    path = tmp_path / "train.json.GZ"
    path.write_bytes(gzip.compress(json.dumps(RECORDS[:1]).encode()))
    assert read_sentences(path)[0].text == TEXT


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "bad.json"
    path.write_bytes(b"[\xff\xfe]")
    with pytest.raises(DataFormatError, match="cannot be read"):
        read_sentences(path)


def test_three_files_and_their_relation_ids(tmp_path):
    folder = tmp_path / "webnlg"
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        write(folder / f"{split}_triples.json", simple(count))
    write(folder / "rel2id.json", [{"0": "other", "1": "lives"}, {"lives": 1, "other": 0}])
    data = load_triples("webnlg", tmp_path)
    assert data.sizes == {"train": 6, "valid": 2, "test": 3}
    assert data.relations == ("other", "lives")
    assert data.protocol == "reduced"
    assert "5019" in data.note
    assert load_triples("webnlg", folder).fingerprint == data.fingerprint
    assert load_triples("webnlg", folder, limit=4).sizes["train"] == 4
    assert load_triples("webnlg", folder, limit=4).fingerprint != data.fingerprint
    listed = (folder / "rel2id.json").read_bytes()
    (folder / "rel2id.json").unlink()
    (folder / "Rel2ID.json.gz").write_bytes(gzip.compress(listed))
    assert load_triples("webnlg", folder).relations == ("other", "lives")
    (folder / "Rel2ID.json.gz").unlink()
    write(folder / "rel2id.json", [["lives"]])
    with pytest.raises(DataFormatError, match=r"rel2id\.json"):
        load_triples("webnlg", folder)


def test_missing_files_say_what_goes_where_and_what_reduced_does(tmp_path):
    write(tmp_path / "nyt24" / "valid_triples.json", simple(40))
    write(tmp_path / "nyt24" / "test_triples_4000.json", simple(9))
    with pytest.raises(DataNotFoundError) as error:
        load_triples("nyt24", tmp_path)
    for word in ("nyt24", "spo_list", "RELCL_DATA", "reduced=True"):
        assert word in str(error.value)
    data = load_triples("nyt24", tmp_path, reduced=True)
    assert data.sizes == {"train": 36, "valid": 4, "test": 9}
    assert "no training file" in data.note
    assert data.protocol == "reduced"


def test_a_test_file_alone_is_cut_in_three(tmp_path):
    write(tmp_path / "nyt10" / "new_test.json", simple(400))
    data = load_triples("nyt10", tmp_path, reduced=True)
    assert data.sizes == {"train": 270, "valid": 30, "test": 100}
    parts = [{s.text for s in getattr(data, split)} for split in ("train", "valid", "test")]
    assert len(set.union(*parts)) == 400
    assert load_triples("nyt10", tmp_path, reduced=True) == data


def test_ones_own_needs_a_training_file_only(tmp_path):
    write(tmp_path / "mine" / "train.json", simple(299))
    data = load_triples("mine", tmp_path)
    assert data.sizes == {"train": 270, "valid": 29, "test": 0}
    assert "29 training sentences validate; no test file: scored" in data.note
    assert load_triples("mine", tmp_path, reduced=True) == data
    write(tmp_path / "mine" / "test.json", [])
    assert "test.json holds no sentence: scored" in load_triples("mine", tmp_path).note
    (tmp_path / "mine" / "test.json").unlink()
    write(tmp_path / "mine" / "train.json", simple(300))
    assert load_triples("mine", tmp_path).sizes["valid"] == 30
    write(tmp_path / "other" / "test.json", simple(40))
    with pytest.raises(DataNotFoundError, match=r"train\.json"):
        load_triples("other", tmp_path)
    assert load_triples("other", tmp_path, reduced=True).sizes["test"] == 10


def test_copies_of_a_text_are_not_trained_on_and_validated_on(tmp_path):
    twice = [record for record in simple(50) for _ in range(2)]
    write(tmp_path / "mine" / "train.json", twice)
    data = load_triples("mine", tmp_path)
    assert data.sizes == {"train": 90, "valid": 10, "test": 0}
    assert not {s.text for s in data.train} & {s.text for s in data.valid}
    assert describe_repeats(data) == ""
    write(tmp_path / "mine" / "train.json", twice[:2])
    for rows, holds in ((twice[:2], "1 different sentence"), ([], "0 different sentences")):
        write(tmp_path / "mine" / "train.json", rows)
        with pytest.raises(DataFormatError) as caught:
            load_triples("mine", tmp_path)
        assert str(caught.value) == (
            f"{tmp_path / 'mine' / 'train.json'}: holds {holds}. At least 2 are needed, as one "
            "validates; or give valid.json."
        )


def test_each_sentence_keeps_the_number_of_its_record(tmp_path):
    rows = simple(30)
    write(tmp_path / "mine" / "train.json", rows)
    write(tmp_path / "mine" / "test.json", simple(2))
    data = load_triples("mine", tmp_path)
    assert data.called("test") == ["record 1 of test.json", "record 2 of test.json"]
    named = {}
    for split in ("train", "valid"):
        named |= dict(zip(data.called(split), getattr(data, split), strict=True))
    assert {name: sentence.text for name, sentence in named.items()} == {
        f"record {at} of train.json": row["text"] for at, row in enumerate(rows, start=1)
    }
    assert replace(data, train=data.train[:3]).called("train") is None  # cut by somebody else
    one = load_triples("mine", tmp_path, limit=5)
    assert sorted([*one.called("train"), *one.called("valid")]) == [
        f"record {at} of train.json" for at in range(1, 6)
    ]
    assert "1 training sentence validates" in one.note


def test_given_files_that_repeat_training_texts_are_told(tmp_path):
    for split, rows in (("train", simple(9)), ("valid", simple(9)[:4]), ("test", simple(11)[7:])):
        write(tmp_path / "mine" / f"{split}.json", rows)
    data = load_triples("mine", tmp_path)
    assert data.sizes == {"train": 9, "valid": 4, "test": 4} and not data.note
    said = "trained on as well: 4 of the 4 valid sentences and 2 of the 4 test sentences, "
    assert describe_repeats(data).startswith(said)


def test_the_generated_corpus_is_a_stand_in(tmp_path):
    assert load_triples("synthetic", limit=3).protocol == "stand-in"


def test_half_a_per_cent_of_a_training_file_validates():
    sentences = [Sentence(f"a{i} b", (Triple(f"a{i}", "r", "b"),)) for i in range(2000)]
    data = assemble_triples("nyt11", {"train": sentences, "test": sentences[:5]})
    assert data.sizes == {"train": 1990, "valid": 10, "test": 5}
    assert not {s.text for s in data.train} & {s.text for s in data.valid}
