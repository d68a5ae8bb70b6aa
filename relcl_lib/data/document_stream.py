"""Documents of one's own, told apart by their first line: DocRED's layout or the PubTator format."""

from __future__ import annotations

import codecs
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path

from relcl_lib.data.document_files import Document, OtherNames, as_document, read_documents
from relcl_lib.data.pubtator import (
    Line,
    MeshTree,
    as_related_document,
    is_pubtator,
    make_abstract,
    read_pubtator,
)
from relcl_lib.data.text_files import read_lines
from relcl_lib.lab.command_line import Skipped, decode_line, read_json_lines

SOURCE = Path("input")  # what errors call a stream


@dataclass(frozen=True)
class Pairing:
    """Which pairs of a document that lists none are candidates: by default every ordered pair.

    Attributes:
        kinds: only pairs of an entity of each of these two, as in CDR and GDA.
        once: a pair stands once, its head being the entity that is mentioned first.
    """

    kinds: tuple[str, str] | None = None
    once: bool = False

    def __call__(self, document: Document) -> Document:
        """The document with its candidates listed; as it is where it lists its own."""
        if document.pairs is not None or self == Pairing():
            return document
        first = [min(mention[:2] for mention in mentions) for mentions in document.entities]
        kinds = [mentions[0].type for mentions in document.entities]
        pairs = [
            (head, tail)
            for head, tail in document.candidates()
            if not self.once or (first[head], head) < (first[tail], tail)
            if self.kinds is None
            or (kinds[head], kinds[tail]) == self.kinds
            or (self.once and (kinds[tail], kinds[head]) == self.kinds)
        ]
        return replace(document, pairs=tuple(pairs))


def read_any(
    path: str | os.PathLike[str],
    report: Counter[str] | None = None,
    tree: MeshTree | None = None,
) -> tuple[list[Document], bool]:
    """The labelled documents of one file in either form, and whether it is PubTator's.

    Relations go from the first to the second. `report` counts what was left out of PubTator
    documents, and `tree` leaves pairs out of them (`as_related_document`). A DataFormatError names
    the file, the document, the field, and what to do.
    """
    path = Path(path)
    if is_pubtator(next((line for line in read_lines(path) if line.strip()), "")):
        abstracts = read_pubtator(path)
        how = {"orientation": "kind", "tree": tree, "report": report}
        return [as_related_document(abstract, **how) for abstract in abstracts], True
    return read_documents(path), False


def stream_documents(
    lines: Iterable[bytes], skipped: Skipped, report: Counter[str], names: OtherNames | None = None
) -> Iterator[tuple[int, Document]]:
    """Yield (line, document) of what can be read of a stream in either form; labels are not read.

    What cannot be read is `skipped`, by its first line. `report` counts what was left out of PubTator
    documents (`ungrounded_mentions`), `names` looks at the mentions of the others (PubTator's reader
    does so itself). No more than a document is held.
    """
    lines, begun = iter(lines), []
    for line in lines:
        begun.append(line if begun else line.removeprefix(codecs.BOM_UTF8))
        if begun[-1].strip():
            break
    first = begun[-1] if begun else b""
    lines = chain(begun, lines)
    if not is_pubtator(first.decode("utf-8", "replace")):

        def read(number: int, record: object) -> Document:
            if isinstance(record, dict):
                record = {**record, "labels": None}  # whatever they are
            document = as_document(SOURCE, number, record, labelled=False)
            if names is not None:
                names.add(f"document at line {number}", document)
            return document

        yield from read_json_lines(lines, read, skipped)
        return
    numbered = enumerate(lines, start=1)
    for filled, block in groupby(numbered, key=lambda line: bool(line[1].strip())):
        if not filled:
            continue
        block = list(block)
        number = block[0][0]
        try:
            texts = (Line(SOURCE, at, decode_line(line).rstrip("\r\n")) for at, line in block)
            abstract = make_abstract(list(texts))
            yield number, as_related_document(abstract, orientation="kind", report=report)
        except ValueError as error:  # no UTF-8, or not what a document is
            skipped.add("document at line", number, error)
