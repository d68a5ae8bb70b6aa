"""A paper's printed tables in the paper's layout, as Markdown, with ours beside each number.

Of several configurations that correspond to one number, the one nearest to the paper's is shown
(`compare.nearest`); RESULTS.md has a line for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from relcl_lib.lab import words
from relcl_lib.lab.compare import compare, nearest
from relcl_lib.lab.format import DASH, TableError, markdown_table, number
from relcl_lib.lab.rows import Row, entries, parse_setting

if TYPE_CHECKING:
    from relcl_lib.lab.records import Record

#: protocols of our numbers that have a mark
MARKS = {"reduced": "\\*", "stand-in": "†"}
#: label of a row -> (column, whose number) -> text; the column "" stands for all of them
Grid = dict[str, dict[tuple[str, str], str]]


@dataclass(frozen=True)
class PrintedTables:
    """How a paper's tables are laid out.

    Attributes:
        paper: its name in records.
        layouts: table -> what goes down and what goes across: a column of the paper's numbers, or a
            setting's name.
        rows: all rows of the comparison.
        words: keys of the paper's numbers in words.
        ours: what our number of a metric is called, where it is not `ours`.
    """

    paper: str
    layouts: Mapping[str, tuple[str, str]]
    rows: Callable[[], Iterable[Row]]
    words: Mapping[str, str] = field(default_factory=dict)
    ours: Mapping[str, str] = field(default_factory=dict)

    def beside(
        self,
        table: str,
        records: Iterable[Record],
        *datasets: str,
        metric: str | None = None,
        setting: str | None = None,
    ) -> str:
        """A printed table with ours beside each number, a dash where nothing was run.

        Where none of it was run, the paper's numbers stand alone. Of a printed row that may be read in
        several ways those readings stand that were run, or the row by itself. What a method without a
        memory has stands at every size of it.

        Args:
            table: e.g. `Table III`.
            records: any runs.
            datasets: the paper's names, e.g. `Split CIFAR10`; none for all that the table has.
            metric: one of the table's; None for all.
            setting: the same.
        """
        records = list(records)
        chosen = [
            row
            for row in self.rows()
            if row.table == table
            and (not datasets or row.dataset in datasets)
            and metric in (None, row.metric)
            and setting in (None, row.setting)
        ]
        if table not in self.layouts or not chosen:
            about = ", ".join(filter(None, (repr(table), *datasets, metric, setting)))
            filled = {row.table for row in self.rows()}
            known = ", ".join(name for name in self.layouts if name in filled)
            raise TableError(f"{self.paper} has no {about}; there are: {known}")
        frame = nearest(compare(self.paper, _as_run(chosen, records), records))
        run = frame["n"].gt(0).any()
        down, across = self.layouts[table]
        found: Grid = {}
        for line in frame.to_dict("records"):
            column = self.label(line, across)
            if across != "dataset" and frame["dataset"].nunique() > 1:
                column = (
                    f"{self.label(line, 'dataset')}, {column}"  # of all settings: nothing after it
                )
            texts = found.setdefault(self.label(line, down), {})
            texts.setdefault((column, "paper" if run else ""), self.printed(line))
            if run:
                texts[column, self.ours.get(line["metric"], "ours")] = measured(line)
        return self.markdown(found, down)

    def quoted(
        self,
        table: str,
        ours: Mapping[str, Mapping[str, float | str] | Sequence[float]] | None = None,
        setting: str | None = None,
    ) -> str:
        """A printed table with numbers of our own that no record holds, each a further column.

        `ours` are column -> row, as the paper's file or this table has it, -> number (or a text that
        is shown as it is); or one number per row. `setting` chooses among those of the table.
        """
        down, across = self.layouts[table]
        found: Grid = {}
        chosen = [e for e in entries(self.paper, table) if setting in (None, e.setting)]
        several = across != "dataset" and len({entry.dataset for entry in chosen}) > 1
        for entry in chosen:
            line = {**entry._asdict(), "paper": entry.value, "paper_pm": entry.std}
            column = self.label(line, across)
            if several:
                column = f"{self.label(line, 'dataset')}, {column}"
            texts = found.setdefault(self.label(line, down), {})
            texts[column, "paper" if ours else ""] = self.printed(line)
        for column, values in (ours or {}).items():
            given = values if isinstance(values, Mapping) else dict(zip(found, values, strict=True))
            named = {self.words.get(row, row): value for row, value in given.items()}
            if unknown := sorted({*named} - {*found}):
                raise TableError(f"{table} has no row {unknown[0]!r}; it has: {', '.join(found)}")
            for row, value in named.items():
                found[row][column, ""] = value if isinstance(value, str) else f"{value:.3g}"
        return self.markdown(found, down)

    def label(self, line: Mapping[str, Any], name: str) -> str:
        """What a row or a column of a layout is called; "" for a setting that the line lacks."""
        if name in line:
            return self.words.get(line[name], line[name])
        value = parse_setting(line["setting"]).get(name, "none")
        return "" if value == "none" else f"{self.words.get(name, name)} {value}"

    def printed(self, line: Mapping[str, Any]) -> str:
        """The paper's number, with a decimal where it is in per cent; a dash where it has none.

        Its ± has as many decimals as the number, and no fewer than it was printed with.
        """
        if math.isnan(line["paper"]):
            return DASH
        value, half = line["paper"], line["paper_pm"]
        per_cent = words.metric(line["metric"]).endswith("(%)")
        shown = f"{value:.1f}" if per_cent and value == round(value, 1) else f"{value:g}"
        if math.isnan(half):
            return shown
        digits = max(len(text.partition(".")[2]) for text in (shown, f"{half:g}", "0.0"))
        return f"{shown} ± {half:.{digits}f}"

    def markdown(self, found: Grid, down: str) -> str:
        """The grid as a table, with what its marks mean."""
        whole = {key for texts in found.values() for key in texts if key[0].endswith(", ")}
        every = dict.fromkeys(key for texts in found.values() for key in texts if key[0])
        columns = [key for key in every if key not in whole] or list(every)
        header = [": ".join(filter(None, key)) for key in columns]

        def cell(texts: Mapping[tuple[str, str], str], key: tuple[str, str]) -> str:
            """Its own number, or the one of all settings of its data set, or of the whole row."""
            dataset = f"{key[0].partition(', ')[0]}, "
            return texts.get(key) or texts.get((dataset, key[1])) or texts.get(("", key[1])) or DASH

        rows = [[label, *(cell(texts, key) for key in columns)] for label, texts in found.items()]
        corner = "" if down in self.words else down  # where it stands in each label
        shown = markdown_table([corner, *header], rows, right=header)
        notes = [f"{mark} protocol `{kind}`" for kind, mark in MARKS.items() if mark in shown]
        return "\n\n".join([shown, *notes])


def _as_run(rows: Sequence[Row], records: Sequence[Record]) -> list[Row]:
    """Of the readings of a printed row those that were run, else the row by its printed name."""
    run: dict[str, dict[str, bool]] = {}  # printed name -> what a reading is called -> run
    for row in rows:
        of_row = run.setdefault(row.method, {})
        matching = any(row.matches(record) and not record.failed for record in records)
        of_row[row.shown] = of_row.get(row.shown, False) or matching
    found = []
    for row in rows:
        of_row = run[row.method]
        if len(of_row) == 1 or of_row[row.shown]:
            found.append(row)
        elif not any(of_row.values()):
            found.append(replace(row, shown=""))
    return found


def measured(line: Mapping[str, Any]) -> str:
    """Our mean with its interval, the number of seeds and the mark of its protocol."""
    if not line["n"]:
        return DASH
    shown = number(line["ours"], line["ours_pm"], line["digits"])
    return f"{shown} (n={line['n']}){MARKS.get(line['protocol'], '')}"
