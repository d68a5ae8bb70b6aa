"""Records on standard input, a line each or one array on one line; where results go; what is told."""

import io
import json
from dataclasses import dataclass

import pytest

from relcl_lib.lab.command_line import Counts, read_json_lines, result_path, results_to

RECORDS = [{"n": 1}, {"n": "x"}, {"n": 3}]


def numbered(at, record):
    if not isinstance(record, dict) or not isinstance(record["n"], int):
        raise ValueError(f"{record!r} has no number")
    return record["n"]


def found(data):
    skipped, complaints = [], io.StringIO()
    got = list(read_json_lines(io.BytesIO(data), numbered, skipped, complaints))
    return got, skipped, complaints.getvalue()


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n\n"])
def test_an_array_on_one_line_is_read_as_its_records(before):
    got, skipped, said = found(before + json.dumps(RECORDS).encode() + b"\n\n")
    assert got == [(1, 1), (3, 3)] and skipped == [2]
    assert said == "record 2 skipped: 'x' has no number\n".replace("'x'", "{'n': 'x'}")
    assert found(b"[]") == ([], [], "") and found(b"") == ([], [], "")


def test_an_array_over_several_lines_is_one_error():
    with pytest.raises(ValueError, match=r"array over several lines.*json\.tool --compact"):
        found(json.dumps(RECORDS, indent=1).encode())


def test_lines_are_read_one_by_one_and_no_array_is_looked_for_in_later_ones():
    got, skipped, said = found(b'{"n": 1}\n\n[{"n": 2}]\n{"n": 3\n{"n": 4}')
    assert got == [(1, 1), (5, 4)] and skipped == [3, 4]
    assert said.startswith("line 3 skipped: ") and "\nline 4 skipped: " in said
    _, skipped, said = found(b'[{"n": 1}')
    assert skipped == [1] and said.startswith("line 1 skipped: ")

    def endless():
        yield b'{"n": 1}\n'
        raise AssertionError("the next line was asked for")

    assert next(read_json_lines(endless(), numbered, [], io.StringIO())) == (1, 1)


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
