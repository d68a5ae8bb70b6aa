"""FastRE's printed tables in the paper's layout, with ours beside them; its ablations as differences."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from relcl_lib.lab import words
from relcl_lib.lab.compare import compare, nearest
from relcl_lib.lab.files import repository_root
from relcl_lib.lab.format import DASH, markdown_table, number, signed
from relcl_lib.lab.metrics import mean_and_half
from relcl_lib.lab.printed import Grid, PrintedTables, measured
from relcl_lib.lab.records import gains, most_seeds
from relcl_lib.lab.rows import Row, entries
from relcl_lib.papers.fastre import tables
from relcl_lib.papers.fastre.vectors import Vectors, caption, in_words, on_usual_vectors

if TYPE_CHECKING:
    from relcl_lib.lab.records import Record

DATASETS = ("NYT10", "NYT11", "NYT24")
#: table -> what goes down and what goes across
LAYOUTS = {
    "Table 1": ("metric", "dataset"),
    "Table 2": ("method", "metric"),
    "Table 3": ("method", "dataset"),
    "Table 4": ("setting", "metric"),
    "Table 5": ("method", "dataset"),
    "Section 3.7": ("setting", "dataset"),
}
#: keys of the paper's numbers in words
WORDS = {
    "num_relations": "relations",
    "train_sentences": "training sentences",
    "valid_sentences": "validation sentences",
    "test_sentences": "test sentences",
    "train_min": "training (min)",
    "infer_s": "inference (s)",
    "params_K": "parameters (K)",
    "precision": "precision (%)",
    "recall": "recall (%)",
    "f1": "F1 (%)",
    "F1": "F1 (%)",
    "test_triples_seen_in_train": "test triples that occur in training (%)",
    "quoted": "RERE: F1 (%)",
    "drop_vs_CasRel_BERT": "CasRel's tagger on FastRE's encoder: drop against BERT",
    "L=3,d=1-2-4": "3 blocks, 1-2-4",
    "L=6,d=1-2-4-1-1-1 (default)": "6 blocks, 1-2-4-1-1-1",
    "L=6,d=1-1-1-1-1-1 (printed with five ones)": "6 blocks, 1-1-1-1-1-1",
    "L=6,d=1-2-4-8-16-32": "6 blocks, 1-2-4-8-16-32",
    "L=9,d=1-2-4-1-2-4-1-1-1": "9 blocks, 1-2-4-1-2-4-1-1-1",
}
TABLES = PrintedTables("fastre", LAYOUTS, tables.rows, WORDS)
#: sizes and times in the paper -> the metric of a record that ours is reckoned from
_SIZES = {"params_K": "network_K", "train_min": "train_seconds", "infer_s": "infer_ms_batch128"}
BATCHES = (1, 8, 128)
#: learned thresholds, and one for all
_THRESHOLDS = ("FastRE", "-Adaptive Thresholding")
#: what the network looks at -> two metrics, of which it is the first less the second
_LOOKS = {
    "attention, head tagger:\nboundaries less others": (
        "attention_heads_boundary",
        "attention_heads_other",
    ),
    "attention, tail tagger:\nboundaries less others": (
        "attention_tails_boundary",
        "attention_tails_other",
    ),
    "gradient: function words\nless other words": (
        "gradient_function_words",
        "gradient_other_words",
    ),
}
#: the numbers of a data set by sentence: what a row is called -> the metric of a record
BY_SENTENCE = {
    "F1, all sentences": "F1",
    "F1, normal": "F1_normal",
    "F1, EPO": "F1_EPO",
    "F1, SEO": "F1_SEO",
    **{f"F1, {n} triple{'s' * (n != '1')}": f"F1_n{n}" for n in ("1", "2", "3", "4", "5+")},
    "recall of triples in training": "recall_seen",
    "recall of all others": "recall_unseen",
    "distance of the scores from the truth (exact match)": "calibration_error",
}


def data_sets(records: Iterable[Record]) -> str:
    """Table 1, and the sizes of what our records were trained and tested on."""
    ours: dict[str, dict[str, float | str]] = {}
    for record in records:
        name = record.dataset["set"]
        if record.paper == "fastre" and name in DATASETS and not record.failed:
            sizes = {f"{split}_sentences": n for split, n in record.dataset["sizes"].items()}
            sizes["num_relations"] = record.dataset["relations"]
            ours[f"{name}, ours"] = {key: str(count) for key, count in sizes.items()}
    return TABLES.quoted("Table 1", dict(sorted(ours.items())))


def beside(table: str, records: Iterable[Record]) -> str:
    """A printed table with ours beside each number, a dash where nothing was run."""
    rows = [row for row in tables.rows() if row.table == table]
    records, vectors = on_usual_vectors(records, rows)
    return _join(TABLES.beside(table, records), caption(vectors))


def _join(*texts: str) -> str:
    return "\n\n".join(filter(None, texts))


def whole(table: str, dataset: str, records: Iterable[Record]) -> str:
    """Table 2 or 4 on one data set: scores, sizes and times, the paper's and ours.

    Our times are those of the cores of a run on a CPU, in training and for the test sentences at
    batch 128.
    """
    every = tables.printed_rows(table, dataset)
    records, vectors = on_usual_vectors(records, every)
    frame = nearest(compare("fastre", [row for row in every if row.metric not in _SIZES], records))
    down = LAYOUTS[table][0]
    found: Grid = {}
    for line in frame.to_dict("records"):
        texts, name = found.setdefault(TABLES.label(line, down), {}), WORDS[line["metric"]]
        texts[name, "paper"] = TABLES.printed(line)
        if frame["n"].gt(0).any():
            texts[name, "ours"] = measured(line)
    scored = {TABLES.label(vars(row), down): row for row in every if row.metric == "f1"}
    for entry in entries("fastre", table, dataset):
        if entry.metric in _SIZES:
            texts = found[label := TABLES.label(entry._asdict(), down)]
            texts[WORDS[entry.metric], "paper"] = f"{entry.value:g}"
            runs = _runs(scored[label], records, entry.metric)
            if ours := [_size(run, entry.metric) for run in runs]:
                texts[WORDS[entry.metric], "ours"] = f"{fmean(ours):.4g} (n={len(ours)})"
    return _join(TABLES.markdown(found, down), caption(vectors))


def _runs(row: Row, records: Iterable[Record], name: str) -> list[Record]:
    """The runs of a row on a CPU that have a metric, of the configuration with most seeds."""
    row = replace(row, record_metric=_SIZES.get(name, name))
    return most_seeds(
        r for r in records if not r.failed and row.matches(r) and r.device.startswith("cpu")
    )


def _size(record: Record, name: str) -> float:
    """A size or time of a record in the paper's unit."""
    value = record.metrics[_SIZES[name]]
    sentences = record.dataset["sizes"].get("test", 0)
    return value * {"train_min": 1 / 60, "infer_s": sentences / 1000}.get(name, 1)


def efficiency(parameters: Mapping[str, int], records: Iterable[Record] = ()) -> str:
    """Table 3: parameters, and milliseconds per sentence at batch 1, 8 and 128 (the paper's GPU).

    `parameters` is our count of FastRE's network per data set. Times of ours, on the machine of a
    run, stand beside the paper's where a record has them.
    """
    records, _ = on_usual_vectors(records, tables.printed_rows("Table 2"))
    found: Grid = {}
    for entry in entries("fastre", "Table 3"):
        texts = found.setdefault(entry.method, {})
        if entry.metric == "params_K":
            place = f"{entry.dataset}: parameters (K)"
            texts[place, "paper"] = f"{entry.value:,.0f}"
            if entry.method == "FastRE":
                own = [parameters[entry.dataset] / 1000]
            else:
                runs = _of_table_2(entry.method, entry.dataset, records, "params_K")
                own = [run.metrics["params_K"] for run in runs[:1]]
            texts[place, "ours"] = f"{own[0]:,.2f}" if own else DASH
            continue
        place = f"{entry.dataset}: ms at batch 1 / 8 / 128"
        given = texts.get((place, "paper"))
        texts[place, "paper"] = " / ".join(filter(None, (given, f"{entry.value:g}")))
        if ours := _milliseconds(entry.method, entry.dataset, records):
            texts[place, "ours"] = ours
    return TABLES.markdown(found, "method")


def _milliseconds(method: str, dataset: str, records: Iterable[Record]) -> str:
    """Our times per sentence at `BATCHES` on a data set; "" where no run has any."""
    runs = _of_table_2(method, dataset, records, f"infer_ms_batch{BATCHES[-1]}")
    if not runs:
        return ""
    names = [f"infer_ms_batch{batch}" for batch in BATCHES]
    found = [[run.metrics[name] for run in runs if name in run.metrics] for name in names]
    return " / ".join(f"{fmean(values):.2g}" if values else DASH for values in found)


def _of_table_2(method: str, dataset: str, records: Iterable[Record], metric: str) -> list[Record]:
    """The runs of a method of Table 2 that have a metric."""
    rows = [
        row
        for row in (*tables.printed_rows("Table 2", dataset), *tables.data_rows(dataset))
        if row.method == method and row.our_metric == "F1"
    ]
    return _runs(rows[0], records, metric) if rows else []


def on_gpu() -> str:
    """Milliseconds per sentence on a GPU by batch, from texts to strings: ours and the paper's.

    Ours are of random weights on generated texts, from `data/tries/gpu-h200.json`; the paper's are
    those of its Table 3 on NYT10.
    """
    report = json.loads((repository_root() / "data/tries/gpu-h200.json").read_text())
    ours = {(row["method"], row["batch"]): row["ms_with_host"] for row in report["fastre"]["rows"]}
    name = report["device"].partition(",")[0]
    printed = {}
    for entry in entries("fastre", "Table 3", "NYT10"):
        if entry.metric != "params_K":
            printed.setdefault(entry.method, []).append(entry.value)
    methods = dict.fromkeys(method for method, _ in ours)
    header = ["method"]
    for batch in BATCHES:
        header += [f"batch {batch}: paper", f"batch {batch}: {name}"]
    lines = []
    for method in methods:
        theirs = dict(zip(BATCHES, printed[method], strict=False))
        cells = ((theirs.get(batch), ours[method, batch]) for batch in BATCHES)
        lines.append(
            [method, *(f"{n:.3g}" if n is not None else DASH for pair in cells for n in pair)]
        )
    return markdown_table(header, lines, right=header[1:])


def by_sentence(records: Iterable[Record]) -> str:
    """FastRE's scores by overlap class, number of triples and whether training has the triple.

    Per data set the configuration with most seeds; ± half a 95 % interval from three seeds on.
    """
    rows = _own_rows()
    records, vectors = on_usual_vectors(records, rows)
    columns = {}
    for row in rows:
        if runs := _runs(row, records, "F1"):
            columns[f"{row.dataset} (n={len(runs)})"] = runs
    lines = []
    for label, name in BY_SENTENCE.items():
        values = [
            [run.metrics[name] for run in runs if name in run.metrics] for runs in columns.values()
        ]
        if any(values):
            lines.append([label, *map(_with_interval, values)])
    header = ["per cent, partial match", *columns]
    return _join(markdown_table(header, lines, right=header[1:]), caption(vectors))


def _own_rows() -> list[Row]:
    """FastRE's F1 on each data set that we measure."""
    rows = [row for dataset in tables.MEASURED_ON for row in tables.data_rows(dataset)]
    return [row for row in rows if (row.method, row.our_metric) == ("FastRE", "F1")]


def word_vectors(records: Iterable[Record]) -> str:
    """FastRE's F1 by data set and word vectors, less that with random, trained ones, and with frozen GloVe.

    Differences are paired by seed; ± half a 95 % interval from three seeds on.
    """
    records, lines = list(records), []
    for row in _own_rows():
        kinds: dict[Vectors, list[Record]] = {}
        for record in (r for r in records if not r.failed and row.matches(r)):
            if (vectors := Vectors.of(record)) is not None:
                kinds.setdefault(vectors, []).append(record)
        glove, drawn = (
            most_seeds(run for each, runs in kinds.items() if each.rank[0] == rank for run in runs)
            for rank in (0, 1)
        )
        for vectors in sorted(kinds, key=lambda each: each.rank):
            runs = most_seeds(kinds[vectors])
            changes = [
                signed(*mean_and_half(less))
                if vectors.rank[0] != rank and (less := gains(runs, other, "F1"))
                else DASH
                for rank, other in ((1, drawn), (0, glove))
            ]
            f1 = [run.metrics["F1"] for run in runs]
            size = str(runs[0].parameters["vector_size"])
            about = [row.dataset, in_words(vectors), size]
            lines.append([*about, _with_interval(f1), str(len(f1)), *changes])
    header = ["data set", "word vectors", "numbers per word", "F1 (%)", "n"]
    header += ["less random ones", "less GloVe's"]
    return markdown_table(header, lines, right=header[2:])


def _with_interval(values: Sequence[float]) -> str:
    return number(*mean_and_half(values)) if values else DASH


def type_filter(records: Iterable[Record]) -> str:
    """In how many runs dropping what the head's type may not have changes F1, and by how much.

    Runs that have one type for all heads stand apart: there the filter can drop nothing.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if record.paper == "fastre" and "F1_unfiltered" in record.metrics:
            kinds = "several types" if len(record.dataset["types"]) > 1 else "one type"
            changes = found.setdefault((record.dataset["set"], kinds), [])
            changes.append(record.metrics["F1"] - record.metrics["F1_unfiltered"])
    header = ["data set", "runs with", "runs", "the same F1", "least change", "greatest change"]
    lines = [
        [
            name,
            kinds,
            str(len(changes)),
            str(sum(math.isclose(c, 0, abs_tol=1e-9) for c in changes)),
        ]
        + [f"{bound:+.2f}" for bound in (min(changes), max(changes))]
        for (name, kinds), changes in sorted(found.items())
    ]
    return markdown_table(header, lines, right=header[2:])


def component_differences(
    records: Iterable[Record], dataset: str = "NYT10"
) -> tuple[dict[str, list[float]], str]:
    """Table 5 as pair -> FastRE's F1 less that without the component, per seed that both have.

    Of each method the configuration that most seeds were run with; also on a data set that the paper's
    table lacks. Beside them the word vectors of all runs, in words.
    """
    runs, vectors = _recorded(("FastRE", *tables.ABLATIONS), records, dataset)
    mine, found = runs.pop("FastRE"), {}
    for name, other in runs.items():
        if gained := gains(mine, other, "F1"):
            found[f"FastRE − {words.name(name)}"] = gained
    return found, vectors


def _recorded(
    methods: Iterable[str], records: Iterable[Record], dataset: str
) -> tuple[dict[str, list[Record]], str]:
    """The runs of each row of Table 5, of the configuration with most seeds, and their word vectors.

    All are of the data that FastRE's own runs have.
    """
    rows = tables.printed_rows("Table 5", dataset) or tables.data_rows(dataset)
    rows = [row for row in rows if row.our_metric == "F1" and row.method in methods]
    records, vectors = on_usual_vectors(records, rows)
    records = [record for record in records if not record.failed]
    (own,) = (row for row in rows if row.method == "FastRE")
    data = {run.dataset.get("fingerprint") for run in most_seeds(filter(own.matches, records))}
    records = [record for record in records if record.dataset.get("fingerprint") in data]
    runs = {row.method: most_seeds(filter(row.matches, records)) for row in rows}
    return runs, vectors.get(dataset, "")


def convergence(
    records: Iterable[Record], dataset: str = "NYT10"
) -> tuple[dict[str, dict[int, list[float]]], str]:
    """Method -> epoch -> validation F1 at the epoch's best threshold, of the seeds that both have.

    With learned thresholds and with one for all, of runs with `threshold_curve`; ({}, "") where one
    side has none. Beside it the word vectors of all runs, in words.
    """
    curved = [record for record in records if "valid_F1_tuned" in (record.curves or {})]
    runs, vectors = _recorded(_THRESHOLDS, curved, dataset)
    common = set.intersection(*({run.seed for run in found} for found in runs.values()))
    if not common:
        return {}, ""
    found = {}
    for name in _THRESHOLDS:
        curves = [run.curves["valid_F1_tuned"] for run in runs[name] if run.seed in common]
        epochs = zip(*curves, strict=False)  # patience may end one earlier
        found[name] = {epoch: list(values) for epoch, values in enumerate(epochs, start=1)}
    return found, vectors


def time_to_equal(records: Iterable[Record], dataset: str = "NYT10") -> str:
    """Minutes of training until FastRE has its best validation F1, and CasRel one as high; per seed.

    With the ratio of the two, below it the geometric mean with its 95 % interval, if CasRel gets
    there in each seed. "" where no seed has both. Every epoch of a run counts as equally long.
    """
    rows = {row.method: row for row in tables.printed_rows("Table 2", dataset)}
    curved = [record for record in records if "valid_F1" in (record.curves or {})]
    curved, _ = on_usual_vectors(curved, rows.values())
    mine, theirs = (
        {run.seed: run for run in _runs(rows[name], curved, "train_seconds")}
        for name in ("FastRE", "CasRel")
    )
    lines, logarithms = [], []
    for seed in sorted(mine.keys() & theirs.keys()):
        best = max(mine[seed].curves["valid_F1"])
        ours, other = _minutes_to(mine[seed], best), _minutes_to(theirs[seed], best)
        ratio = other and other / ours
        logarithms += [math.log(ratio)] if ratio else []
        times = [f"{value:.1f}" if value else "not reached" for value in (ours, other, ratio)]
        lines.append([str(seed), f"{best:.1f}", *times])
    if len(lines) > 2 and len(logarithms) == len(lines):
        mean, half = mean_and_half(logarithms)
        low, middle, high = (f"{math.exp(mean + by):.1f}" for by in (-half, 0, half))
        lines.append(["all", "", "", "", f"{middle} [{low}, {high}]"])
    header = ["seed", "FastRE's best validation F1 (%)", "FastRE (min)", "CasRel (min)", "ratio"]
    return markdown_table(header, lines, right=header[1:]) if lines else ""


def _minutes_to(run: Record, f1: float) -> float | None:
    """Minutes of training until the validation F1 of a run is as high; None if it stays below."""
    curve = run.curves["valid_F1"]
    epochs = next((number for number, found in enumerate(curve, 1) if found >= f1), None)
    return epochs and epochs * run.metrics["train_seconds"] / len(curve) / 60


def threshold_differences(
    records: Iterable[Record], dataset: str = "NYT10"
) -> tuple[dict[str, list[float]], str]:
    """F1 of FastRE less that with one threshold for all, on the test set, per seed that both have.

    Both tuned on validation, and as the paper has it. ({}, "") where one side has no such record.
    """
    tuned = [record for record in records if "F1_tuned" in record.metrics]
    runs, vectors = _recorded(_THRESHOLDS, tuned, dataset)
    metrics = {"test, both tuned": "F1_tuned", "test, only p tuned (the paper)": "F1"}
    mine, other = (runs[name] for name in _THRESHOLDS)
    found = {name: gains(mine, other, metric) for name, metric in metrics.items()}
    return (found, vectors) if all(found.values()) else ({}, "")


def looked_at(scores: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    """Attention and gradients of runs as differences, one per run that has both numbers.

    `scores` are metrics of runs, from `measures.where_it_looks`; without any there is no entry.
    """
    scores = list(scores)
    found = {
        label: [run[a] - run[b] for run in scores if a in run and b in run]
        for label, (a, b) in _LOOKS.items()
    }
    return {label: differences for label, differences in found.items() if differences}


def recorded_looks(
    records: Iterable[Record], dataset: str = "NYT10"
) -> tuple[dict[str, list[float]], str]:
    """`looked_at` of FastRE's runs on a data set, and their word vectors in words."""
    seen = [record for record in records if "attention_heads_boundary" in record.metrics]
    runs, vectors = _recorded(("FastRE",), seen, dataset)
    return looked_at(run.metrics for run in runs["FastRE"]), vectors
