"""CRECL's Table 1 as the paper has it, and what our records say beside it, as tables.

Leads, Figure 3, how far two tasks lie apart, and settings on validation sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from relcl_lib.lab.compare import compare, nearest
from relcl_lib.lab.format import DASH, number, signed
from relcl_lib.lab.metrics import mean_and_half
from relcl_lib.lab.printed import Grid, PrintedTables, measured
from relcl_lib.lab.records import Record, canonical_json, most_seeds, shape_of, trained_on
from relcl_lib.papers.crecl import tables
from relcl_lib.papers.crecl.parameters import METHODS, PAPER_STREAMS, STREAMS

TABLES = PrintedTables("crecl", {"Table 1": ("method", "setting")}, tables.rows)
#: the data sets that the paper prints numbers of
PRINTED_SETS = tuple(STREAMS[name][0] for name in PAPER_STREAMS)
#: setting -> its name in a table of tried settings
TRIED = {
    "epochs_memory": "epochs of CL2",
    "memory_passes": "M",
    "learning_rate": "rate of L1",
    "contrast_learning_rate": "rate of L2",
}
#: what of a task's accuracy -> the column of it
COLUMNS = {"historical": "all tasks", "current": "last task alone"}
#: how far two tasks lie apart in s -> the column of it, and what it is multiplied by there
SEPARATION = {"silhouette": ("silhouette × 100", 100), "mixed": ("mixed share (%)", 1)}


def beside(table: str, records: Sequence[Record], *datasets: str, **choice: str) -> str:
    """A printed table with ours beside each number, see `PrintedTables.beside`.

    Of each data set the runs are on one content: that on which CRECL and RP-CRE have most in common.
    """
    chosen: list[Record] = []
    for dataset in datasets or PRINTED_SETS:
        runs = tables.in_table_1(records, tuple(METHODS), dataset)
        chosen += tables.of_one_content(runs, ("CRECL", "RP-CRE"))
    return TABLES.beside(table, chosen, *datasets, **choice)


def parts(records: Sequence[Record], dataset: str = "FewRel") -> str:
    """Figure 3 as a table: each variant at the end of the stream, and what it is ahead of CRECL.

    All were measured on the same content of the data set. The differences are paired by seed: their
    mean and half of its 95 % interval.
    """
    methods = ("CRECL", *tables.ABLATIONS)
    records = tables.of_one_content(tables.in_table_1(records, methods, dataset), methods)
    last = f"T{STREAMS['fewrel'][1]}"
    found: Grid = {}
    for kind, column in COLUMNS.items():
        metric = f"{tables.ACCURACIES[kind]}{STREAMS['fewrel'][1]}"
        rows = tables.own_rows(methods, (metric,), dataset)
        for line in nearest(compare("crecl", rows, records)).to_dict("records"):
            texts = found.setdefault(line["method"], {})
            texts[column, ""] = measured(line)
            if line["method"] != "CRECL":
                ahead = tables.leads(records, dataset, "CRECL", line["method"], kind)
                points = [by_task[last] for by_task in ahead.values()]
                texts[column, "ahead of CRECL"] = difference(points)
    return TABLES.markdown(found, "variant")


def leads(
    records: Sequence[Record],
    dataset: str = "FewRel",
    pairs: Sequence[tuple[str, str]] = (("CRECL", "RP-CRE"),),
) -> str:
    """What methods are ahead of others after each task, in points, paired by seed.

    The first of the pairs has a line per seed, and each a line with the mean and half of its 95 %
    interval, of each content of the data set (all of it, or a part) that has both with a seed.
    """
    methods = tuple(dict.fromkeys(method for pair in pairs for method in pair))
    contents: dict[str, list[Record]] = {}
    for record in tables.in_table_1(records, methods, dataset):
        contents.setdefault(str(record.dataset.get("fingerprint")), []).append(record)
    found: Grid = {}
    for runs in sorted(contents.values(), key=lambda runs: max(map(trained_on, runs))):
        samples = f", {max(map(trained_on, runs)):,} training samples" * (len(contents) > 1)
        for place, (method, over) in enumerate(pairs):
            ahead = tables.leads(runs, dataset, over, method)
            lines = {}
            if place == 0:
                lines = {
                    f"seed {s}": {name: [v] for name, v in of.items()} for s, of in ahead.items()
                }
            if len(ahead) > 1 or (ahead and not lines):
                names = dict.fromkeys(name for of in ahead.values() for name in of)
                mean = {name: [of[name] for of in ahead.values()] for name in names}
                lines[f"mean ± half of 95 %, n={len(ahead)}"] = mean
            for line, values in lines.items():
                texts = {(name, ""): difference(of_seeds) for name, of_seeds in values.items()}
                found[f"{method} less {over}{samples}, {line}"] = texts
    return TABLES.markdown(found, "points")


def difference(values: Sequence[float]) -> str:
    """Paired differences as text: the mean and half of its 95 % interval."""
    return signed(*mean_and_half(values)) if values else DASH


def separation(
    records: Iterable[Record], datasets: Sequence[str], phases: Mapping[str, str]
) -> str:
    """How far tasks 1 and 2 lie apart in CRECL's runs that noted it, means; "" without such a run.

    Runs without a silhouette (one sentence per relation) are left out.

    Args:
        records: any.
        datasets: FewRel, TACRED or `tables.SMALL`; of each the runs are on one content.
        phases: of task 2 -> what its line is called.
    """
    records, found = list(records), Grid()
    for dataset in datasets:
        (row,) = tables.own_rows(("CRECL",), ("T4",), dataset)
        noted = [r for r in records if row.matches(r) and "silhouette_s_CL2" in r.metrics]
        runs = most_seeds(tables.of_one_content(noted))
        for phase, title in phases.items() if runs else ():
            found[f"{dataset}, n={len(runs)}: {title}"] = {
                (shown, ""): number(scale * np.mean([r.metrics[f"{key}_s_{phase}"] for r in runs]))
                for key, (shown, scale) in SEPARATION.items()
            }
    return TABLES.markdown(found, "") if found else ""


def tried(records: Iterable[Record]) -> str:
    """Runs on validation sentences that chose the settings of the `reduced` profile, best first.

    They are of the 16 relations; those of another data set, or of `grid`, chose nothing.
    """
    runs = [r for r in _validated(records, tables.SMALL) if r.seed != tables.GRID_SEED]
    runs = [r for r in runs if r.method != "CRECL(C)" and "T4" in r.metrics]
    # Another reading of a run of CRECL, too.
    runs = [r for r in runs if r.parameters.get("attention_memory") != "untrained"]
    found: Grid = {}
    for place, run in enumerate(sorted(runs, key=lambda run: -run.metrics["T4"]), start=1):
        texts = found.setdefault(str(place), {})
        texts["method", ""] = run.method
        for name, shown in TRIED.items():
            read = name == "learning_rate" or run.method.startswith("CRECL")
            texts[shown, ""] = f"{run.parameters[name]:g}" if read else DASH
        for k in (2, 3, 4):
            texts[f"T{k}", ""] = number(run.metrics[f"T{k}"])
        texts["task 4 alone", ""] = number(run.metrics["current_T4"])
    return TABLES.markdown(found, "run")


def grid(records: Iterable[Record], dataset: str = "FewRel") -> str:
    """CRECL after the last task with one lambda1 per row and one m per column; "" without records.

    The accuracy (%) is on validation sentences of `tables.GRID_SEED`. All runs have one configuration
    but for lambda1 and m: that which most of the grid was run with. With lambda1 = 1 (no margin loss)
    one number stands at every m.
    """
    alike: dict[str, list[Record]] = {}
    for run in _validated(records, dataset):
        if (run.method, run.seed) == ("CRECL", tables.GRID_SEED):
            key = canonical_json(shape_of(run, "lambda1", "margin"))
            alike.setdefault(key, []).append(run)
    found: Grid = {}
    runs = max(alike.values(), key=lambda each: (len(each), trained_on(each[0])), default=[])
    for run in sorted(runs, key=lambda run: run.parameters["lambda1"]):
        share, margin = run.parameters["lambda1"], run.parameters["margin"]
        empty = {(f"m = {m:g}", ""): DASH for m in tables.MARGINS}
        texts = found.setdefault(f"λ₁ = {share:g}", empty)
        value = number(run.metrics[f"T{run.parameters['n_tasks']}"])
        texts |= {(f"m = {m:g}", ""): value for m in (tables.MARGINS if share == 1 else [margin])}
    return TABLES.markdown(found, "") if found else ""


def _validated(records: Iterable[Record], dataset: str) -> list[Record]:
    """Runs on validation sentences of a data set."""
    return [
        record
        for record in records
        if record.parameters.get("validation")
        and record.dataset.get("set") == dataset
        and not record.failed
    ]
