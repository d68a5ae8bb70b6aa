"""Text files as people have them, and JSON in them: a byte-order mark, any line end, gzip.

Errors name the file and the line or byte. A UTF-8 byte-order mark, which Windows tools write, is no
content; CRLF ends a line as LF does; a name that ends in `.gz` is read through gzip.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relcl_lib.data.download import DataFormatError
from relcl_lib.data.unpacking import open_content
from relcl_lib.lab.json_text import parse_json

#: what to do about a file that may be a download or somebody's own
AGAIN = "Mend it there; if it is a download, get the file again: it is incomplete"
BOM = "\ufeff"
#: byte-order mark -> encoding; UTF-32's little-endian one begins as UTF-16's does
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def not_utf8(path: Path, start: bytes, reason: str = "") -> DataFormatError:
    """The error for a file that is no UTF-8 text, by its first bytes; `reason` is a decoder's."""
    kind = next((f" but {name}" for mark, name in _MARKS.items() if start.startswith(mark)), "")
    if not kind and b"\0" in start:
        kind = " but UTF-16 or UTF-32 without a mark, or no text: it holds NUL bytes"
    reason = f" ({reason})" if reason else ""
    return DataFormatError(
        path,
        f"cannot be read: it is not UTF-8{kind or ', or no text'}{reason}",
        "Save it as UTF-8; iconv -f OLD -t UTF-8 converts a file",
    )


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file without their ends."""
    try:
        with open_content(path) as content, io.TextIOWrapper(content, encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if number == 1:
                    line = line.lstrip(BOM)  # twice where a tool marked a marked file
                if "\0" in line:  # which UTF-8 may hold, but no text does
                    raise not_utf8(path, line.encode(), f"line {number}")
                yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        with open_content(path) as content:
            start = content.read(64)
        byte = error.object[error.start]
        raise not_utf8(path, start, f"{error.reason}: 0x{byte:02x}") from error
    except FileNotFoundError as error:
        raise DataFormatError(path, "there is no such file", "Check its name and folder") from error
    except IsADirectoryError as error:
        files = sorted(file for file in path.iterdir() if file.suffix in (".json", ".jsonl"))
        tested = [file for file in files if "test" in file.name]
        named = f", such as {(tested or files)[0]}" if files else ""
        raise DataFormatError(path, "is a folder", f"Name a file in it{named}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataFormatError(path, f"cannot be read: {error}", "Get the file again") from error


def read_text(path: Path) -> str:
    """The whole of a file, each line ended by LF."""
    return "\n".join(read_lines(path))


def read_json_records(path: Path) -> Iterator[Any]:
    """Yield the elements of a JSON array, or the JSON value of each line that is not blank."""
    text = read_text(path)
    if text.lstrip()[:1] == "[":
        try:
            yield from parse_json(text)
        except ValueError as error:
            raise DataFormatError(path, f"is no JSON array: {error}", AGAIN) from error
        return
    if not text.strip():
        fix = "Get the file again, or write its records into it"
        raise DataFormatError(path, "is empty", fix)
    if "\n" in text.strip():
        with contextlib.suppress(ValueError):  # one object over several lines
            yield parse_json(text)
            return
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.lstrip(BOM)  # of a file that was appended
        if line.strip():
            try:
                yield parse_json(line)
            except ValueError as error:
                fix = AGAIN.replace("Mend it there", f"Mend line {number}")
                raise DataFormatError(path, f"line {number} is no JSON: {error}", fix) from error


def read_object(path: Path, fix: str) -> dict[str, Any]:
    """Read a JSON object whose keys must differ, the inner ones too; `fix` says what is expected.

    A plain reader keeps the last of two equal keys, and a relation's sentences would be lost.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise DataFormatError(path, f"the key {twice!r} occurs twice", "Join or rename them")
        return found

    try:
        found = parse_json(read_text(path), object_pairs_hook=unique)
    except DataFormatError:
        raise
    except ValueError as error:
        raise DataFormatError(path, f"cannot be read: {error}", AGAIN) from error
    if not isinstance(found, dict):
        raise DataFormatError(path, f"holds a {type(found).__name__}, not an object", fix)
    return found
