"""DocRE-II's printed tables in the paper's layout, with ours beside them; its ablations as differences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, mode

from relcl_lib.lab import words
from relcl_lib.lab.format import DASH, markdown_table, signed
from relcl_lib.lab.metrics import mean_and_half
from relcl_lib.lab.printed import MARKS, PrintedTables
from relcl_lib.lab.records import Record, canonical_json, most_seeds, shape_of
from relcl_lib.lab.rows import Row, entries, parse_setting
from relcl_lib.papers.docre_ii import tables
from relcl_lib.papers.docre_ii.parameters import METHODS

#: table -> what goes down and what goes across
LAYOUTS = {
    "Table 1": ("method", "metric"),
    "Table 2": ("N_I", "K"),
    "Table 3": ("method", "dataset"),
    "Table 4": ("method", "metric"),
    "Table 5": ("method", "metric"),
    "Table 6": ("method", "metric"),
    "Table 7": ("metric", "method"),
    "Table 8": ("method", "dataset"),
}
#: the paper's own rows in words: ours are the columns that say so
WORDS = {
    "Ours-BERT": "DocRE-II-BERT",
    "Ours-BERT-base": "DocRE-II-BERT",
    "Ours-RoBERTa-large": "DocRE-II-RoBERTa-large",
    "Ours-SciBERT": "DocRE-II-SciBERT",
    "w/o Inference module": "base alone",
}
TABLES = PrintedTables("docre_ii", LAYOUTS, tables.rows, WORDS)
beside = TABLES.beside
#: the inference module on stated facts
ALONE = "inference alone"
#: what stands beside Table 2
GRIDS = (ALONE, "CDR")
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
            most = mode(record.method for record in found)  # whole or base
            found = [record for record in found if record.method == most]
            column = columns.setdefault(f"{row.metric}, our {STAND_IN} test", {})
            mean = fmean(record.metrics[metric] for record in found)
            column[row.method] = f"{mean:.1f} (n={len(found)}){MARKS['stand-in']}"
    return TABLES.quoted(table, columns, setting)


def named(what: str, setting: str) -> str:
    """What was measured, and with which settings: `CDR, leaky noise`."""
    parts = [words.phrase(part) for part in words.settings(setting) if "=" in part]
    return ", ".join([ALONE if what == "alone" else words.name(what), *parts])


def _rows_of_f1(what: str) -> list[Row]:
    """A row per method and setting, the whole's changed settings among them."""
    every = (*tables.measured_rows(what), *tables.changed_rows(what))
    return [row for row in every if row.metric == "F1"]


def pairs(whole: Row, part: Row, records: Iterable[Record]) -> list[tuple[Record, Record]]:
    """Runs of the whole and of a part by seed, alike in all but what the part changes.

    Of several configurations those with the most common seeds, of equals the latest.
    """
    found: dict[str, tuple[dict[int, Record], dict[int, Record]]] = defaultdict(lambda: ({}, {}))
    records = list(records)
    for side, row in enumerate((whole, part)):
        for record in filter(row.matches, records):
            shape = shape_of(record, *METHODS[part.method])
            shape |= {"method": None, "protocol": record.protocol}
            found[canonical_json(shape)][side][record.seed] = record
    both = ([(a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())] for a, b in found.values())
    return max(
        both, key=lambda each: (len(each), max((a.date for a, _ in each), default="")), default=[]
    )


def differences(records: Iterable[Record], what: str, setting: str) -> dict[str, list[float]]:
    """By how much F1 of the whole is better than with each change: change -> a difference per seed."""
    records = [record for record in records if record.paper == "docre_ii" and not record.failed]
    rows = [
        row for row in tables.measured_rows(what) if (row.setting, row.metric) == (setting, "F1")
    ]
    by_method = {row.method: row for row in rows}
    found = {
        as_difference(method): [
            a.metrics["F1"] - b.metrics["F1"]
            for a, b in pairs(by_method[tables.OURS], by_method[method], records)
        ]
        for method in tables.ABLATIONS
        if method in by_method
    }
    return {name: each for name, each in found.items() if each}


def as_difference(method: str) -> str:
    """An ablation as a difference: `w/o ECA` -> `whole − without ECA`."""
    return "whole − " + method.replace("w/o ", "without ").replace("w/ ", "with ")


def ablations(records: Sequence[Record]) -> dict[str, dict[str, list[float]]]:
    """By how much F1 of the whole is above F1 with each change: whose numbers -> difference -> values.

    Of ours one value for each seed that both have.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for table, data in (("Table 4", "DocRED"), ("Table 8", "CDR"), ("Table 8", "GDA")):
        printed = {e.method: e.value for e in entries("docre_ii", table, data) if e.metric == "F1"}
        whole = next(value for name, value in printed.items() if name.startswith("Ours"))
        methods = [name for name in tables.ABLATIONS if name in printed]
        found[f"paper, {data}"] = {as_difference(name): [whole - printed[name]] for name in methods}
    for what in tables.MEASURED_CELLS:
        for setting in dict.fromkeys(row.setting for row in tables.measured_rows(what)):
            # N_I = 2 is the only number of layers that parts of `alone` were left out at.
            label = named(what, setting.removeprefix("N_I=2"))
            if ours := differences(records, what, setting):
                found[f"ours, {label}"] = ours
    return found


def gain(runs: Sequence[Record], metric: str, other: str) -> str:
    """What runs have more of a metric than of another: the mean, from three seeds on ± half a 95 % interval."""
    return signed(*mean_and_half([r.metrics[metric] - r.metrics[other] for r in runs]))


#: what `gains` shows -> the two metrics of a run that it is the difference of
GAINS = {
    "F1 − base": ("F1", "F1_base"),
    "F1 − F1 at K = 0": ("F1", "F1_K0"),
    "F1 with dev's threshold − base": ("F1_tuned", "F1_tuned_base"),
    "AP − base": ("AP", "AP_base"),
}


def gains(records: Iterable[Record]) -> str:
    """What the whole gains on its own base, in F1 and in average precision, paired by seed.

    With dev's threshold in place of training's, each of the two has its own. First stands how well the
    base knows its training documents (F1, the mean over seeds), from which stage 2 learns to infer.
    A line per setting that has records (`tables.measured_rows`, `tables.changed_rows`). F1 at K = 0 is
    of the base as stage 2 left it, so what is above it is inference alone. Beside it what Table 5
    tests its gain by, bootstrap samples of the test documents, made run by run
    (`document_metrics.paired_bootstrap`): the bounds of F1's gain that lie furthest apart, and the
    largest share of samples without a gain.
    """
    records = [record for record in records if not record.failed]
    lines = []
    for what in tables.MEASURED_CELLS:
        for row in _rows_of_f1(what):
            runs = most_seeds(r for r in records if row.matches(r) and "F1_base" in r.metrics)
            if row.method != tables.OURS or not runs:
                continue
            # What a base of stated facts says is certain: it ranks nothing, no threshold matters.
            ranked = {"AP", "F1_tuned"}
            shown = {k: v for k, v in GAINS.items() if what != "alone" or not ranked & {*v}}
            found = [
                gain(runs, *shown[name])
                if name in shown and all(run.metrics.keys() >= {*shown[name]} for run in runs)
                else DASH
                for name in GAINS
            ]
            drawn = [run.metrics for run in runs if "F1_gain_p" in run.metrics]
            bounds, p = DASH, DASH
            if drawn:
                low = signed(min(each["F1_gain_low"] for each in drawn))
                bounds = f"{low} to {signed(max(each['F1_gain_high'] for each in drawn))}"
                p = f"{max(each['F1_gain_p'] for each in drawn):.3f}"
            seen = [run.metrics.get("F1_base_train") for run in runs]
            known = DASH if None in seen else f"{fmean(seen):.1f}"
            about = [named(what, row.setting), runs[0].protocol, str(len(runs)), known]
            lines.append([*about, *found, bounds, p])
    numbers = [
        "n",
        "base's F1 on its training documents",
        *GAINS,
        "bootstrap: 95 % of F1 − base",
        "largest p",
    ]
    return markdown_table(["data", "protocol", *numbers], lines, right=numbers)


def iterations(records: Iterable[Record], what: str = ALONE) -> dict[int, dict[int, list[float]]]:
    """Test F1 of each run after 0, 1, ... iterations, by N_I: of one of `GRIDS`."""
    rows = tables.measured_rows("alone") if what == ALONE else tables.grid_rows(what)
    rows = [row for row in rows if tables.BLIND.items() <= row.where_parameters.items()]
    rows = [row for row in rows if row.method == tables.OURS and row.metric in ("F1", "F1_K3")]
    records = [r for r in records if not r.failed and "F1_K4" in r.metrics]
    lines = {}
    for row in rows:
        if runs := most_seeds(filter(row.matches, records)):
            line = {k: [r.metrics[f"F1_K{k}"] for r in runs] for k in range(5)}
            lines[row.where_parameters["inference_layers"]] = line
    return lines


def quoted_iterations() -> dict[int, dict[int, float]]:
    """The paper's Table 2: F1 on DocRED's dev documents by N_I and K."""
    lines: dict[int, dict[int, float]] = {}
    for entry in entries("docre_ii", "Table 2"):
        at = parse_setting(entry.setting)
        lines.setdefault(at["N_I"], {})[at["K"]] = entry.value
    return lines


def grid(records: Iterable[Record]) -> str:
    """Table 2, N_I down and K across, with ours of each of `GRIDS` that has records."""
    records, ours = list(records), {}
    for what in GRIDS:
        lines = iterations(records, what)
        for k in range(1, 5) if lines else ():
            ours[f"{what}, K {k}"] = {
                f"N_I {layers}": f"{fmean(line[k]):.1f}" for layers, line in lines.items()
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
    for what in ("alone", "synthetic", STAND_IN, "CDR"):
        for row in _rows_of_f1(what):
            if runs := most_seeds(filter(row.matches, records)):
                means = (fmean(run.metrics[key] for run in runs) for key in HANDED.values())
                about = named(what, row.setting), words.name(row.method), f"{len(runs)}"
                lines.append([*about, *(f"{mean:.1f}" for mean in means)])
    return markdown_table(["data", "method", "n", *HANDED], lines, right=["n", *HANDED])


def slot_weights(records: Iterable[Record]) -> dict[str, tuple[float, float]]:
    """Figure 5: whose numbers -> the mean absolute weight of the F half and of the R half.

    Ours are means over the seeds that both runs have, all with one noise: blind where both have it.
    """
    found = {}
    part = "w/o contrastive loss"
    for name, method in (("with", "Ours-BERT"), ("without", part)):
        halves = [e.value for e in entries("docre_ii", "Figure 5") if e.method == method]
        found[f"DocRED, paper: {name} the contrast"] = (halves[0], halves[1])
    records = [record for record in records if not record.failed]
    keys = ("weight_features", "weight_relations")
    for what in ("CDR", STAND_IN, "synthetic", "alone"):
        rows = {(row.setting, row.method): row for row in _rows_of_f1(what)}
        for setting in (setting for setting, method in rows if method == part):
            both = pairs(rows[setting, tables.OURS], rows[setting, part], records)
            for side, name in enumerate(("with", "without") if both else ()):
                runs = [pair[side] for pair in both]
                label = f"{named(what, setting)} (n={len(runs)}): {name} the contrast"
                found[label] = tuple(fmean(run.metrics[key] for run in runs) for key in keys)
            if both:
                break
    return found
