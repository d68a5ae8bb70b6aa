"""Maps from entity types to relations: the paper's, inferred ones, and one's own."""

import json
from importlib.resources import files

import pytest

from relcl_lib.data.download import DataFormatError
from relcl_lib.data.triples import Sentence, Triple, assemble_triples
from relcl_lib.text.schema import choose_schema, infer_schema, paper_schema, read_schema


def write(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


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
    data = assemble_triples("mine", {"train": made, "test": made[:2]})
    assert choose_schema(data).source == "any"
    assert choose_schema(data, "any").mask().all()
    assert choose_schema(data, "inferred").source == "inferred"
    with pytest.raises(ValueError, match="no type map for mine"):
        choose_schema(data, "paper")
    with pytest.raises(ValueError, match="auto, paper, inferred, any; did you mean 'inferred'"):
        choose_schema(data, "infered")
    entries = [{"relation": r, "subject_type": "T", "object_type": "U"} for r in data.relations]
    marked = json.dumps({"mine": entries})  # as the generated corpus's lies there
    (tmp_path / "marked.json").write_text(marked, encoding="utf-8-sig")
    for path in (write(tmp_path / "s.json", entries), tmp_path / "marked.json"):
        assert choose_schema(data, str(path)).types == ("T",)


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


def test_inferred_types_of_equal_weight_keep_the_order_of_the_relations():
    relations = [f"relation {i}" for i in range(12)]
    data = [Sentence("", (Triple(f"{r}'s own", r, "x"),)) for r in relations]
    assert infer_schema(data, relations[::-1]).types == tuple(relations[::-1])
