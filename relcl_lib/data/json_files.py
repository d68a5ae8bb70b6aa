"""JSON files whose errors say where: arrays, one value per line, and objects without equal keys."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relcl_lib.data.download import DataFormatError

AGAIN = "Get the file again: it is incomplete, or not UTF-8 JSON"


def read_records(path: Path) -> Iterator[Any]:
    """Yield the elements of a JSON array, or the JSON value of each line that is not blank."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataFormatError(path, f"cannot be read: {error}", AGAIN) from error
    if text.lstrip()[:1] == "[":
        try:
            yield from json.loads(text)
        except ValueError as error:
            raise DataFormatError(path, f"is no JSON array: {error}", AGAIN) from error
        return
    if not text.strip():
        raise DataFormatError(path, "is empty", AGAIN)
    if "\n" in text.strip():
        with contextlib.suppress(ValueError):  # one object over several lines
            yield json.loads(text)
            return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DataFormatError(path, f"line {number} is no JSON: {error}", AGAIN) from error


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
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except DataFormatError:
        raise
    except (OSError, ValueError) as error:
        raise DataFormatError(path, f"cannot be read: {error}", AGAIN) from error
    if not isinstance(found, dict):
        raise DataFormatError(path, f"holds a {type(found).__name__}, not an object", fix)
    return found
