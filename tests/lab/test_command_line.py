"""Records on standard input, a line each or one array on one line; where results go; what is told."""

import argparse
import gzip
import io
import json
from dataclasses import dataclass

import pytest

from relcl_lib.data.download import DataFormatError
from relcl_lib.lab.command_line import (
    Counts,
    Skipped,
    parse,
    place,
    read_json_lines,
    result_path,
    results_to,
    tell_in_place,
)

RECORDS = [{"n": 1}, {"n": "x"}, {"n": 3}]


def numbered(at, record):
    if not isinstance(record, dict) or not isinstance(record["n"], int):
        raise ValueError(f"{record!r} has no number")
    return record["n"]


def found(data):
    skipped = Skipped(io.StringIO())
    got = list(read_json_lines(io.BytesIO(data), numbered, skipped))
    return got, skipped.count, skipped.complain.getvalue()


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n\n"])
def test_an_array_on_one_line_is_read_as_its_records(before):
    got, skipped, said = found(before + json.dumps(RECORDS).encode() + b"\n\n")
    assert got == [(1, 1), (3, 3)] and skipped == 1
    assert said == "record 2 skipped: 'x' has no number\n".replace("'x'", "{'n': 'x'}")
    assert found(b"[]") == ([], 0, "") and found(b"") == ([], 0, "")


def test_an_array_over_several_lines_is_one_error():
    with pytest.raises(ValueError, match=r"array over several lines.*json\.tool --compact"):
        found(json.dumps(RECORDS, indent=1).encode())


@pytest.mark.parametrize("indent", [1, None])
def test_a_record_over_several_lines_is_one_error(indent):
    text = json.dumps({"n": [{"a": 1}], "m": 2}, indent=indent)
    with pytest.raises(ValueError, match=r"record over several lines.*json\.tool --compact"):
        found(text.replace(", ", ",\n").encode())


def test_what_breaks_off_is_a_line_that_cannot_be_read():
    got, skipped, said = found(b'{"n": [\n{"n": 2}\n')
    assert (got, skipped) == ([(2, 2)], 1) and said.startswith("line 1 skipped: no JSON: ")
    assert found(b'{"n": 1,')[:2] == ([], 1)
    said = found(gzip.compress(b'{"n": 1}'))[2]
    assert said.startswith("line 1 skipped: gzip, no text: unpack it first, as 'zcat FILE")


def test_lines_are_read_one_by_one_and_no_array_is_looked_for_in_later_ones():
    got, skipped, said = found(b'{"n": 1}\n\n[{"n": 2}]\n{"n": 3\n{"n": 4}')
    assert got == [(1, 1), (5, 4)] and skipped == 2
    assert said.startswith("line 3 skipped: ") and "\nline 4 skipped: " in said
    got, skipped, said = found(b"[E11] Ada [E12] met [E21] Bo [E22].\n[E11] Cy [E12] ...\n")
    assert (got, skipped) == ([], 2) and said.startswith("line 1 skipped: no JSON: ")
    _, skipped, said = found(b'[{"n": 1}')
    assert skipped == 1 and said.startswith("line 1 skipped: no JSON: ")

    def endless():
        yield b'{"n": 1}\n'
        raise AssertionError("the next line was asked for")

    assert next(read_json_lines(endless(), numbered, Skipped())) == (1, 1)


def test_of_a_flood_the_first_are_named_and_the_advice_is_given_once():
    def layout(at, record):
        raise DataFormatError("input", f"record {at}, field text: missing", "Write a text")

    skipped = Skipped(io.StringIO())
    assert list(read_json_lines([b"{}"] * 40, layout, skipped)) == []
    said = skipped.complain.getvalue().splitlines()
    assert said[:2] == [
        "line 1 skipped: field text: missing. Write a text.",
        "line 2 skipped: field text: missing",
    ]
    assert said[19:] == [
        "line 20 skipped: field text: missing",
        "further skipped lines are only counted",
    ]
    assert (skipped.count, str(skipped)) == (40, "40")


@pytest.mark.parametrize(
    "data, said",
    [
        ("{}\n{}\n".encode("utf-16"), "line 1 skipped: not UTF-8 but UTF-16"),
        ('{"n": "é"}'.encode("latin-1"), "line 1 skipped: not UTF-8 at byte 8; iconv -f OLD"),
        (b"n = 1", "line 1 skipped: no JSON: Expecting value"),
    ],
)
def test_another_encoding_and_no_json_are_told_apart(data, said):
    assert found(data)[2].startswith(said)


def test_a_file_of_results_is_there_when_it_is_whole(tmp_path, capsys):
    path = tmp_path / "new" / "facts.jsonl"
    with results_to(path) as out:
        out.write("é\n")
        assert not path.exists()
    assert path.read_bytes() == "é\n".encode() and capsys.readouterr().out == ""
    with pytest.raises(KeyError), results_to(path) as out:
        out.write("half")
        raise KeyError
    assert path.read_bytes() == "é\n".encode() and list(path.parent.iterdir()) == [path]
    with results_to(None) as out:
        out.write("é\n")
    assert capsys.readouterr().out == "é\n"


def test_what_cannot_become_the_file_is_refused(tmp_path):
    source = tmp_path / "texts"
    source.write_text("a\n")
    for path in ("/dev/null", tmp_path):
        with pytest.raises(ValueError, match="no plain file"):
            result_path(path)
    with source.open("rb") as stream:
        with pytest.raises(ValueError, match="the input itself"):
            result_path(source, stream)
        assert result_path(tmp_path / "new", stream) == tmp_path / "new"
    assert result_path(source, io.BytesIO()) == source
    assert result_path(tmp_path / "a" / "b" / "c") == tmp_path / "a" / "b" / "c"
    assert list(tmp_path.iterdir()) == [source]  # nothing is made
    with pytest.raises(ValueError) as caught:
        result_path(source / "below" / "x")
    assert str(caught.value) == (
        f"--out {source / 'below' / 'x'}: the folder {source} cannot be written to; name another"
    )


def test_an_option_without_a_value_and_a_home_that_the_shell_leaves(capsys, monkeypatch, tmp_path):
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("--data", type=place)
    for words in (["train", "--data", ""], ["train", "--data="]):
        with pytest.raises(SystemExit):
            parse(parser, words)
        said = "nothing stands after --data; is a variable of the shell not set?\n"
        assert capsys.readouterr().err.endswith(said)
    monkeypatch.setenv("HOME", str(tmp_path))
    home = "~/"  # apart: no text of the repository may name a folder in somebody's home
    assert parse(parser, ["train", f"--data={home}x"]).data == tmp_path / "x"


def test_an_option_that_is_a_setting_is_shown_as_one(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    for words, said in (
        (["--epochs", "5"], "unrecognized arguments: --epochs"),
        (["--epochs"], "unrecognized arguments: --epochs"),
        (["texts.txt"], "texts.txt; a file has an option (see --help), or comes on standard input"),
    ):
        with pytest.raises(SystemExit):
            parse(parser, words)
        shown = capsys.readouterr().err
        assert said in shown and "NAME=VALUE" not in shown  # it takes no settings
    parser.add_argument("settings", nargs="*")
    for words, said in (
        (["--epochs", "5"], "--epochs; settings are written NAME=VALUE: epochs=5"),
        (["--batch-size=8", "a=1"], "NAME=VALUE: batch_size=8"),
        (["--augment"], "NAME=VALUE: augment=VALUE"),
        (["--augment", "--out", "x"], "NAME=VALUE: augment=VALUE"),
    ):
        with pytest.raises(SystemExit):
            parse(parser, words)
        assert capsys.readouterr().err.endswith(f"{said}\n")
    assert parse(parser, ["a=1", "--out", "x", "b=2"]).settings == ["a=1", "b=2"]


def test_what_is_told_in_place_ends_its_line_at_the_end(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, ends in ((Terminal(), "a\rb\n"), (io.StringIO(), "a\nb\n")):
        monkeypatch.setattr("sys.stderr", stream)
        tell_in_place("a")
        tell_in_place("b", last=True)
        assert stream.getvalue() == ends


def test_counts_are_told_after_every_so_many(capsys):
    @dataclass
    class Read(Counts):
        told = ("lines", "skipped")
        lines: int = 0
        skipped: int = 0
        other: int = 0

    counts = Read(started=0.0)
    for counts.lines in (1, 2, 3, 4):
        counts.tell(2)
    told = capsys.readouterr().err.splitlines()
    assert [line.split(", ")[:2] for line in told] == [
        ["2 lines", "0 skipped"],
        ["4 lines", "0 skipped"],
    ]
    assert all(line.endswith(" per second") for line in told) and "other" not in counts.line()
