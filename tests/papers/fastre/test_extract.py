"""Extraction: batches, spans of characters, saving, the streaming command, bad lines."""

import copy
import inspect
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fastre_data import learned_run, parameters, tiny_data

from relcl_lib.__main__ import main
from relcl_lib.data.triples import assemble_triples, load_triples
from relcl_lib.lab.checkpoints import CheckpointError
from relcl_lib.lab.command_line import Skipped
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.papers.fastre.command import (
    Extracted,
    dataset_name,
    extract_stream,
    pass_over,
    read_lines,
)
from relcl_lib.papers.fastre.command import main as main_of_fastre
from relcl_lib.papers.fastre.confidence import describe_calibration, reliability
from relcl_lib.papers.fastre.extract import Extractor
from relcl_lib.papers.fastre.parameters import FastreParameters
from relcl_lib.papers.fastre.run import FastreRun
from relcl_lib.text.schema import any_schema
from relcl_lib.text.splitting import split_text

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def run():
    run = learned_run()
    assert run.evaluate("valid")["F1"] > 30
    return run


@pytest.fixture
def extractor(run):
    return run.extractor()


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return run.extractor().save(tmp_path_factory.mktemp("tagger") / "model")


def texts(count=40):
    return [sentence.text for sentence in tiny_data().train[:count]]


def test_spans_are_the_characters_of_the_entities(extractor):
    spaced = ["  " + text.replace(" ", " \t ") for text in texts()]
    plain, wide = extractor.extract(texts()), extractor.extract(spaced)
    assert sum(map(len, plain)) > 10
    for text, found, other, before in zip(spaced, wide, plain, texts(), strict=True):
        assert [t.relation for t in found] == [t.relation for t in other]
        for triple, same in zip(found, other, strict=True):
            assert text[slice(*triple.subject_span)] == triple.subject
            assert text[slice(*triple.object_span)] == triple.object
            assert before[slice(*same.subject_span)] == same.subject
            assert triple.subject.split() == same.subject.split()


def test_texts_and_token_triples_agree(run, extractor):
    by_text = extractor.extract([sentence.text for sentence in run.data.test])
    for found, words in zip(by_text, run.predict("test"), strict=True):
        assert {(t.subject, t.relation, t.object) for t in found} == set(words)


def test_batch_sizes_and_company_change_nothing(extractor):
    alone = []
    for text in texts():
        alone += extractor.extract([text])
    for size in (1, 8, 128):
        extractor.batch_size = size
        assert extractor.extract(texts()) == alone
    assert extractor.extract(texts()[::-1]) == alone[::-1]


def test_chunks_of_heads_change_nothing(extractor, monkeypatch):
    before = extractor.extract(texts())
    monkeypatch.setattr("relcl_lib.papers.fastre.extract.CELLS", 1)
    assert extractor.extract(texts()) == before


def test_no_loop_over_tokens_or_relations():
    """The network's part of a batch is the same number of operations whatever it holds."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            Count.calls += 1
            return function(*args, **(kwargs or {}))

    run = FastreRun(parameters(), tiny_data())
    extractor, counts = run.extractor(), []
    for copies in (1, 12):
        inputs = extractor.reader.read([text.split() for text in texts(3) * copies])
        Count.calls = 0
        with Count():
            extractor.predict(inputs)
        counts.append(Count.calls)
    assert abs(counts[1] - counts[0]) <= 0.25 * counts[0]


def test_empty_long_and_unknown_texts(extractor):
    assert extractor.extract([]) == []
    assert extractor.extract(["", "   ", "\t"]) == [[], [], []]
    strange = "qqq www eee rrr"
    long = texts()[0] + " word" * 10_000
    found, cuts = extractor.extract_with_cuts([strange, long, texts()[0], ""])
    assert len(found) == 4
    assert found[3] == []
    assert cuts == [None, 30, None, None]
    limit = len(" ".join(long.split()[:30]))
    assert all(t.subject_span[1] <= limit and t.object_span[1] <= limit for t in found[1])


def test_saved_and_loaded_it_gives_the_same_triples(run, extractor, folder):
    loaded = Extractor.load(folder)
    assert loaded.extract(texts()) == extractor.extract(texts())
    assert loaded.schema == extractor.schema
    assert {path.name for path in folder.iterdir()} == {
        *("tagger.json", "tagger.safetensors", "SHA256SUMS")
    }
    assert loaded.note["vectors"] == "random"
    again = loaded.save(folder.parent / "again")
    assert (again / "tagger.json").read_text() == (folder / "tagger.json").read_text()


def test_a_saved_tagger_whose_pads_leak_reads_sentences_alone(tmp_path):
    run = FastreRun(parameters(exact_release=True, schedule="constant"), tiny_data())
    extractor = run.extractor()
    assert extractor.batch_size == 1
    loaded = Extractor.load(extractor.save(tmp_path / "model"), batch_size=128)
    assert loaded.batch_size == 1
    # The words before the full stop: pads leak into the last one.
    inputs = run.reader.read([s.text.split()[:-1] for s in tiny_data().train[:4]])
    wanted, found = (e.predict_scored(inputs) for e in (extractor, loaded))
    assert torch.equal(found.triples, wanted.triples) and len(found.triples)
    assert torch.equal(found.log_products, wanted.log_products)
    loaded.batch_size = 128
    together = loaded.predict_scored(inputs)
    assert not (
        torch.equal(together.triples, wanted.triples)
        and torch.allclose(together.log_products, wanted.log_products, atol=1e-3)
    )


def test_extraction_leaves_the_network_as_it_was(run, extractor):
    run.model.train()
    extractor.extract(texts(2))
    assert run.model.training
    assert run.model.encoder.folded is None
    assert all(p.requires_grad for p in run.model.parameters())
    run.model.eval()


def test_a_damaged_folder_is_named(folder, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"nowhere is not there; name a folder .*fastre train"
    ):
        Extractor.load(tmp_path / "nowhere")
    about = json.loads((folder / "tagger.json").read_text())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "tagger.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99 found, 1 expected"):
        Extractor.load(broken)
    (broken / "tagger.json").write_text(json.dumps(about))
    whole = (folder / "tagger.safetensors").read_bytes()
    (broken / "tagger.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="broken"):
        Extractor.load(broken)


# --- the command ------------------------------------------------------------------------------


def test_the_stream_holds_one_chunk_and_keeps_the_order(extractor):
    taken = 0

    def lines():
        nonlocal taken
        for i in range(100):
            taken += 1
            yield texts()[i % 40].encode()

    results = extract_stream(extractor, lines(), chunk=8)
    first = next(results)
    assert taken == 8
    rest = list(results)
    assert [r["line"] for r in [first, *rest]] == list(range(1, 101))
    assert first["triples"] == [t._asdict() for t in extractor.extract(texts(1))[0]]


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.5, float("nan")])
def test_a_threshold_without_log_odds_is_refused(run, tmp_path, threshold):
    with pytest.raises(ValueError, match="does not lie between 0 and 1"):
        run.extractor(threshold)
    folder = run.extractor(0.3).save(tmp_path / "model")
    about = json.loads((folder / "tagger.json").read_text())
    (folder / "tagger.json").write_text(json.dumps(about | {"threshold": threshold}))
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(CheckpointError, match=r"threshold.*between 0 and 1|NaN"):
        Extractor.load(folder)


def test_spans_of_a_text_with_accents_as_signs_of_their_own_are_those_of_that_text(run):
    extractor = run.extractor()
    word = next(t.subject for found in extractor.extract(texts()) for t in found).split()[0]
    extractor.reader = type(extractor.reader)(
        ["caf\u00e9" if w == word.lower() else w for w in extractor.reader.words],
        extractor.reader.max_tokens,
    )
    both = [
        extractor.extract([text.replace(word, name) for text in texts()])
        for name in ("Caf\u00e9", "Cafe\u0301")
    ]
    known = 0
    for text, composed, apart in zip(texts(), *both, strict=True):
        given = text.replace(word, "Cafe\u0301")
        assert [t.relation for t in composed] == [t.relation for t in apart]
        for one, other in zip(composed, apart, strict=True):
            assert given[slice(*other.subject_span)] == other.subject
            assert one.subject == other.subject.replace("e\u0301", "\u00e9")
            known += "\u00e9" in one.subject
    assert known


def test_a_paragraph_is_read_sentence_by_sentence(extractor):
    assert extractor.by_sentence  # its training texts are single sentences
    extractor.words, few = "punctuation", [t for t in texts() if extractor.extract([t])[0]][:3]
    text = "  \n ".join(few)
    found = extractor.extract([text, few[0]])
    starts = [text.index(sentence) for sentence in few]
    alone = [
        t._replace(
            subject_span=tuple(start + at for at in t.subject_span),
            object_span=tuple(start + at for at in t.object_span),
        )
        for start, triples in zip(starts, extractor.extract(few), strict=True)
        for t in triples
    ]
    assert found[0] == alone and len(few) == 3
    assert found[1] == extractor.extract(few[:1])[0]
    for t in found[0]:
        assert (text[slice(*t.subject_span)], text[slice(*t.object_span)]) == (t.subject, t.object)
    long = few[0] + (" And so on." * 100)
    assert extractor.extract_with_cuts([long])[1] == [None]
    extractor.by_sentence = False
    assert extractor.extract_with_cuts([long])[1] == [30]
    assert extractor.parts(text) == [(0, len(text))]


def test_a_sentence_is_split_as_its_text_is(extractor, monkeypatch):
    read = []
    real = extractor.reader.read
    monkeypatch.setattr(extractor.reader, "read", lambda words: read.extend(words) or real(words))
    extractor.words = "auto"
    extractor.extract(["Ada met Bo, and left, too. They saw Graz , Pell ; no.", "They saw ; no."])
    # By itself the second sentence would be taken for tokenised.
    assert [words[-2:] for words in read] == [["too", "."], ["no", "."], [";", "no."]]


@pytest.mark.parametrize("way", ["spaces", "punctuation"])
def test_cuts_are_those_of_each_text_read_alone(extractor, way):
    def alone(text):
        parts = [split_text(text[slice(*span)], way) for span in extractor.parts(text)]
        return 30 if any(len(words) > 30 for words in parts) else None

    extractor.words = way
    long = "So it goes on" + " and on" * 40 + "."
    several = [texts()[0], "", f"{texts()[1]} {long}", long, f"It ends. {long} {long}", "Ada."]
    found, cuts = extractor.extract_with_cuts(several)
    assert cuts == [alone(text) for text in several]
    assert [cut is None for cut in cuts] == [True, True, False, False, False, True]
    assert found == extractor.extract(several)


@pytest.mark.parametrize(
    "text, entity, alone, whole",
    [
        ("We saw Graz. Ada met Bo.", "Graz. Ada", 0, 1),
        ("We saw Graz. Ada met Bo.", "Ada", 0, 0),
        ("Item 10 costs 30 EUR (ca. 5 off).", "ca. 5", 0, 0),
        ("We saw Graz . Ada met Bo .", "Graz . Ada", 1, 1),
        ("We saw Booker T. in May .", "Booker T.", 0, 0),
    ],
)
def test_entities_over_the_end_of_a_sentence_are_counted(text, entity, alone, whole):
    from types import SimpleNamespace

    from relcl_lib.papers.fastre.extract import Found

    start = text.index(entity)
    row = Found("We", "r", entity, (0, 2), (start, start + len(entity)), "x", 1.0)
    for by_sentence, across in ((True, alone), (False, whole)):
        stub = SimpleNamespace(words="punctuation", by_sentence=by_sentence)
        stub.extract_with_cuts = lambda *_: ([[row, row]], [None])
        counts = Extracted()
        list(extract_stream(stub, [text.encode()], counts=counts))
        assert (counts.triples, counts.across) == (2, 2 * across)


@pytest.mark.parametrize("texts", ["Ada left Graz .", [None], [b"a"]])
def test_what_is_no_list_of_texts_is_refused(extractor, texts):
    with pytest.raises(TypeError, match="must be a sequence of texts"):
        extractor.extract(texts)


def test_malformed_lines_are_numbered_and_skipped(extractor):
    data = b"a b\n\xff\n\nc\0d\n" + b"x" * (1 << 20) + b"yz\nlast one"
    out = io.StringIO()
    counts = Extracted(skipped=Skipped(out))
    lines = read_lines(io.BytesIO(data))
    results = list(extract_stream(extractor, lines, counts=counts))
    assert [(r["line"], r["text"]) for r in results] == [(1, "a b"), (3, ""), (6, "last one")]
    said = out.getvalue().splitlines()
    assert [line.split(":")[0] for line in said] == [f"line {n} skipped" for n in (2, 4, 5)]
    assert (counts.lines, counts.skipped.count, counts.empty) == (3, 3, 1)


@pytest.mark.parametrize(
    "line, said",
    [
        (b"{", "no JSON: "),
        (b"3", '"text"\n'),
        (b'{"text": 3}', '"text" (it has text)\n'),
        (b'{"id": 1, "txt": "a"}', 'field "text" (it has id, txt)\n'),
        (b'"\\ud800"', "half a surrogate pair"),
    ],
)
def test_malformed_objects(extractor, line, said):
    out = io.StringIO()
    counts = Extracted(skipped=Skipped(out))
    lines = [line, b'{"text": "a b"}', b'{"text": "\\ud800"}']
    found = list(extract_stream(extractor, lines, jsonl=True, counts=counts))
    assert [r["line"] for r in found] == [2]
    assert counts.skipped.count == 2 and said in out.getvalue()


def test_json_lines_that_are_read_as_text_are_said_once(extractor, capsys):
    lines = [b'{"text": "a b"}', b'{"text": "c"}']
    assert [r["text"] for r in extract_stream(extractor, lines)] == [x.decode() for x in lines]
    said = 'line 1 is a JSON object and was read as plain text; --jsonl reads its "text"\n'
    assert capsys.readouterr().err == said
    for first in (b'{"other": 1}', b"3", b"{ a set }", b"a b"):
        list(extract_stream(extractor, [first, lines[0]]))
    list(extract_stream(extractor, lines, jsonl=True))
    assert capsys.readouterr().err == ""


def test_other_fields_of_an_object_come_back(extractor):
    given = {"id": "a-1", "text": texts(1)[0], "tags": ["x", {"y": 1.5}], "line": 7, "cut": 3}
    lines = [json.dumps(given).encode(), b'{"text": "a b", "triples": "old"}', b"", b" "]
    first, second = extract_stream(extractor, lines, jsonl=True)
    assert list(first) == ["line", "text", "triples", "id", "tags"]
    assert (first["line"], first["id"], first["tags"]) == (1, "a-1", given["tags"])
    assert second == {"line": 2, "text": "a b", "triples": second["triples"]}
    assert second["triples"] != "old"
    kept = json.loads(json.dumps([first, second]))
    assert pass_over(iter(lines), kept, jsonl=True, counts=Extracted()) == 2
    for shorter in ([], lines[:1]):
        with pytest.raises(ValueError, match="the input has changed"):
            pass_over(iter(shorter), kept, jsonl=True, counts=Extracted())
    kept[0]["id"] = "a-2"
    with pytest.raises(ValueError, match="the input has changed"):
        pass_over(iter(lines), kept, jsonl=True, counts=Extracted())


def test_the_command(folder, extractor, monkeypatch, capsys):
    def command(*arguments, stdin=b""):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        return main(["fastre", "extract", *arguments]), *capsys.readouterr()

    long = texts()[1] + " word" * 9000
    stdin = "\n".join([texts()[0], long, ""]).encode() + b"\n"
    code, out, err = command("--model", str(folder), "--progress", "2", stdin=stdin)
    assert code == 0, err
    results = [json.loads(line) for line in out.splitlines()]
    assert [r["line"] for r in results] == [1, 2, 3]
    assert results[1]["cut"] == 30
    assert "cut" not in results[0]
    assert results[0]["triples"] == [
        json.loads(json.dumps(t._asdict())) for t in extractor.extract(texts(1))[0]
    ]
    said = err.splitlines()
    assert said[0].startswith("2 lines")
    assert "3 lines" in said[-1]
    assert "1 cut, 1 empty, 0 skipped" in said[-1]
    plain = [text.removesuffix(" .") + "." for text in texts(20)]
    by_way = []
    for way in ("spaces", "punctuation"):
        extractor.words = way
        options = ("--model", str(folder), "--words", way)
        out = command(*options, stdin="\n".join(plain).encode())[1]
        by_way.append([json.loads(line)["triples"] for line in out.splitlines()])
        found = extractor.extract(plain)
        assert by_way[-1] == json.loads(json.dumps([[t._asdict() for t in own] for own in found]))
    assert by_way[0] != by_way[1]
    assert command("--model", str(folder), stdin=b"\xff\n")[0] == 1
    code, _, err = command("--model", str(folder / "nowhere"))
    assert code == 2
    assert err.startswith("error: ") and "nowhere is not there" in err


def test_what_ctrl_c_leaves_is_gone_on_with_and_said(folder, tmp_path, monkeypatch, capsys):
    class Stopped(io.BytesIO):
        def readline(self, *size):
            if not (line := super().readline(*size)):
                raise KeyboardInterrupt
            return line

    lines, out = "\n".join(texts(6)).encode() + b"\n", tmp_path / "triples.jsonl"
    call = ["fastre", "extract", "--model", str(folder), "--chunk", "2"]
    for given, to, code, said in (
        (Stopped, out, 130, "\nstopped by Ctrl-C; the same command with the same input goes on"),
        (io.BytesIO, out, 0, "going on at line 7\n"),
        (io.BytesIO, tmp_path / "whole.jsonl", 0, "6 lines, "),
    ):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=given(lines)))
        assert main([*call, "--out", str(to)]) == code
        assert capsys.readouterr().err.startswith(said)
    assert out.read_text() == (tmp_path / "whole.jsonl").read_text()


def test_a_convolution_tagger_loads_no_package_that_it_does_not_need(folder):
    code = (
        "import sys; from relcl_lib.papers.fastre.extract import Extractor; "
        f"Extractor.load({str(folder)!r}).extract(['a b']); "
        "print({'transformers', 'pandas', 'sklearn', 'matplotlib', 'sympy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True)
    assert done.stdout == b"set()\n", done.stdout + done.stderr


def own_data(tmp_path):
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        rows = [{"text": s.text, "triple_list": s.triples} for s in getattr(tiny_data(), split)]
        (folder / f"{split}.json").write_text(json.dumps(rows))
    return folder


def test_training_from_the_command_line(tmp_path, capsys):
    folder = own_data(tmp_path)
    small = ["dataset=mine", "epochs=1", "hidden=32", "attention_heads=4", "vector_size=16"]
    small += ["batch_size=4", "learning_rate=0.01"]
    call = ["fastre", "train", "--data", str(folder), "--out", str(tmp_path / "out"), *small]
    assert main(call) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["protocol"] == "stand-in"
    assert "epoch 1/1" in shown.err
    assert Extractor.load(tmp_path / "out" / "model").extract(["a b"]) is not None
    assert len(list((tmp_path / "out" / "results").rglob("*.json"))) == 1
    assert main(call) == 0  # nothing is trained twice
    assert "loss" not in (said := capsys.readouterr().err)
    assert "\nalready trained: nothing was trained anew\n" in said
    for wrong, word in (
        (["epocs=2"], "did you mean epochs"),
        (["epochs"], "NAME=VALUE"),
        (["epochs=many"], "epochs"),
    ):
        assert main([*call, *wrong]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and word in said
    for place, said in ((tmp_path / "no", "is not there"), (folder / "train.json", "is a file")):
        assert main(["fastre", "train", "--data", str(place), "--out", str(tmp_path / "out")]) == 2
        shown = capsys.readouterr().err
        assert shown.startswith(
            f"error: --data {place} {said}. Name the folder that holds train.json"
        )
    (folder / "train.json").write_text("[{")
    assert main(call) == 2
    assert "train.json" in capsys.readouterr().err
    # Without a folder of one's own: the corpus that comes with the package. At this rate next to
    # nothing is found, which takes less time than to score what an untrained tagger finds.
    embedded = ["fastre", "train", "--profile", "quick", "--out", str(tmp_path / "embedded")]
    assert main([*embedded, "train_limit=60", *small[1:]]) == 0
    shown = capsys.readouterr()
    assert shown.err.startswith("data: synthetic, ")
    assert "the first 60 training sentences" in shown.err
    assert json.loads(shown.out)["protocol"] == "stand-in"
    assert len(Extractor.load(tmp_path / "embedded").schema.relations) > 10


def test_a_tagger_of_other_data_or_settings_is_not_replaced(tmp_path, capsys):
    def corpus(name, relation):
        (tmp_path / name).mkdir()
        rows = [
            {"text": f"Ada{i} met Bo{i}.", "triple_list": [[f"Ada{i}", relation, f"Bo{i}"]]}
            for i in range(30)
        ]
        (tmp_path / name / "train.json").write_text(json.dumps(rows))
        return str(tmp_path / name)

    good, other, out = corpus("good", "knows"), corpus("other", "saw"), tmp_path / "out"
    small = ["epochs=1", "hidden=16", "attention_heads=2", "vector_size=8", "--out", str(out)]
    assert main(["fastre", "train", "--data", good, *small]) == 0
    about = (out / "model" / "tagger.json").read_text()
    for call in (["--data", other], ["--data", good, "epochs=2"], ["--data", good, "seeds=[1]"]):
        capsys.readouterr()
        words = [word for word in small if not (word == "epochs=1" and "epochs=2" in call)]
        assert main(["fastre", "train", *call, *words]) == 2
        said = capsys.readouterr().err
        assert f"error: {out / 'model'} holds a model that was trained on other data" in said
        assert "Name another --out" in said and "epoch 1" not in said
        assert (out / "model" / "tagger.json").read_text() == about
    assert main(["fastre", "train", "--data", good, *small]) == 0  # the same again
    (out / "model" / "tagger.json").unlink()
    assert main(["fastre", "train", "--data", good, *small]) == 2
    assert "holds no model that can be read (tagger.json)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["my data", "a/b", "../../mine", "données"])
def test_a_name_that_no_folder_can_have_is_refused_before_training(name, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(["fastre", "train", "--profile", "quick", "--out", str(out), f"dataset={name}"]) == 2
    )
    said = capsys.readouterr().err
    assert (
        said.startswith("error: parameter dataset: ") and f"{name!r} cannot name a folder" in said
    )
    assert not out.exists() and not list(tmp_path.iterdir())


def test_own_data_need_a_training_file_and_no_setting(tmp_path, capsys):
    folder = tmp_path / "My data"
    folder.mkdir()
    rows = [
        {"text": f"Ada{i} hired Bo{i}.", "triple_list": [[f"Ada{i}", "employs", f"Bo{i}"]]}
        for i in range(40)
    ]
    (folder / "train.json").write_text(json.dumps(rows))
    small = ["epochs=1", "hidden=32", "attention_heads=4", "vector_size=16"]
    call = ["fastre", "train", "--data", str(folder), "--out", str(tmp_path / "out"), *small]
    assert main(call) == 0
    shown = capsys.readouterr()
    assert set(json.loads(shown.out)) == {"seed", "protocol", "F1_valid"}
    said = shown.err.splitlines()
    start = f"data: My-data, train.json of {folder}; 4 training sentences validate; no test"
    assert said[0].startswith(start)
    assert said[-1].startswith("F1: the first word") and "F1_valid: the same" in said[-1]
    assert "F1_last" not in said[-1]
    assert said[1] == "train: 36 sentences, 36 of 36 triples located"
    assert said[3].startswith("seed 0 epoch 1/1")  # what is located is said before
    tagger = Extractor.load(tmp_path / "out")
    assert describe_calibration(tagger.calibration) in said
    assert not any("trained on as well" in line for line in said)
    assert not any("validation F1 was 0" in line for line in said)
    (folder / "valid.json").write_text(json.dumps([{"text": "Nobody came.", "triple_list": []}]))
    assert main([*call[:-5], str(tmp_path / "bare"), *small]) == 0
    said_of_none = capsys.readouterr().err.splitlines()
    assert (
        "validation F1 was 0 after each epoch: the weights are those of epoch 1; too few to choose an "
        "epoch by (0 triples): give valid.json with more sentences"
    ) in said_of_none
    assert describe_calibration(None) in said_of_none
    (folder / "valid.json").unlink()
    (folder / "test.json").write_text(json.dumps(rows))
    assert main([*call[:-5], str(tmp_path / "again"), *small]) == 0
    said = capsys.readouterr().err
    assert "trained on as well: 36 of the 40 test sentences" in said
    (record,) = (tmp_path / "out" / "results").rglob("*.json")
    assert "F1" not in json.loads(record.read_text())["metrics"]
    assert tagger.words == "punctuation"


def test_a_lost_triple_is_named_by_the_record_of_its_file(tmp_path, capsys):
    rows = [
        {"text": f"Ada{i} hired Bo{i} .", "triple_list": [[f"Ada{i}", "employs", f"Bo{i}"]]}
        for i in range(30)
    ]
    (tmp_path / "train.json").write_text(json.dumps(rows))
    held_out = load_triples("mine", tmp_path).called("valid")
    first = min(int(name.split()[1]) for name in held_out)  # its record is the next one in training
    assert first < 29
    rows[first]["triple_list"][0][2] = "Wien"
    (tmp_path / "train.json").write_text(json.dumps(rows))
    small = ["epochs=1", "hidden=16", "attention_heads=2", "vector_size=8"]
    call = ["fastre", "train", "--data", str(tmp_path), "--out", str(tmp_path / "out"), *small]
    assert main([*call, "dataset=mine"]) == 0
    said = capsys.readouterr().err
    assert f"not in the text (record {first + 1} of train.json: 'Wien')" in said


def test_how_the_epoch_was_chosen_is_said(run):
    valid = sum(len(sentence.triples) for sentence in run.data.valid)
    count = len(run.data.valid)
    assert valid >= 20 and run.chosen == (
        f"weights of epoch {run.best_epoch}, the best of {run.epochs_done} on {count} validation "
        "sentences"
    )
    few = copy.copy(run)
    few.data = replace(run.data, valid=[s for s in run.data.valid if len(s.triples) == 1][:1])
    assert few.chosen.endswith(
        "on 1 validation sentence; too few to choose an epoch by (1 triple): give valid.json with more "
        "sentences"
    )


@pytest.mark.parametrize(
    "folder, name",
    [("x/NYT10", "nyt10"), ("my texts!", "my-texts"), ("a/../b_1.2", "b_1.2"), ("文", "own")],
)
def test_a_folder_names_its_data_set(folder, name):
    assert dataset_name(folder, ("nyt10", "webnlg")) == name


def test_the_help_lists_every_setting_with_its_default(capsys):
    with pytest.raises(SystemExit):
        main_of_fastre(["train", "--help"])
    said = capsys.readouterr().out
    for name in set(FastreParameters.model_fields) - {"profile", "data_root"}:
        assert f"\n  {name}=" in said
    for line in ("dilations=[1,2,4,1,1,1]", "epochs=60", "words=auto", "bucket=50"):
        assert f"\n  {line} " in said
    assert "one of auto, spaces, punctuation" in said
    with pytest.raises(SystemExit):
        main_of_fastre(["extract", "--help"])
    assert "by characters where a script has no spaces" in capsys.readouterr().out


def test_memory_is_bounded_by_the_chunk(extractor):
    """A thousand lines hold no more Python objects alive than a hundred."""
    import tracemalloc

    def peak(count):
        lines = (texts()[i % 40].encode() for i in range(count))
        tracemalloc.start()
        for _ in extract_stream(extractor, lines, chunk=20):
            pass
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(40)
    assert peak(1000) < 1.5 * peak(100) + 100_000
    assert torch.is_grad_enabled()


def test_a_device_that_is_not_there_is_named_and_no_tagger_blamed(folder, capsys):
    assert inspect.signature(Extractor.load).parameters["device"].default == "auto"
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert main(["fastre", "extract", "--model", str(folder), "--device", "cuda"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: device='cuda' was asked for") and "tagger" not in said


def test_settings_may_stand_between_options():
    words = ["train", "--out", "O", "a=1", "--data", "D", "b=2"]
    with pytest.raises(ParameterError, match=r"'a'(.|\n)*'b'"):
        main_of_fastre(words)
    with pytest.raises(SystemExit):
        main_of_fastre([*words, "--seed", "3"])


# --- scores, evaluation, another start -----------------------------------------------------------


def test_scores_are_products_of_boundaries_and_sift_triples(extractor):
    every = [found for row in extractor.extract(texts()) for found in row]
    assert all(0 < found.score <= 1 for found in every)
    middle = sorted(found.score for found in every)[len(every) // 2]
    kept = [found for row in extractor.extract(texts(), min_score=middle) for found in row]
    assert {found for found in every if found.score > middle} <= set(kept) < set(every)
    inputs = extractor.reader.read([texts()[0].split()])
    triples, logs = extractor.predict_scored(inputs)
    hidden, mask = extractor.model.eval().encode(inputs)
    for (_, a, b, kind, relation, p, q), log in zip(triples.tolist(), logs, strict=True):
        heads = torch.tensor([[0, a, b, kind]])
        tails = extractor.model.tail_logits(hidden, mask, heads, inputs["lengths"])
        parts = [*extractor.model.head_logits(hidden, mask), *tails]
        places = ((a, kind), (b, kind), (p, relation), (q, relation))
        margins = [
            part[0, at, column + 1] - part[0, at, 0]
            for part, (at, column) in zip(parts, places, strict=True)
        ]
        expected = torch.stack(margins).sigmoid().prod()
        assert torch.isclose(log.exp(), expected, atol=1e-4)
    assert len(triples)


def test_a_calibrated_tagger_keeps_its_calibration(run, tmp_path):
    calibrated = run.calibrated()
    assert calibrated.calibration.triples == len(run.judged("valid")[0])
    loaded = Extractor.load(calibrated.save(tmp_path / "model"))
    assert loaded.calibration == calibrated.calibration
    assert (
        loaded.extract(texts()) == calibrated.extract(texts()) != run.extractor().extract(texts())
    )


def test_a_lower_precision_finds_nearly_the_same_and_leaves_the_network_alone(folder):
    exact, lower = (
        Extractor.load(folder, device="cpu", precision=name) for name in ("float32", "bfloat16")
    )
    first, second = (
        {(at, *triple[:5]) for at, row in enumerate(e.extract(texts())) for triple in row}
        for e in (exact, lower)
    )
    assert len(first & second) >= 0.8 * len(first | second) > 0
    assert lower.device.type == "cpu" and lower._lower is None
    assert all(p.dtype == torch.float32 for p in lower.model.parameters())
    inputs = lower.reader.read([text.split() for text in texts()])
    lengths = inputs["lengths"]
    with torch.inference_mode(), lower.ready():
        found = [m.head_logits(*m.encode(inputs)) for m in (lower.model, lower._lower)]
        assert lower._lower.encoder.vectors.numel() == 0
    real = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
    for left, right in zip(*found, strict=True):
        assert right.dtype == torch.bfloat16
        scale = left[real].abs().mean()
        assert (left - right.float())[real].abs().mean() < 0.02 * scale


def test_evaluation_of_a_file_equals_the_runs_own(run, folder, tmp_path, capsys):
    rows = [{"text": s.text, "triple_list": s.triples} for s in run.data.valid]
    (tmp_path / "valid.json").write_text(json.dumps(rows))
    call = ["fastre", "evaluate", "--model", str(folder), "--data", str(tmp_path / "valid.json")]
    assert main(call) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert "10 sentences, " in shown.err and "triples located" in shown.err
    names = list(found)
    assert names[0] == "compared" and names.index("F1_exact") < names.index("F1")
    for said in ("F1_exact: whole entities", "F1: the first word of each", "F1_last: the last"):
        assert said in found["compared"]
    for name, value in run.evaluate("valid").items():
        assert name not in found or found[name] == round(value, 2)
    assert found["unknown_relations"] == 0 and "recall_seen" not in found
    scores, right = run.judged("valid")
    curve = reliability(run.extractor().probabilities(scores), right)
    assert found["reliability"] == [
        {"score": round(score, 4), "right": round(100 * share, 2), "triples": count}
        for score, share, count in curve
    ]
    assert sum(row["triples"] for row in found["reliability"]) == len(right) > 0
    assert main([*call, "--train", str(tmp_path / "valid.json"), "--min-score", "1"]) == 0
    strict = json.loads(capsys.readouterr().out)
    assert strict["seen_share"] == 100 and strict["found"] < found["found"]
    for share in ("2", "nan", "half"):
        with pytest.raises(SystemExit):
            main([*call, "--min-score", share])
        assert f"{share} is no number from 0 to 1" in capsys.readouterr().err
    for wrong, said in (
        (
            tmp_path,
            f"{tmp_path}: is a folder. Name a file in it, such as {tmp_path / 'valid.json'}.",
        ),
        (tmp_path / "no.json", f"{tmp_path / 'no.json'}: there is no such file."),
    ):
        assert main([*call[:-1], str(wrong)]) == 2
        assert said in capsys.readouterr().err


def test_evaluation_says_what_cannot_be_located(folder, tmp_path, capsys):
    relation = Extractor.load(folder).schema.relations[0]
    rows = [{"text": "Ada met Bo .", "triple_list": [["Ada", relation, b] for b in ("Bo", "Cy")]}]
    (tmp_path / "mine.json").write_text(json.dumps(rows))
    call = ["fastre", "evaluate", "--model", str(folder), "--data", str(tmp_path / "mine.json")]
    assert main(call) == 0
    said = capsys.readouterr().err
    assert "mine.json: 1 sentence, 1 of 2 triples located" in said
    assert "1 has an entity that is not in the text (record 1: 'Cy')" in said
    (tmp_path / "mine.json").write_text("[]")
    assert main(call) == 2
    assert "mine.json: holds no sentence. Score on sentences" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main_of_fastre(["evaluate", "--help"])
    said = capsys.readouterr().out
    for name in ("F1_exact", "F1 ", "F1_last", "F1_SEO", "F1_n1"):
        assert name in said


def test_a_run_starts_from_a_saved_tagger(run, folder):
    wider = tiny_data(30)
    same = {"max_tokens": 30, "allow_lost": True, "dropout": 0.0, "embedding_dropout": 0.0}
    start = parameters(start_from=str(folder), learning_rate=1e-9, epochs=1, **same)
    again = FastreRun(start, wider)
    assert set(run.reader.words) <= set(again.reader.words)
    assert again.inputs["start_from"] and again.identity() != run.identity()
    assert again.train().evaluate("valid")["F1"] == run.evaluate("valid")["F1"] > 0
    with pytest.raises(ParameterError, match=r"another one \(.*hidden: \d+ there, 64 here"):
        FastreRun(parameters(start_from=str(folder), hidden=64), wider)
    for other in ({"gate": "paper"}, {"dilations": [1, 1, 1]}, {"threshold": "global"}):
        with pytest.raises(ParameterError, match=rf"another one \({next(iter(other))}"):
            FastreRun(parameters(start_from=str(folder), **same, **other), wider)
    with pytest.raises(ParameterError, match="24 numbers, the run's 16"):
        FastreRun(parameters(start_from=str(folder), vector_size=16), wider)


def test_new_relations_start_anew_and_known_ones_go_on(run, folder):
    data = tiny_data()
    kept, new = data.train[0].triples[0].relation, "a new one"

    def renamed(sentences):
        return [
            s._replace(
                triples=tuple(
                    t._replace(relation=kept if t.relation == kept else new) for t in s.triples
                )
            )
            for s in sentences
        ]

    splits = {name: renamed(getattr(data, name)) for name in ("train", "valid", "test")}
    other = assemble_triples("mine", splits)
    start = parameters(start_from=str(folder), max_tokens=30, allow_lost=True)
    model, schema = FastreRun(start, other).model, any_schema(other.relations)
    mine, theirs = model.tails.start.weight, run.model.tails.start.weight
    assert torch.equal(mine[0], theirs[0])  # the threshold's
    assert torch.equal(
        mine[1 + schema.relations.index(kept)], theirs[1 + data.relations.index(kept)]
    )
    fresh = mine[1 + schema.relations.index(new)]
    assert not any(torch.equal(fresh, row) for row in theirs)


def test_a_tagger_keeps_every_word_of_the_users_vectors(tmp_path, capsys):
    vectors = tmp_path / "vectors.txt"
    seen = texts(1)[0].split()[0].lower()
    vectors.write_text(f"{seen} 1 2\nzebra 3 4\n")
    call = ["fastre", "train", "--data", str(own_data(tmp_path)), "--out", str(tmp_path / "out")]
    small = ["epochs=1", "hidden=16", "attention_heads=2", f"word_vectors={vectors}"]
    small += ["batch_size=4", "learning_rate=0.01"]
    assert main([*call, *small]) == 0
    assert "zebra" in Extractor.load(tmp_path / "out").reader.words
