"""What the papers print, and which records correspond to which printed number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from relcl_lib.lab.files import packaged_data
from relcl_lib.lab.format import TableError
from relcl_lib.lab.records import Record
from relcl_lib.papers.crecl.rows import all_crecl_rows
from relcl_lib.papers.docre_ii.rows import all_docre_rows
from relcl_lib.papers.drl.rows import all_drl_rows
from relcl_lib.papers.fastre.rows import all_fastre_rows

PAPER_COLUMNS = ("table", "dataset", "setting", "method", "metric", "value", "std")

#: names in HPCR's Tables VII and VIII -> names of records. The paper's rows from +HC+HT on carry
#: "HC" while its release has HC off there, so both readings are run and stand side by side.
HPCR_METHODS = {
    "PCR+HC (PCR_C)": ("PCR+HC",),
    "PCR+HC+HT (PCR_CT)": ("PCR+HT", "PCR+HC+HT"),
    "PCR_CT+PCD": ("PCR+HT+PCD", "PCR+HC+HT+PCD"),
    "PCR_CT+PCD+SCD (HPCR)": ("HPCR", "PCR+HC+HT+PCD+SCD"),
    "PCR w/o HT": ("PCR",),
    "PCR with HT": ("PCR+HT", "PCR+HC+HT"),
}
#: names in HPCR's settings -> names of parameters; others are taken as they are
HPCR_PARAMETERS = {
    "buffer": "buffer_size",
    "S": "ht_period",
    "tau_min": "t_min",
    "tau_max": "t_max",
    "mem_batch": "memory_batch",
}
#: bare words in HPCR's settings -> parameters
HPCR_WORDS: dict[str, dict[str, Any]] = {
    "ResNet18-nf64": {"width": 64},
    "Adam": {"optimizer": "adam"},
}
#: what HPCR's tables vary and its main tables hold fixed, so that a sweep stays out of those
HPCR_DEFAULTS = {
    "optimizer": "sgd",
    "temperature": 0.09,
    "ht_period": 500,
    "t_min": 0.05,
    "t_max": 0.16,
}


#: the papers' names
TITLES = {
    "hpcr": "HPCR",
    "fastre": "FastRE",
    "crecl": "CRECL",
    "docre_ii": "DocRE-II",
    "drl": "DRL",
}
_FIGURE_1 = (
    *("drl", "Figure 1", "MNIST-{7,9}", "pairs=different_class"),
    *("corr(gradient_sim,representation_sim)", "r_representations_different"),
)
_STAND_IN = "CORe50-standin(cifar10) Multi-Task-NC"
#: the rows of the summary: paper, then the row's first four fields and its metric in the records
SUMMARY = (
    ("hpcr", "Table III", "Split CIFAR10", "buffer=200", "HPCR", "A_T"),
    ("hpcr", "Table III", "Split CIFAR10", "buffer=200", "PCR", "A_T"),
    ("fastre", "Table 2", "NYT10", "partial_match_rerun_mean_of_3", "FastRE", "F1"),
    ("fastre", "Measured", "WebNLG", "partial match", "FastRE", "F1"),
    ("crecl", "Table 1", "FewRel", "T10", "CRECL", "T10"),
    ("crecl", "Table 1", "FewRel", "T10", "RP-CRE", "T10"),
    ("docre_ii", "Table 3", "CDR", "test", "Ours-SciBERT", "F1"),
    ("docre_ii", "Measured", "CDR", "test", "DocRE-II", "F1_base"),
    ("docre_ii", "Measured", "Re-DocRED", "test", "DocRE-II", "F1"),
    ("docre_ii", "Measured", "Re-DocRED", "test", "DocRE-II", "F1_base"),
    ("docre_ii", "Measured: inference alone", "synthetic", "N_I=2", "DocRE-II", "recall_inferred"),
    _FIGURE_1,
    ("drl", "Measured: Table 2", _STAND_IN, "mem=100;bs=16;lambda=0", "BER", "test_acc"),
    ("drl", "Measured: Table 2", _STAND_IN, "mem=100;bs=16;lambda=0.0002", "BER", "test_acc"),
)


# --- what the papers print -------------------------------------------------------------------


def read_paper_table(paper: str, table: str | None = None) -> pd.DataFrame:
    """Read the numbers a paper prints, from ``data/paper_tables/<paper>.csv``.

    Args:
        paper: ``crecl``, ``fastre``, ``docre_ii``, ``drl`` or ``hpcr``.
        table: keep one table only, e.g. ``Table III``.

    Returns:
        Columns table, dataset, setting, method, metric (text), value and std (float64, in the
        unit the paper prints; std is what stands behind its ±, NaN where there is none: for
        ``hpcr`` the 95 % half width over 10 runs).
    """
    folder = packaged_data() / "paper_tables"
    path = folder / f"{paper}.csv"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.csv"))) or "none"
        raise TableError(f"no table file for the paper {paper!r} in {folder}; there are: {known}")
    # As text first: a method called "nan" or a setting "1e3" must stay what the paper prints.
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    if tuple(frame.columns) != PAPER_COLUMNS:
        raise TableError(f"{path}: columns {list(frame.columns)}, expected {list(PAPER_COLUMNS)}")
    try:
        frame["std"] = frame["std"].replace("", "nan").astype("float64")
        frame["value"] = frame["value"].astype("float64")
    except ValueError as error:
        raise TableError(f"{path}: value and std are numbers: {error}") from error
    if not np.isfinite(frame["value"]).all() or (frame["std"] < 0).any():
        raise TableError(f"{path}: a value is not finite or a std is negative")
    repeated = frame.duplicated(list(PAPER_COLUMNS[:5]))
    if repeated.any():
        raise TableError(f"{path}: line {int(repeated.idxmax()) + 2} repeats an earlier entry")
    if table is None:
        return frame
    chosen = frame[frame["table"] == table].reset_index(drop=True)
    if chosen.empty:
        known = ", ".join(frame["table"].unique())
        raise TableError(f"{paper} has no {table!r}; there are: {known}")
    return chosen


def parse_setting(setting: str) -> dict[str, Any]:
    """Split ``buffer=200;S=500;Adam`` into a dict; numbers become numbers, bare words True."""
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

    The first five fields name the entry; an entry the paper does not have shows a dash. A record
    corresponds if its method is among ``methods`` (by default the paper's name), its ``dataset``
    and ``parameters`` hold the values given here, and it has the metric ``record_metric`` (by
    default the paper's name). A parameter in ``defaults`` may be absent but not have another value.
    ``experiment`` and ``variant`` narrow the choice further if given.
    ``paper_scale`` brings the printed number to per cent (100 for a fraction). ``digits`` decimals are
    shown.
    """

    table: str
    dataset: str
    setting: str
    method: str
    metric: str
    methods: tuple[str, ...] = ()
    record_metric: str = ""
    where_dataset: Mapping[str, Any] = field(default_factory=dict)
    where_parameters: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    experiment: str | None = None
    variant: str | None = None
    paper_scale: float = 1.0
    digits: int = 1

    @property
    def our_metric(self) -> str:
        """The metric's name in the records."""
        return self.record_metric or self.metric

    def matches(self, record: Record) -> bool:
        """Whether the record is a run of this row (a failed run has no metric but may match)."""
        return (
            record.method in (self.methods or (self.method,))
            and (record.failed or self.our_metric in record.metrics)
            and self.experiment in (None, record.experiment)
            and self.variant in (None, record.variant)
            and _holds(record.dataset, self.where_dataset)
            and _holds({**self.defaults, **record.parameters}, self.defaults)
            and _holds(record.parameters, self.where_parameters)
        )


def _holds(values: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(name in values and values[name] == value for name, value in wanted.items())


def hpcr_rows(
    table: str = "Table III",
    dataset: str | None = "Split CIFAR10",
    buffer_size: int | None = 200,
    *,
    experiment: str | None = None,
    variant: str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Return the rows of one of HPCR's tables; the records' ``dataset.stream`` names the dataset.

    Which definition of forgetting stands behind Table VI is unknown, so each of its rows comes
    twice, once for ``F_T`` (the paper's) and once for ``F_T_released``.

    Args:
        table: as in the table file, e.g. ``Table VII``.
        dataset: e.g. ``Split CIFAR10``; None for all.
        buffer_size: rows for this many memory images, and those without a memory; None for all.
        experiment: only records of this experiment.
        variant: only records of this variant.
        parameters: values the records' parameters must have, before ``HPCR_DEFAULTS``.
    """
    rows = []
    for entry in read_paper_table("hpcr", table).itertuples():
        setting = parse_setting(entry.setting)
        buffer = setting.get("buffer", "none")
        if dataset not in (None, entry.dataset) or (
            buffer_size is not None and buffer not in (buffer_size, "none")
        ):
            continue
        if buffer == "none":
            setting.pop("buffer", None)
        wanted: dict[str, Any] = {}
        for name, value in setting.items():
            wanted |= HPCR_WORDS.get(name, {HPCR_PARAMETERS.get(name, name): value})
        wanted |= parameters or {}
        for record_metric in ("F_T", "F_T_released") if entry.metric == "F_T" else ("",):
            rows.append(
                Row(
                    *(table, entry.dataset, entry.setting, entry.method, entry.metric),
                    methods=HPCR_METHODS.get(entry.method, ()),
                    record_metric=record_metric,
                    where_dataset={"stream": entry.dataset},
                    where_parameters=wanted,
                    defaults={k: v for k, v in HPCR_DEFAULTS.items() if k not in wanted},
                    experiment=experiment,
                    variant=variant,
                )
            )
    return rows


def _all_hpcr_rows() -> list[Row]:
    tables = read_paper_table("hpcr")["table"].unique()
    return [row for table in tables for row in hpcr_rows(table, None, None)]


#: paper -> the rows of all its tables
SPECS: dict[str, Callable[[], list[Row]]] = {
    "hpcr": _all_hpcr_rows,
    "fastre": all_fastre_rows,
    "crecl": all_crecl_rows,
    "docre_ii": all_docre_rows,
    "drl": all_drl_rows,
}


def paper_rows(paper: str) -> list[Row]:
    """Return the rows of all tables of a paper; [] while nothing says which records correspond."""
    return SPECS[paper]() if paper in SPECS else []


def summary_rows(paper: str) -> list[Row]:
    """Return the rows of a paper that stand in the summary, in its order."""
    chosen = [fields[1:] for fields in SUMMARY if fields[0] == paper]
    named = {
        (row.table, row.dataset, row.setting, row.method, row.our_metric): row
        for row in paper_rows(paper)
    }
    return [named[fields] for fields in chosen]


def rows_without_paper(records: Iterable[Record], rows: Iterable[Row] = ()) -> list[Row]:
    """Return rows for what was run but stands in no table: each shows a dash for the paper.

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
