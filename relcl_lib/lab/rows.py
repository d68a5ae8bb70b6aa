"""What a paper's table is: the cells that a sweep runs, and the rows that a comparison shows.

A paper says both in its `tables.py`. What it prints lies in `data/paper_tables/<paper>.csv`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from relcl_lib.lab.files import packaged_data
from relcl_lib.lab.format import TableError

if TYPE_CHECKING:
    from relcl_lib.lab.records import Record

#: stands for a table where the paper has none
MEASURED = "Measured"

# --- what a sweep runs -----------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A method with the settings that make it one cell of a table.

    Attributes:
        method: its name in the records.
        settings: parameters of its runs, beside the data set and the memory size.
        prints: the paper's names of it, where they are not `method`.
        memory: whether it has one; without, all memory sizes are one run.
        only: the data sets that have this cell; () for all.
        size: its memory, from the data set and the size that the others have; None for theirs.
        ours: whether the paper has no such cell in its table.
        stands_for: the paper's networks, where one of ours stands for them.
    """

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    prints: tuple[str, ...] = ()
    memory: bool = True
    only: tuple[str, ...] = ()
    size: Callable[[str, int], int] | None = None
    ours: bool = False
    stands_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """The cells of a table of a paper, or of one that is only ours.

    Attributes:
        about: where the paper has it and what it varies.
        cells: what is run on each data set.
        memory: the setting that takes a memory size; "" where none is varied.
        every_size: run each cell at every memory size, not just one.
        largest: that one is the last, not the first.
        dataset: the paper's data set for this table, where that is not the first of its data sets.
        only: whether no other data set has it.
        ours: whether the paper has no such table.
    """

    about: str
    cells: tuple[Cell, ...]
    memory: str = ""
    every_size: bool = True
    largest: bool = False
    dataset: str = ""
    only: bool = False
    ours: bool = False

    def runs(self, dataset: str, sizes: Sequence[int] = ()) -> list[dict[str, Any]]:
        """The parameters of each run, as plain values."""
        found = []
        for cell in self.cells:
            if cell.only and dataset not in cell.only:
                continue
            every = sizes
            if not (self.every_size and cell.memory):
                every = sizes[-1:] if self.largest else sizes[:1]
            if cell.size:
                every = [cell.size(dataset, size) for size in every]
            for memory in [{self.memory: size} for size in every] if self.memory else [{}]:
                settings = {**memory, **cell.settings}
                found.append({"dataset": dataset, "method": cell.method, **settings})
        return found


def table(about: str, *cells: Cell | str, **rest: Any) -> Table:
    """A `Table`; a method's name stands for its cell without further settings."""
    return Table(about, tuple(Cell(c) if isinstance(c, str) else c for c in cells), **rest)


def printed_names(tables: Iterable[Table]) -> dict[str, tuple[str, ...]]:
    """The methods behind each name that the paper's tables print and that is not the method's."""
    found: dict[str, tuple[str, ...]] = {}
    for cell in (cell for table in tables for cell in table.cells):
        for name in cell.prints:
            known = found.get(name, ())
            found[name] = known if cell.method in known else (*known, cell.method)
    return found


# --- what a paper prints ---------------------------------------------------------------------


class Entry(NamedTuple):
    """A number of a paper's table; one that the paper does not have is NaN."""

    table: str
    dataset: str
    setting: str
    method: str
    metric: str
    value: float = math.nan
    std: float = math.nan


def entries(paper: str, table: str | None = None, dataset: str | None = None) -> list[Entry]:
    """The numbers that a paper prints, from `data/paper_tables/<paper>.csv`, in the unit it prints.

    std is what stands behind its ±, NaN where there is none: for `hpcr` the 95 % half width over 10
    runs.

    Args:
        paper: whose.
        table, dataset: of this table or data set; None for all.

    Raises:
        TableError: there is no such paper or table, or a line does not fit; says which.
    """
    folder = packaged_data() / "paper_tables"
    path = folder / f"{paper}.csv"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.csv"))) or "none"
        raise TableError(f"no table file for the paper {paper!r} in {folder}; there are: {known}")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file, strict=True)
    except (ValueError, OSError, csv.Error) as error:  # no UTF-8, or no lines
        raise TableError(f"{path} cannot be read: {error}") from error
    if tuple(header) != Entry._fields:
        raise TableError(f"{path}: columns {header}, expected {list(Entry._fields)}")
    found: dict[tuple[str, ...], Entry] = {}
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise TableError(f"{path}: line {number} has {len(line)} columns, not {len(header)}")
        *named, value, std = line
        try:
            entry = Entry(*named, float(value), float(std or "nan"))
        except ValueError as error:
            raise TableError(
                f"{path}: line {number}: value and std are numbers: {error}"
            ) from error
        if not math.isfinite(entry.value) or entry.std < 0:
            raise TableError(f"{path}: line {number}: value is not finite or std is negative")
        if entry[:5] in found:
            raise TableError(f"{path}: line {number} repeats an earlier entry")
        found[entry[:5]] = entry
    tables = dict.fromkeys(entry.table for entry in found.values())
    if table is not None and table not in tables:
        raise TableError(f"{paper} has no {table!r}; there are: {', '.join(tables)}")
    return [e for e in found.values() if table in (None, e.table) and dataset in (None, e.dataset)]


def parse_setting(setting: str) -> dict[str, Any]:
    """Split `buffer=200;S=500;Adam` into a dict; numbers become numbers, bare words True."""
    parts = [part.strip() for part in setting.split(";") if part.strip()]
    pairs = (part.partition("=") for part in parts)
    return {key.strip(): _number(value.strip()) if eq else True for key, eq, value in pairs}


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


# --- which records correspond ----------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of a comparison: an entry of a paper's table and the records that correspond.

    The first five fields name the entry; one that the paper does not have shows a dash.

    Attributes:
        shown: what the row is called where that is not `method` (one of two readings).
        methods: a record's method is one of these (by default the paper's name).
        record_metric: the metric's name in the records (by default the paper's).
        where_dataset: what a record's `dataset` holds.
        where_parameters: what a record's `parameters` hold.
        usual: the values of the settings that some table varies, which hold where `where_parameters`
            has no other; a record may lack them.
        either: settings that go together: a record's `parameters` hold one of these. () for no matter.
        experiment, variant, protocol: narrow the choice.
        paper_scale: brings the printed number to per cent (100 for a fraction).
        digits: decimals shown.
        told: parameters that the configuration says in any case.
    """

    table: str
    dataset: str
    setting: str
    method: str
    metric: str
    shown: str = ""
    methods: tuple[str, ...] = ()
    record_metric: str = ""
    where_dataset: Mapping[str, Any] = field(default_factory=dict)
    where_parameters: Mapping[str, Any] = field(default_factory=dict)
    usual: Mapping[str, Any] = field(default_factory=dict)
    either: tuple[Mapping[str, Any], ...] = ()
    experiment: str | None = None
    variant: str | None = None
    protocol: str | None = None
    paper_scale: float = 1.0
    digits: int = 1
    told: tuple[str, ...] = ()

    @classmethod
    def of(cls, entry: Entry, **choice: Any) -> Row:
        """The row of an entry."""
        return cls(*entry[:5], **choice)

    @property
    def our_metric(self) -> str:
        """The metric's name in the records."""
        return self.record_metric or self.metric

    def matches(self, record: Record) -> bool:
        """Whether the record is a run of this row (a failed run has no metric but may match)."""
        return (
            record.method in (self.methods or (self.method,))
            and not record.starts_elsewhere
            and (record.failed or self.our_metric in record.metrics)
            and self.experiment in (None, record.experiment)
            and self.variant in (None, record.variant)
            and self.protocol in (None, record.protocol)
            and holds(record.dataset, self.where_dataset)
            and holds({**self.usual, **record.parameters}, {**self.usual, **self.where_parameters})
            and (not self.either or any(holds(record.parameters, each) for each in self.either))
        )


def holds(values: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a record's values are those wanted, all of which it names."""
    return all(name in values and values[name] == value for name, value in wanted.items())


def rows_without_paper(records: Iterable[Record], rows: Iterable[Row] = ()) -> list[Row]:
    """Rows for what was run but stands in no table: each shows a dash for the paper.

    Args:
        records: of one paper.
        rows: those that have a paper entry; a record that matches one of them is left out.
    """
    rows = list(rows)
    extra: dict[tuple[str, ...], Row] = {}
    for record in sorted(records, key=lambda record: (str(record.dataset["name"]), record.method)):
        if any(row.matches(record) for row in rows):
            continue
        name = {key: record.dataset[key] for key in ("name", "stream") if key in record.dataset}
        buffer = {k: v for k, v in record.parameters.items() if k == "buffer_size"}
        setting = f"buffer={buffer['buffer_size']}" if buffer else ""
        shown = str(name.get("stream", name["name"]))
        for metric in record.metrics:
            key = ("", shown, setting, record.method, metric)
            extra[key] = Row(*key, where_dataset=name, where_parameters=buffer)
    return list(extra.values())
