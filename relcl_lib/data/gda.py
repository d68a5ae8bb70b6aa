"""GDA from RENET's folders: abstracts, the mentions that a tool found in them, and labels."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from relcl_lib.data.download import DataFormatError
from relcl_lib.data.pubtator import Abstract, Line, make_abstract, read_lines


def read_gda_folder(
    folder: str | os.PathLike[str], report: Counter[str] | None = None
) -> list[Abstract]:
    """Read `abstracts.txt`, `anns.txt` and `labels.csv` (label 1: an association).

    A document is its PMID, its title and its abstract, a line each; one without an abstract has its
    title alone.

    Args:
        folder: holds the three files.
        report: None makes a mention whose text is not at its offsets, and a document without a
            title, an error; a counter counts them as `offsets_disagree` and
            `documents_without_title` and leaves them out. It also counts
            `documents_without_abstract`, which are kept.

    Raises:
        DataFormatError: names the file, the line, and what is wrong there.
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
            if report is None:
                raise DataFormatError(
                    pmid.path,
                    f"line {pmid.number}: document {pmid.text} has no title",
                    "A document is its PMID, its title and its abstract, a line each",
                )
            report["documents_without_title"] += 1
            continue
        if len(lines) == 1 and report is not None:
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
