"""Data sets of abstracts: CDR and GDA, with candidate pairs of two kinds of entity, and PubTator files."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from relcl_lib.data.document_sets import (
    SPLITS,
    DocumentData,
    assemble_documents,
    refuse_empty,
)
from relcl_lib.data.download import DataFormatError, SplitFiles, first_match, locate, matches
from relcl_lib.data.pubtator import (
    Abstract,
    Line,
    as_candidate_document,
    as_related_document,
    make_abstract,
    read_mesh_tree,
    read_pubtator,
)
from relcl_lib.data.splits import split_off
from relcl_lib.data.text_files import read_lines

CDR_FILES = (
    "CDR_TrainingSet.PubTator.txt",
    "CDR_DevelopmentSet.PubTator.txt",
    "CDR_TestSet.PubTator.txt",
)
CDR_LAYOUT = (
    f"{', '.join(CDR_FILES)}; for the hypernym filter also 2017MeshTree.txt (tree number, "
    "descriptor id, term, separated by tabs)"
)
MESH_TREES = ("2017MeshTree.txt", "mesh_tree.txt")
GDA_TRAIN_LIST = "train_gda_docs"
GDA_LAYOUT = (
    "training_data/ and testing_data/, each with abstracts.txt, anns.txt, labels.csv; "
    f"{GDA_TRAIN_LIST} (PMIDs of the training split, one per line) for the usual cut"
)
#: split -> names of PubTator files: BioRED's, CDR's, one's own
PUBTATOR_FILES = {
    "train": ("Train.PubTator", CDR_FILES[0], "*train*.pubtator*"),
    "dev": ("Dev.PubTator", CDR_FILES[1], "*dev*.pubtator*", "*valid*.pubtator*"),
    "test": ("Test.PubTator", CDR_FILES[2], "*test*.pubtator*"),
}
#: kinds of entity and the relation
CANDIDATES = {"cdr": (("Chemical", "Disease"), "CID"), "gda": (("Gene", "Disease"), "GDA")}


def load_cdr(
    root: str | os.PathLike[str] | None, limit: int | None, orientation: str
) -> DocumentData:
    """Load CDR; arguments as for `documents.load_documents`.

    The hypernym filter needs a MeSH tree beside the files. Without it every candidate pair counts,
    the note says so and the protocol is `reduced`.
    """

    def holds(folder: Path) -> list[Path]:
        found = [matches(folder, [name]) for name in CDR_FILES]
        return [files[0] for files in found] if all(found) else []

    folder, _, files = locate("cdr", holds, root=root, layouts=[CDR_LAYOUT])
    splits = {
        split: read_pubtator(file, CANDIDATES["cdr"][1])
        for split, file in zip(SPLITS, files, strict=True)
    }
    path = first_match(folder, MESH_TREES)
    note = f"hypernym filter by {path.name}" if path else "no MeSH tree: no hypernym filter"
    data = _assemble(
        "cdr",
        splits,
        Counter(),
        tree=read_mesh_tree(path) if path else None,
        source=", ".join(CDR_FILES),
        limit=limit,
        orientation=orientation,
        notes=[note],
        whole=path is not None,
    )
    return replace(data, folder=str(folder))


def load_gda(
    root: str | os.PathLike[str] | None, limit: int | None, orientation: str
) -> DocumentData:
    """Load GDA; arguments as for `documents.load_documents`.

    Its mentions were found by a tool: those whose offsets disagree with the text are counted and
    left out. Without the list of the training split a fifth of the training folder is drawn as dev.
    """

    def holds(folder: Path) -> bool:
        parts = ("training_data", "testing_data")
        return all((folder / part / "abstracts.txt").is_file() for part in parts)

    folder = locate("gda", holds, root=root, layouts=[GDA_LAYOUT]).folder
    report: Counter[str] = Counter()
    training = read_gda_folder(folder / "training_data", report)
    listed = folder / GDA_TRAIN_LIST
    if listed.is_file():
        chosen = {pmid for line in read_lines(listed) for pmid in line.split()}
    else:
        chosen = set(split_off([abstract.pmid for abstract in training], 0.2)[0])
    splits = {
        "train": [abstract for abstract in training if abstract.pmid in chosen],
        "dev": [abstract for abstract in training if abstract.pmid not in chosen],
        "test": read_gda_folder(folder / "testing_data", report),
    }
    drawn = "" if listed.is_file() else f"no {GDA_TRAIN_LIST}: a fifth of the training set is dev"
    data = _assemble(
        "gda",
        splits,
        report,
        source="RENET's folders",
        limit=limit,
        orientation=orientation,
        notes=[drawn],
        whole=listed.is_file(),
    )
    return replace(data, folder=str(folder))


def load_pubtator(
    name: str, found: SplitFiles, limit: int | None, orientation: str
) -> DocumentData:
    """Load PubTator files with any kinds of entity and any relations.

    Each pair of two entities counts, see `pubtator.as_related_document`.
    """
    splits = {split: read_pubtator(path) if path else [] for split, path in found.paths.items()}
    refuse_empty(found, splits)
    if orientation == "document":
        note = "a pair stands once, its head being the entity that comes first in the document"
    else:
        note = "a pair stands in both directions"
    return _assemble(
        name,
        splits,
        Counter(),
        source=found.source,
        limit=limit,
        orientation=orientation,
        notes=[found.note, note],
        whole=False,
    )


def _assemble(
    name: str,
    splits: dict[str, list[Abstract]],
    report: Counter[str],
    *,
    tree: dict | None = None,
    source: str,
    limit: int | None,
    orientation: str,
    notes: list[str],
    whole: bool,
) -> DocumentData:
    # A copy of CDR in circulation has the development set appended to the training file. By the text,
    # too: files of one's own may each be numbered from 1.
    others = {(a.pmid, a.text) for split in ("dev", "test") for a in splits[split]}
    kept = [
        abstract for abstract in splits["train"] if (abstract.pmid, abstract.text) not in others
    ]
    if leaked := len(splits["train"]) - len(kept):
        if not kept:
            problem = "each training document is in dev or test as well"
            raise DataFormatError(source, problem, "Leave it in one of them")
        notes.append(f"{leaked} training documents that are also in dev or test were dropped")
    options = {"orientation": orientation, "report": report}
    relations: tuple[str, ...] = ()
    make = partial(as_related_document, **options)
    if name in CANDIDATES:
        kinds, relation = CANDIDATES[name]
        relations = (relation,)
        make = partial(as_candidate_document, kinds=kinds, relation=relation, tree=tree, **options)
        if orientation != "document":
            notes.append(f"every pair goes from {kinds[0]} to {kinds[1]}")
    documents = {
        split: [make(abstract) for abstract in abstracts]
        for split, abstracts in {**splits, "train": kept}.items()
    }
    notes += [f"{count} {what.replace('_', ' ')}" for what, count in sorted(report.items())]
    return assemble_documents(
        name,
        documents,
        relations=relations,
        source=source,
        limit=limit,
        note="; ".join(filter(None, notes)),
        report=dict(report),
        whole=whole and orientation == "document",
    )


# --- RENET's folders: abstracts, mentions that a tool found in them, and labels ------------------


def read_gda_folder(folder: str | os.PathLike[str], report: Counter[str]) -> list[Abstract]:
    """Read `abstracts.txt`, `anns.txt` and `labels.csv` (label 1: an association).

    A document is its PMID, its title and its abstract, a line each; one without an abstract has its
    title alone. `report` counts mentions whose text is not at their offsets (`offsets_disagree`) and
    documents without a title (`documents_without_title`), which are left out, and
    `documents_without_abstract`, which are kept. A DataFormatError names the file, the line, and what
    is wrong there.
    """
    folder = Path(folder)
    rows: dict[str, list[Line]] = defaultdict(list)
    path = folder / "anns.txt"
    for number, text in enumerate(read_lines(path), start=1):
        rows[text.split("\t", 1)[0]].append(Line(path, number, text))
    path = folder / "labels.csv"
    for number, text in enumerate(read_lines(path), start=1):
        columns = text.split(",")
        if len(columns) < 4:
            raise DataFormatError(path, f"line {number}: {len(columns)} columns", "It needs four")
        if columns[3].strip() == "1":  # the heading has a word there
            relation = "\t".join((columns[0], "GDA", columns[1], columns[2]))
            rows[columns[0]].append(Line(path, number, relation))
    abstracts = []
    for pmid, *lines in _blocks(folder / "abstracts.txt"):
        if not lines:
            report["documents_without_title"] += 1
            continue
        if len(lines) == 1:
            report["documents_without_abstract"] += 1
        texts = [
            line._replace(text=f"{pmid.text}|{part}|{line.text}")
            for part, line in zip("ta", lines, strict=False)
        ]
        abstracts.append(make_abstract([*texts, *rows[pmid.text]], "GDA", report))
    return abstracts


def _blocks(path: Path) -> Iterator[list[Line]]:
    """Yield the lines of each document: its PMID, the only line of digits, and what follows."""
    block: list[Line] = []
    for number, text in enumerate(read_lines(path), start=1):
        if text.strip().isdigit():
            if block:
                yield block
            block = [Line(path, number, text.strip())]
        elif text.strip() and block:
            block.append(Line(path, number, text))
    if block:
        yield block
