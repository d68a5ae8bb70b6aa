"""Files as people have them: each small input, the right value through what a user calls."""

import codecs
import contextlib
import gzip
import io
import json
import shutil
from pathlib import Path
from unittest import mock

import crecl_data
import docre_data
import fastre_data
import pytest
from image_files import jpeg, write_tiny
from transformers import RobertaConfig, RobertaModel

from relcl_lib.__main__ import main
from relcl_lib.continual.relation_tasks import relation_stream
from relcl_lib.data.document_files import Fact
from relcl_lib.data.documents import load_documents
from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.images import load_images
from relcl_lib.data.sentences import load_sentences
from relcl_lib.data.triples import load_triples
from relcl_lib.data.weights import weights_folder
from relcl_lib.papers.crecl import run as crecl_run
from relcl_lib.papers.docre_ii.run import train_or_read
from relcl_lib.papers.fastre.run import FastreRun
from relcl_lib.text.pretrained import load_encoder
from relcl_lib.text.schema import any_schema, choose_schema, listed_in
from relcl_lib.worlds.encoder import build_tokenizer

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


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be"])
def test_other_encodings_are_named_with_what_to_do(tmp_path, encoding):
    def change(content):
        return content.decode().encode(encoding)

    name = "UTF-16" if "16" in encoding else "UTF-32"
    with pytest.raises(DataFormatError, match=rf"triples\.json: .*not UTF-8 but.*{name}.*iconv"):
        load_triples("mine", rewritten(tmp_path, "bom_triples", change))


def test_marks_that_tools_put_twice_or_between_are_no_content(tmp_path):
    def change(content):
        return with_mark(with_mark(content))

    def joined(content):
        lines = [json.dumps(record).encode() for record in json.loads(content)]
        return b"\n".join(map(with_mark, lines))

    plain = load_triples("mine", CASES / "bom_triples")
    for at, changed in enumerate((change, joined)):
        again = load_triples("mine", rewritten(tmp_path / str(at), "bom_triples", changed))
        assert again.fingerprint == plain.fingerprint


def test_splits_of_several_releases_and_files_under_other_names_are_noted(tmp_path):
    for file in (CASES / "casrel_dev_triples").iterdir():
        shutil.copy(file, tmp_path)
    for split in ("train", "test"):
        shutil.copy(tmp_path / f"{split}_triples.json", tmp_path / f"new_{split}.json")
    note = load_triples("mine", tmp_path).note
    assert "new_train.json, dev_triples.json, new_test.json are not of one release" in note
    (tmp_path / "dev_triples.json").rename(tmp_path / "my-validation.jsonl")
    note = load_triples("mine", tmp_path).note
    assert "no valid file, though my-validation.jsonl may be meant" in note
    assert "training sentences validate" in note and "one release" not in note


def test_own_data_under_a_name_of_the_papers_can_do_what_the_message_says(tmp_path):
    settings = {"data_root": str(CASES / "casrel_dev_triples"), "dataset": "nyt10"}
    given = fastre_data.parameters(**settings)
    with pytest.raises(DataFormatError, match=r"'birthPlace' is not.*'inferred' or 'any'"):
        FastreRun(given, FastreRun.load_data(given))
    for type_map in ("any", "inferred"):
        run = given.model_copy(update={"type_map": type_map})
        schema = FastreRun(run, FastreRun.load_data(run)).schema
        assert schema.relations == ("birthPlace", "country", "leader")


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


def command(*arguments, stdin=b""):
    """What `python -m relcl_lib fastre ...` says: exit code, output, errors."""
    out, err = io.StringIO(), io.StringIO()
    lines = mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    with lines, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["fastre", *map(str, arguments)])
        except SystemExit as end:  # argparse's --help
            code = end.code
    return code, out.getvalue(), err.getvalue()


SMALL = ("dataset=mine", "seeds=[0]", "hidden=32", "vector_size=32", "batch_size=16")


@pytest.fixture(scope="module")
def untokenised(tmp_path_factory):
    out = tmp_path_factory.mktemp("tagger")
    data = CASES / "untokenised_triples"
    more = ("epochs=40", "learning_rate=0.01", *SMALL)
    code, _, said = command("train", "--data", data, "--out", out, *more)
    assert code == 0, said
    return out, said


def test_plain_text_is_split_in_training_and_in_extraction(untokenised):
    out, said = untokenised
    for split, count in (("train", 40), ("valid", 8), ("test", 8)):
        assert f"{split}: {count} sentences, {count} of {count} triples located\n" in said
    assert json.loads((out / "model" / "tagger.json").read_text())["split"] == "punctuation"
    sentences = (CASES / "untokenised_triples" / "sentences.txt").read_bytes()
    _, found, _ = command("extract", "--model", out, stdin=sentences)
    plain, apart = map(json.loads, found.splitlines())
    for result, end in ((plain, "."), (apart, " .")):
        (triple,) = result["triples"]
        assert (triple["subject"], triple["object"]) == ("Marta Quill", "Lowford")
        assert result["text"][triple["object_span"][1] :] == end


def test_lost_triples_are_counted_and_explained_and_have_to_be_allowed(tmp_path):
    data, out = CASES / "untokenised_triples", tmp_path / "out"
    call = ("train", "--data", data, "--out", out, "epochs=1", "words=spaces", *SMALL)
    code, _, said = command(*call)
    assert code == 2 and not out.exists()
    for word in (
        "train: 40 sentences, 20 of 40 triples located",
        "20 of 40 triples are not trained on: 20 have an entity that begins or ends inside a word "
        "(record 1 of train.json: 'Lowford' in 'Lowford.')",
        "4 of 8 triples of the valid split cannot be found as they are written",
        "error: more than 10% of mine would be lost",
        "Set words=punctuation, or set allow_lost=true",
    ):
        assert word in said
    assert command(*call, "allow_lost=true")[0] == 0
    assert json.loads((out / "model" / "tagger.json").read_text())["split"] == "spaces"
    (record,) = (out / "results").rglob("*.json")
    note = json.loads(record.read_text())["note"]
    assert "of the test split cannot be found as they are written, which bounds its scores" in note


def test_a_mark_before_the_first_sentence_is_no_part_of_it(untokenised):
    lines = b"Marta Quill was born in Lowford and grew up there.\r\n" * 2
    plain = command("extract", "--model", untokenised[0], stdin=lines)
    marked = command("extract", "--model", untokenised[0], stdin=codecs.BOM_UTF8 + lines)
    assert marked[:2] == plain[:2]
    first, second = map(json.loads, marked[1].splitlines())
    assert first["text"].startswith("Marta") and first["triples"] == second["triples"]
    objects = b'{"text": "a b"}\n'
    code, said, _ = command(
        "extract", "--jsonl", "--model", untokenised[0], stdin=codecs.BOM_UTF8 + objects
    )
    assert code == 0 and json.loads(said)["text"] == "a b"


def test_marks_where_files_were_joined_are_dropped(untokenised):
    line = b"Marta Quill was born in Lowford and grew up there.\n"
    joined = (codecs.BOM_UTF8 * 2 + line) + codecs.BOM_UTF8 + line
    code, said, _ = command("extract", "--model", untokenised[0], stdin=joined)
    first, second = map(json.loads, said.splitlines())
    assert code == 0 and first["text"] == second["text"] == line.decode().strip()


def test_a_relation_that_rel2id_lacks_is_named_with_the_file(tmp_path):
    settings = {"data_root": str(CASES / "rel2id_lacks_a_relation"), "dataset": "mine"}
    parameters = fastre_data.parameters(**settings)
    for type_map in ("any", "inferred"):
        run = parameters.model_copy(update={"type_map": type_map})
        with pytest.raises(DataFormatError, match=r"rel2id\.json: has not the relation 'leader'"):
            FastreRun(run, FastreRun.load_data(run))
    data = FastreRun.load_data(parameters)
    for type_map, file in (("any", data.listed_in), ("inferred", data.listed_in)):
        assert listed_in(data, choose_schema(data, type_map)) == file != ""
    assert listed_in(data, any_schema(["another"])) == ""


def test_a_text_without_spaces_says_why_nothing_is_trained(tmp_path):
    rows = [{"text": "Lowford.", "triple_list": [["Lowford", "r", "Lowford"]]}] * 12
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.json").write_text(json.dumps(rows))
    run = fastre_data.parameters(data_root=str(tmp_path), dataset="mine", words="spaces")
    with pytest.raises(ValueError, match=r"no triple of mine's.*'Lowford' in 'Lowford\.'"):
        FastreRun(run, FastreRun.load_data(run))


# --- sentences ------------------------------------------------------------------------------------


def test_unequal_relations_are_each_split_by_themselves():
    data = load_sentences("fewrel", CASES / "unbalanced_fewrel")
    sizes = relation_stream(data, 2, 2021).sizes()
    assert sorted(sizes) == [(45, 18), (86, 34)]  # of 60, 60, 60 and 3


def test_a_set_of_ones_own_trains(tmp_path):
    shutil.copy(CASES / "bom_fewrel" / "fewrel80_subset.json", tmp_path / "mine.json")
    settings = {"data_root": str(tmp_path), "dataset": "mine", "n_tasks": 2, "memory_size": 2}
    (record,) = crecl_run.train_or_read(
        crecl_data.parameters(**settings, seeds=[2021]), results=tmp_path / "results"
    )
    assert record.dataset["set"] == "mine" and record.protocol == "stand-in"


def test_advice_on_positions_is_what_the_encoder_can_read(tmp_path):
    sentence = {"tokens": ["w"] * 600, "h": ["a", "Q1", [[0]]], "t": ["b", "Q2", [[2]]]}
    content = {relation: [sentence] * 3 for relation in ("P1", "P2")}
    (tmp_path / "mine.json").write_text(json.dumps(content))
    roberta = tmp_path / "roberta"
    tokenizer = build_tokenizer(["w w w"])
    tokenizer.save_pretrained(roberta)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    size |= {"intermediate_size": 16, "max_position_embeddings": 514, "pad_token_id": 1}
    RobertaModel(RobertaConfig(vocab_size=len(tokenizer), **size)).save_pretrained(roberta)
    settings = {"data_root": str(tmp_path), "dataset": "mine", "n_tasks": 2, "seeds": [2021]}
    for max_length, message in ((1024, "Set max_length to 512 or less"), (512, "")):
        run = crecl_data.make_run(
            data=load_sentences("mine", tmp_path),
            **settings,
            encoder=str(roberta),
            max_length=max_length,
        )
        if message:
            with pytest.raises(ValueError, match=message):
                run.train()
        else:
            run.train()


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


def unlabelled(tmp_path, *splits):
    """A case whose documents of some splits have no label."""
    for file in (CASES / "test_with_empty_labels").iterdir():
        records = json.loads(file.read_text())
        if file.stem.split("_")[0] in splits:
            records = [{**record, "labels": []} for record in records]
        (tmp_path / file.name).write_text(json.dumps(records))
    return tmp_path


def test_nothing_to_train_on_is_an_error(tmp_path):
    with pytest.raises(DataFormatError, match="no training document has a label"):
        load_documents("mine", unlabelled(tmp_path, "train"))


def test_a_dev_split_without_labels_is_noted_and_not_scored(tmp_path):
    folder = unlabelled(tmp_path, "dev")
    note = "no dev document has a label"
    assert note in load_documents("mine", folder).note
    record = trained(folder, tmp_path / "results")
    assert note in record.note and not any("dev" in name for name in record.metrics)
    assert record.metrics["best_epoch"] == docre_data.SMALL["stage1_epochs"] * 2


def test_a_relation_that_only_test_has_is_noted(tmp_path):
    for file in (CASES / "docred_and_redocred_one_folder").glob("*_revised.json"):
        text = file.read_text()
        if file.stem.startswith("test"):
            text = text.replace('"r": "P17"', '"r": "P1376"')
        (tmp_path / file.name).write_text(text)
    data = load_documents("redocred", tmp_path)
    assert "no training document has the relation P1376" in data.note


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
    assert (data.relations, data.protocol) == (("Association", "Bind"), "stand-in")
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


#: title -> cheese, dairy, valley and person of `own_documents/documents.jsonl`
RIGHT = {
    "Stony Wheel": ("Stony Wheel", "Harkness", "Ribbledene", "Joan Harkness"),
    "Moorland Blue": ("Moorland Blue", "Ravenscar", "Eskmoor", "Will Tranter"),
    "Snowcap": ("Snowcap", "Almhytta", "Setervik", "Greta Falk"),
}


def test_a_model_of_own_relations_finds_them_in_own_documents(tmp_path, monkeypatch, capsys):
    """Cheeses, dairies, valleys and persons, invented and written by hand."""
    folder = CASES / "own_documents"
    few = ["device=cpu", "stage1_epochs=3", "stage2_epochs=8", "batch_size=2"]
    call = ["docre_ii", "train", "--data", str(folder), "--profile", "quick", *few]
    assert main([*call, "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["protocol"] == "stand-in"
    text = (folder / "documents.jsonl").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert main(["docre_ii", "predict", "--model", str(tmp_path)]) == 0
    shown, said = capsys.readouterr()
    # A line alone: no name has other words at its place.
    assert said.startswith("3 documents, ") and said.count("\n") == 1
    found, right, inferred = set(), set(), []
    for line, source in zip(shown.splitlines(), text.splitlines(), strict=True):
        line, source = json.loads(line), json.loads(source)
        names = [mentions[0]["name"] for mentions in source["vertexSet"]]
        for mention in (m for mentions in source["vertexSet"] for m in mentions):
            words = source["sents"][mention["sent_id"]][slice(*mention["pos"])]
            assert " ".join(words) == mention["name"]
        cheese, dairy, valley, person = RIGHT[line["title"]]
        right |= {(cheese, "made by", dairy), (dairy, "lies in", valley)}
        right |= {(cheese, "comes from", valley), (dairy, "run by", person)}
        for fact in line["facts"]:
            ends = fact["head"], fact["tail"]
            assert (fact["head_name"], fact["tail_name"]) == tuple(names[at] for at in ends)
            found.add((fact["head_name"], fact["relation"], fact["tail_name"]))
            assert bool(fact["rests_on"]) is (fact["by"] == "inference")
            inferred += fact["rests_on"]
            for pair in fact["rests_on"]:
                other = pair["head"], pair["tail"]
                assert set(other) & set(ends) and other != ends and 0 < pair["weight"] <= 1
                assert (pair["head_name"], pair["tail_name"]) == tuple(names[at] for at in other)
    assert inferred and len(found & right) >= 5 and len(found - right) <= 2


# --- images ---------------------------------------------------------------------------------------


@pytest.fixture
def small_tiny_imagenet(tmp_path):
    """Two classes, three training images and one validation image of each."""
    return write_tiny(tmp_path / "tiny-imagenet-200", ("n00000011", "n00000022"))


def read_images(folder):
    return load_images("tiny_imagenet", folder, download=False, check_counts=False)


def test_what_tiny_imagenet_lacks_is_named(small_tiny_imagenet):
    folder = small_tiny_imagenet
    data = read_images(folder.parent)  # it may be named, or what it lies in
    assert data.sizes == {"train": 6, "test": 2} and data.test_labels.tolist() == [0, 1]
    (folder / "val" / "n00000011").mkdir()
    image = folder / "val" / "images" / "val_0.JPEG"
    image.rename(folder / "val" / "n00000011" / image.name)
    message = (
        r"1 of 2 images of val/val_annotations\.txt are not in val/images/ \(first: .*val_0\.JPEG"
    )
    with pytest.raises(DataFormatError, match=f"{message}.*Put all of them") as caught:
        read_images(folder)
    assert "ownload" not in str(caught.value)
    (folder / "val" / "val_annotations.txt").unlink()
    with pytest.raises(DataFormatError, match=r"val_annotations\.txt is missing.*Put all of them"):
        read_images(folder)
    (folder / "wnids.txt").write_text("n00000011\n", encoding="utf-16")
    with pytest.raises(DataFormatError, match=r"wnids\.txt: .*UTF-16.*iconv"):
        read_images(folder)
    (folder / "wnids.txt").unlink()
    with pytest.raises(DataFormatError, match=r"wnids\.txt is missing.*folders in train/"):
        read_images(folder)


def test_a_folder_that_has_changed_is_read_again(small_tiny_imagenet):
    folder = small_tiny_imagenet
    first = read_images(folder)
    assert read_images(folder) is first
    image = folder / "train" / "n00000011" / "images" / "n00000011_0.JPEG"
    image.write_bytes(jpeg((9, 9, 9)))
    again = read_images(folder)
    assert again.fingerprint != first.fingerprint and read_images(folder) is again


# --- weights --------------------------------------------------------------------------------------


def test_truncated_weights_are_named(tmp_path):
    shutil.copytree(weights_folder("tiny"), tmp_path / "encoder")
    file = tmp_path / "encoder" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataFormatError, match=r"^\S*model\.safetensors: truncated or damaged"):
        load_encoder(tmp_path / "encoder")
