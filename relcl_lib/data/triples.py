"""Sentences with relational triples: NYT10, NYT11, NYT24, WebNLG, the generated corpus, one's own.

The layouts in which they are distributed: `text` with `spo_list` (FastRE's files), `triple_list`
(PRGC's and CasRel's) or `relation_list` (TPLinker's), `sentext` with `relations` (HRL-RE's NYT10 and
NYT11), `sentText` with `relationMentions` (CasRel's NYT24); one's own is `text` with `triples`. One
JSON array or one object per line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from relcl_lib.data.download import (
    DataFormatError,
    DataNotFoundError,
    SplitFiles,
    first_match,
    locate_splits,
)
from relcl_lib.data.splits import split_off
from relcl_lib.data.text_files import read_json_records

LAYOUTS = (
    "one's own: {text, triples: [{subject, relation, object, subject_span, object_span}]}, as "
    "extract writes them; a span is [start, end) in characters and may be left out",
    "new_train.json, new_valid.json, new_test.json: [{text, spo_list: [{subject, predicate, "
    "object}]}] (FastRE's files; linked from data/README of seukgcode/FastRE)",
    "train_triples.json, val_triples.json (CasRel: dev_triples.json), test_triples.json: [{text, "
    "triple_list: [[subject, relation, object]]}] (PRGC's and CasRel's files)",
    "train.json, test.json with sentext and relations (HRL-RE), or sentText and relationMentions",
    "train_data.json, valid_data.json, test_data.json: [{text, relation_list: [{subject, "
    "predicate, object}]}] (TPLinker's files)",
)
#: data set -> sentences in train, valid and test of the paper's Table 1 (None: no file is given)
EXPECTED = {
    "nyt10": (70339, None, 4006),
    "nyt11": (62648, None, 369),
    "nyt24": (56196, 5000, 5000),
    "webnlg": (5019, 500, 703),
}
PAPER_NAMES = {"nyt10": "NYT10", "nyt11": "NYT11", "nyt24": "NYT24", "webnlg": "WebNLG"}
#: split -> file names looked for, first to last (the last of test: a part of the test set)
FILES = {
    "train": ("new_train.json", "train_triples.json", "train_data.json", "train.json"),
    "valid": (
        *("new_valid.json", "val_triples.json", "valid_triples.json", "dev_triples.json"),
        *("valid_data.json", "valid.json", "val.json", "dev.json"),
    ),
    "test": (
        *("new_test.json", "test_triples.json", "test_data.json", "test.json"),
        "test_triples_*.json",
    ),
}
REDUCED_HINT = (
    "A folder with a test file but no training file is used with reduced=True (reduced_data=True in "
    "a notebook or a command); numbers are then marked as a reduced protocol."
)
RELATION_IDS = "rel2id.json"
#: How CasRel makes a validation set where none is given, which FastRE's spec takes over.
HELD_OUT = 0.005


class Triple(NamedTuple):
    """Subject, relation and object as written in the data."""

    subject: str
    relation: str
    object: str


#: characters of a text, from the first to one past the last
Span = tuple[int, int]


class Sentence(NamedTuple):
    """A text and the triples annotated in it.

    `spans` holds for each triple the characters of subject and object, or None where the data give
    none; () for none at all.
    """

    text: str
    triples: tuple[Triple, ...]
    spans: tuple[tuple[Span, Span] | None, ...] = ()


#: what a triple that is no list calls the characters of its subject and object: as `extract` writes
#: them, and TPLinker's data
_SPANS = (("subject_span", "object_span"), ("subj_char_span", "obj_char_span"))
#: field of the text, field of the triples, and what a triple that is no list calls its parts
_FORMATS = (
    ("text", "spo_list", ("subject", "predicate", "object")),
    ("text", "triple_list", ("subject", "relation", "object")),
    ("text", "relation_list", ("subject", "predicate", "object")),
    ("text", "triples", ("subject", "relation", "object")),
    ("sentext", "relations", ("em1", "rtext", "em2")),
    ("sentText", "relationMentions", ("em1Text", "label", "em2Text")),
)


def read_sentences(path: str | os.PathLike[str]) -> list[Sentence]:
    """Read one file of sentences with triples, in any of the layouts of this module.

    A DataFormatError names the file, the record (from 1), the field, and what to do.
    """
    path = Path(path)
    return [
        as_sentence(path, at, record) for at, record in enumerate(read_json_records(path), start=1)
    ]


def as_sentence(path: str | Path, at: int, record: Any) -> Sentence:
    """Make a sentence of one record, in any layout; `path` and `at` name it in errors."""
    fix = f"Write it as one of: {'; '.join(LAYOUTS)}"
    if not isinstance(record, dict):
        what = "null" if record is None else f"a {type(record).__name__}"
        problem = f"record {at} is {what}, not an object"
        raise DataFormatError(path, problem, fix)
    found = [known for known in _FORMATS if known[0] in record and known[1] in record]
    if not found:
        more = f" and {len(record) - 8} more" if len(record) > 8 else ""
        problem = f"record {at} has the fields {', '.join(list(record)[:8]) or 'none'}{more}"
        if near := _near(record):
            fix = f"Did you mean {near}? {fix}"
        raise DataFormatError(path, problem, fix)
    if len(found) > 1:
        names = " and ".join(known[1] for known in found)
        raise DataFormatError(path, f"record {at} has triples in {names}", "Leave one of them")
    text_field, triples_field, keys = found[0]
    text = record[text_field]
    if not isinstance(text, str):
        what = "null" if text is None else repr(text)
        raise DataFormatError(
            path, f"record {at}, field {text_field}: {what} is no text", "Write it as a string"
        )
    where = f"record {at}, field {triples_field}"
    listed = record[triples_field]
    if not isinstance(listed, list):
        what = "is null" if listed is None else f"is {listed!r}, no list"
        raise DataFormatError(path, f"{where} {what}", f"Write [] for no triple. {fix}")
    triples, spans = [], []
    for triple in listed:
        if isinstance(triple, dict) and (absent := [key for key in keys if key not in triple]):
            raise DataFormatError(path, f"{where}: a triple lacks {', '.join(absent)}", fix)
        if not isinstance(triple, dict | list):
            raise DataFormatError(path, f"{where}: {triple!r} is no triple", fix)
        parts = tuple(map(triple.get, keys) if isinstance(triple, dict) else triple)
        if len(parts) != 3 or not all(isinstance(part, str) and part.strip() for part in parts):
            raise DataFormatError(
                path,
                f"{where}: {list(parts)!r} is no triple",
                "Each is a subject, a relation and an object, three texts that are not empty",
            )
        if text_field == "text" or parts[1] != "None":
            triples.append(Triple(parts[0], parts[1].strip(), parts[2]))
            spans.append(_spans(path, where, text, triple, parts))
    if text_field == "sentext":  # HRL-RE's texts carry the quotes and line end of their source
        text = text.strip("\r\n").strip('"')
        spans = []
    return Sentence(text, tuple(triples), tuple(spans) if any(spans) else ())


def _near(record: Mapping[str, Any]) -> str:
    """The field of a layout that a record lacks, where it has another one of nearly that name."""
    pairs = [{text, triples} - set(record) for text, triples, _ in _FORMATS]
    absent = sorted({name for pair in pairs if len(pair) == 1 for name in pair})
    known = {name for known in _FORMATS for name in known[:2]}
    near = [get_close_matches(str(name), absent, n=1) for name in record if name not in known]
    return next((names[0] for names in near if names), "")


def _spans(
    path: str | Path, where: str, text: str, triple: Any, parts: Sequence[str]
) -> tuple[Span, Span] | None:
    """The characters of a triple's subject and object, where its record has them."""
    names = next((n for n in _SPANS if isinstance(triple, dict) and set(n) & set(triple)), None)
    if names is None:
        return None
    found = []
    for name, entity in zip(names, (parts[0], parts[2]), strict=True):
        span = triple.get(name)
        if not (
            isinstance(span, list)
            and len(span) == 2
            and all(type(place) is int for place in span)
            and 0 <= span[0] < span[1] <= len(text)
        ):
            raise DataFormatError(
                path,
                f"{where}: {name} is {repr(span) if name in triple else 'missing'}, no [start, end] "
                f"within the {len(text)} characters",
                "Count from 0, the end one past the last character; or leave both spans out",
            )
        start, end = span
        if text[start:end] != entity:
            one_less = text[start : end + 1] == entity
            raise DataFormatError(
                path,
                f"{where}: at {name} {span} stands {text[start:end]!r}, not {entity!r}",
                "Let the end be one past the last character"
                if one_less
                else "Count characters, not bytes or words, from 0; or leave both spans out",
            )
        found.append((start, end))
    return found[0], found[1]


# --- data sets ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class TripleData:
    """A data set in three splits.

    `relations` lists what the file `listed_in` lists (`rel2id.json`), or the training split's
    relations if there is none;
    `protocol` is `paper` only where every split has the paper's size and none was made by cutting
    another one, and `stand-in` for a set that is not of the paper's; `note` says what was cut;
    `words` says how plain text was split (`text.splitting`), where spaces did not separate the
    words already; `folder` is where the files lie, if they were read; `places` has for each sentence
    of a split the file and the number of its record there, which a draw for validation leaves.
    """

    name: str
    train: tuple[Sentence, ...]
    valid: tuple[Sentence, ...]
    test: tuple[Sentence, ...]
    relations: tuple[str, ...]
    source: str
    protocol: str
    note: str = ""
    words: str = "spaces"
    fingerprint: str = field(default="", compare=False)
    listed_in: str = field(default="", compare=False)
    folder: str = field(default="", compare=False)
    places: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict, compare=False)

    @property
    def sizes(self) -> dict[str, int]:
        """Sentences per split."""
        return {split: len(getattr(self, split)) for split in FILES}

    def called(self, split: str) -> list[str] | None:
        """What each sentence of a split is called, as `record 11 of train.json`; None: not known."""
        places = self.places.get(split, ())
        known = len(places) == len(getattr(self, split))  # not where somebody else cut the split
        return [f"record {at} of {Path(file).name}" for file, at in places] if known else None


def load_triples(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    reduced: bool = False,
    limit: int | None = None,
) -> TripleData:
    """Load nyt10, nyt11, nyt24 or webnlg from the user's files, synthetic, or a set of one's own.

    Without a validation file some training sentences (seed 2019) are taken out for it: 0.5 % of a
    set of the paper's, a tenth but no more than 300 of other sets and of what was cut. A set of one's
    own needs no test file, and all sentences of one text come to the same side where it is cut.

    Args:
        name: one of these, or the name of one's own.
        root: its folder or the parent of it; see `download.search_folders`.
        reduced: without a training file, train on what there is: the validation file (a tenth of it
            then validates), or three quarters of the test file, the rest of it being the test set.
        limit: keep only the first training sentences, at most so many.

    Raises:
        DataNotFoundError: no folder holds a training (`reduced`: any) and a test file, or, of a set
            of one's own, a training file.
        DataFormatError: a file is damaged.
    """
    own = name not in EXPECTED and name != "synthetic"

    def find(*needed: str) -> SplitFiles:
        return locate_splits(
            name,
            [FILES],
            needed,
            corpus="nyt24",
            root=root,
            layouts=LAYOUTS,
            hint="" if reduced else REDUCED_HINT,
        )

    try:
        found = find("train") if own else find("test") if reduced else find("test", "train")
    except DataNotFoundError:
        if not (own and reduced):
            raise
        found = find("test")
    splits = {
        split: read_sentences(path) if path is not None else []
        for split, path in found.paths.items()
    }
    relations = _relation_ids(found.folder)
    data = assemble_triples(
        name,
        splits,
        relations=relations,
        listed_in=str(first_match(found.folder, [RELATION_IDS])) if relations else "",
        source="generated" if name == "synthetic" and root is None else found.source,
        limit=limit,
        note=found.note,
        files={split: str(path) for split, path in found.paths.items() if path},
    )
    return replace(data, folder=str(found.folder))


def _relation_ids(folder: Path) -> tuple[str, ...]:
    path = first_match(folder, [RELATION_IDS])
    if path is None:
        return ()
    # An array yields its elements, an object itself; the last one is relation -> id either way.
    found = list(read_json_records(path))
    mapping = found[-1] if found else None
    if not isinstance(mapping, dict) or not all(isinstance(i, int) for i in mapping.values()):
        raise DataFormatError(
            path, "holds no relation -> id", "Its last (or only) object maps names to numbers"
        )
    return tuple(sorted(mapping, key=mapping.get))


def assemble_triples(
    name: str,
    splits: dict[str, Sequence[Sentence]],
    *,
    relations: Sequence[str] = (),
    source: str = "given",
    limit: int | None = None,
    note: str = "",
    listed_in: str = "",
    files: Mapping[str, str] | None = None,
) -> TripleData:
    """Make a data set of sentences that are there; an absent split is cut from another (`load_triples`).

    A name of the paper's is checked against the paper's sizes. `relations` are all there are, in id
    order, as `listed_in` lists them; none stands for those of the training split. `note` says what is
    already known to differ, `files` where a split was read.
    """
    files = files or {}
    train, valid, test = (
        [(files.get(split, split), at, s) for at, s in enumerate(splits.get(split, ()), start=1)]
        for split in FILES
    )
    sizes = tuple(len(part) or None for part in (train, valid, test))
    # The paper's sets are cut by sentence, as in the records: NYT24 holds a few texts twice.
    alike = None if name in EXPECTED else _text
    notes, cut = [note] if note else [], False
    if not train and valid:
        train, valid = split_off(valid, 0.1, alike)
        cut = True
        notes.append("no training file: trained on the validation file, a tenth of it validates")
    elif not train:
        train, test = split_off(test, 0.25, alike)
        cut = True
        notes.append(
            "no training file: trained on three quarters of the test file, tested on the rest"
        )
    if limit is not None and limit < len(train):
        train, cut = train[:limit], True
        notes.append(f"the first {limit} training sentences")
    if not valid:
        of_paper = name in EXPECTED and not cut
        share = HELD_OUT if of_paper else max(HELD_OUT, min(0.1, 300 / max(len(train), 1)))
        train, valid = split_off(train, share, alike)
        one = len(valid) == 1
        notes.append(
            f"{len(valid)} training sentence{'' if one else 's'} validate{'s' if one else ''}"
        )
    if not test and name not in EXPECTED:
        what = (
            f"{Path(files['test']).name} holds no sentence" if "test" in files else "no test file"
        )
        notes.append(f"{what}: scored on the validation sentences only")
    if name not in EXPECTED and not (train and valid):
        count = len(set(map(_text, [*train, *valid])))
        raise DataFormatError(
            files.get("train", source),
            f"holds {count} different sentence{'s' * (count != 1)}",
            "At least 2 are needed, as one validates; or give valid.json",
        )
    if not train or not valid or (not test and name in EXPECTED):
        raise DataFormatError(
            source, "too few different sentences for training, validation and test", "Add some"
        )
    same = name in EXPECTED and not cut and sizes == EXPECTED[name]
    if name in EXPECTED and sizes != EXPECTED[name]:
        notes.append(f"sentences in the files (train, valid, test) {sizes}, {EXPECTED[name]} usual")
    parts = [tuple(sentence for *_, sentence in part) for part in (train, valid, test)]
    known = tuple(relations) or tuple(sorted({t.relation for s in parts[0] for t in s.triples}))
    kind = "paper" if same and name != "webnlg" else "reduced"
    protocol = kind if name in EXPECTED else "stand-in"
    return TripleData(
        name,
        *parts,
        known,
        source,
        protocol,
        "; ".join(notes),
        fingerprint=digest(parts, known),
        listed_in=listed_in,
        places={
            split: tuple((file, at) for file, at, _ in part)
            for split, part in zip(FILES, (train, valid, test), strict=True)
        },
    )


def _text(row: tuple[str, int, Sentence]) -> str:
    return row[-1].text


def describe_repeats(data: TripleData) -> str:
    """How many sentences of validation and test have a text of the training split; empty for none."""
    seen = {sentence.text for sentence in data.train}
    counts = {
        split: sum(sentence.text in seen for sentence in getattr(data, split))
        for split in ("valid", "test")
    }
    said = [f"{n} of the {data.sizes[split]} {split} sentences" for split, n in counts.items() if n]
    return f"trained on as well: {' and '.join(said)}, which raises their scores" if said else ""


def digest(parts: Iterable[Sequence[Sentence]], relations: Sequence[str]) -> str:
    """16 hex digits that name the content of some splits and the relations."""
    # Spans where there are some only: a digest of data without them stays what it was.
    plain = [[s if s.spans else s[:2] for s in part] for part in parts]
    return hashlib.sha256(json.dumps([plain, relations]).encode()).hexdigest()[:16]
