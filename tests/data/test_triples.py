"""Loaders of triples: layouts, cuts, type maps, located spans, vectors, and damaged files."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from relcl_lib.data.download import DataFormatError, DataNotFoundError, search_folders
from relcl_lib.data.triples import Sentence, Triple, assemble, load_triples, read_sentences
from relcl_lib.text.schema import any_schema, choose_schema, infer_schema, paper_schema, read_schema
from relcl_lib.text.spans import find_span, tag_sentences
from relcl_lib.text.words import WordReader, count_words, random_vectors, read_glove

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


def test_one_object_over_several_lines_is_one_record(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(RECORDS[0], indent=1))
    assert len(read_sentences(path)) == 1


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ["empty", "Get the file again"]),
        ('[{"text": "a", "spo_', ["JSON", "incomplete"]),
        ('{"text": "a b", "spo_list": []}\n{"text": "a', ["line 2", "incomplete"]),
        ("[1]", ["record 1", "int"]),
        ('[{"text": "a"}]', ["record 1", "text", "spo_list"]),
        ('[{"text": 3, "spo_list": []}]', ["record 1", "field text", "3"]),
        ('[{"text": "a", "spo_list": [{"subject": "a"}]}]', ["record 1", "predicate"]),
        ('[{"text": "a", "triple_list": [["a", "r"]]}]', ["record 1", "no triple", "three texts"]),
        ('[{"text": "a", "triple_list": [["a", "r", " "]]}]', ["record 1", "not empty"]),
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


def test_half_a_per_cent_of_a_training_file_validates():
    sentences = [Sentence(f"a{i} b", (Triple(f"a{i}", "r", "b"),)) for i in range(2000)]
    data = assemble("nyt11", {"train": sentences, "test": sentences[:5]})
    assert data.sizes == {"train": 1990, "valid": 10, "test": 5}
    assert not {s.text for s in data.train} & {s.text for s in data.valid}


def test_the_schemas_of_the_paper():
    shipped = json.loads((files("relcl_lib.data") / "fastre_schemas.json").read_text("utf-8"))
    assert set(shipped) == {"nyt10", "nyt11", "nyt24"}
    for name, per_type in (
        ("nyt10", {"PER": 10, "LOC": 11, "ORG": 5, "OTH": 3}),
        ("nyt11", {"PER": 6, "LOC": 5, "ORG": 1}),
        ("nyt24", {"PER": 10, "ORG": 6, "LOC": 6, "OTH": 2}),
    ):
        schema = paper_schema(name)
        counts = dict(zip(schema.types, schema.mask().sum(1).tolist(), strict=True))
        assert counts == per_type
        assert [t for t in ("PER", "ORG", "LOC", "OTH") if t in counts] == list(schema.types)
        assert schema.relations[0] == shipped[name][0]["relation"]
        assert schema.mask().sum() == len(schema.relations)
    assert paper_schema("webnlg") is None


def test_choosing_a_map(tmp_path):
    made = sentences_of(["aa", "bb", "cc"])
    data = assemble("mine", {"train": made, "test": made[:2]})
    assert choose_schema(data).source == "any"
    assert choose_schema(data, "any").mask().all()
    assert choose_schema(data, "inferred").source == "inferred"
    with pytest.raises(ValueError, match="no type map for mine"):
        choose_schema(data, "paper")
    entries = [{"relation": r, "subject_type": "T", "object_type": "U"} for r in data.relations]
    assert choose_schema(data, str(write(tmp_path / "s.json", entries))).types == ("T",)


def sentences_of(relations):
    return [Sentence(f"{r} x", (Triple(r[0], r, "x"),)) for r in relations] * 4


@pytest.mark.parametrize(
    "value, word",
    [
        ({}, "no JSON array"),
        ([{"relation": "r"}], "entry 1: field subject_type"),
        ([{"relation": "r", "subject_type": "T"}] * 2, "more than once"),
    ],
)
def test_damaged_schemas(tmp_path, value, word):
    with pytest.raises(DataFormatError, match=word):
        read_schema(write(tmp_path / "schema.json", value))


def test_inferred_map_links_relations_that_share_subjects():
    def triples(relation, subjects):
        return [Sentence("", (Triple(s, relation, "x"),)) for s in subjects]

    data = [*triples("born", "abcd"), *triples("lives", "abx"), *triples("capital", "mno")]
    schema = infer_schema(data, ["lives", "capital", "born", "unseen"])
    assert schema.subject_types == ("born", "capital", "born", "born")
    assert schema.types == ("born", "capital")


def tag(sentences, relations=("r", "q"), max_tokens=10, **options):
    reader = WordReader(
        random_vectors(count_words(s.text for s in sentences), 4, 0).words, max_tokens
    )
    return tag_sentences(sentences, reader, any_schema(relations), **options)


def test_first_occurrence_lower_cased_ends_inclusive():
    sentence = Sentence("In NEW York , new york City", (Triple("New York", "r", "New York city"),))
    tagged = tag([sentence])
    assert tagged.heads.tolist() == [[1, 2, 0]]
    assert tagged.tails.tolist() == [[4, 6, 0]]
    assert find_span(["a", "b"], ["a", "b", "c"]) is None
    assert find_span([], ["a"]) is None


def test_what_cannot_be_tagged_is_counted():
    sentences = [
        Sentence("a b", (Triple("a", "r", "b"), Triple("a", "r", "zz"), Triple("a", "none", "b"))),
        Sentence("c " * 12 + "d", (Triple("c", "r", "d"),)),
        Sentence("", (Triple("a", "r", "b"),)),
        Sentence("   ", ()),
    ]
    report = tag(sentences, unknown_relations="skip").report
    assert report["triples"] == 5
    assert report["tagged"] == 1
    assert report["not_located"] == 2
    assert report["beyond_cut"] == 1
    assert report["unknown_relation"] == {"none": 1}
    assert report["cut_sentences"] == 1
    assert report["empty_sentences"] == 2
    assert "'zz'" in report["not_located_examples"][0]
    with pytest.raises(DataFormatError, match=r"sentence 1: the relation 'none'.*skip"):
        tag(sentences)


def test_batches_hold_the_labels_of_a_loop():
    sentences = [
        Sentence(
            "a b c d", (Triple("a", "r", "b"), Triple("a", "q", "c d"), Triple("b", "r", "a"))
        ),
        Sentence("zz", ()),
        Sentence("a b", (Triple("b", "q", "a"),)),
    ]
    tagged = tag(sentences)
    assert tagged.usable.tolist() == [0, 2]
    batch = tagged.batch(torch.tensor([2, 0]), "sum")
    assert batch.inputs["words"].shape == (2, 4)
    assert batch.heads.tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 0]]
    assert batch.head_start[..., 0].tolist() == [
        [False, True, False, False],
        [True, True, False, False],
    ]
    assert batch.tail_start.nonzero().tolist() == [[0, 0, 1], [1, 1, 0], [1, 2, 1], [2, 0, 0]]
    assert batch.tail_end.nonzero().tolist() == [[0, 0, 1], [1, 1, 0], [1, 3, 1], [2, 0, 0]]
    assert batch.weights.tolist() == [1, 1, 1]
    assert tagged.batch(torch.tensor([2, 0]), "mean").weights.tolist() == [1, 0.5, 0.5]
    for draw, head in ((0.0, 0), (0.49, 0), (0.5, 1), (0.999, 1)):
        one = tagged.batch(torch.tensor([0]), "one", torch.tensor([draw]))
        assert one.heads.tolist() == [[0, head, head, 0]]
        assert torch.equal(one.head_start, tagged.batch(torch.tensor([0]), "sum").head_start)


def test_word_ids():
    vectors = random_vectors(count_words(["The cat", "the dog"]), 4, 0)
    assert vectors.words[0] == "the"
    assert (vectors.matrix[:2] == 0).all()
    read = WordReader(vectors.words, 3).read([["THE", "cow"], [], ["dog"] * 5])
    assert read["words"].tolist() == [[2, 1, 0], [0, 0, 0], [4, 4, 4]]
    assert read["lengths"].tolist() == [2, 0, 3]
    assert random_vectors(count_words(["a a b"]), 4, 0, min_count=2).words == ("a",)
    once, again = (random_vectors(count_words(["a b"]), 4, 1).matrix for _ in range(2))
    assert torch.equal(once, again)


def test_glove(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("the 0.5 1 -2\n. . 1 2 3\ndog 4 5 6\n")
    vectors = read_glove(path)
    assert vectors.words == ("the", ". .", "dog")
    assert vectors.matrix.tolist()[2:] == [[0.5, 1, -2], [1, 2, 3], [4, 5, 6]]
    assert read_glove(path, ["dog", "cow"]).words == ("dog",)
    path.write_text("2 3\nthe 0.5 1 -2\ndog 4 5 6\n")
    assert read_glove(path).words == ("the", "dog")


@pytest.mark.parametrize(
    "text, word",
    [
        ("the 1 2 3\ndog 1 2\n", "line 2"),
        ("the 1 x 3\n", "line 1"),
        ("cow 1 2\n", "none of the words"),
    ],
)
def test_damaged_glove(tmp_path, text, word):
    path = tmp_path / "glove.txt"
    path.write_text(text)
    with pytest.raises(DataFormatError, match=word):
        read_glove(path, ["the", "dog"])
    with pytest.raises(DataFormatError, match="cannot be read"):
        read_glove(tmp_path / "absent.txt")


def real(name, pattern):
    beside = Path(__file__).resolve().parents[3] / "shared" / "data" / name
    for folder in (*search_folders(name), beside):
        found = sorted(folder.glob(pattern)) if folder.is_dir() else []
        if found:
            return read_sentences(found[0])
    return pytest.skip(f"the real {name} is not on this machine")


def test_the_real_nyt10_test_file():
    from relcl_lib.text.triple_metrics import matched, overlap_patterns

    sentences = real("nyt10", "new_test.json")
    assert len(sentences) == 4006
    assert sum(len(s.triples) for s in sentences) == 5859
    assert sum(len(matched(s.triples)) for s in sentences) == 5858
    patterns = [overlap_patterns(s.triples) for s in sentences]
    assert [sum(p in found for found in patterns) for p in ("normal", "EPO", "SEO")] == [
        *(2963, 715, 742)
    ]


@pytest.mark.parametrize("keep, ceiling", [(True, 99.95), (False, 99.93)])
def test_oracle_ceiling_of_the_real_nyt10_test_file(keep, ceiling):
    """Check 13: gold tags, decoded and scored."""
    from relcl_lib.text.decode import FASTRE_HEADS, SpanRules, join_triples, pair_spans
    from relcl_lib.text.triple_metrics import triple_scores

    sentences = real("nyt10", "new_test.json")
    schema, reader = paper_schema("nyt10"), WordReader((), 100)
    tagged = tag_sentences(sentences, reader, schema)
    assert len(tagged.heads) == 4705
    assert tagged.report["beyond_cut"] == 4
    found = [[] for _ in sentences]
    for rows in tagged.usable.split(256):
        batch, lengths = tagged.batch(rows, "sum"), tagged.inputs["lengths"][rows]
        # A head that the pairing does not give back loses its tails.
        decoded = pair_spans(batch.head_start, batch.head_end, FASTRE_HEADS, lengths)
        kept = (batch.heads.unsqueeze(1) == decoded).all(-1).any(1)
        assert len(decoded) == kept.sum()
        heads, rules = batch.heads[kept], SpanRules("nearest", 20, keep)
        tails = (batch.tail_start[kept], batch.tail_end[kept])
        tails = pair_spans(*tails, rules, lengths[heads[:, 0]])
        triples = join_triples(heads, tails, schema.mask())
        for row, a, b, _, relation, p, q in triples.tolist():
            at = int(rows[row])
            words = sentences[at].text.split()
            found[at].append(
                (" ".join(words[a : b + 1]), schema.relations[relation], " ".join(words[p : q + 1]))
            )
    scores = triple_scores(found, [s.triples for s in sentences])
    assert scores["precision"] == pytest.approx(100, abs=0.01)
    assert scores["F1"] == pytest.approx(ceiling, abs=0.006)
