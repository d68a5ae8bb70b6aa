"""Sentences with relational triples: NYT10, NYT11, NYT24 and WebNLG, from the user's own files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relcl_lib.data.download import DataFormatError, DataNotFoundError, locate, locate_corpus
from relcl_lib.data.splits import split_off
from relcl_lib.data.triple_files import (
    LAYOUTS,
    Sentence,
    Triple,
    read_records,
    read_sentences,
)

__all__ = ["Sentence", "Triple", "TripleData", "assemble", "load_triples", "read_sentences"]

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
    "train": ("new_train.json", "train_triples.json", "train.json"),
    "valid": ("new_valid.json", "val_triples.json", "valid_triples.json", "valid.json", "dev.json"),
    "test": ("new_test.json", "test_triples.json", "test.json", "test_triples_*.json"),
}
#: How CasRel makes a validation set where none is given, which FastRE's spec takes over.
HELD_OUT = 0.005


@dataclass(frozen=True)
class TripleData:
    """A data set in three splits.

    `relations` lists what `rel2id.json` lists, or the training split's relations if there is none;
    `protocol` is `paper` only where every split has the paper's size and none was made by cutting
    another one; `note` says what was cut.
    """

    name: str
    train: tuple[Sentence, ...]
    valid: tuple[Sentence, ...]
    test: tuple[Sentence, ...]
    relations: tuple[str, ...]
    source: str
    protocol: str
    note: str = ""
    fingerprint: str = field(default="", compare=False)

    @property
    def sizes(self) -> dict[str, int]:
        """Sentences a split."""
        return {split: len(getattr(self, split)) for split in FILES}


def _find(folder: Path, split: str) -> Path | None:
    for pattern in FILES[split]:
        for path in sorted(folder.glob(pattern)):
            return path
    return None


def load_triples(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    reduced: bool = False,
    limit: int | None = None,
) -> TripleData:
    """Load a data set in three splits from the user's own files.

    Without a validation file 0.5 % of the training sentences (seed 2019) are taken out for it.

    Args:
        name: nyt10, nyt11, nyt24 or webnlg; synthetic, the generated corpus; another name reads a
            data set of one's own.
        root: its folder or the parent of it; see `relcl_lib.data.download.search_folders`.
        reduced: without a training file, train on what there is: the validation file (a tenth of it
            then validates), or three quarters of the test file, the rest of it being the test set.
        limit: keep at most this many training sentences, the first ones.

    Raises:
        DataNotFoundError: no folder holds a training (`reduced`: any) and a test file.
        DataFormatError: a file is damaged.
    """

    def holds(folder: Path) -> bool:
        return bool(_find(folder, "test") and (reduced or _find(folder, "train")))

    try:
        if name == "synthetic":
            folder = locate_corpus("nyt24", holds, root)
        else:
            folder = locate(name, holds, root=root, layouts=LAYOUTS).folder
    except DataNotFoundError as error:
        hint = (
            "\nA folder with a test file but no training file is used with reduced=True "
            "(numbers are then marked as a reduced protocol)."
        )
        raise DataNotFoundError(f"{error}{'' if reduced else hint}") from error
    paths = {split: _find(folder, split) for split in FILES}
    source = ", ".join(path.name for path in paths.values() if path is not None)
    splits = {
        split: read_sentences(path) if path is not None else [] for split, path in paths.items()
    }
    return assemble(
        name,
        splits,
        relations=_relation_ids(folder),
        source="generated" if name == "synthetic" and root is None else source,
        limit=limit,
    )


def _relation_ids(folder: Path) -> tuple[str, ...]:
    path = folder / "rel2id.json"
    if not path.is_file():
        return ()
    # An array yields its elements, an object itself; the last one is relation -> id either way.
    found = list(read_records(path))
    mapping = found[-1] if found else None
    if not isinstance(mapping, dict) or not all(isinstance(i, int) for i in mapping.values()):
        raise DataFormatError(
            path, "holds no relation -> id", "Its last (or only) object maps names to numbers"
        )
    return tuple(sorted(mapping, key=mapping.get))


def assemble(
    name: str,
    splits: dict[str, Sequence[Sentence]],
    *,
    relations: Sequence[str] = (),
    source: str = "given",
    limit: int | None = None,
) -> TripleData:
    """Make a data set of sentences at hand, cutting a missing split from another one.

    Args:
        name: its name; one of the paper's is checked against the paper's sizes.
        splits: train, valid and test; an empty or absent one is cut as `load_triples` says.
        relations: every relation there is, in id order; none: those of the training split.
        source: where it comes from, for the record.
        limit: at most this many training sentences.
    """
    train, valid, test = (list(splits.get(split, ())) for split in FILES)
    sizes = tuple(len(part) or None for part in (train, valid, test))
    notes, cut = [], False
    if not train and valid:
        train, valid = split_off(valid, 0.1)
        cut = True
        notes.append("no training file: trained on the validation file, a tenth of it validates")
    elif not train:
        train, test = split_off(test, 0.25)
        cut = True
        notes.append(
            "no training file: trained on three quarters of the test file, tested on the rest"
        )
    if limit is not None and limit < len(train):
        train, cut = train[:limit], True
        notes.append(f"the first {limit} training sentences")
    if not valid:
        train, valid = split_off(
            train, max(HELD_OUT, min(0.1, 300 / max(len(train), 1)) if cut else 0)
        )
        notes.append(f"{len(valid)} training sentences validate")
    if not train or not test:
        raise DataFormatError(
            source, "too few sentences for a training and a test split", "Add some"
        )
    same = name in EXPECTED and not cut and sizes == EXPECTED[name]
    if name in EXPECTED and sizes != EXPECTED[name]:
        notes.append(f"sentences in the files (train, valid, test) {sizes}, {EXPECTED[name]} usual")
    known = tuple(relations) or tuple(sorted({t.relation for s in train for t in s.triples}))
    parts = [tuple(part) for part in (train, valid, test)]
    digest = hashlib.sha256(json.dumps([parts, known]).encode()).hexdigest()[:16]
    protocol = "paper" if same and name != "webnlg" else "reduced"
    return TripleData(name, *parts, known, source, protocol, "; ".join(notes), digest)
