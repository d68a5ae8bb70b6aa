"""Files as people have them: each small input, the right value through what a user calls."""

import codecs
import gzip
import json
import shutil
from pathlib import Path

import docre_data
import pytest

from relcl_lib.data.document_files import Fact
from relcl_lib.data.documents import load_documents
from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.sentences import load_sentences
from relcl_lib.data.triples import load_triples
from relcl_lib.papers.docre_ii.run import train_or_read

CASES = Path(__file__).parent / "cases"


def rewritten(folder, name, change):
    """A copy of a case whose files' bytes are changed."""
    folder.mkdir(exist_ok=True)
    for file in (CASES / name).iterdir():
        (folder / file.name).write_bytes(change(file.read_bytes()))
    return folder


def with_mark(content):
    return codecs.BOM_UTF8 + content.replace(b"\n", b"\r\n")


def utf_16(content):
    return content.decode().encode("utf-16")


# --- triples --------------------------------------------------------------------------------------


def test_a_byte_order_mark_is_no_content(tmp_path):
    plain = load_triples("mine", CASES / "bom_triples")
    assert plain.sizes == {"train": 8, "valid": 2, "test": 3}
    assert load_triples("mine", rewritten(tmp_path / "a", "bom_triples", with_mark)) == plain
    sentences = load_sentences("fewrel", rewritten(tmp_path / "b", "bom_fewrel", with_mark))
    assert sentences.report["sentences"] == 24
    both = "docred_and_redocred_one_folder"
    documents = load_documents("docred", rewritten(tmp_path / "c", both, with_mark))
    assert documents == load_documents("docred", CASES / both)
    with pytest.raises(DataFormatError, match=r"train_triples\.json: .*UTF-16.*iconv"):
        load_triples("mine", rewritten(tmp_path / "d", "bom_triples", utf_16))


def test_casrel_s_dev_triples_validate(tmp_path):
    data = load_triples("mine", CASES / "casrel_dev_triples")
    assert data.sizes == {"train": 40, "valid": 10, "test": 10}
    assert "dev_triples.json" in data.source and data.note == ""
    for file in (CASES / "casrel_dev_triples").iterdir():
        shutil.copy(file, tmp_path)
    for name in ("dev.json", "test_triples_seo.json", "._test.json"):
        shutil.copy(tmp_path / "dev_triples.json", tmp_path / name)
    again = load_triples("mine", tmp_path)
    assert again.note == "also there and not read: dev.json, test_triples_seo.json"
    assert again.fingerprint == data.fingerprint


def test_json_lines_and_gzip_are_read_as_well(tmp_path):
    plain = load_triples("mine", CASES / "bom_triples")
    for file in (CASES / "bom_triples").iterdir():
        lines = "\n".join(map(json.dumps, json.loads(file.read_text())))
        (tmp_path / f"{file.stem}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    assert load_triples("mine", tmp_path).fingerprint == plain.fingerprint
    (tmp_path / "train_triples.jsonl.gz").write_bytes(gzip.compress(b"[]")[:-6])
    with pytest.raises(DataFormatError, match=r"train_triples\.jsonl\.gz: cannot be read"):
        load_triples("mine", tmp_path)


def test_what_is_not_found_says_what_is_there_and_what_is_taken(tmp_path):
    (tmp_path / "learn.json").write_text("[]")
    (tmp_path / ".DS_Store").write_text("")
    with pytest.raises(DataNotFoundError) as caught:
        load_triples("mine", tmp_path)
    said = str(caught.value)
    assert "(holds learn.json)" in said and "(no such folder)" in said
    for name in ("dev_triples.json", "valid.json", "train_data.json", ".jsonl", "reduced_data"):
        assert name in said


def test_a_null_list_is_named():
    with pytest.raises(DataFormatError, match=r"record \d+, field triple_list is null"):
        load_triples("mine", CASES / "null_triple_list")


# --- documents ------------------------------------------------------------------------------------


def test_each_set_takes_its_own_files_of_one_folder(tmp_path):
    folder = CASES / "docred_and_redocred_one_folder"
    revised = load_documents("redocred", folder)
    assert revised.source == "train_revised.json, dev_revised.json, test_revised.json"
    assert revised.test[0].title == "Re-DocRED 0" and len(revised.test[0].facts) == 3
    first = load_documents("docred", folder)
    assert first.source == "train_annotated.json, dev.json, test.json"
    own = load_documents("mine", folder)
    assert own.source == first.source and "not read: train_revised.json" in own.note
    shutil.copy(folder / "train_revised.json", tmp_path)
    shutil.copy(folder / "dev_revised.json", tmp_path)
    with pytest.raises(DataNotFoundError, match=r"holds dev_revised\.json, train_revised\.json"):
        load_documents("docred", tmp_path)


def trained(folder, tmp_path):
    own = {"data_root": str(folder), "encoder": "tiny", "batch_size": 2, "generated": 0}
    parameters = docre_data.parameters(**own)
    (record,) = train_or_read(parameters, results=tmp_path)
    return record


def test_empty_labels_throughout_are_no_labels(tmp_path):
    data = load_documents("mine", CASES / "test_with_empty_labels")
    assert not data.is_labelled("test") and "no test document has a label" in data.note
    record = trained(CASES / "test_with_empty_labels", tmp_path)
    assert "F1" not in record.metrics and "F1_dev" in record.metrics
    assert "no test document has a label" in record.note


def test_a_split_without_a_pair_is_noted_and_trains(tmp_path):
    folder = CASES / "split_without_a_pair"
    note = "no document of the test split has a pair of entities"
    assert note in load_documents("mine", folder).note
    record = trained(folder, tmp_path)
    assert record.metrics["F1_dev"] >= 0 and note in record.note
    assert record.metrics.get("F1", 0) == 0


def test_tabs_at_the_end_of_pubtator_lines_are_no_columns(tmp_path):
    texts = "{0}|t|Vorlinase caused tremor.\n{0}|a|We report rash.\n"
    rows = "{0}\t0\t9\tVorlinase\tChemical\tD1\n{0}\t17\t23\ttremor\tDisease\tD2\t\n"
    rows += "{0}\t35\t39\trash\tDisease\tD3\t\t\n{0}\tCID\tD1\tD2\t\n\n"
    for at, split in enumerate(("Training", "Development", "Test")):
        path = tmp_path / f"CDR_{split}Set.PubTator.txt"
        path.write_text((texts + rows).format(at), encoding="utf-8-sig", newline="\r\n")
    (document,) = load_documents("cdr", tmp_path).test
    names = [mention.name for (mention,) in document.entities]
    assert (names, document.title) == (["Vorlinase", "tremor", "rash"], "2")
    assert document.facts == (Fact(0, "CID", 1),)


BIORED = """{0}|t|p.R337C of TP53 in HeLa and glioma.
{0}|a|Unnamed things, renin and ACE.
{0}\t0\t7\tp.R337C\tSequenceVariant\tp|SUB|R|337|C
{0}\t11\t15\tTP53\tGeneOrGeneProduct\t7157
{0}\t19\t23\tHeLa\tCellLine\t-
{0}\t28\t34\tglioma\tDisease\tD005910
{0}\t36\t43\tUnnamed\tDisease\t
{0}\t44\t50\tthings\tChemicalEntity\tNone
{0}\t52\t65\trenin and ACE\tGeneOrGeneProduct\t5972,1636
{0}\tAssociation\tD005910\tp|SUB|R|337|C\tNovel
{0}\tBind\t7157\t1636\tNo
{0}\tBind\t7157\t9999\tNo

"""


def test_pubtator_files_of_any_kinds_and_relations(tmp_path):
    for at, split in enumerate(("Train", "Dev", "Test")):
        (tmp_path / f"{split}.PubTator").write_text(BIORED.format(at))
    data = load_documents("biored", tmp_path)
    assert (data.relations, data.protocol) == (("Association", "Bind"), "reduced")
    assert data.report == {"ungrounded_mentions": 9, "facts_without_mention": 3}
    (document,) = data.dev
    kinds = [(entity[0].type, entity[0].name) for entity in document.entities]
    gene = "GeneOrGeneProduct"
    assert kinds == [
        ("SequenceVariant", "p.R337C"),
        (gene, "TP53"),
        ("Disease", "glioma"),
        (gene, "renin and ACE"),
        (gene, "renin and ACE"),
    ]
    assert document.facts == (Fact(0, "Association", 2), Fact(1, "Bind", 4))
    assert len(document.candidates()) == 10
    written = load_documents("biored", tmp_path, orientation="kind").dev[0]
    assert written.facts[0] == Fact(2, "Association", 0) and len(written.candidates()) == 20
    (tmp_path / "Test.PubTator").write_text(BIORED.format(2).split("2\tAssociation")[0])
    assert not load_documents("biored", tmp_path).is_labelled("test")
