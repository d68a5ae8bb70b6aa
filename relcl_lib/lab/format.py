"""Comparisons as text: methods are lines, metrics columns, a table per data set.

What is alike in all lines of a table stands in its caption.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from relcl_lib.lab import words

if TYPE_CHECKING:
    import pandas as pd

NOT_RUN, FAILED = "not run", "failed"
DASH = "–"
#: protocol -> what a number of it says
PROTOCOLS = {
    "paper": "the paper's training data, network and stream",
    "reduced": "the paper's kind of data, with something smaller or with settings it does not state",
    "stand-in": "other data, on which only our numbers may be compared with one another",
}
#: columns that say something of our runs alone
_OF_OURS = ("Protocol", "Variant", "Configuration")
#: more metrics than this with numbers of both stand in a line each for the paper's and ours
WIDEST = 3


class TableError(ValueError):
    """A table, a comparison or a marker block does not exist or is malformed; says which."""


def slug(text: object) -> str:
    """A text as it appears in a comparison's name: `Table III` -> `table-iii`."""
    return re.sub(r"[^a-z0-9+]+", "-", str(text).lower()).strip("-")


def number(value: float, half: float = math.nan, digits: int = 1) -> str:
    """A number, with half its interval where there is one, or a dash."""
    if math.isnan(value):
        return DASH
    return f"{value:.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")


def signed(change: float, half: float = math.nan, digits: int = 1) -> str:
    """A difference with its sign, with half its interval where there is one, or a dash."""
    if math.isnan(change):
        return DASH
    # Adding 0.0 turns a rounded -0.0 into +0.0.
    shown = f"{round(change, digits) + 0.0:+.{digits}f}"
    return shown + ("" if math.isnan(half) else f" ± {half:.{digits}f}")


def difference(line: Mapping[str, Any]) -> str:
    """Ours less the paper's, of a line of a comparison: of the two numbers as they are shown."""
    if math.isnan(line["difference"]):
        return DASH
    digits = line["digits"]
    ours, paper = (float(number(line[name], digits=digits)) for name in ("ours", "paper"))
    return signed(ours - paper, digits=digits)


# --- lines and columns -----------------------------------------------------------------------


class Line(NamedTuple):
    """What a line of a table is about."""

    method: str
    setting: tuple[str, ...]
    protocol: str
    variant: str
    configuration: str


@dataclass
class Block:
    """Lines of one data set whose metrics overlap: line -> column -> line of the comparison."""

    table: str
    dataset: str
    lines: dict[Line, dict[str, Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The metrics, in the order of the comparison."""
        return list(dict.fromkeys(name for cells in self.lines.values() for name in cells))


class Shown(NamedTuple):
    """A block as text."""

    caption: str
    header: list[str]
    rows: list[list[str]]
    right: Collection[int]


def pivot(frame: pd.DataFrame) -> list[Block]:
    """The lines of a comparison by table and data set; a line without any number is left out."""
    blocks = []
    for (table, dataset), lines in frame.groupby(["table", "dataset"], sort=False):
        blocks += _apart(Block(table, dataset, _lines(lines.to_dict("records"))))
    return blocks


def _lines(rows: Sequence[Mapping[str, Any]]) -> dict[Line, dict[str, Mapping[str, Any]]]:
    named: dict[tuple[str, tuple[str, ...]], dict[Line, dict[str, Mapping[str, Any]]]]
    named = {_named(row): {} for row in rows}
    for row in sorted(rows, key=lambda row: not row["n"]):  # what was run first
        method, setting = _named(row)
        lines, column = named[method, setting], words.column(row["metric"])
        if row["n"] or (row["protocol"] == FAILED and row["configuration"]):
            about = (row["protocol"], row["variant"], row["configuration"])
            lines.setdefault(Line(method, setting, *about), {})[column] = row
        elif row["protocol"] != NOT_RUN or not math.isnan(row["paper"]):
            # Beside what was run of this method stands what the paper has further.
            if not lines:
                lines[Line(method, setting, row["protocol"], "", "")] = {}
            for cells in lines.values():
                cells.setdefault(column, row)
    return {line: cells for lines in named.values() for line, cells in lines.items()}


def _named(row: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Method and setting; a setting that is the metric's name is said by the column."""
    parts = words.settings(row["setting"])
    return row["method"], tuple(part for part in parts if part != row["metric"])


def _apart(block: Block) -> list[Block]:
    """Lines that share no metric, not even over others, are tables of their own."""
    found: list[Block] = []
    for line, cells in block.lines.items():
        alike = [other for other in found if not cells.keys().isdisjoint(other.columns)]
        home = alike[0] if alike else Block(block.table, block.dataset)
        if not alike:
            found.append(home)
        home.lines[line] = cells
        for other in alike[1:]:
            home.lines |= other.lines
            found.remove(other)
    for each in found:
        each.lines = {line: block.lines[line] for line in block.lines if line in each.lines}
    return found


# --- a block as cells of text ----------------------------------------------------------------


def show(block: Block, *, named: bool = False) -> Shown:
    """A block as text; `named`: the caption names the table."""
    columns, every = block.columns, list(block.lines.values())
    about, caption = _about(list(block.lines))
    counts = [{row["n"] for row in cells.values() if row["n"]} for cells in every]
    several = any(len(each) > 1 for each in counts)  # then each cell says its own
    seeds = [] if several else [str(*each) for each in counts]
    if len(alike := {*seeds} - {""}) == 1:
        caption.append(f"n = {alike.pop()}")
        seeds = []
    both = {n for cells in every for n, row in cells.items() if not math.isnan(row["paper"])}
    short = _counted(columns)
    if short:
        caption.insert(0, re.sub(r" \d+", " …", columns[0], count=1))
    elif len(columns) == 1 and both:
        caption.insert(0, columns[0])
    run = any(counts) or any(row["protocol"] == FAILED for cells in every for row in cells.values())
    stacked = len(both) > WIDEST and run
    cells = [_Cells(each, several) for each in every]
    if stacked:
        header, body = _stacked(columns, cells)
        _print_once(block.lines, body)
    else:
        header, body = _side_by_side(columns, both, cells, run)
    rows = []
    for place, numbers in enumerate(body):
        for line, each in enumerate(numbers):
            # What names a row stands in each of its lines, the rest of its setting in the first, and
            # what is true of our runs alone in the line of ours.
            of_ours = not stacked or each[0] == "ours"
            label = [
                values[place] if (of_ours if name in _OF_OURS else not (at and line)) else ""
                for at, (name, values) in enumerate(about.items())
            ]
            rows.append([*label, *each])
            if any(seeds):
                rows[-1].append((seeds[place] or DASH) if of_ours else "")
    header = [*about, *(short.get(name, name) for name in header), *(["n"] if any(seeds) else [])]
    title = ", ".join(filter(None, [block.table if named else "", words.name(block.dataset)]))
    caption = "; ".join(caption)
    right = range(len(about) + stacked, len(header))
    return Shown(f"**{title}**" + (f": {caption}" if caption else ""), header, rows, right)


def _about(lines: Sequence[Line]) -> tuple[dict[str, list[str]], list[str]]:
    """Columns that say what each line is, and what is alike in all of them, for the caption."""
    columns, caption = {"Method": [words.name(line.method) for line in lines]}, []
    parts = [[words.setting(part) for part in line.setting] for line in lines]
    for key in dict.fromkeys(key for each in parts for key, _ in each):
        values = [", ".join(v for k, v in each if k == key and v) for each in parts]
        if len({*values}) > 1:
            columns[key or "Setting"] = [value or DASH for value in values]
        elif values[0]:
            whole = [part for part in lines[0].setting if words.setting(part)[0] == key]
            caption += filter(None, map(words.phrase, whole))
    further = (
        [line.protocol if line.protocol in PROTOCOLS else "" for line in lines],
        [words.name(line.variant) for line in lines],
        [_configuration(line.configuration) for line in lines],
    )
    for name, values in zip(_OF_OURS, further, strict=True):
        told = {*values} - {""}
        if len(told) > 1 or (told and name == "Configuration" and "" in values):
            columns[name] = [value or DASH for value in values]
        elif told:
            caption.append(f"{'protocol ' if name == 'Protocol' else ''}{told.pop()}")
    if len(columns) > 1 and len({*columns["Method"]}) == 1:
        caption.insert(0, columns.pop("Method")[0])
    return columns, caption


def _counted(columns: Sequence[str]) -> dict[str, str]:
    """Columns that differ in a number alone, as that with the word before it; {} for others."""
    found = {name: re.search(r"\w+ \d+", name) for name in columns}
    alike = len({re.sub(r" \d+", "", name, count=1) for name in columns}) == 1
    return {n: f[0] for n, f in found.items() if f} if alike and len(columns) > 1 else {}


def _configuration(text: str) -> str:
    return ", ".join(map(words.phrase, words.settings(text, ", ")))


@dataclass
class _Cells:
    """The numbers of a line; `with_n`: ours with the number of seeds."""

    cells: Mapping[str, Mapping[str, Any]]
    with_n: bool

    def paper(self, name: str) -> str:
        row = self.cells.get(name)
        return number(row["paper"], row["paper_pm"], row["digits"]) if row else DASH

    def ours(self, name: str) -> str:
        row = self.cells.get(name)
        if row is None or not row["n"]:
            return row["protocol"] if row and row["protocol"] != NOT_RUN else DASH
        shown = number(row["ours"], row["ours_pm"], row["digits"])
        return f"{shown} (n={row['n']})" if self.with_n else shown

    def difference(self, name: str) -> str:
        row = self.cells.get(name)
        return difference(row) if row else DASH


def _side_by_side(
    columns: Sequence[str], both: Container[str], cells: Iterable[_Cells], run: bool
) -> tuple[list[str], list[list[list[str]]]]:
    """The paper's number, ours and the difference beside each other, for each metric."""
    header, chosen = [], []
    for name in columns:
        title = name if len(columns) > 1 else ""
        if name not in both:
            header, chosen = [*header, name], [*chosen, (_Cells.ours, name)]
            continue
        header.append(f"{title}: paper" if title else "paper")
        chosen.append((_Cells.paper, name))
        if run:
            header += ["ours", "difference"]
            chosen += [(_Cells.ours, name), (_Cells.difference, name)]
    return header, [[[get(each, name) for get, name in chosen]] for each in cells]


def _stacked(
    columns: Sequence[str], cells: Iterable[_Cells]
) -> tuple[list[str], list[list[list[str]]]]:
    """A line for the paper's numbers, one for ours, one for the difference."""
    body = []
    for each in cells:
        lines = {"paper": each.paper, "ours": each.ours, "difference": each.difference}
        shown = [[who, *map(get, columns)] for who, get in lines.items()]
        body.append([line for line in shown if {*line[1:]} != {DASH}])
    return ["Whose", *columns], body


def _print_once(lines: Iterable[Line], body: Iterable[list[list[str]]]) -> None:
    """Leave out the paper's numbers where they stand already, above another configuration of ours."""
    said = set()
    for line, numbers in zip(lines, body, strict=True):
        printed = (line.method, line.setting, *numbers[0])
        if printed in said and len(numbers) > 1:
            del numbers[0]
        said.add(printed)


# --- as text ---------------------------------------------------------------------------------


def format_markdown(frame: pd.DataFrame, *, legend: bool = True) -> str:
    """A comparison as GitHub tables, a caption above each, and below them what the words mean."""
    named = frame["table"].nunique() > 1
    texts = []
    for block in pivot(frame):
        shown = show(block, named=named)
        texts.append(f"{shown.caption}\n\n{markdown_table(shown.header, shown.rows, shown.right)}")
    return "\n\n".join([*texts, *filter(None, [legend_of(frame) if legend else ""])])


def legend_of(frame: pd.DataFrame) -> str:
    """One line for a comparison: what our numbers are, and which protocols stand in it."""
    run = frame[frame["n"] > 0]
    if run.empty:
        return ""
    texts = ["Ours: the mean over n seeds, from three on ± half a 95 % interval."]
    if run["difference"].notna().any():
        texts.append("Difference: ours − the paper's.")
    there = {*run["protocol"]}
    texts += [f"Protocol *{name}*: {told}." for name, told in PROTOCOLS.items() if name in there]
    return f"<sub>{' '.join(texts)}</sub>"


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], right: Container[int | str] = ()
) -> str:
    """Cells of text as a GitHub table; columns named, or counted, in `right` are aligned there."""
    rule = ["---:" if at in right or name in right else "---" for at, name in enumerate(header)]
    escaped = [[cell.replace("|", "\\|") or " " for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *escaped))


def format_text(frame: pd.DataFrame) -> str:
    """A comparison as aligned columns for a terminal."""
    named, texts = frame["table"].nunique() > 1, []
    for block in pivot(frame):
        shown = show(block, named=named)
        texts.append(f"{shown.caption.replace('**', '')}\n{aligned(shown.header, shown.rows)}")
    return "\n\n".join(texts)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells of text as aligned columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    texts = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(text.rstrip() for text in texts)
