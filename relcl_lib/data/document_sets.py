"""A document data set in three splits, checked against the sizes of the papers' files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from relcl_lib.data.document_files import Document
from relcl_lib.data.download import DataFormatError, SplitFiles
from relcl_lib.data.splits import split_off

SPLITS = ("train", "dev", "test")
#: data set -> documents in train, dev and test of the public files
EXPECTED = {
    "docred": (3053, 998, 1000),
    "redocred": (3053, 500, 500),
    "cdr": (500, 500, 500),
    "gda": (23353, 5839, 1000),
}
PAPER_NAMES = {"docred": "DocRED", "redocred": "Re-DocRED", "cdr": "CDR", "gda": "GDA"}


@dataclass(frozen=True)
class DocumentData:
    """A data set in three splits.

    Relation i has class i + 1; class 0 is no relation. `protocol` is `paper` where every split is
    as in the paper, `stand-in` where the set is not the paper's; `note` says what differs, `report`
    counts what was left out, `folder` is where the files lie, if they were read, and
    `other_names` says which mentions have another name than the words at their places.
    """

    name: str
    train: tuple[Document, ...]
    dev: tuple[Document, ...]
    test: tuple[Document, ...]
    relations: tuple[str, ...]
    source: str
    protocol: str
    note: str = ""
    fingerprint: str = field(default="", compare=False)
    report: dict[str, int] = field(default_factory=dict, compare=False)
    folder: str = field(default="", compare=False)
    other_names: str = field(default="", compare=False)

    @property
    def sizes(self) -> dict[str, int]:
        """Documents per split."""
        return {split: len(getattr(self, split)) for split in SPLITS}

    def has_facts(self, split: str) -> bool:
        """Whether any document of a split has a relation, so that scores on it mean something."""
        return bool(_annotated(getattr(self, split)))

    def is_labelled(self, split: str) -> bool:
        """Whether every document of a split has public labels."""
        return all(document.facts is not None for document in getattr(self, split))


def _annotated(documents: Collection[Document]) -> set[str]:
    """The relations that occur in documents."""
    return {fact.relation for document in documents for fact in document.facts or ()}


def refuse_empty(files: SplitFiles, splits: Mapping[str, Sequence[Any]]) -> None:
    """DataFormatError where a training or dev file is there and holds no document."""
    for split in ("train", "dev"):
        if files.paths[split] and not splits[split]:
            fix = "Write documents into it, or take the file away"
            raise DataFormatError(files.paths[split], "holds no document", fix)


def assemble_documents(
    name: str,
    splits: dict[str, Sequence[Document]],
    *,
    relations: Collection[str] = (),
    source: str = "given",
    limit: int | None = None,
    note: str = "",
    report: dict[str, int] | None = None,
    whole: bool = True,
) -> DocumentData:
    """Make a data set of documents that are there, cutting a missing training split from the dev split.

    A name of the paper's is checked against the paper's sizes. `relations` are all there are, in
    class order; none stands for those annotated, sorted. `note` says what is already known to
    differ, `report` counts what was left out, and `whole` is False where the documents are not those
    of the paper's protocol.
    """
    train, dev, test = (list(splits.get(split, ())) for split in SPLITS)
    sizes = tuple(len(part) for part in (train, dev, test))
    notes = [note] if note else []
    if not train:
        train, dev = split_off(dev, 0.1)
        notes.append("no training file: trained on the dev file, a tenth of it being the dev split")
    if limit is not None and limit < len(train):
        train = train[:limit]
        notes.append(f"the first {limit} training documents")
    if not train or not dev:
        raise DataFormatError(
            source, "too few documents for a training and a dev split", "Add some"
        )
    if any(d.facts is not None for d in test) and not any(d.facts for d in test):
        test = [replace(document, facts=None) for document in test]
        notes.append("no test document has a label: the test split counts as not labelled")
    for split, part in zip(SPLITS, (train, dev, test), strict=True):
        if part and not any(document.candidates() for document in part):
            notes.append(f"no document of the {split} split has a pair of entities")
    seen, given = (_annotated(part) for part in (train, [*dev, *test]))
    if not seen and any(document.candidates() for document in train):
        raise DataFormatError(
            source,
            "no training document has a label",
            "Write what is annotated into labels (PubTator: relation lines); there is nothing to train on",
        )
    if not _annotated(dev):
        notes.append(
            "no dev document has a label: nothing chooses among epochs, and the last counts"
        )
    if only := sorted(given - seen):
        names = ", ".join(only[:8]) + (f" and {len(only) - 8} more" if len(only) > 8 else "")
        notes.append(f"no training document has the relation {names}, which others have")
    same = sizes == EXPECTED.get(name) and len(train) == sizes[0]
    if name in EXPECTED and sizes != EXPECTED[name]:
        notes.append(f"documents in the files (train, dev, test) {sizes}, {EXPECTED[name]} usual")
    known = tuple(relations) or tuple(sorted(seen | given))
    parts = [tuple(part) for part in (train, dev, test)]
    # A test split without labels shapes no number: nothing is trained on it or scored.
    shaping = parts if any(d.facts is not None for d in test) else [*parts[:2], ()]
    text = json.dumps([[(d.sentences, d.entities, d.facts, d.pairs) for d in p] for p in shaping])
    digest = hashlib.sha256(json.dumps([text, known]).encode()).hexdigest()[:16]
    kind = "paper" if same and whole else "reduced"
    protocol = kind if name in EXPECTED and name != "redocred" else "stand-in"
    return DocumentData(
        name, *parts, known, source, protocol, "; ".join(notes), digest, dict(report or {})
    )
