"""Files of sentences with relational triples, in the layouts in which they are distributed.

`text` with `spo_list` (FastRE's files) or `triple_list` (PRGC's and CasRel's), `sentext` with
`relations` (HRL-RE's NYT10 and NYT11), `sentText` with `relationMentions` (CasRel's NYT24); one JSON
array or one object a line.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from relcl_lib.data.download import DataFormatError

LAYOUTS = (
    "new_train.json, new_valid.json, new_test.json: [{text, spo_list: [{subject, predicate, "
    "object}]}] (FastRE's files; linked from data/README of seukgcode/FastRE)",
    "train_triples.json, val_triples.json, test_triples.json: [{text, triple_list: [[subject, "
    "relation, object]]}] (PRGC's and CasRel's files)",
    "train.json, test.json with sentext and relations (HRL-RE), or sentText and relationMentions",
)


class Triple(NamedTuple):
    """Subject, relation and object as written in the data."""

    subject: str
    relation: str
    object: str


class Sentence(NamedTuple):
    """A text, its tokens apart by white space, and the triples annotated in it."""

    text: str
    triples: tuple[Triple, ...]


def _spo(record: dict) -> list[tuple]:
    return [(t["subject"], t["predicate"], t["object"]) for t in record["spo_list"]]


def _triple_list(record: dict) -> list[tuple]:
    return [tuple(t) for t in record["triple_list"]]


def _hrl(record: dict) -> list[tuple]:
    return [(t["em1"], t["rtext"], t["em2"]) for t in record["relations"] if t["rtext"] != "None"]


def _mentions(record: dict) -> list[tuple]:
    found = record["relationMentions"]
    return [(t["em1Text"], t["label"], t["em2Text"]) for t in found if t["label"] != "None"]


#: (field of the text, field of the triples, reader of the latter)
_FORMATS: tuple[tuple[str, str, Callable[[dict], list[tuple]]], ...] = (
    ("text", "spo_list", _spo),
    ("text", "triple_list", _triple_list),
    ("sentext", "relations", _hrl),
    ("sentText", "relationMentions", _mentions),
)


def read_sentences(path: str | os.PathLike[str]) -> list[Sentence]:
    """Read one file of sentences with triples, in any of the layouts of this module.

    Raises:
        DataFormatError: names the file, the record (from 1), the field, and what to do.
    """
    path = Path(path)
    return [as_sentence(path, at, record) for at, record in enumerate(read_records(path), start=1)]


def read_records(path: Path) -> Iterator[Any]:
    """Yield the elements of a JSON array, or the JSON value of each line that is not blank."""
    again = "Get the file again: it is incomplete, or not UTF-8 JSON"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataFormatError(path, f"cannot be read: {error}", again) from error
    if text.lstrip()[:1] == "[":
        try:
            yield from json.loads(text)
        except ValueError as error:
            raise DataFormatError(path, f"is no JSON array: {error}", again) from error
        return
    if not text.strip():
        raise DataFormatError(path, "is empty", again)
    if "\n" in text.strip():
        with contextlib.suppress(ValueError):  # one object over several lines
            yield json.loads(text)
            return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DataFormatError(path, f"line {number} is no JSON: {error}", again) from error


def as_sentence(path: str | Path, at: int, record: Any) -> Sentence:
    """Make a sentence of one record, in any layout; `path` and `at` name it in errors."""
    if not isinstance(record, dict):
        raise DataFormatError(
            path,
            f"record {at} is a {type(record).__name__}, not an object",
            f"Write it as one of: {'; '.join(LAYOUTS)}",
        )
    found = next((known for known in _FORMATS if known[0] in record and known[1] in record), None)
    if found is None:
        raise DataFormatError(
            path,
            f"record {at} has the fields {', '.join(map(str, record)) or 'none'}",
            "Each record needs text and spo_list, text and triple_list, sentext and relations, or "
            "sentText and relationMentions",
        )
    text_field, triples_field, reader = found
    text = record[text_field]
    if not isinstance(text, str):
        raise DataFormatError(
            path, f"record {at}, field {text_field}: {text!r} is no text", "Write it as a string"
        )
    try:
        triples = reader(record)
    except (KeyError, TypeError) as error:
        raise DataFormatError(
            path,
            f"record {at}, field {triples_field}: a triple lacks {error}",
            f"Write it as one of: {'; '.join(LAYOUTS)}",
        ) from error
    for triple in triples:
        if len(triple) != 3 or not all(isinstance(part, str) and part.strip() for part in triple):
            raise DataFormatError(
                path,
                f"record {at}, field {triples_field}: {list(triple)!r} is no triple",
                "Each is a subject, a relation and an object, three texts that are not empty",
            )
    if text_field == "sentext":  # HRL-RE's texts carry the quotes and line end of their source
        text = text.strip("\r\n").strip('"')
    return Sentence(text, tuple(Triple(*triple) for triple in triples))
