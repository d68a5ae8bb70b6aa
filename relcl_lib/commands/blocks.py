"""The marked blocks of a text file that are filled: `<!-- table:NAME -->...<!-- /table:NAME -->`."""

from __future__ import annotations

import re

from relcl_lib.lab.format import TableError

_NAME = r"[A-Za-z0-9_./+-]+"
_MARKER = re.compile(rf"<!-- (?P<end>/?)table:(?P<name>{_NAME}) -->")


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
