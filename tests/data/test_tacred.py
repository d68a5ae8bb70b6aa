"""TACRED is licensed: its loader is tested on files of the same layout, with skewed counts."""

import json

import pytest

from relcl_lib.continual.relation_tasks import relation_stream
from relcl_lib.data import sentences as module
from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.sentences import TACRED_RELATIONS, load_sentences

TOKENS = ["Ada", "Byron", "founded", "the", "Engine", "Works", "."]


def record(relation="org:founded_by", subject=(4, 5), object_=(0, 1), number=0):
    return {
        "id": f"x{number}",
        "docid": "d",
        "relation": relation,
        "token": [*TOKENS, str(number)],
        **{"subj_start": subject[0], "subj_end": subject[1]},
        **{"obj_start": object_[0], "obj_end": object_[1]},
        "subj_type": "ORGANIZATION",
        "obj_type": "PERSON",
    }


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "dev", "test"):
        value = files.get(name, [])
        text = value if isinstance(value, str) else json.dumps(value)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


def test_the_released_list_has_forty_relations():
    assert len(TACRED_RELATIONS) == len(set(TACRED_RELATIONS)) == 40
    assert TACRED_RELATIONS[0] == "org:founded_by" and TACRED_RELATIONS[39] == "per:charges"
    assert TACRED_RELATIONS[26] == "org:dissolved" and TACRED_RELATIONS[12].endswith("/employees")
    assert "per:country_of_death" not in TACRED_RELATIONS


def test_ends_are_inclusive_and_the_three_files_are_pooled(tmp_path):
    folder = write(
        tmp_path,
        train=[record("per:charges"), record("no_relation"), record()],
        dev=[record(subject=(0, 0), object_=(5, 5), number=1), record("per:country_of_death")],
        test=[record(number=2)],
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
    folder = write(tmp_path, train=[record(), record("no_relation")], dev=[record()])
    assert load_sentences("tacred", folder).protocol == "paper"


@pytest.mark.parametrize(
    "content, words",
    [
        ("[", ["no JSON array"]),
        ([{"sentence": "a"}], ["record 1 lacks relation, token", "no file of TACRED"]),
        ([record(), "x"], ["record 2 lacks relation", "LDC2018T24"]),
        (
            [record(subject=(4, 8))],
            ["record 1 (org:founded_by)", "subj_end", "outside the 8 tokens"],
        ),
        ([record(object_=(3, 2))], ["fields obj_start and obj_end", "3 to 2"]),
        ([record(object_=(True, 2))], ["fields obj_start", "True"]),
        ([record(object_=(None, 2))], ["fields obj_start", "None"]),
        ([{**record(), "token": "Ada"}], ["field token: not a list of words"]),
        (
            [record("org:founded")] * 2 + [record("per:job")],
            ["record 3", "'per:job'", "relabelled"],
        ),
    ],
)
def test_files_that_are_not_tacred(tmp_path, content, words):
    with pytest.raises(DataFormatError) as caught:
        load_sentences("tacred", write(tmp_path, dev=content))
    assert all(word in str(caught.value) for word in ["dev.json", *words]), caught.value


def test_files_without_a_relation(tmp_path):
    folder = write(tmp_path, train=[record("no_relation")], dev=[], test=[])
    with pytest.raises(DataFormatError, match=r"dev\.json, test\.json hold no sentence"):
        load_sentences("tacred", folder)


def test_nothing_is_downloaded(tmp_path):
    write(tmp_path)
    (tmp_path / "dev.json").unlink()
    with pytest.raises(DataNotFoundError, match=r"LDC2018T24(.|\n)*no automatic download"):
        load_sentences("tacred", tmp_path)


def test_a_stream_with_skewed_counts(tmp_path):
    counts = {0: 33, 1: 100, 2: 205, 3: 361, 4: 400}
    rows = [
        record(relation, number=number)
        for label, relation in enumerate(TACRED_RELATIONS)
        for number in range(counts.get(label, 5))
    ]
    data = load_sentences(
        "tacred", write(tmp_path, train=rows[::3], dev=rows[1::3], test=rows[2::3])
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
