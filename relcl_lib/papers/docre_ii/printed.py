"""DocRE-II's printed tables in the paper's layout, with ours beside them; its ablations as differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from relcl_lib.lab.printed import MARKS, PrintedTables
from relcl_lib.lab.records import Record, most_seeds
from relcl_lib.lab.rows import entries
from relcl_lib.papers.docre_ii import tables

#: table -> what goes down and what goes across
LAYOUTS = {
    "Table 1": ("method", "metric"),
    "Table 3": ("method", "dataset"),
    "Table 4": ("method", "metric"),
    "Table 6": ("method", "metric"),
    "Table 8": ("method", "dataset"),
}
TABLES = PrintedTables("docre_ii", LAYOUTS, tables.rows, per_cent=("F1", "IgnF1"))
beside = TABLES.beside
#: the set in DocRED's layout whose labels are public
STAND_IN = "Re-DocRED"


def with_stand_in(table: str, records: Iterable[Record], setting: str | None = None) -> str:
    """A printed table on DocRED, with columns of the same methods' test scores on Re-DocRED.

    Scores of the two sets are not to be compared, differences between rows are. A column that has
    no record is left out.
    """
    records = [record for record in records if not record.failed]
    columns: dict[str, dict[str, str]] = {}
    for row in tables.printed_rows(table):
        if setting not in (None, row.setting) or "_all" in row.our_metric:
            continue
        metric = row.our_metric.removesuffix("_dev")
        row = replace(row, record_metric=metric, where_dataset={"set": STAND_IN})
        if found := most_seeds(filter(row.matches, records)):
            column = columns.setdefault(f"{row.metric}, our {STAND_IN} test", {})
            mean = fmean(record.metrics[metric] for record in found)
            column[row.method] = f"{mean:.1f} (n={len(found)}){MARKS['stand-in']}"
    return TABLES.quoted(table, columns, setting)


def ablations(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """What each ablation loses of the whole's F1: whose numbers -> ablation -> difference.

    Ours are means over the seeds that both have.
    """
    found: dict[str, dict[str, float]] = {}
    for table, data in (("Table 4", "DocRED"), ("Table 8", "CDR"), ("Table 8", "GDA")):
        printed = {e.method: e.value for e in entries("docre_ii", table, data) if e.metric == "F1"}
        whole = next(value for name, value in printed.items() if name.startswith("Ours"))
        losses = {name: printed[name] - whole for name in tables.ABLATIONS if name in printed}
        found[f"paper, {data}"] = losses
    ours = [record for record in records if record.paper == "docre_ii" and not record.failed]
    for what in tables.MEASURED_CELLS:
        rows = [row for row in tables.measured_rows(what) if row.metric == "F1"]
        for setting in dict.fromkeys(row.setting for row in rows):
            by_method: dict[str, dict[int, float]] = {}
            for row in (row for row in rows if row.setting == setting):
                runs = most_seeds(filter(row.matches, ours))
                by_method[row.method] = {run.seed: run.metrics["F1"] for run in runs}
            whole = by_method.pop(tables.OURS, {})
            for method, scores in by_method.items():
                both = whole.keys() & scores.keys()
                if method in tables.ABLATIONS and both:
                    leaky = " (noise_draw=not_gold)" if "not_gold" in setting else ""
                    name = {"alone": "inference alone"}.get(what, what)
                    losses = found.setdefault(f"ours, {name}{leaky}", {})
                    losses[method] = fmean(scores[seed] - whole[seed] for seed in both)
    return found
