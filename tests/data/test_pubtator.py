"""CDR and GDA: PubTator, RENET's folders, candidate pairs, the hypernym filter (check 15)."""

import gzip
from collections import Counter
from pathlib import Path

import pytest

from relcl_lib.data.candidate_sets import CDR_FILES, read_gda_folder
from relcl_lib.data.document_files import Fact
from relcl_lib.data.documents import load_documents
from relcl_lib.data.download import DataFormatError
from relcl_lib.data.pubtator import (
    Line,
    as_candidate_document,
    as_related_document,
    is_hypernym,
    make_abstract,
    read_mesh_tree,
    read_pubtator,
)

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "cdr"
TITLE = "Nausea by aspirin."
BODY = "Aspirin caused renal and liver failure. Coma-like states (e.g. stupor) were not seen."
TEXT = f"{TITLE} {BODY}"


def line(text, kind, ids, parts=None, pmid="7", nth=0):
    start = -1
    for _ in range(nth + 1):
        start = TEXT.index(text, start + 1)
    columns = [pmid, str(start), str(start + len(text)), text, kind, ids]
    return "\t".join(columns + ([parts] if parts else []))


MENTIONS = [
    line("Nausea", "Disease", "D1"),
    line("aspirin", "Chemical", "C1"),
    line("Aspirin", "Chemical", "C1"),
    line("renal and liver failure", "Disease", "D2|D3", "renal failure|liver failure"),
    line("Coma", "Disease", "D4"),
    line("stupor", "Disease", "-1"),
]
RELATIONS = ["7\tCID\tC1\tD3", "7\tCID\tC1\tD9"]


def write(path, mentions=MENTIONS, relations=RELATIONS, pmid="7"):
    lines = [f"{pmid}|t|{TITLE}", f"{pmid}|a|{BODY}", *mentions, *relations]
    path.write_text("\n".join(lines) + "\n\n")
    return path


def document(tmp_path, **options):
    (abstract,) = read_pubtator(write(tmp_path / "a.txt"))
    return as_candidate_document(abstract, **options)


def test_entities_are_identifiers_in_order_of_first_mention(tmp_path):
    report = Counter()
    found = document(tmp_path, report=report)
    names = [[mention.name for mention in mentions] for mentions in found.entities]
    assert names == [
        ["Nausea"],
        ["aspirin", "Aspirin"],
        ["renal failure"],
        ["liver failure"],
        ["Coma"],
    ]
    assert report == {"ungrounded_mentions": 1, "facts_without_mention": 1}


def test_the_order_of_the_mention_lines_changes_nothing(tmp_path):
    expected = document(tmp_path)
    (turned,) = read_pubtator(write(tmp_path / "b.txt", mentions=MENTIONS[::-1]))
    assert as_candidate_document(turned) == expected


def test_mentions_lie_on_their_tokens(tmp_path):
    found = document(tmp_path)
    for mentions in found.entities:
        for mention in mentions:
            tokens = found.sentences[mention.sentence][mention.start : mention.end]
            spoken = "".join(tokens)
            assert spoken in ("renalandliverfailure", mention.name)
    # A mention inside a word is cut out of it; the title is a sentence of its own.
    assert found.sentences[0] == ("Nausea", "by", "aspirin", ".")
    assert found.sentences[2][:4] == ("Coma", "-", "like", "states")
    assert len(found.sentences) == 3


def test_no_sentence_ends_inside_a_mention(tmp_path):
    text = "We saw St. John disease. It went."
    path = tmp_path / "a.txt"
    start = text.index("St.")
    row = f"7\t{start}\t{start + 15}\tSt. John disease\tDisease\tD1"
    path.write_text(f"7|t|{text}\n7|a|\n{row.replace(str(start + 15), str(start + 16))}\n")
    (abstract,) = read_pubtator(path)
    found = as_candidate_document(abstract)
    assert len(found.sentences) == 2
    (mention,) = found.entities[0]
    assert found.sentences[0][mention.start : mention.end] == ("St", ".", "John", "disease")


def test_candidates_and_their_orientation(tmp_path):
    released = document(tmp_path)
    assert released.pairs == ((0, 1), (1, 2), (1, 3), (1, 4))
    assert released.facts == (Fact(1, "CID", 3),)
    uniform = document(tmp_path, orientation="kind")
    assert uniform.pairs == ((1, 0), (1, 2), (1, 3), (1, 4))
    with pytest.raises(ValueError, match="orientation"):
        document(tmp_path, orientation="chemical")


def test_the_hypernym_filter_drops_diseases_above_a_related_one(tmp_path):
    rows = [
        "Tree Number\tDesc Ui\tTerm",
        "C1\tD2\tkidney",
        "C1.5\tD3\tx",
        "C1.5.9\tD4\ty",
        "C2\tD1\tz",
    ]
    (tmp_path / "tree.txt").write_text("\n".join(rows))
    tree = read_mesh_tree(tmp_path / "tree.txt")
    assert is_hypernym("D2", "D3", tree)
    assert is_hypernym("D3", "D3", tree)
    assert not is_hypernym("D4", "D3", tree)
    assert not is_hypernym("D8", "D3", tree)
    report = Counter()
    found = document(tmp_path, tree=tree, report=report)
    assert found.pairs == ((0, 1), (1, 3), (1, 4))  # the kidney is more general, the coma is not
    assert report["excluded_pairs"] == 1
    assert len(found.entities) == 5  # its mention stays marked
    (abstract,) = read_pubtator(tmp_path / "a.txt")
    kinds = [mentions[0].type for mentions in found.entities]
    for orientation, forms in (("document", 1), ("kind", 2)):
        related = as_related_document(abstract, orientation=orientation, tree=tree)
        assert len(related.pairs) == forms * (10 - 1)
        mixed = {tuple(sorted(p)) for p in related.pairs if kinds[p[0]] != kinds[p[1]]}
        assert mixed == set(found.pairs)
    (tmp_path / "tree.txt").write_text("no tab")
    with pytest.raises(DataFormatError, match="line 1: no tab"):
        read_mesh_tree(tmp_path / "tree.txt")


@pytest.mark.parametrize(
    "bad, words",
    [
        (
            "7\t1\t7\tNausea\tDisease\tD1",
            "line 3, fields start and end: the text at 1 to 7 is 'ausea '",
        ),
        ("7\tx\t7\tNausea\tDisease\tD1", "line 3, fields start and end: invalid literal"),
        ("8\t0\t6\tNausea\tDisease\tD1", "its first column is '8'"),
        ("7\t0\t6", "line 3: 3 columns"),
        ("7\t5\t3\tNausea\tDisease\tD1", "fields start and end: the text at 5 to 3 is ''"),
        ("7\t0\t999\t" + TEXT + "\tDisease\tD1", "the text at 0 to 999 is ''"),
        ("7\tXYZ\tC1\tD1", "line 3, field relation: 'XYZ', expected 'CID'"),
    ],
)
def test_damaged_lines_are_named(tmp_path, bad, words):
    path = write(tmp_path / "a.txt", [bad])
    with pytest.raises(DataFormatError) as caught:
        read_pubtator(path, "CID")
    assert words in str(caught.value)
    assert "document 7" in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "before, said",
    [
        ("6|t|Rash.\n6|a|None.\n", r"document 6, line 3: 7\|t\| stands inside it\. Leave a blank"),
        ("7|t|Rash.\n", r"document 7, line 2: 7\|t\| stands inside it"),
        ("6|a|None.\n", r"document 6, line 2: 7\|t\| stands"),
    ],
)
def test_documents_without_a_blank_line_between_are_named(tmp_path, before, said):
    path = write(tmp_path / "a.txt")
    path.write_text(before + path.read_text())
    with pytest.raises(DataFormatError, match=said):
        read_pubtator(path)
    path.write_text(before.replace("7|", "5|") + "\n" + write(tmp_path / "b.txt").read_text())
    assert [found.pmid for found in read_pubtator(path)] == [before[0].replace("7", "5"), "7"]


def test_offsets_from_the_end_of_the_text_are_refused(tmp_path):
    """A slice takes negative numbers, so the text there is the mention's."""
    start = TEXT.index("stupor") - len(TEXT)
    assert TEXT[start : start + 6] == "stupor"
    path = write(tmp_path / "a.txt", [f"7\t{start}\t{start + 6}\tstupor\tDisease\tD1"])
    words = f"line 3, fields start and end: the text at {start} to {start + 6} is ''"
    with pytest.raises(DataFormatError, match=words):
        read_pubtator(path)
    report = Counter()
    make_abstract(lines_of(path), report=report)
    assert report == {"offsets_disagree": 1}


def lines_of(path):
    lines = enumerate(path.read_text().splitlines(), 1)
    return [Line(path, at, text) for at, text in lines if text]


def test_offsets_that_disagree_can_be_counted(tmp_path):
    path = write(tmp_path / "a.txt", ["7\t1\t7\tNausea\tDisease\tD1", *MENTIONS])
    report = Counter()
    abstract = make_abstract(lines_of(path), report=report)
    assert report == {"offsets_disagree": 1}
    assert len(abstract.annotations) == len(MENTIONS)


def test_a_document_twice_or_without_title(tmp_path):
    path = write(tmp_path / "a.txt")
    path.write_text(path.read_text() * 2)
    with pytest.raises(DataFormatError, match="document 7 stands there twice"):
        read_pubtator(path)
    path.write_text("7\tCID\tC1\tD1\n")
    with pytest.raises(DataFormatError, match="line 1: a document without a title"):
        read_pubtator(path)


def cdr(folder, tree=False):
    for name, pmid in zip(CDR_FILES, ("7", "8", "9"), strict=True):
        mentions = [row.replace("7\t", f"{pmid}\t", 1) for row in MENTIONS]
        relations = [row.replace("7\t", f"{pmid}\t", 1) for row in RELATIONS]
        write(folder / name, mentions, relations, pmid)
    if tree:
        (folder / "2017MeshTree.txt").write_text("C1\tD2\tkidney\nC1.5\tD3\tx\n")
    return load_documents("cdr", folder)


def test_cdr_says_whether_it_was_filtered(tmp_path):
    plain = cdr(tmp_path)
    assert "no hypernym filter" in plain.note
    assert plain.report["facts_without_mention"] == 3
    assert plain.relations == ("CID",)
    filtered = cdr(tmp_path, tree=True)
    assert filtered.report["excluded_pairs"] == 3
    assert "hypernym filter by 2017MeshTree.txt" in filtered.note
    tree = tmp_path / "2017MeshTree.txt"
    (tmp_path / "2017meshtree.txt.gz").write_bytes(gzip.compress(tree.read_bytes()))
    tree.unlink()
    assert cdr(tmp_path).report["excluded_pairs"] == 3
    assert len(filtered.test[0].pairs) == len(plain.test[0].pairs) - 1


@pytest.mark.parametrize("empty", ["Train", "Dev"])
def test_files_of_ones_own_numbered_alike_are_no_copies_and_an_empty_one_is_named(empty, tmp_path):
    for part in ("Train", "Dev"):
        lines = f"1|t|Aspirin pain {part}\n1|a|It hurts.\n1\t0\t7\tAspirin\tChemical\tC1\n"
        lines += "1\t8\t12\tpain\tDisease\tD1\n1\tCID\tC1\tD1\n"
        (tmp_path / f"{part}.PubTator").write_text(lines)
    assert load_documents("own", tmp_path).sizes == {"train": 1, "dev": 1, "test": 0}
    (tmp_path / f"{empty}.PubTator").write_text("\n")
    with pytest.raises(DataFormatError, match=rf"{empty}\.PubTator: holds no document"):
        load_documents("own", tmp_path, reduced=True)


def test_training_documents_that_are_in_dev_are_dropped(tmp_path):
    cdr(tmp_path)
    train, dev = (tmp_path / name for name in CDR_FILES[:2])
    train.write_text(train.read_text() + dev.read_text())
    data = load_documents("cdr", tmp_path)
    assert data.sizes == {"train": 1, "dev": 1, "test": 1}
    assert "1 training documents that are also in dev or test were dropped" in data.note
    train.write_text(dev.read_text())
    with pytest.raises(DataFormatError, match="each training document is in dev or test as well"):
        load_documents("cdr", tmp_path)


def test_a_plain_name_goes_before_one_with_additions(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for name, pmid in (
        ("Train", 1),
        ("Dev", 2),
        ("A-Train-old", 3),
        ("Train (1)", 4),
        ("A-Dev", 5),
    ):
        write(own / f"{name}.PubTator", [], [], pmid)
    data = load_documents("mine", own)
    assert data.source == "Train.PubTator, Dev.PubTator"
    assert "not read: Train (1).PubTator, A-Train-old.PubTator, A-Dev.PubTator" in data.note
    for name in ("Train", "Dev"):
        (own / f"{name}.PubTator").unlink()
    for name, pmid in (("my-train", 1), ("my-train-2", 6), ("my-dev", 7)):
        write(own / f"{name}.pubtator", [], [], pmid)
    assert load_documents("mine", own).source == "my-train.pubtator, A-Dev.PubTator"


@pytest.mark.parametrize("nothing", ["none", "NULL", "n/a", "N/A", "None", "-", "-1"])
def test_no_identifier_is_written_in_many_ways(tmp_path, nothing):
    mentions = [*MENTIONS[:-1], line("stupor", "Disease", nothing)]
    (abstract,) = read_pubtator(write(tmp_path / "a.txt", mentions))
    report = Counter()
    assert len(as_candidate_document(abstract, report=report).entities) == 5
    assert report["ungrounded_mentions"] == 1


def gda(folder):
    for part, pmids in (("training_data", "12345678"), ("testing_data", "9")):
        (folder / part).mkdir()
        texts, mentions, labels = [], [], ["pmid,geneId,diseaseId,label"]
        for pmid in pmids:
            texts += [pmid, TITLE, BODY, ""]
            mentions += [
                line("Nausea", "Disease", "D1", pmid=pmid),
                line("aspirin", "Gene", "5", pmid=pmid),
                f"{pmid}\t3\t9\toffset\tGene\t6",
                "",
            ]
            labels.append(f"{pmid},5,D1,{int(pmid) % 2}")
        (folder / part / "abstracts.txt").write_text("\n".join(texts))
        (folder / part / "anns.txt").write_text("\n".join(mentions))
        (folder / part / "labels.csv").write_text("\n".join(labels))


def test_gda_from_its_folders(tmp_path):
    gda(tmp_path)
    abstracts = read_gda_folder(tmp_path / "training_data", Counter())
    assert [a.pmid for a in abstracts] == list("12345678")
    assert [len(a.relations) for a in abstracts] == [1, 0] * 4
    drawn = load_documents("gda", tmp_path)
    assert drawn.sizes == {"train": 7, "dev": 1, "test": 1}
    assert "no train_gda_docs" in drawn.note
    assert drawn.report["offsets_disagree"] == 9
    (tmp_path / "train_gda_docs").write_text("1\n2\n3\n")
    listed = load_documents("gda", tmp_path)
    assert listed.sizes == {"train": 3, "dev": 5, "test": 1}
    assert listed.test[0].pairs == ((0, 1),)
    assert listed.test[0].facts == (Fact(0, "GDA", 1),)
    (tmp_path / "testing_data" / "labels.csv").write_text("1,2\n")
    with pytest.raises(DataFormatError, match=r"labels\.csv: line 1: 2 columns"):
        load_documents("gda", tmp_path)


def test_gda_documents_without_abstract_or_title(tmp_path):
    gda(tmp_path)
    folder = tmp_path / "training_data"
    texts = ["1", TITLE, "", "2", TITLE, BODY, "", "3", "", "4", TITLE]
    (folder / "abstracts.txt").write_text("\n".join(texts))
    report = Counter()
    abstracts = read_gda_folder(folder, report)
    assert [(a.pmid, a.text) for a in abstracts] == [
        ("1", f"{TITLE} "),
        ("2", TEXT),
        ("4", f"{TITLE} "),
    ]
    assert report["documents_without_abstract"] == 2
    assert report["documents_without_title"] == 1
    assert [len(a.annotations) for a in abstracts] == [2] * 3  # both stand in the title


def test_damaged_rows_of_gda_are_named_with_their_file(tmp_path):
    gda(tmp_path)
    folder = tmp_path / "training_data"
    rows = (folder / "anns.txt").read_text().split("\n")
    rows[5] = "2\tx\t6\tNausea\tDisease\tD1"
    (folder / "anns.txt").write_text("\n".join(rows))
    with pytest.raises(DataFormatError) as caught:
        read_gda_folder(folder, Counter())
    assert str(caught.value).startswith(f"{folder / 'anns.txt'}: document 2, line 6, fields start")


@pytest.mark.skipif(not REAL.is_dir(), reason="no CDR corpus beside the checkout")
def test_real_cdr_has_the_candidates_of_the_specification():
    """Check 15: positives, and negatives before the filter; the largest document."""
    data = load_documents("cdr", REAL)
    assert data.sizes == {"train": 500, "dev": 500, "test": 500}
    counts = {
        split: (
            sum(len(d.facts) for d in getattr(data, split)),
            sum(len(d.pairs) - len(d.facts) for d in getattr(data, split)),
        )
        for split in ("train", "dev", "test")
    }
    filtered = "hypernym filter by" in data.note  # a MeSH tree lies beside the files
    negatives = (4202, 4075, 4138) if filtered else (4394, 4249, 4339)
    expected = zip(("train", "dev", "test"), (1038, 1012, 1066), negatives, strict=True)
    assert counts == {split: (positive, negative) for split, positive, negative in expected}
    assert max(len(d.entities) for d in data.test) == 22
    assert max(len(d.pairs) for d in data.test) == 117
