"""Records on standard input: a line each, or one array on one line."""

import io
import json

import pytest

from relcl_lib.lab.command_line import read_json_lines

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
