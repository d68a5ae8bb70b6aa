"""Documents with relations between their entities: DocRED, Re-DocRED, CDR, GDA, the generated ones."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from relcl_lib.data.candidate_sets import PUBTATOR_FILES, load_cdr, load_gda, load_pubtator
from relcl_lib.data.document_files import (
    LISTED,
    Document,
    OtherNames,
    as_document,
    read_documents,
)
from relcl_lib.data.document_sets import (
    PAPER_NAMES,
    DocumentData,
    assemble_documents,
    refuse_empty,
)
from relcl_lib.data.download import DataFormatError, DataNotFoundError, first_match, locate_splits
from relcl_lib.data.text_files import read_object
from relcl_lib.lab.files import packaged_data

#: split -> file names looked for, first to last
DOCRED_FILES = {
    "train": ("train_annotated.json", "train.json"),
    "dev": ("dev.json",),
    "test": ("test.json",),
}
REVISED_FILES = {
    "train": ("train_revised.json",),
    "dev": ("dev_revised.json",),
    "test": ("test_revised.json", "test_revised_*.json"),
}
#: data set -> its files' names: both sets may lie in one folder. Another name may use either.
FAMILIES = {
    "docred": [DOCRED_FILES],
    "redocred": [REVISED_FILES],
    "synthetic": [DOCRED_FILES],
}
LAYOUTS = {
    "docred": "train_annotated.json, dev.json, test.json in DocRED's layout; rel2id.json if you have it",
    "redocred": "train_revised.json, dev_revised.json, test_revised.json of tonytan48/Re-DocRED",
    "PubTator": "three files in the PubTator format, with any kinds of entity and any relations",
}
RELATIONS_FIX = (
    "rel2id.json maps relations to 0, 1, 2, ...; 0 is no relation (rel_info.json, which maps them to "
    "names, is another file)"
)
REDUCED_HINT = (
    "A folder with a dev file but no training file is used with reduced=True (reduced_data=True in a "
    "notebook or a sweep); numbers are then marked as a reduced protocol."
)
OWN_HINT = (
    "A training and a dev file are needed, as the best epoch is chosen on dev: put some of the "
    "training documents there (other names: data/README.md)"
)
#: the first of the documents that `generated=` asks for, as many as the quick profile trains on
FURTHER_FILE = "further.json"
CANDIDATE_LOADERS = {"cdr": load_cdr, "gda": load_gda}
#: the 96 relations of DocRED in the order of the number they usually get, from 1
_ORDER = (
    "P17 P131 P27 P150 P577 P175 P569 P570 P161 P264 P527 P361 P495 P19 P571 P54 P102 P463 P3373 "
    "P40 P30 P50 P1441 P1001 P69 P26 P607 P57 P159 P22 P400 P1344 P206 P127 P170 P178 P20 P1412 "
    "P155 P118 P710 P6 P108 P276 P156 P674 P166 P194 P123 P140 P800 P449 P58 P35 P179 P706 P162 "
    "P37 P241 P31 P403 P580 P137 P585 P112 P86 P176 P749 P937 P36 P576 P355 P136 P364 P272 P172 "
    "P205 P279 P1376 P171 P25 P488 P582 P740 P840 P1366 P676 P1336 P1056 P551 P39 P1365 P737 P190 "
    "P807 P1198"
)
DOCRED_RELATIONS = tuple(_ORDER.split())


def load_documents(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    reduced: bool = False,
    limit: int | None = None,
    generated: int = 0,
    orientation: str = "document",
) -> DocumentData:
    """Load docred, redocred, cdr or gda from the user's files, synthetic, or a set of one's own.

    Args:
        name: one of these; another name reads a data set in DocRED's layout or in the PubTator
            format, of any kinds of entity and relations.
        root: its folder or the parent of it; see `download.search_folders`.
        reduced: without a training file, train on nine tenths of the dev file; the rest of it is
            the dev split.
        limit: keep only the first training documents, at most so many.
        generated: further training documents, of other worlds than the corpus (`synthetic` only):
            a small encoder needs more of them than a repository should hold. The first 160 are
            committed; for more `relcl_lib.worlds` generates all of them.
        orientation: of pairs in CDR, GDA and PubTator files: `document` or `kind`, see `pubtator`.

    Raises:
        DataNotFoundError: no folder holds a training and a dev file (`reduced`: a dev file).
        DataFormatError: a file is damaged.
        ValueError: `generated` for another data set.
    """
    if generated and name != "synthetic":
        raise ValueError(
            f"generated={generated}: documents are generated for synthetic, not {name}; set it to 0"
        )
    if name in CANDIDATE_LOADERS:
        return CANDIDATE_LOADERS[name](root, limit, orientation)

    families = FAMILIES.get(name, [DOCRED_FILES, REVISED_FILES, PUBTATOR_FILES])
    found = locate_splits(
        name,
        families,
        ("dev",) if reduced else ("dev", "train"),
        corpus="docred",
        root=root,
        layouts=[LAYOUTS[name]] if name in LAYOUTS else list(LAYOUTS.values()),
        hint="" if reduced else REDUCED_HINT,
        lacking="" if reduced or name in LAYOUTS else OWN_HINT,
    )
    if families[found.family] is PUBTATOR_FILES:
        data = load_pubtator(name, found, limit, orientation)
        return replace(data, folder=str(found.folder))
    source, relations = found.source, _relations(name, found.folder)
    splits = {
        split: read_documents(path, relations or None, labelled=split != "test")
        for split, path in found.paths.items()
        if path is not None
    }
    refuse_empty(found, splits)
    names = OtherNames()
    for split, documents in splits.items():
        for at, document in enumerate(documents, start=1):
            names.add(f"{found.paths[split].name}, record {at}", document)
    if generated:
        splits["train"] += _further(generated, relations)
        source += f", and {generated} generated training documents"
    data = assemble_documents(
        name,
        splits,
        relations=_in_order(relations, splits),
        source=source,
        limit=limit,
        note=found.note,
    )
    return replace(data, folder=str(found.folder), other_names=str(names))


def _further(count: int, relations: Collection[str]) -> list[Document]:
    """Read `count` further documents, the same each time: committed ones, else generated ones."""
    path = packaged_data() / "synthetic" / "docred" / FURTHER_FILE
    committed = read_documents(path, relations)
    if count <= len(committed):
        return committed[:count]
    try:
        from relcl_lib.worlds.corpus import make_further_documents
    except ImportError as error:
        raise DataNotFoundError(
            f"generated={count}: {len(committed)} such documents are committed, and what makes more, "
            f"relcl_lib.worlds, cannot be imported ({error}). Ask for fewer, or install relcl whole"
        ) from error
    records = enumerate(make_further_documents(count), start=1)
    return [as_document("further generated documents", at, r, relations) for at, r in records]


def _relations(name: str, folder: Path) -> dict[str, int]:
    """Relation -> class: of rel2id.json, else DocRED's own, else none (what is annotated counts)."""
    path = first_match(folder, LISTED) or first_match(folder / "meta", LISTED)
    if path is None:
        return {r: i for i, r in enumerate(DOCRED_RELATIONS, 1)} if name in PAPER_NAMES else {}
    numbers = read_object(path, RELATIONS_FIX)
    try:
        ordered = sorted(numbers, key=numbers.get)
        found = {relation: numbers[relation] for relation in ordered}
        start = min(found.values(), default=0)
        if start not in (0, 1) or [*found.values()] != [*range(start, start + len(found))]:
            raise ValueError("the numbers are not 0, 1, 2, ...")
    except (ValueError, TypeError) as error:
        problem = f"holds no relation -> number: {error}"
        raise DataFormatError(path, problem, RELATIONS_FIX) from error
    return found


def _in_order(
    numbers: Mapping[str, int], splits: Mapping[str, Sequence[Document]]
) -> tuple[str, ...]:
    """The relations in class order, without number 0 where no document has it: it is no relation."""
    documents = (document for split in splits.values() for document in split)
    annotated = {fact.relation for document in documents for fact in document.facts or ()}
    return tuple(r for r, number in numbers.items() if number or r in annotated)
