"""Which records correspond to the numbers FastRE's paper prints (Tables 2 to 5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from relcl_lib.lab.format import MEASURED

if TYPE_CHECKING:
    from relcl_lib.lab.rows import Row

#: metric in the paper's tables -> in records; times are not compared, they belong to a machine
METRICS = {"precision": "precision", "recall": "recall", "f1": "F1", "params_K": "params_K"}
#: what Tables 4 and 5 vary and the main tables hold fixed, so that a sweep stays out of those
DEFAULTS: dict[str, Any] = {
    "dilations": [1, 2, 4, 1, 1, 1],
    "residual": True,
    "threshold": "adaptive",
}
#: what the ablations of Table 5 change, which their records must show
ABLATIONS: dict[str, dict[str, Any]] = {
    "-Dilated Convolution": {"dilations": [1, 1, 1, 1, 1, 1]},
    "-Gated Unit": {"gate": "none"},
    "-Residual Connection": {"residual": False},
    "-Mapping Mechanism": {"type_map": "any"},
    "-Adaptive Thresholding": {"threshold": "global"},
}
#: data sets and methods that are measured beyond the paper's tables
DATASETS = ("NYT10", "NYT11", "NYT24", "WebNLG")
METHODS_MEASURED = ("FastRE", "CasRel tagger + FastRE encoder", "CasRel")
#: the entries of Table 2 that were run under the partial match
_RERUN = "partial_match_rerun_mean_of_3"
_STRUCTURE = re.compile(r"L=(\d+),d=([\d-]+)")


def fastre_rows(
    table: str = "Table 2", dataset: str | None = None, *, variant: str | None = None
) -> list[Row]:
    """Return the rows of one of FastRE's tables; the records' ``dataset.set`` names the dataset.

    Table 3's parameters and the structures of Table 4 are found by the records' ``dilations``, the
    ablations of Table 5 by their methods. Numbers of methods that are not implemented stand without
    a record, so that the comparison shows them too.

    Args:
        table: as in the table file, e.g. ``Table 5``.
        dataset: NYT10, NYT11 or NYT24; None for all.
        variant: only records of this variant.
    """
    from relcl_lib.lab.rows import Row, read_paper_table

    rows = []
    for entry in read_paper_table("fastre", table).itertuples():
        if entry.metric not in METRICS or dataset not in (None, entry.dataset):
            continue
        wanted, methods = dict(ABLATIONS.get(entry.method, {})), (entry.method,)
        if structure := _STRUCTURE.match(entry.setting):
            wanted["dilations"] = [int(rate) for rate in structure[2].split("-")]
            methods = ("FastRE", "-Dilated Convolution")  # one network, two tables
        held = DEFAULTS if "FastRE" in methods else {}  # a baseline has no such settings
        rows.append(
            Row(
                *(table, entry.dataset, entry.setting, entry.method, entry.metric),
                methods=methods,
                record_metric=METRICS[entry.metric],
                where_dataset={"set": entry.dataset},
                where_parameters=wanted,
                defaults={k: v for k, v in held.items() if k not in wanted},
                variant=variant,
            )
        )
    return rows


def fastre_data_rows(dataset: str, methods: Sequence[str] = ("FastRE",)) -> list[Row]:
    """Return rows for all that is measured on a data set, in the paper's tables or not.

    Precision, recall and F1 under the partial match, beside Table 2 where it has the data set, and
    under the exact match, which the paper does not report.

    Args:
        dataset: NYT10, NYT11, NYT24 or WebNLG.
        methods: as in the records; `DEFAULTS` keeps structures and ablations out.
    """
    from relcl_lib.lab.rows import Row, read_paper_table

    printed = read_paper_table("fastre", "Table 2")
    printed = set(zip(printed["dataset"], printed["method"], printed["setting"], strict=True))
    rows = []
    for method in methods:
        for match in ("partial", "exact"):
            inside = match == "partial" and (dataset, method, _RERUN) in printed
            table, setting = ("Table 2", _RERUN) if inside else (MEASURED, f"{match} match")
            for metric in ("precision", "recall", "f1"):
                ours = METRICS[metric] + ("_exact" if match == "exact" else "")
                rows.append(
                    Row(
                        *(table, dataset, setting, method, metric),
                        record_metric=ours,
                        where_dataset={"set": dataset},
                        defaults=DEFAULTS if method == "FastRE" else {},
                    )
                )
    return rows


def all_fastre_rows() -> list[Row]:
    """Return the rows of all tables that hold results, and of what is measured beside them."""
    printed = [row for number in (2, 3, 4, 5) for row in fastre_rows(f"Table {number}")]
    beside = [row for name in DATASETS for row in fastre_data_rows(name, METHODS_MEASURED)]
    return [*printed, *(row for row in beside if row.table == MEASURED)]
