"""Comparisons as text: for a terminal, for GitHub, and inside the marked blocks of a README."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

NOT_RUN = "not run"
DASH = "–"

_NAME = r"[A-Za-z0-9_./+-]+"
_MARKER = re.compile(rf"<!-- (?P<end>/?)table:(?P<name>{_NAME}) -->")


class TableError(ValueError):
    """A table, a comparison or a marker block does not exist or is malformed; says which."""


def slug(text: object) -> str:
    """Return a text as it appears in a comparison's name: `Table III` -> `table-iii`."""
    return re.sub(r"[^a-z0-9+]+", "-", str(text).lower()).strip("-")


# --- cells -----------------------------------------------------------------------------------


def _number(value: float, pm: float, digits: int) -> str:
    if math.isnan(value):
        return DASH
    return f"{value:.{digits}f}" + ("" if math.isnan(pm) else f" ± {pm:.{digits}f}")


def _ours(row: pd.Series, digits: int) -> str:
    if row["n"] == 0:
        return row["protocol"]
    return f"{_number(row['ours'], row['ours_pm'], digits)} (n={row['n']})"


def _difference(value: float, digits: int) -> str:
    # Adding 0.0 turns a rounded -0.0 into +0.0.
    return DASH if math.isnan(value) else f"{round(value, digits) + 0.0:+.{digits}f}"


def _cells(frame: pd.DataFrame, digits: int | None) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text, without columns that would be empty or repeat one table's name."""
    decimals = frame["digits"].tolist() if digits is None else [digits] * len(frame)
    columns = {
        "Table": frame["table"].tolist() if frame["table"].nunique() > 1 else [],
        "Dataset": frame["dataset"].tolist(),
        "Setting": frame["setting"].tolist(),
        "Method": frame["method"].tolist(),
        "Metric": frame["metric"].tolist(),
        "Paper": [
            _number(value, pm, places)
            for value, pm, places in zip(frame["paper"], frame["paper_pm"], decimals, strict=True)
        ],
        "Ours": [
            _ours(row, places) for (_, row), places in zip(frame.iterrows(), decimals, strict=True)
        ],
        "Difference": [
            _difference(value, places)
            for value, places in zip(frame["difference"], decimals, strict=True)
        ],
        "Protocol": [
            protocol if n else DASH
            for protocol, n in zip(frame["protocol"], frame["n"], strict=True)
        ],
        "Variant": frame["variant"].tolist(),
        "Configuration": frame["configuration"].tolist(),
    }
    optional = ("Table", "Setting", "Variant", "Configuration")
    kept = [name for name, cells in columns.items() if name not in optional or any(cells)]
    return kept, [list(row) for row in zip(*(columns[name] for name in kept), strict=True)]


def format_markdown(frame: pd.DataFrame, digits: int | None = None) -> str:
    """Return a comparison as a GitHub table, e.g. `| ER | 19.4 ± 0.6 | 18.9 ± 1.1 (n=3) |`.

    Args:
        frame: from `compare`.
        digits: decimals of every number; None for each row's own.
    """
    header, rows = _cells(frame, digits)
    numeric = ("Paper", "Ours", "Difference")
    rule = ["---:" if name in numeric else "---" for name in header]
    escaped = [[cell.replace("|", "\\|") or " " for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *escaped))


def format_text(frame: pd.DataFrame, digits: int | None = None) -> str:
    """Return a comparison as aligned columns for a terminal.

    Args:
        frame: from `compare`.
        digits: decimals of every number; None for each row's own.
    """
    header, rows = _cells(frame, digits)
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    aligned = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in aligned)


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
    """Return the names of the marker blocks in a text, in order, each once."""
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
