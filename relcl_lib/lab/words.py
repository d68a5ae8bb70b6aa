"""Keys of metrics, settings and data sets in words, as `data/paper_tables/words.json` has them.

What it does not have is shown as it is, with spaces for underscores.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from relcl_lib.lab.files import packaged_data
from relcl_lib.lab.json_text import parse_json

#: the number of a task or an iteration, for which the file has `#`
_COUNTED = re.compile(r"(?<=[TK])\d+")


@functools.cache
def _words(kind: str) -> dict[str, Any]:
    path = packaged_data() / "paper_tables" / "words.json"
    return parse_json(path.read_text(encoding="utf-8"))[kind]


def metric(key: str) -> str:
    """A metric with its unit: `A_T` -> `final accuracy A_T (%)`."""
    return _found("metrics", key) or key.replace("_", " ")


def column(key: str) -> str:
    """A metric as a column, where the settings of each line say the rest."""
    return _found("columns", key) or metric(key)


def _found(kind: str, key: str) -> str:
    """What the file has for a key, or for all keys that differ in a number alone; "" for nothing."""
    known, counted = _words(kind), _COUNTED.search(key)
    general = known.get(_COUNTED.sub("#", key), "") if counted else ""
    return known.get(key) or general.replace("#", counted[0] if counted else "")


def without_unit(text: str) -> str:
    """`final accuracy A_T (%)` -> `final accuracy A_T`."""
    return re.sub(r" \([^()]*\)$", "", text)


def has_unit(key: str) -> bool:
    """Whether a metric has a unit: correlations, cosines and weights have none."""
    return without_unit(metric(key)) != metric(key)


def name(key: str) -> str:
    """A data set, a method or a variant."""
    return _words("names").get(key, key)


def table(paper: str, key: str) -> str:
    """What a table of a paper shows; "" where nothing is said."""
    return _words("tables").get(paper, {}).get(key, "")


def setting(part: str) -> tuple[str, str]:
    """A part of a setting as a key and its value, `buffer=200` -> `("memory", "200")`.

    A word alone has no key.
    """
    known, part = _words("settings"), part.strip()
    key, equals, value = part.partition("=")
    if part in known or not equals:
        return "", known.get(part, part.replace("_", " "))
    plain = {"True": "yes", "False": "no"}.get(value, value)
    return known.get(key, key.replace("_", " ")), _words("values").get(part, plain)


def phrase(part: str) -> str:
    """A part of a setting as a phrase: `buffer=200` -> `memory 200`, `lambda=0` -> `λ = 0`.

    One that reads otherwise stands among the file's phrases.
    """
    if part in _words("phrases"):
        return _words("phrases")[part]
    key, value = setting(part)
    symbol = key.rpartition(" ")[2]
    between = " = " if len(symbol) == 1 or "_" in symbol else " "
    return f"{key}{between}{value}" if key else value


def settings(text: str, between: str = ";") -> list[str]:
    """The parts of a setting (`buffer=200;Adam`), or of what sets configurations apart (`, `)."""
    if between == ";":
        return [part for part in map(str.strip, text.split(";")) if part]
    # A value may hold a comma, too.
    return [part for part in re.split(r", (?=[\w.]+=)", text) if part]
