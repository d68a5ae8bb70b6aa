"""The marked blocks of a text file that are filled: `<!-- table:NAME -->...<!-- /table:NAME -->`."""

from __future__ import annotations

import re

from relcl_lib.lab.format import TableError

_NAME = r"[A-Za-z0-9_./+-]+"
_MARKER = re.compile(rf"<!-- (?P<end>/?)table:(?P<name>{_NAME}) -->")


def blocks(text: str) -> list[tuple[str, int, int]]:
    """Name, start and end of what stands between each pair of markers, in order.

    Raises:
        TableError: markers do not pair up.
    """
    found = []
    opened: re.Match[str] | None = None
    for marker in _MARKER.finditer(text):
        name = marker["name"]
        if not marker["end"] and opened is None:
            opened = marker
        elif marker["end"] and opened is not None and opened["name"] == name:
            found.append((name, opened.end(), marker.start()))
            opened = None
        else:
            raise TableError(f"the marker {marker[0]} does not fit the markers before it")
    if opened is not None:
        raise TableError(f"the marker {opened[0]} is never closed")
    return found
