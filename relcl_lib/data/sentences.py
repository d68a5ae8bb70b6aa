"""Sentences with one relation each: FewRel, TACRED (the user's own copy), the generated corpus."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from relcl_lib.data.download import DataFormatError, locate, locate_corpus
from relcl_lib.data.sentence_files import (
    TACRED_FIX,
    RawSentence,
    Span,
    read_fewrel,
    read_object,
    read_tacred,
)

__all__ = ["MarkedSentence", "RelationSentences", "load_sentences"]

NAMES = ("fewrel", "fewrel_val", "tacred", "synthetic")
FEWREL_FILES, FEWREL_SUBSET = ("train_wiki.json", "val_wiki.json"), "fewrel80_subset.json"
#: Relations of the two files, and sentences of each relation.
FEWREL_RELATIONS, FEWREL_EACH = (64, 16), 700
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
    gives a split, else None, for each sentence; `places` name file and record of each. `protocol` is
    `paper` only where the files have the paper's size. `fingerprint` is a hash of all that is
    trained on. `report` counts what could surprise: `sentences`, `repeated` (the same tokens as an
    earlier sentence of the relation), `repeated_with_mentions` (the same spans too),
    `several_mentions`, `not_contiguous`, `overlapping`, `tail_first`, `longest` (tokens), and what
    was left out.
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

    `fewrel`: 80 relations, those of train_wiki.json, then those of val_wiki.json; a folder without
    these may hold `fewrel80_subset.json` (reduced). `fewrel_val`: val_wiki.json alone, 16 relations
    (reduced), from the folder of `fewrel`. `tacred`: the 40 relations of the released list, the
    three files pooled. `synthetic`: the generated corpus with its own split; the test's
    paraphrases, facts and names are held out.

    Args:
        name: one of these.
        root: the data set's folder or the parent of it; see
            `relcl_lib.data.download.search_folders`. For `synthetic` None reads the committed files.

    Raises:
        DataNotFoundError: no folder holds the files; the message says which file goes where.
        DataFormatError: a file is damaged or of another data set.
    """
    if name not in NAMES:
        raise ValueError(
            f"name={name!r} is no data set of sentences; use one of {', '.join(NAMES)}"
        )
    if name == "synthetic":
        return _synthetic(root)
    needed = {
        "fewrel": FEWREL_FILES,
        "fewrel_val": FEWREL_FILES[1:],
        "tacred": TACRED_FILES,
    }[name]

    def holds(folder: Path) -> bool:
        return _all_in(folder, needed) or (name == "fewrel" and (folder / FEWREL_SUBSET).is_file())

    folder = locate(name.removesuffix("_val"), holds, root=root, layouts=LAYOUTS[name]).folder
    if name == "tacred":
        return _tacred(folder)
    files = needed if _all_in(folder, needed) else (FEWREL_SUBSET,)
    parts = [read_fewrel(folder / file) for file in files]
    twice = sorted(set(parts[0]).intersection(*parts[1:])) if len(parts) > 1 else []
    if twice:
        problem = f"the relation {twice[0]} is in {files[0]} as well"
        raise DataFormatError(folder / files[1], problem, "Take both files of one release")
    found = {relation: rows for part in parts for relation, rows in part.items()}
    sizes = tuple(map(len, parts))
    whole = sizes == FEWREL_RELATIONS and {len(rows) for rows in found.values()} == {FEWREL_EACH}
    return _assemble(
        name,
        "paper" if whole else "reduced",
        found,
        names=_names(folder),
        source=", ".join(files),
    )


def _all_in(folder: Path, files: Sequence[str]) -> bool:
    return all((folder / file).is_file() for file in files)


def _names(folder: Path) -> dict[str, str]:
    """Read the relations' names where pid2name.json lies beside the data."""
    path = folder / "pid2name.json"
    if not path.is_file():
        return {}
    entries = read_object(path).items()
    if not all(
        isinstance(entry, list) and entry and isinstance(entry[0], str) for _, entry in entries
    ):
        raise DataFormatError(
            path, "holds no relation -> [name, description]", "Get it again, or remove it"
        )
    return {relation: entry[0] for relation, entry in entries}


def _tacred(folder: Path) -> RelationSentences:
    found: dict[str, list[RawSentence]] = {relation: [] for relation in TACRED_RELATIONS}
    left_out = 0
    for file in TACRED_FILES:
        for at, sentence in enumerate(read_tacred(folder / file), start=1):
            if sentence.relation in TACRED_DROPPED:
                left_out += 1
                continue
            if sentence.relation not in found:
                raise DataFormatError(
                    folder / file,
                    f"record {at}, field relation: {sentence.relation!r} is no relation of TACRED",
                    "Use the original release (LDC2018T24), not a relabelled one",
                )
            found[sentence.relation].append(sentence)
    total = left_out + sum(map(len, found.values()))
    if total == left_out:
        raise DataFormatError(
            folder, f"{', '.join(TACRED_FILES)} hold no sentence with a relation", TACRED_FIX
        )
    return _assemble(
        "tacred",
        "paper" if total == TACRED_SENTENCES else "reduced",
        found,
        source=", ".join(TACRED_FILES),
        report={"left_out": left_out},
    )


def _synthetic(root: str | os.PathLike[str] | None) -> RelationSentences:
    """Read the generated corpus, whose files are its two splits."""
    files = {split: f"{split}.json" for split in ("train", "test")}
    folder = locate_corpus("fewrel", lambda folder: _all_in(folder, list(files.values())), root)
    parts = {split: read_fewrel(folder / file) for split, file in files.items()}
    if list(parts["train"]) != list(parts["test"]):
        raise DataFormatError(folder, "train and test have other relations", "Write both again")
    found = {
        relation: [*rows, *parts["test"][relation]] for relation, rows in parts["train"].items()
    }
    split = [kind for relation in found for kind, rows in parts.items() for _ in rows[relation]]
    source = "generated" if root is None else ", ".join(files.values())
    return _assemble(
        "synthetic", "stand-in", found, names=_names(folder), split=split, source=source
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
    )
