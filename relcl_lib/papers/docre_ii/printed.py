"""DocRE-II's printed tables in the paper's layout, with ours beside them; its ablations as differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from relcl_lib.lab import words
from relcl_lib.lab.claims import LEAST_SEEDS
from relcl_lib.lab.files import repository_root
from relcl_lib.lab.format import DASH, markdown_table, signed
from relcl_lib.lab.json_text import parse_json
from relcl_lib.lab.metrics import confidence_interval
from relcl_lib.lab.printed import MARKS, PrintedTables
from relcl_lib.lab.records import Record, most_seeds
from relcl_lib.lab.rows import entries
from relcl_lib.papers.docre_ii import tables
from relcl_lib.papers.docre_ii.parameters import LINEAR

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
#: the inference module on stated facts
ALONE = "inference alone"
#: what stands beside Table 2 -> the records' data set and what their parameters hold
GRIDS: dict[str, tuple[str, dict[str, Any]]] = {
    ALONE: ("synthetic", {"base": "stated_facts", "stage2_epochs": 10, **tables.BLIND}),
    "CDR": ("CDR", {"base": "atlop", **tables.BLIND}),
}
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


def ablations(records: Sequence[Record]) -> dict[str, dict[str, list[float]]]:
    """What each ablation loses of the whole's F1: whose numbers -> ablation -> differences.

    Of ours one difference for each seed that both have.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for table, data in (("Table 4", "DocRED"), ("Table 8", "CDR"), ("Table 8", "GDA")):
        printed = {e.method: e.value for e in entries("docre_ii", table, data) if e.metric == "F1"}
        whole = next(value for name, value in printed.items() if name.startswith("Ours"))
        losses = {n: [printed[n] - whole] for n in tables.ABLATIONS if n in printed}
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
                    parts = [p for p in words.settings(setting) if p.startswith("noise_draw")]
                    leaky = "".join(f"\n({words.phrase(part)})" for part in parts)
                    name = {"alone": ALONE}.get(what, words.name(what))
                    losses = found.setdefault(f"ours, {name}{leaky}", {})
                    losses[method] = [scores[seed] - whole[seed] for seed in sorted(both)]
    return found


def gain(runs: Sequence[Record], metric: str) -> str:
    """What runs gain on their own bases: the mean, from three seeds on ± half a 95 % interval."""
    differences = [r.metrics[metric] - r.metrics[f"{metric}_base"] for r in runs]
    mean, half = confidence_interval(differences)
    return signed(mean) + (f" ± {half:.1f}" if len(runs) >= LEAST_SEEDS else "")


def gains(records: Iterable[Record]) -> str:
    """What the whole gains on its own base, in F1 and in average precision, paired by seed.

    Beside it what Table 5 tests its gain by, bootstrap samples of the test documents, made run by
    run (`document_metrics.paired_bootstrap`): the bounds of F1's gain that lie furthest apart, and
    the largest share of samples without a gain.
    """
    records = [record for record in records if not record.failed]
    lines = []
    for what in tables.MEASURED_CELLS:
        rows = [row for row in tables.measured_rows(what) if row.metric == "F1"]
        for row in rows:
            runs = most_seeds(r for r in records if row.matches(r) and "F1_base" in r.metrics)
            if row.method != tables.OURS or not runs:
                continue
            # What a base of stated facts says is certain: it ranks nothing.
            ranked = what != "alone" and all("AP" in run.metrics for run in runs)
            drawn = [run.metrics for run in runs if "F1_gain_p" in run.metrics]
            bounds, p = DASH, DASH
            if drawn:
                low = signed(min(each["F1_gain_low"] for each in drawn))
                bounds = f"{low} to {signed(max(each['F1_gain_high'] for each in drawn))}"
                p = f"{max(each['F1_gain_p'] for each in drawn):.3f}"
            parts = [words.phrase(part) for part in words.settings(row.setting) if "=" in part]
            name = ALONE if what == "alone" else words.name(what)
            lines.append(
                [
                    ", ".join([name, *parts]),
                    runs[0].protocol,
                    str(len(runs)),
                    gain(runs, "F1"),
                    gain(runs, "AP") if ranked else DASH,
                    bounds,
                    p,
                ]
            )
    numbers = ["n", "F1 − base", "AP − base", "bootstrap: 95 % of F1 − base", "largest p"]
    return markdown_table(["data", "protocol", *numbers], lines, right=numbers)


#: settings of the search for a base that their own names do not tell
SEARCH_NAMES = {
    "profile": "rates 1e-4/2e-4, 20 epochs (the profile until then)",
    "concat": "pair features of a linear layer, not of groups",
}
#: numbers of an epoch of the search for a base -> the metric of the floor's record
SEARCHED = {
    "F1 on dev": ("dev_F1", "F1_dev"),
    "F1": ("test_F1", "F1"),
    "average precision": ("test_AP", "AP"),
    "F1 with dev's threshold": ("test_F1_tuned", "F1_tuned"),
}


def base_search(records: Iterable[Record]) -> str:
    """The bases that were tried on CDR, best on dev first, and the floor on the same pairs.

    Each has the epoch with the highest F1 on dev; the numbers of seeds 0 and 1 stand beside one
    another, as two decide nothing. The file lies with the checkout alone.
    """
    path = repository_root() / "data" / "tries" / "docre_ii" / "cdr_base_search.jsonl"
    if not path.is_file():
        return f"The runs of the search lie in `{'/'.join(path.parts[-4:])}` of the repository."
    found: dict[str, list[dict[str, float]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        run = parse_json(line)
        best = max(run["epochs"], key=lambda epoch: epoch["dev_F1"])
        found.setdefault(run["setting"], []).append(best)
    lines = []
    for setting, runs in sorted(found.items(), key=lambda each: -each[1][0]["dev_F1"]):
        numbers = (" / ".join(f"{run[key]:.1f}" for run in runs) for key, _ in SEARCHED.values())
        lines.append([SEARCH_NAMES.get(setting, setting), str(len(runs)), *numbers])
    rows = [row for row in tables.measured_rows("CDR") if row.method == LINEAR]
    for run in most_seeds(r for r in records if any(row.matches(r) for row in rows)):
        numbers = (f"{run.metrics[key]:.1f}" for _, key in SEARCHED.values())
        lines.append([f"floor: {words.name(LINEAR)}", "1", *numbers])
    return markdown_table(["base alone", "n", *SEARCHED], lines, right=["n", *SEARCHED])


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


def iterations(records: Iterable[Record], what: str = ALONE) -> dict[str, dict[int, list[float]]]:
    """Test F1 of each run after 0, 1, ... iterations, a line per N_I: of one of `GRIDS`."""
    data, wanted = GRIDS[what]
    records = [r for r in records if r.method == tables.OURS and not r.failed]
    records = [r for r in records if r.dataset["set"] == data and "F1_K4" in r.metrics]
    records = [r for r in records if wanted.items() <= r.parameters.items()]
    lines = {}
    for layers in sorted({r.parameters["inference_layers"] for r in records}):
        runs = most_seeds(r for r in records if r.parameters["inference_layers"] == layers)
        lines[f"N_I = {layers}"] = {k: [r.metrics[f"F1_K{k}"] for r in runs] for k in range(5)}
    return lines


def grid(records: Iterable[Record]) -> str:
    """Table 2, N_I down and K across, with ours of each of `GRIDS` that has records."""
    records, ours = list(records), {}
    for what in GRIDS:
        lines = iterations(records, what)
        for k in range(1, 5) if lines else ():
            found = {name.replace(" = ", " "): fmean(line[k]) for name, line in lines.items()}
            ours[f"{what}, K {k}"] = found
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
