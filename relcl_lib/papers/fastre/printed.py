"""FastRE's printed tables in the paper's layout, with ours beside them; its ablations as differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from relcl_lib.lab.compare import compare, nearest
from relcl_lib.lab.format import DASH
from relcl_lib.lab.printed import Grid, PrintedTables, measured
from relcl_lib.lab.records import most_seeds
from relcl_lib.lab.rows import Row, entries
from relcl_lib.papers.fastre import tables

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
    "L=3,d=1-2-4": "3 blocks, 1-2-4",
    "L=6,d=1-2-4-1-1-1 (default)": "6 blocks, 1-2-4-1-1-1",
    "L=6,d=1-1-1-1-1-1 (printed with five ones)": "6 blocks, 1-1-1-1-1-1",
    "L=6,d=1-2-4-8-16-32": "6 blocks, 1-2-4-8-16-32",
    "L=9,d=1-2-4-1-2-4-1-1-1": "9 blocks, 1-2-4-1-2-4-1-1-1",
}
TABLES = PrintedTables("fastre", LAYOUTS, tables.rows, WORDS, ("precision", "recall", "F1"))
beside = TABLES.beside
#: what belongs to a machine, or is shown by `efficiency`: nothing of ours stands beside it
_QUOTED = ("params_K", "train_min", "infer_s")


def data_sets(records: Iterable[Record]) -> str:
    """Table 1, and the sizes of what our records were trained and tested on."""
    ours: dict[str, dict[str, float | str]] = {}
    for record in records:
        name = record.dataset["set"]
        if record.paper == "fastre" and name in DATASETS and not record.failed:
            sizes = {f"{split}_sentences": n for split, n in record.dataset["sizes"].items()}
            sizes["num_relations"] = record.dataset["relations"]
            ours[f"{name}, ours"] = {key: str(number) for key, number in sizes.items()}
    return TABLES.quoted("Table 1", dict(sorted(ours.items())))


def whole(table: str, dataset: str, records: Iterable[Record]) -> str:
    """Table 2 or 4 on one data set: the paper's scores and ours, then the paper's sizes and times."""
    rows = [row for row in tables.printed_rows(table, dataset) if row.metric not in _QUOTED]
    frame = nearest(compare("fastre", rows, records))
    down = LAYOUTS[table][0]
    found: Grid = {}
    for line in frame.to_dict("records"):
        texts, name = found.setdefault(TABLES.label(line, down), {}), WORDS[line["metric"]]
        texts[name, "paper"] = TABLES.printed(line)
        if frame["n"].gt(0).any():
            texts[name, "ours"] = measured(line)
    for entry in entries("fastre", table, dataset):
        if entry.metric in _QUOTED:
            label = TABLES.label(entry._asdict(), down)
            found[label][WORDS[entry.metric], "paper"] = f"{entry.value:g}"
    return TABLES.markdown(found, down)


def efficiency(parameters: Mapping[str, int]) -> str:
    """Table 3: parameters, and milliseconds per sentence at batch 1, 8 and 128 (the paper's GPU).

    `parameters` is our count of FastRE's network per data set.
    """
    found: Grid = {}
    for entry in entries("fastre", "Table 3"):
        texts = found.setdefault(entry.method, {})
        if entry.metric == "params_K":
            place = f"{entry.dataset}: parameters (K)"
            texts[place, "paper"] = f"{entry.value:,.0f}"
            own = f"{parameters[entry.dataset] / 1000:,.2f}"
            texts[place, "ours"] = own if entry.method == "FastRE" else DASH
        else:
            place = (f"{entry.dataset}: ms at batch 1 / 8 / 128", "paper")
            texts[place] = " / ".join(filter(None, (texts.get(place), f"{entry.value:g}")))
    return TABLES.markdown(found, "method")


def component_differences(
    records: Iterable[Record], dataset: str = "NYT10"
) -> dict[str, list[float]]:
    """Table 5 as ablation -> by how much FastRE's F1 is higher, per seed that both have.

    Of the configurations that most seeds were run with, all on the same word vectors: those with
    most such pairs.
    """
    rows = [row for row in tables.printed_rows("Table 5", dataset) if row.metric == "f1"]
    by_vectors: dict[str, list[Record]] = {}
    for record in records:
        if not record.failed:
            vectors = record.inputs.get("word_vectors", "")
            by_vectors.setdefault(f"{record.parameters.get('vector_size')} {vectors}", []).append(
                record
            )
    found = [_differences(rows, alike) for _, alike in sorted(by_vectors.items())]
    return max(found, key=lambda pairs: sum(map(len, pairs.values())), default={})


def _differences(rows: Iterable[Row], records: Sequence[Record]) -> dict[str, list[float]]:
    by_seed = {}
    for row in rows:
        runs = most_seeds(filter(row.matches, records))
        by_seed[row.method] = {run.seed: run.metrics["F1"] for run in runs}
    whole = by_seed.pop("FastRE", {})
    found = {
        name: [whole[seed] - other[seed] for seed in sorted(whole.keys() & other.keys())]
        for name, other in by_seed.items()
    }
    return {name: differences for name, differences in found.items() if differences}
