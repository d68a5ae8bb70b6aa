"""Files of sentences with one relation each: FewRel's layout and TACRED's, record by record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from relcl_lib.data.download import DataFormatError
from relcl_lib.data.triple_files import read_records

FEWREL_FIX = (
    "FewRel's layout is {relation: [{tokens: [words], h: [name, id, [positions of each mention]], "
    "t: the same}]}"
)
TACRED_FIX = (
    "TACRED's layout (LDC2018T24, data/json) is [{relation, token: [words], subj_start, subj_end, "
    "obj_start, obj_end}], ends inclusive"
)

Span = tuple[int, int]


class RawSentence(NamedTuple):
    """A sentence of a file: tokens, half-open token spans of head and tail, relation name.

    `mentions` is the number of mentions of head and of tail in the sentence (the spans are the
    first ones); `contiguous` is False where a mention skips tokens, which its span then covers;
    `place` names file and record for error messages.
    """

    tokens: tuple[str, ...]
    head: Span
    tail: Span
    relation: str
    mentions: tuple[int, int] = (1, 1)
    contiguous: bool = True
    place: str = ""


def read_fewrel(path: Path) -> dict[str, list[RawSentence]]:
    """Read one file in FewRel's layout: relation -> sentences, in the file's order.

    Raises:
        DataFormatError: names the file, the relation, the record (from 1), the field, and what to
            do; also where a relation is named twice.
    """
    return {
        relation: [
            _fewrel(path, relation, at, record)
            for at, record in enumerate(_checked(path, relation, records), start=1)
        ]
        for relation, records in read_object(path).items()
    }


def read_tacred(path: Path) -> Iterator[RawSentence]:
    """Yield the sentences of one file in TACRED's layout, those of no relation among them.

    The subject is the head, the object the tail.

    Raises:
        DataFormatError: names the file, the record (from 1), the field, and what to do.
    """
    fields = ("relation", "token", "subj_start", "subj_end", "obj_start", "obj_end")
    for at, record in enumerate(read_records(path), start=1):
        missing = [name for name in fields if not isinstance(record, dict) or name not in record]
        if missing:
            problem = f"record {at} lacks {', '.join(missing)}: this is no file of TACRED"
            raise DataFormatError(path, problem, TACRED_FIX)
        place = f"record {at} ({record['relation']})"
        tokens = _tokens(path, place, "token", record["token"], TACRED_FIX)
        spans = []
        for name in ("subj", "obj"):
            start, end = record[f"{name}_start"], record[f"{name}_end"]
            whole = type(start) is int and type(end) is int
            if not whole or not 0 <= start <= end < len(tokens):
                raise DataFormatError(
                    path,
                    f"{place}, fields {name}_start and {name}_end: {start!r} to {end!r} lies "
                    f"outside the {len(tokens)} tokens",
                    TACRED_FIX,
                )
            spans.append((start, end + 1))
        where = f"{Path(path).name}, record {at}"
        yield RawSentence(tokens, *spans, str(record["relation"]), place=where)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object whose keys must differ, the inner ones too.

    A plain reader keeps the last of two equal keys, and a relation's sentences would be lost.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise DataFormatError(path, f"the key {twice!r} occurs twice", "Join or rename them")
        return found

    again = "Get the file again: it is incomplete, or not UTF-8 JSON"
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except DataFormatError:
        raise
    except (OSError, ValueError) as error:
        raise DataFormatError(path, f"cannot be read: {error}", again) from error
    if not isinstance(found, dict):
        raise DataFormatError(path, f"holds a {type(found).__name__}, not an object", FEWREL_FIX)
    return found


def _checked(path: str | Path, relation: str, records: Any) -> list:
    if not isinstance(records, list) or not records:
        raise DataFormatError(path, f"relation {relation} has no list of records", FEWREL_FIX)
    return records


def _fewrel(path: str | Path, relation: str, at: int, record: Any) -> RawSentence:
    place = f"relation {relation}, record {at}"
    missing = [
        key for key in ("tokens", "h", "t") if not isinstance(record, dict) or key not in record
    ]
    if missing:
        raise DataFormatError(path, f"{place} lacks {', '.join(missing)}", FEWREL_FIX)
    tokens = _tokens(path, place, "tokens", record["tokens"], FEWREL_FIX)
    spans, counts, contiguous = [], [], True
    for key in ("h", "t"):
        try:
            _, _, mentions = record[key]
            positions = sorted(mentions[0])
            if not all(type(position) is int for position in positions):  # a bool is no position
                raise TypeError
            start, end = positions[0], positions[-1] + 1
            inside = start >= 0 and end <= len(tokens)
        except (TypeError, ValueError, IndexError, KeyError) as error:
            problem = f"{place}, field {key}: {record[key]!r} is no entity with a mention"
            raise DataFormatError(path, problem, FEWREL_FIX) from error
        if not inside:
            raise DataFormatError(
                path,
                f"{place}, field {key}: the positions {positions} lie outside the {len(tokens)} tokens",
                FEWREL_FIX,
            )
        spans.append((start, end))
        counts.append(len(mentions))
        contiguous &= len(positions) == end - start
    where = f"{Path(path).name}, {place}"
    return RawSentence(tokens, *spans, relation, tuple(counts), contiguous, where)


def _tokens(path: str | Path, place: str, field: str, value: Any, fix: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        raise DataFormatError(path, f"{place}, field {field}: not a list of words", fix)
    return tuple(value)
