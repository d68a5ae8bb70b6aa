"""Comparisons as text: for a terminal, for GitHub, and inside the marked blocks of a README."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

NOT_RUN = "not run"
DASH = "–"
#: the columns of a comparison as text; the optional ones stand where they say something
_OPTIONAL = ("Table", "Setting", "Variant", "Configuration")
_HEADER = (
    "Table",
    "Dataset",
    "Setting",
    "Method",
    "Metric",
    "Paper",
    "Ours",
    "Difference",
    "Protocol",
    "Variant",
    "Configuration",
)

_NAME = r"[A-Za-z0-9_./+-]+"
_MARKER = re.compile(rf"<!-- (?P<end>/?)table:(?P<name>{_NAME}) -->")


class TableError(ValueError):
    """A table, a comparison or a marker block does not exist or is malformed; says which."""


def slug(text: object) -> str:
    """A text as it appears in a comparison's name: `Table III` -> `table-iii`."""
    return re.sub(r"[^a-z0-9+]+", "-", str(text).lower()).strip("-")


def _number(value: float, pm: float, digits: int) -> str:
    if math.isnan(value):
        return DASH
    return f"{value:.{digits}f}" + ("" if math.isnan(pm) else f" ± {pm:.{digits}f}")


def _line(row: pd.Series, digits: int) -> dict[str, str]:
    """Header -> text of one line of a comparison."""
    number, ours, change = (row[name] for name in ("n", "ours", "difference"))
    # Adding 0.0 turns a rounded -0.0 into +0.0.
    signed = DASH if math.isnan(change) else f"{round(change, digits) + 0.0:+.{digits}f}"
    return {name: row[name.lower()] for name in _HEADER} | {
        "Paper": _number(row["paper"], row["paper_pm"], digits),
        "Ours": f"{_number(ours, row['ours_pm'], digits)} (n={number})"
        if number
        else row["protocol"],
        "Difference": signed,
        "Protocol": row["protocol"] if number else DASH,
    }


def _cells(frame: pd.DataFrame, digits: int | None) -> tuple[list[str], list[list[str]]]:
    """Header and lines as text, without columns that would be empty or repeat one table's name."""
    lines = [_line(r, r["digits"] if digits is None else digits) for _, r in frame.iterrows()]
    empty = {name for name in _OPTIONAL if not any(line[name] for line in lines)}
    if len({line["Table"] for line in lines}) < 2:
        empty.add("Table")
    header = [name for name in _HEADER if name not in empty]
    return header, [[line[name] for name in header] for line in lines]


def format_markdown(frame: pd.DataFrame, digits: int | None = None) -> str:
    """A comparison as a GitHub table, e.g. `| ER | 19.4 ± 0.6 | 18.9 ± 1.1 (n=3) |`.

    `digits` are the decimals of every number; None for each row's own.
    """
    header, rows = _cells(frame, digits)
    return markdown_table(header, rows, right=("Paper", "Ours", "Difference"))


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], right: Container[str] = ()
) -> str:
    """Cells of text as a GitHub table; columns named in `right` are aligned there."""
    rule = ["---:" if name in right else "---" for name in header]
    escaped = [[cell.replace("|", "\\|") or " " for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *escaped))


def format_text(frame: pd.DataFrame, digits: int | None = None) -> str:
    """A comparison as aligned columns for a terminal; `digits` as for `format_markdown`."""
    header, rows = _cells(frame, digits)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    aligned = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in aligned)


def format_grouped(frame: pd.DataFrame, width: int = 100) -> str:
    """A comparison for a terminal of `width` columns: long names wrap, under a heading per metric."""
    lines = [_line(row, row["digits"]) for _, row in frame.iterrows()]
    header = ("Paper", "Ours", "Difference", "Protocol")
    widths = [max(map(len, [name, *(line[name] for line in lines)])) for name in header]
    room = width - sum(widths) - 2 * len(widths)

    def aligned(first: str, cells: Iterable[str]) -> str:
        numbers = (f"{cell:{size}}" for cell, size in zip(cells, widths, strict=True))
        return "  ".join([f"{first:{room}}", *numbers]).rstrip()

    groups: dict[str, list[str]] = {}
    indent = {"initial_indent": "  ", "subsequent_indent": "    ", "break_on_hyphens": False}
    for line in lines:
        heading = f"{line['Table']}: {line['Dataset']}, {line['Metric']}"
        variant = f" ({line['Variant']})" if line["Variant"] else ""
        setting = line["Setting"].replace(";", ", ")
        about = [line["Method"] + variant, setting, line["Configuration"]]
        first, *rest = textwrap.wrap(", ".join(filter(None, about)), room, **indent)
        group = groups.setdefault(heading, ["", *textwrap.wrap(heading, width)])
        group += [aligned(first, [line[name] for name in header]), *rest]
    return "\n".join([aligned("", header), *(row for rows in groups.values() for row in rows)])


# --- marker blocks ---------------------------------------------------------------------------


def _blocks(text: str) -> list[tuple[str, int, int]]:
    """Name, start and end of what stands between each pair of markers, in order."""
    blocks = []
    opened: re.Match[str] | None = None
    for marker in _MARKER.finditer(text):
        name = marker["name"]
        if not marker["end"] and opened is None:
            opened = marker
        elif marker["end"] and opened is not None and opened["name"] == name:
            blocks.append((name, opened.end(), marker.start()))
            opened = None
        else:
            raise TableError(f"the marker {marker[0]} does not fit the markers before it")
    if opened is not None:
        raise TableError(f"the marker {opened[0]} is never closed")
    return blocks


def marker_names(text: str) -> list[str]:
    """The names of the marker blocks in a text, in order, each once."""
    return list(dict.fromkeys(name for name, _, _ in _blocks(text)))


def replace_between_markers(text: str, name: str, table_md: str) -> str:
    """Fill each block `<!-- table:NAME -->...<!-- /table:NAME -->` of one name; else unchanged.

    Raises:
        TableError: there is no such block, or markers do not pair up.
    """
    blocks = [block for block in _blocks(text) if block[0] == name]
    if not blocks:
        raise TableError(f"there is no block <!-- table:{name} -->...<!-- /table:{name} -->")
    for _, start, end in reversed(blocks):
        text = f"{text[:start]}\n{table_md.strip()}\n{text[end:]}"
    return text
