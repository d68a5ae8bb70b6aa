"""DocRE-II's printed tables in the paper's layout, with ours beside them; its ablations as differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from relcl_lib.lab import words
from relcl_lib.lab.format import markdown_table
from relcl_lib.lab.printed import MARKS, PrintedTables
from relcl_lib.lab.records import Record, most_seeds
from relcl_lib.lab.rows import entries
from relcl_lib.papers.docre_ii import tables

#: table -> what goes down and what goes across
LAYOUTS = {
    "Table 1": ("method", "metric"),
    "Table 2": ("N_I", "K"),
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


def alone_differences(records: Iterable[Record], metric: str = "F1") -> dict[str, list[float]]:
    """The inference module on stated facts: what is left out -> by how much the whole is better.

    One difference per seed that both have, all with two layers.
    """
    records = [record for record in records if not record.failed]
    rows = [row for row in tables.measured_rows("alone") if row.metric == metric]
    rows = [row for row in rows if tables.BLIND.items() <= row.where_parameters.items()]
    scores: dict[str, dict[int, float]] = {}
    for row in (row for row in rows if row.setting.startswith("N_I=2")):
        if runs := most_seeds(filter(row.matches, records)):
            scores[row.method] = {run.seed: run.metrics[metric] for run in runs}
    whole = scores.pop(tables.OURS, {})
    found = {
        method: [whole[seed] - other[seed] for seed in sorted(whole.keys() & other.keys())]
        for method, other in scores.items()
    }
    return {method: differences for method, differences in found.items() if differences}


def iterations(records: Iterable[Record]) -> dict[str, dict[int, float]]:
    """F1 after 0, 1, ... iterations of the inference module on stated facts, a line per N_I."""
    wanted = {"base": "stated_facts", "stage2_epochs": 10, **tables.BLIND}
    records = [r for r in records if r.method == tables.OURS and not r.failed]
    records = [r for r in records if wanted.items() <= r.parameters.items()]
    lines = {}
    for layers in sorted({r.parameters["inference_layers"] for r in records}):
        runs = most_seeds(r for r in records if r.parameters["inference_layers"] == layers)
        lines[f"N_I = {layers}"] = {k: fmean(r.metrics[f"F1_K{k}"] for r in runs) for k in range(5)}
    return lines


def grid(records: Iterable[Record]) -> str:
    """Table 2, N_I down and K across, with ours of the module on stated facts."""
    ours = {
        f"ours, K {k}": {name.replace(" = ", " "): line[k] for name, line in lines.items()}
        for lines in (iterations(records),)
        for k in range(1, 5)
        if lines
    }
    return TABLES.quoted("Table 2", ours)


#: prediction that the first pass is handed -> the metric that says what it comes to
HANDED = {
    "own base": "F1_base",
    "first pass": "F1_K1",
    "all right": "F1_fed_gold",
    "others right": "F1_fed_neighbours",
    "none": "F1_fed_none",
}


def handed(records: Iterable[Record]) -> str:
    """What the first pass of inference makes of other predictions than the base's: F1 on test."""
    records = [r for r in records if not r.failed and "F1_fed_neighbours" in r.metrics]
    lines = []
    for what in ("synthetic", STAND_IN, "CDR"):
        for row in (row for row in tables.measured_rows(what) if row.metric == "F1"):
            if runs := most_seeds(filter(row.matches, records)):
                means = (fmean(run.metrics[key] for run in runs) for key in HANDED.values())
                named = words.name(what), words.name(row.method), f"{len(runs)}"
                lines.append([*named, *(f"{mean:.1f}" for mean in means)])
    return markdown_table(["data", "method", "n", *HANDED], lines, right=["n", *HANDED])


def slot_weights(records: Iterable[Record]) -> dict[str, tuple[float, float]]:
    """Figure 5: whose numbers -> the mean absolute weight of the F half and of the R half.

    Ours are means over seeds, of the inference rate that most seeds were run with.
    """
    found = {}
    for name, method in (("with", "Ours-BERT"), ("without", "w/o contrastive loss")):
        halves = [e.value for e in entries("docre_ii", "Figure 5") if e.method == method]
        found[f"DocRED, paper: {name} the contrast"] = (halves[0], halves[1])
    records = [record for record in records if not record.failed]
    for what in ("CDR", STAND_IN, "synthetic"):
        for name, method in (("with", tables.OURS), ("without", "w/o contrastive loss")):
            rows = [r for r in tables.measured_rows(what) if (r.metric, r.method) == ("F1", method)]
            runs = most_seeds(r for r in records if any(row.matches(r) for row in rows))
            if runs:
                label = f"{words.name(what)} (n={len(runs)}): {name} the contrast"
                keys = ("weight_features", "weight_relations")
                found[label] = tuple(fmean(run.metrics[key] for run in runs) for key in keys)
    return found
