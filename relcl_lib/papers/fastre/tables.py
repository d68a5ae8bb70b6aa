"""FastRE's tables: what a sweep runs for each, and which records stand beside a printed number."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from relcl_lib.lab.rows import MEASURED, Cell, Entry, Row, entries, table
from relcl_lib.papers.fastre.methods import METHODS

DATASETS: dict[str, tuple[int, ...]] = dict.fromkeys(
    ("nyt10", "nyt11", "nyt24", "webnlg", "synthetic"), ()
)
COUNTS = ("F1",)
#: the rows of Table 5
ABLATIONS = tuple(name for name in METHODS if name.startswith("-"))
STRUCTURES = (
    [1, 2, 4],
    [1, 2, 4, 1, 1, 1],
    [1, 1, 1, 1, 1, 1],
    [1, 2, 4, 8, 16, 32],
    [1, 2, 4, 1, 2, 4, 1, 1, 1],
)
#: fewer epochs than its authors', where the rate is higher
_CASREL = {"encoder": "bert-base-cased", "epochs": 30}
#: the data sets with a map from types to relations; where any type may head any, nothing is left out
_MAPPED = ("nyt10", "nyt11", "nyt24", "synthetic")
TABLES = {
    "table2": table(
        "Tables 2 and 3: FastRE, CasRel, and CasRel's tagger on FastRE's encoder (Section 3.7)",
        "FastRE",
        "CasRel tagger + FastRE encoder",
        Cell("CasRel", {"encoder": "bert-base-cased"}),
    ),
    "table4": table(
        "Table 4: the number of blocks and their dilations",
        *(
            # one network, two tables
            Cell("-Dilated Convolution" if max(d) == 1 else "FastRE", {"dilations": d})
            for d in STRUCTURES
        ),
    ),
    "table5": table(
        "Table 5: FastRE without one component at a time",
        "FastRE",
        *(Cell(m, only=_MAPPED if m == "-Mapping Mechanism" else ()) for m in ABLATIONS),
    ),
    "variants": table(
        "not in the paper: FastRE as released with its faults mended, with them, and as printed",
        *(Cell("FastRE", change) for change in ({}, {"exact_release": True}, {"variant": "paper"})),
        ours=True,
    ),
    "casrel": table(
        "not in the paper: CasRel's learning rate, and by patience its epochs, on validation",
        *(Cell("CasRel", {**_CASREL, "learning_rate": rate}) for rate in (1e-5, 3e-5, 1e-4, 3e-4)),
        ours=True,
    ),
}
#: settings of which the paper has several, or that are judged by what they name
KEPT: tuple[str, ...] = ("variant", "exact_release", "encoder", "word_vectors", "unknown_relations")
#: setting -> values that any cell of the paper's may have; () for whatever value
FREE: dict[str, tuple[Any, ...]] = {
    # of random vectors, or of words that no text of the data has
    "vector_size": (),
    "type_map": ("auto", "paper"),  # one map on the paper's data sets
    "min_count": (),
    "all_words": (),
    # how CasRel's encoder computes
    "encoder_precision": (),
    # of these the data set's own protocol speaks
    "reduced_data": (),
    "train_limit": (),
    "allow_lost": (),
    # shapes no number but its own curve
    "threshold_curve": (),
}
#: GloVe's vectors, as the paper's are, though of 50 numbers
_GLOVE = ("where_parameters", {"vector_size": 50})
SUMMARY = (
    ("Table 2", "NYT10", "partial_match_rerun_mean_of_3", "FastRE", "F1", _GLOVE),
    (MEASURED, "WebNLG", "partial match", "FastRE", "F1", _GLOVE),
)

#: metric in the paper's tables -> in records; times are not compared, they belong to a machine
_METRICS = {"precision": "precision", "recall": "recall", "f1": "F1", "params_K": "params_K"}
#: what some tables vary and the others hold
USUAL: dict[str, Any] = {
    "dilations": [1, 2, 4, 1, 1, 1],
    "hidden": 128,
    "gate": "released",
    "residual": True,
    "threshold": "adaptive",
    "dropout": 0.1,
    "exact_release": False,
}
#: forms of FastRE beside the released one with its faults mended: name -> what sets them apart
_FORMS: dict[str, dict[str, Any]] = {
    "FastRE as printed": {"variant": "paper", "where_parameters": {"gate": "paper"}},
    "FastRE with the release's faults": {"where_parameters": {"exact_release": True}},
}
#: what is measured beyond the paper's tables
MEASURED_ON = ("NYT10", "NYT11", "NYT24", "WebNLG")
_MEASURED = ("FastRE", "CasRel tagger + FastRE encoder", "CasRel")
#: the entries of Table 2 that were run under the partial match
_RERUN = "partial_match_rerun_mean_of_3"
_STRUCTURE = re.compile(r"L=\d+,d=([\d-]+)")


def printed_rows(name: str | None = None, dataset: str | None = None) -> list[Row]:
    """The rows of the paper's tables, or of one and one data set, as the table file has them.

    The structures of Table 4 are found by the records' `dilations`. Numbers of methods that are not
    implemented stand without a record, so that the comparison shows them too.
    """
    found = []
    for entry in entries("fastre", name, dataset):
        if entry.metric not in _METRICS or not entry.table.startswith("Table"):
            continue
        methods, changed = (entry.method,), METHODS.get(entry.method, {})
        if structure := _STRUCTURE.match(entry.setting):
            changed = {"dilations": [int(rate) for rate in structure[1].split("-")]}
            methods = ("FastRE", "-Dilated Convolution")  # one network, two tables
        found.append(_row(entry, _METRICS[entry.metric], methods, changed))
    return found


def data_rows(dataset: str) -> list[Row]:
    """Rows for all that is measured on a data set: NYT10, NYT11, NYT24 or WebNLG.

    Precision, recall and F1 under the partial match, beside Table 2 where it has the data set, and
    under the exact match, which the paper does not report; F1 of the ablations where Table 5 lacks
    the data set.
    """
    printed = {(entry.method, entry.setting) for entry in entries("fastre", "Table 2", dataset)}
    found = []
    for method in _MEASURED:
        for match, suffix in (("partial", ""), ("exact", "_exact")):
            inside = match == "partial" and (method, _RERUN) in printed
            place = (
                ("Table 2", dataset, _RERUN) if inside else (MEASURED, dataset, f"{match} match")
            )
            for metric in ("precision", "recall", "f1"):
                entry = Entry(*place, method, metric)
                found.append(_row(entry, _METRICS[metric] + suffix, (method,), METHODS[method]))
    for method in () if entries("fastre", "Table 5", dataset) else ABLATIONS:
        if method == "-Mapping Mechanism" and dataset.lower() not in _MAPPED:
            continue
        entry = Entry(MEASURED, dataset, "partial match", method, "f1")
        found.append(_row(entry, "F1", (method,), METHODS[method]))
    for form, apart in _FORMS.items():
        for metric in ("precision", "recall", "f1"):
            entry = Entry(MEASURED, dataset, "partial match", form, metric)
            row = _row(entry, _METRICS[metric], ("FastRE",), {})
            found.append(replace(row, **apart))
    return found


def _row(entry: Entry, metric: str, methods: tuple[str, ...], changed: dict[str, Any]) -> Row:
    # Vectors are none of the network's numbers, unless they are trained. CasRel has none.
    if metric == "params_K" and methods != ("CasRel",):
        changed = {**changed, "train_vectors": False}
    return Row.of(
        entry,
        methods=methods,
        record_metric=metric,
        where_dataset={"set": entry.dataset},
        where_parameters=changed,
        usual=USUAL,
        variant="released",
    )


def rows() -> list[Row]:
    """The rows of all tables that hold results, and of what is measured beside them."""
    beside = [row for name in MEASURED_ON for row in data_rows(name)]
    return [*printed_rows(), *(row for row in beside if row.table == MEASURED)]
