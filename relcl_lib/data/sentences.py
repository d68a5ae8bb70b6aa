"""Sentences with one relation each: FewRel, TACRED (the user's copy), generated ones, one's own."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from relcl_lib.data.download import (
    DataFormatError,
    first_match,
    locate,
    locate_splits,
    matches,
)
from relcl_lib.data.text_files import read_json_records, read_object
from relcl_lib.lab.files import NOT_READ

FEWREL_FILES, FEWREL_SUBSET = ("train_wiki.json", "val_wiki.json"), "fewrel80_subset.json"
#: Relations of the two files, and sentences of each relation.
FEWREL_COUNTS, FEWREL_EACH = (64, 16), 700
#: The 80 relations in the order of their labels, which both files have and the authors' list of labels
#: (RP-CRE's, CRECL's): the order in which tasks arrive is drawn over labels.
_FEWREL = """
P931 P4552 P140 P1923 P150 P6 P27 P449 P1435 P175 P1344 P39 P527 P740 P706 P84 P495 P123 P57 P22 P178
P241 P403 P1411 P135 P991 P156 P176 P31 P1877 P102 P1408 P159 P3373 P1303 P17 P106 P551 P937 P355 P710
P137 P674 P466 P136 P306 P127 P400 P974 P1346 P460 P86 P118 P264 P750 P58 P3450 P105 P276 P101 P407
P1001 P800 P131 P177 P364 P2094 P361 P641 P59 P413 P206 P412 P155 P26 P410 P25 P463 P40 P921
"""
FEWREL_RELATIONS = tuple(_FEWREL.split())
TACRED_FILES, TACRED_SENTENCES = ("train.json", "dev.json", "test.json"), 106_264
#: The released list, which leaves out one of the 41 relations for a reason it does not give.
TACRED_DROPPED = ("no_relation", "per:country_of_death")
_TACRED = """
org:founded_by per:employee_of org:alternate_names per:cities_of_residence per:children per:title
per:siblings per:religion per:age org:website per:stateorprovinces_of_residence org:member_of
org:top_members/employees per:countries_of_residence org:city_of_headquarters org:members
org:country_of_headquarters per:spouse org:stateorprovince_of_headquarters
org:number_of_employees/members org:parents org:subsidiaries per:origin
org:political/religious_affiliation per:other_family per:stateorprovince_of_birth org:dissolved
per:date_of_death org:shareholders per:alternate_names per:parents per:schools_attended
per:cause_of_death per:city_of_death per:stateorprovince_of_death org:founded per:country_of_birth
per:date_of_birth per:city_of_birth per:charges
"""
TACRED_RELATIONS = tuple(_TACRED.split())
LAYOUTS = {
    "fewrel": (
        "train_wiki.json and val_wiki.json (the folder data/ of github.com/thunlp/FewRel): "
        "{relation: [{tokens, h, t}]}",
        f"{FEWREL_SUBSET}: the same layout, 80 relations with fewer sentences",
    ),
    "fewrel_val": ("val_wiki.json (the folder data/ of github.com/thunlp/FewRel)",),
    "tacred": (
        "train.json, dev.json and test.json of your own copy of TACRED (LDC2018T24, data/json)",
    ),
}
#: what another name reads, in FewRel's layout: two files with a split of one's own, or one file
OWN_SPLITS = {"train": ("train.json",), "test": ("test.json",)}
FEWREL_FIX = (
    "FewRel's layout is {relation: [{tokens: [words], h: [name, id, [positions of each mention]], "
    "t: the same}]}"
)
TACRED_FIX = (
    "TACRED's layout (LDC2018T24, data/json) is [{relation, token: [words], subj_start, subj_end, "
    "obj_start, obj_end}], ends inclusive"
)

Span = tuple[int, int]

NAMES_FIX = "Mend it, get it again, or remove it"


# --- files --------------------------------------------------------------------------------------


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
        for relation, records in read_object(path, FEWREL_FIX).items()
    }


def read_tacred(path: Path) -> Iterator[RawSentence]:
    """Yield the sentences of one file in TACRED's layout, those of no relation among them.

    The subject is the head, the object the tail. A DataFormatError names the file, the record
    (from 1), the field, and what to do.
    """
    fields = ("relation", "token", "subj_start", "subj_end", "obj_start", "obj_end")
    for at, record in enumerate(read_json_records(path), start=1):
        missing = [name for name in fields if not isinstance(record, dict) or name not in record]
        if missing:
            problem = f"record {at} lacks {', '.join(missing)}: this is no file of TACRED"
            raise DataFormatError(path, problem, TACRED_FIX)
        if not isinstance(record["relation"], str):
            problem = f"record {at}, field relation: {record['relation']!r} is no text"
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
        yield RawSentence(tokens, *spans, record["relation"], place=where)


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


# --- data sets ----------------------------------------------------------------------------------


class MarkedSentence(NamedTuple):
    """A sentence: tokens, half-open token spans of head and tail entity, the relation's label.

    The spans are the first mentions. They may overlap where the file says so (none do in FewRel).
    """

    tokens: tuple[str, ...]
    head: Span
    tail: Span
    label: int


@dataclass(frozen=True)
class RelationSentences:
    """Sentences grouped by relation, in the order of the files.

    `relations` are ids, of which the position is the label; `relation_names` are in words where
    `pid2name.json` lies beside the data, else the ids. `split` is `train` or `test` where the data
    gives a split, else None, per sentence; `places` name file and record of each. `protocol` is
    `paper` only where the files have the paper's size, `stand-in` for a set that is not of the
    paper's. `fingerprint` is a hash of all that is
    trained on. `note` names files that were not read. `report` counts what could surprise:
    `sentences`, `repeated` (the same tokens as an earlier sentence of the relation),
    `repeated_with_mentions` (the same spans too), `several_mentions`, `not_contiguous`,
    `overlapping`, `tail_first`, `longest` (tokens), and what was left out.
    """

    name: str
    protocol: str
    relations: tuple[str, ...]
    relation_names: tuple[str, ...]
    sentences: tuple[MarkedSentence, ...]
    split: tuple[str | None, ...]
    report: Mapping[str, int]
    source: str = ""
    fingerprint: str = field(default="", compare=False)
    places: tuple[str, ...] = field(default=(), compare=False, repr=False)
    note: str = ""

    @property
    def labels(self) -> Tensor:
        """The label of each sentence: (N,) int64."""
        return torch.tensor([sentence.label for sentence in self.sentences], dtype=torch.long)

    def describe(self, index: int) -> str:
        """Name a sentence for an error message: its file and record, relation and first words."""
        sentence = self.sentences[index]
        words = " ".join(sentence.tokens[:8])
        place = self.places[index] if self.places else f"sentence {index}"
        return f"{self.name}, {place} ({self.relations[sentence.label]}: {words!r} ...)"


def load_sentences(name: str, root: str | os.PathLike[str] | None = None) -> RelationSentences:
    """Load a data set of sentences with one relation each.

    `fewrel`: 80 relations, in the order of `FEWREL_RELATIONS` whatever order the files have, of
    train_wiki.json and val_wiki.json; a folder without these may hold `fewrel80_subset.json`
    (reduced). `fewrel_val`: val_wiki.json alone, 16 relations
    (reduced), from the folder of `fewrel`. `tacred`: the 40 relations of the released list, the
    three files pooled. `synthetic`: the generated corpus with its own split; the test's
    paraphrases, facts and names are held out. Another name reads a data set of one's own in FewRel's
    layout: `train.json` and `test.json` with the same relations, or one file `<name>.json`, of which
    each relation is split by itself. `root` is the folder of the data set or the parent of it; see
    `download.search_folders`.

    Raises:
        DataNotFoundError: no folder holds the files; the message says which file goes where.
        DataFormatError: a file is damaged or of another data set.
    """
    if name not in LAYOUTS:
        return _own(name, root)
    needed = {"fewrel": FEWREL_FILES, "fewrel_val": FEWREL_FILES[1:], "tacred": TACRED_FILES}[name]
    subset = [FEWREL_SUBSET] if name == "fewrel" else []

    def holds(folder: Path) -> list[Path]:
        choices = ([matches(folder, [file]) for file in files] for files in (needed, subset))
        whole = next((found for found in choices if found and all(found)), [])
        return [found[0] for found in whole]

    folder, _, files = locate(name.removesuffix("_val"), holds, root=root, layouts=LAYOUTS[name])
    if name == "tacred":
        return _tacred(files)
    parts = [read_fewrel(file) for file in files]
    twice = sorted(set(parts[0]).intersection(*parts[1:])) if len(parts) > 1 else []
    if twice:
        problem = f"the relation {twice[0]} is in {files[0].name} as well"
        raise DataFormatError(files[1], problem, "Take both files of one release")
    found = {relation: rows for part in parts for relation, rows in part.items()}
    if set(found) <= set(FEWREL_RELATIONS):
        found = {relation: found[relation] for relation in FEWREL_RELATIONS if relation in found}
    sizes = tuple(map(len, parts))
    whole = sizes == FEWREL_COUNTS and {len(rows) for rows in found.values()} == {FEWREL_EACH}
    others = [path.name for path in matches(folder, subset) if path not in files]
    return _assemble(
        name,
        "paper" if whole else "reduced",
        found,
        names=_names(folder),
        source=_source(files),
        note=f"{NOT_READ}: {', '.join(others)}" if others else "",
    )


def _own(name: str, root: str | os.PathLike[str] | None) -> RelationSentences:
    """Read the generated corpus, or a data set of one's own: two files of a given split, or one file."""
    made = name == "synthetic"
    found = locate_splits(
        name,
        [OWN_SPLITS] if made else [OWN_SPLITS, {"train": (f"{name}.json", FEWREL_SUBSET)}],
        tuple(OWN_SPLITS) if made else ("train",),
        corpus="fewrel",
        root=root,
        layouts=[f"FewRel's layout, {{relation: [{{tokens, h, t}}]}}, under the name {name}"],
        hint="",
    )
    files = {split: path for split, path in found.paths.items() if path is not None}
    if len(files) > 1:
        source = "generated" if made and root is None else found.source
        return _given(name, files, source, found.note)
    return _assemble(
        name,
        "stand-in",
        read_fewrel(files["train"]),
        names=_names(found.folder),
        source=found.source,
        note=found.note,
    )


def _source(files: Iterable[Path]) -> str:
    return ", ".join(file.name for file in files)


def _names(folder: Path) -> dict[str, str]:
    """Read the relations' names where pid2name.json lies beside the data."""
    path = first_match(folder, ["pid2name.json"])
    if path is None:
        return {}
    entries = read_object(path, NAMES_FIX).items()
    if not all(
        isinstance(entry, list) and entry and isinstance(entry[0], str) for _, entry in entries
    ):
        raise DataFormatError(path, "holds no relation -> [name, description]", NAMES_FIX)
    return {relation: entry[0] for relation, entry in entries}


def _tacred(files: Sequence[Path]) -> RelationSentences:
    found: dict[str, list[RawSentence]] = {relation: [] for relation in TACRED_RELATIONS}
    left_out = 0
    for file in files:
        for at, sentence in enumerate(read_tacred(file), start=1):
            if sentence.relation in TACRED_DROPPED:
                left_out += 1
                continue
            if sentence.relation not in found:
                raise DataFormatError(
                    file,
                    f"record {at}, field relation: {sentence.relation!r} is no relation of TACRED",
                    "Use the original release (LDC2018T24), not a relabelled one",
                )
            found[sentence.relation].append(sentence)
    total = left_out + sum(map(len, found.values()))
    if total == left_out:
        raise DataFormatError(
            files[0].parent, f"{_source(files)} hold no sentence with a relation", TACRED_FIX
        )
    return _assemble(
        "tacred",
        "paper" if total == TACRED_SENTENCES else "reduced",
        found,
        source=_source(files),
        report={"left_out": left_out},
    )


def _given(name: str, files: Mapping[str, Path], source: str, note: str) -> RelationSentences:
    """Read a data set whose files are the splits `train` and `test`."""
    parts = {split: read_fewrel(file) for split, file in files.items()}
    if set(parts["train"]) != set(parts["test"]):
        only = sorted(set(parts["train"]) ^ set(parts["test"]))[0]
        raise DataFormatError(
            files["test"],
            f"it has not the relations of {files['train'].name}: {only} is in one of them only",
            "Give every relation sentences in both",
        )
    found = {
        relation: [*rows, *parts["test"][relation]] for relation, rows in parts["train"].items()
    }
    split = [kind for relation in found for kind, rows in parts.items() for _ in rows[relation]]
    return _assemble(
        name,
        "stand-in",
        found,
        names=_names(files["train"].parent),
        split=split,
        source=source,
        note=note,
    )


def _assemble(
    name: str,
    protocol: str,
    found: Mapping[str, Sequence[RawSentence]],
    *,
    names: Mapping[str, str] | None = None,
    split: Sequence[str | None] | None = None,
    source: str,
    report: Mapping[str, int] | None = None,
    note: str = "",
) -> RelationSentences:
    relations = tuple(found)
    rows = [(label, row) for label, relation in enumerate(relations) for row in found[relation]]
    sentences = tuple(MarkedSentence(row.tokens, row.head, row.tail, label) for label, row in rows)
    marks = tuple(split) if split is not None else (None,) * len(sentences)
    known = names or {}
    texts = Counter((sentence.label, sentence.tokens) for sentence in sentences)
    counts = {
        "sentences": len(sentences),
        "repeated": len(sentences) - len(texts),
        "repeated_with_mentions": len(sentences) - len(set(sentences)),
        "several_mentions": sum(max(row.mentions) > 1 for _, row in rows),
        "not_contiguous": sum(not row.contiguous for _, row in rows),
        "overlapping": sum(s.head[0] < s.tail[1] and s.tail[0] < s.head[1] for s in sentences),
        "tail_first": sum(s.tail < s.head for s in sentences),
        "longest": max((len(s.tokens) for s in sentences), default=0),
    }
    digest = hashlib.sha256(json.dumps([relations, sentences, marks]).encode()).hexdigest()[:16]
    return RelationSentences(
        name,
        protocol,
        relations,
        tuple(known.get(relation, relation) for relation in relations),
        sentences,
        marks,
        counts | dict(report or {}),
        source,
        digest,
        tuple(row.place for _, row in rows),
        note,
    )
