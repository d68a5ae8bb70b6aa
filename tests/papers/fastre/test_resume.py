"""An extraction's file: whole or not there, and gone on with where a kill left it."""

import io
import json
from pathlib import Path

import pytest

from relcl_lib.lab.command_line import Skipped
from relcl_lib.papers.fastre.command import Extracted, main, pass_over, read_lines
from relcl_lib.papers.fastre.resume import ResultFile

HOME = Path("~")


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tagger.json").write_text("{}")
    return folder


def result(number, text="a b"):
    return {"line": number, "text": text, "triples": [{"relation": "r"}] * number}


def left(file, content):
    """What a killed try has left."""
    file.part.write_text(content)
    with file:
        return list(file.kept())


def test_whole_chunks_are_kept_and_the_rest_is_cut_off(tmp_path, model):
    file = ResultFile(tmp_path / "out", model, 2)
    lines = [json.dumps(result(number)) + "\n" for number in range(1, 6)]
    assert left(file, "".join(lines)) == [result(number) for number in range(1, 5)]
    assert file.part.read_text() == "".join(lines[:4])
    assert left(file, "".join(lines[:3]) + lines[3][:7]) == [result(1), result(2)]
    assert left(file, lines[0]) == [] and file.part.read_text() == ""
    assert left(file, "") == []


def test_the_file_is_there_when_it_is_whole(tmp_path, model):
    file = ResultFile(tmp_path / "deep" / "out", model, 2)
    with file:
        written = file.write(iter([result(1), result(2, "Ünï")]))
        assert next(written) == result(1) and not file.path.exists()
        assert list(written) == [result(2, "Ünï")]
    assert list(map(json.loads, file.path.read_text().splitlines())) == [
        result(1),
        result(2, "Ünï"),
    ]
    assert [path.name for path in file.path.parent.iterdir()] == ["out"]


def test_another_model_or_setting_begins_anew(tmp_path, model):
    parts = {ResultFile(tmp_path / "out", model, 2, jsonl=False).part}
    parts.add(ResultFile(tmp_path / "out", model, 3, jsonl=False).part)
    parts.add(ResultFile(tmp_path / "out", model, 2, jsonl=True).part)
    (model / "tagger.json").write_text("{ }")
    parts.add(ResultFile(tmp_path / "out", model, 2, jsonl=False).part)
    assert len(parts) == 4


def test_a_model_is_the_same_however_its_folder_is_named(tmp_path, model, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    part = ResultFile(tmp_path / "out", model, 2).part
    assert ResultFile(HOME / "out", HOME / "model", 2).part == part
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "seed0").write_text("of the training, no part of the tagger")
    assert ResultFile(tmp_path / "out", tmp_path, 2).part == part
    (model / "tagger.json").write_text("another")
    assert ResultFile(HOME / "out", HOME / "model", 2).part != part


def test_what_cannot_become_the_file_is_refused_at_the_start(tmp_path, model, monkeypatch):
    texts = tmp_path / "texts.txt"
    texts.write_text("a b\n")
    with pytest.raises(ValueError, match="no plain file"):
        ResultFile(tmp_path, model, 2)
    with texts.open("rb") as source:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(source))
        for out in (tmp_path, texts):  # before the tagger is read: there is none
            with pytest.raises(ValueError, match="--out"):
                main(["extract", "--model", str(tmp_path / "none"), "--out", str(out)])
    assert texts.read_text() == "a b\n"


def stream(text):
    return read_lines(io.BytesIO(text))


def test_lines_are_passed_over_and_counted_as_if_they_were_read_now():
    told = io.StringIO()
    counts = Extracted(skipped=Skipped(told))
    kept = [result(1, "a b"), result(3, ""), {**result(4, "c"), "cut": 1}]
    lines = stream(b"a b\n\xff\n\nc\nd\n")
    assert pass_over(lines, kept, counts=counts) == 4
    assert list(lines) == [b"d"]
    assert (counts.lines, counts.triples, counts.empty, counts.cut) == (3, 8, 1, 1)
    assert counts.skipped.count == 1 and told.getvalue().startswith("line 2 skipped")


def test_a_field_that_equals_nothing_is_the_same_as_before():
    line = b'{"id": NaN, "text": "a b"}\n'
    kept = [{**result(1), "id": float("nan")}]
    assert pass_over(stream(line), kept, jsonl=True, counts=Extracted()) == 1
    with pytest.raises(ValueError, match="the input has changed"):
        pass_over(stream(line.replace(b"NaN", b"1")), kept, jsonl=True, counts=Extracted())


@pytest.mark.parametrize("given", [b"a c\n", b"\xff\na b\n", b""])
def test_another_input_is_an_error(given):
    with pytest.raises(ValueError, match=r"the input has changed.*or delete x/\.out\.part-00$"):
        pass_over(stream(given), [result(1)], counts=Extracted(), part="x/.out.part-00")
