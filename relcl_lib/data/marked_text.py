"""Sentences of one's own with a marked head and tail entity: JSON lines, or FewRel's layout.

A record is `{"text": ..., "head": [start, end], "tail": [start, end], "relation": ...}`, its places
counted in characters of the text from 0, ends exclusive; or `{"text": ..., "relation": ...}` whose
text has the entities between markers, `[E11] Ada Byron [E12] was born in [E21] London [E22].`
"""

from __future__ import annotations

import os
import re
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.sentences import RawSentence, Span, read_fewrel
from relcl_lib.data.text_files import read_json_records

FIX = (
    'A sentence is {"text": ..., "head": [start, end], "tail": [start, end], "relation": ...}, places '
    "in characters from 0, ends exclusive; or its text has [E11] head [E12] and [E21] tail [E22]"
)
#: the relation of a sentence that says none; no relation may have this name
NO_RELATION = ""
#: how the file of a split ends that a folder of one's own holds
ENDINGS = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
#: alphabets whose words stand between spaces and take no unmarked endings; Unicode's names of letters
_SPACED = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN")
_MARKER = re.compile(r"\[(E11|E12|E21|E22)\]")


def read_marked(
    path: str | os.PathLike[str], *, split: str = "train", none: bool = False
) -> dict[str, list[RawSentence]]:
    """Read the sentences of each relation, in the file's order. White space around a name is left out.

    `path` is a file of such records, one per line or in a JSON array; a file in FewRel's layout,
    `{relation: [{tokens, h, t}]}`; or a folder with one of them, the `split` with one of `ENDINGS`.
    With `none` a record's relation may be null: it says none, and its sentence stands under
    `NO_RELATION`.

    Raises:
        DataNotFoundError: there is no such file; says what would be read.
        DataFormatError: names the file, the record (from 1) and the field.
    """
    path = Path(path)
    if path.is_dir():
        wanted = [f"{split}{ending}" for ending in ENDINGS]
        found = [path / name for name in wanted if (path / name).is_file()]
        if not found:
            names = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
            raise DataNotFoundError(
                f"{path} holds none of {', '.join(wanted)}, but {names}; name the file itself"
            )
        path = found[0]
    if not path.is_file():
        raise DataNotFoundError(
            f"{path} is not there. Name a file of sentences, or a folder that holds "
            f"{split}{ENDINGS[0]}. {FIX}"
        )
    first = next(iter(read_json_records(path)), None)
    if isinstance(first, dict) and first and all(isinstance(v, list) for v in first.values()):
        return _stripped(path, read_fewrel(path))
    relations: dict[str, list[RawSentence]] = {}
    for at, record in enumerate(read_json_records(path), start=1):
        says_none = none and isinstance(record, dict) and record.get("relation", "") is None
        sentence = as_marked(path, at, record, labelled=not says_none)
        relations.setdefault(sentence.relation, []).append(sentence)
    if not relations:
        raise DataFormatError(path, "holds no sentence", FIX)
    return relations


def _stripped(path: Path, relations: dict[str, list[RawSentence]]) -> dict[str, list[RawSentence]]:
    """Sentences under their relation's name without the white space around it."""
    found: dict[str, list[RawSentence]] = {}
    for name, rows in relations.items():
        if not name.strip():
            raise DataFormatError(path, f"a relation's name, {name!r}, is no name", FIX)
        for row in rows:
            if row.head == row.tail:
                entity = " ".join(row.tokens[slice(*row.head)])
                problem = f"{row.place}: head and tail are the same words, {entity!r}"
                raise DataFormatError(path, problem, "Mark two entities, or take the sentence out")
        found.setdefault(name.strip(), []).extend(
            row._replace(relation=name.strip()) for row in rows
        )
    return found


def as_marked(
    path: str | os.PathLike[str], at: int, record: Any, *, labelled: bool = True
) -> RawSentence:
    """A record, the `at`-th of a file, as a sentence; without `labelled` its relation is not read.

    Its relation then is `NO_RELATION`. Its tokens are what spaces and the entities' ends separate.

    Raises:
        DataFormatError: names the record and the field that does not fit.
    """

    def wrong(problem: str) -> DataFormatError:
        return DataFormatError(path, f"record {at}{problem}", FIX)

    def absent(name: str) -> str:
        if name in record:
            return "is null"
        return f"missing (it has {', '.join(list(record)[:8]) or 'no field'})"

    if not isinstance(record, dict):
        raise wrong(f": a {type(record).__name__}, not an object")
    text, relation = record.get("text"), record.get("relation")
    if not isinstance(text, str):
        raise wrong(f", field text: {absent('text') if text is None else f'{text!r} is no text'}")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise wrong(", field text: holds half a surrogate pair, which no file can")
    if labelled and not (isinstance(relation, str) and relation.strip()):
        problem = absent("relation") if relation is None else f"{relation!r} is no name"
        raise wrong(f", field relation: {problem}")
    given = [record.get(name) for name in ("head", "tail")]
    if given == [None, None]:
        try:
            text, *spans = _unmarked(text)
        except ValueError as error:
            raise wrong(f", field text: {error}") from None
    else:
        if found := _MARKER.search(text):
            raise wrong(
                f", field text: holds {found[0]} beside head and tail; give one or the other"
            )
        spans = [_span(text, value) for value in given]
        for name, value, span in zip(("head", "tail"), given, spans, strict=True):
            if span is None:
                problem = f"{value!r} is no [start, end] in a text of {len(text)} characters"
                problem = absent(name) if value is None else problem
                raise wrong(f", field {name}: {problem}")
    for name, span in zip(("head", "tail"), spans, strict=True):
        for place in span:
            if _inside_word(text, place):
                around = text[max(0, place - 10) : place] + "|" + text[place : place + 10]
                problem = f"{list(span)} cuts a word, {around!r}; entities are whole words"
                raise wrong(f", field {name}: {problem}")
    tokens, (head, tail) = _tokens(text, spans)
    for name, (start, end) in (("head", head), ("tail", tail)):
        if start == end:
            raise wrong(f", field {name}: the entity is empty, or holds spaces only")
    if head == tail:
        entity = " ".join(tokens[slice(*head)])
        raise wrong(f", field tail: head and tail are the same words, {entity!r}")
    place = f"{Path(path).name}, record {at}"
    name = relation.strip() if labelled else NO_RELATION
    return RawSentence(tokens, head, tail, name, place=place)


def _span(text: str, value: Any) -> Span | None:
    if not (isinstance(value, list) and [type(place) for place in value] == [int, int]):
        return None
    start, end = value
    return (start, end) if 0 <= start < end <= len(text) else None


def _inside_word(text: str, place: int) -> bool:
    """Whether a place lies between two letters of a word, two digits, or a letter and its accent."""
    before, after = text[place - 1 : place], text[place : place + 1]
    if not (before and after):
        return False
    if unicodedata.combining(after) or (before.isdecimal() and after.isdecimal()):
        return True
    letters = before.isalpha() and after.isalpha()
    return letters and all(
        unicodedata.name(letter, "").startswith(_SPACED) for letter in (before, after)
    )


def _unmarked(text: str) -> tuple[str, Span, Span]:
    """A text without its markers, and where head and tail stand in it."""
    pieces = _MARKER.split(text)
    names = pieces[1::2]
    if sorted(names) != ["E11", "E12", "E21", "E22"]:
        raise ValueError(
            "no head and tail are given, so each of [E11] [E12] [E21] [E22] has to stand in it once"
        )
    places, plain = {}, pieces[0]
    for name, piece in zip(names, pieces[2::2], strict=True):
        places[name] = len(plain)
        plain += piece
    spans = [(places[f"E{which}1"], places[f"E{which}2"]) for which in "12"]
    if any(start > end for start, end in spans):
        raise ValueError("a closing marker ([E12], [E22]) stands before its opening one")
    return plain, *spans


def _tokens(text: str, spans: list[Span]) -> tuple[tuple[str, ...], list[Span]]:
    """The words of a text, cut at the ends of spans of characters, and the spans in words."""
    ends = sorted({0, len(text), *(place for span in spans for place in span)})
    words: list[str] = []
    at = {ends[0]: 0}
    for start, end in pairwise(ends):
        words += text[start:end].split()
        at[end] = len(words)
    return tuple(words), [(at[start], at[end]) for start, end in spans]
