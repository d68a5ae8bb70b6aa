"""Which records correspond to the numbers DocRE-II's paper prints (Tables 1 to 6 and 8, Figure 5).

And to what is measured beyond them. Every row asks for the base that it means, so that runs on ATLOP
and runs on stated facts are never counted together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relcl_lib.lab.format import MEASURED
from relcl_lib.papers.docre_ii import cells as sweep
from relcl_lib.papers.docre_ii.parameters import METHODS

if TYPE_CHECKING:
    from relcl_lib.lab.rows import Row

TABLES = (*(f"Table {number}" for number in (1, 2, 3, 4, 5, 6, 8)), "Figure 5")
#: name in the paper's tables -> name in the records; "Ours" is followed by the encoder's name
OURS = "DocRE-II"
BASES = ("ATLOP", "w/o Inference module")
ABLATIONS = (
    "w/o fusion sub-layer",
    "w/o ECA",
    "w/o contrastive loss",
    "w/ negative pairs",
    "w/o pre-training",
    "w/ freeze base module",
)
#: Table 6 prints bare names for the scores over inferred facts; Figure 5 names its bars
INFER = {"Infer-F1": "Infer-F1", "Precision": "Infer-P", "Recall": "Infer-R"}
WEIGHTS = {
    "mean weight of feature matrix": "weight_features",
    "mean weight of relation matrix": "weight_relations",
}
#: what Table 2 varies and the other tables hold fixed, so that its runs stay out of them
DEFAULTS: dict[str, Any] = {"inference_layers": 2, "iterations": 3}
#: what is measured -> the sweep's table and data set, and the records' `dataset.set`
MEASURED_CELLS = {
    "CDR": ("table4", "cdr", "CDR"),
    "Re-DocRED": ("table4", "redocred", "Re-DocRED"),
    "synthetic": ("text", "synthetic", "synthetic"),
    "alone": ("alone", "synthetic", "synthetic"),
}
#: further metrics of documents whose labels tell stated facts from inferred ones
STATED = ("precision", "recall_stated", "recall_inferred")
#: settings that have a record field of their own
_ELSEWHERE = ("dataset", "method", "encoder")


def docre_rows(
    table: str = "Table 1", dataset: str | None = None, *, variant: str | None = None
) -> list[Row]:
    """Return the rows of one of DocRE-II's tables; the records' `dataset.set` names the dataset.

    The base's rows are found in every run that had a stage 1, by its metrics with `_base`: they are
    that run's own base. Table 2 is found by the records' `inference_layers` and their scores after
    each iteration. Which predictions count in Table 6 is not printed, so each of its rows comes
    twice, in both readings of `docre_metrics.inference_scores`. Numbers of methods that are not
    implemented stand without a record, so that the comparison shows them too.

    Args:
        table: as in the table file, e.g. `Table 4`.
        dataset: DocRED, CDR or GDA; None for all.
        variant: only records of this variant.
    """
    from relcl_lib.lab.rows import Row, parse_setting, read_paper_table

    rows = []
    for entry in read_paper_table("docre_ii", table).itertuples():
        if dataset not in (None, entry.dataset):
            continue
        setting = parse_setting(entry.setting)
        methods, suffix = _record_names(entry.method)
        metric = {**INFER, **WEIGHTS}.get(entry.metric, entry.metric)
        wanted: dict[str, Any] = {"base": "atlop"}
        if "K" in setting:
            metric, wanted["inference_layers"] = f"F1_K{setting['K']}", setting["N_I"]
        if "RoBERTa" in entry.method:
            wanted["encoder_type"] = "roberta"
        elif methods:
            wanted["encoder_type"] = "bert"
        if "dev" in setting:
            suffix += "_dev"
        held = {k: v for k, v in DEFAULTS.items() if k not in wanted}
        if "K" in setting:
            held.pop("iterations")
        for reading in ("", "_all") if table == "Table 6" else ("",):
            rows.append(
                Row(
                    *(table, entry.dataset, entry.setting, entry.method, entry.metric),
                    methods=methods or (entry.method,),
                    record_metric=f"{metric}{reading}{suffix}",
                    where_dataset={"set": entry.dataset},
                    where_parameters=wanted,
                    defaults=held if methods else {},
                    variant=variant,
                )
            )
    return rows


def _record_names(method: str) -> tuple[tuple[str, ...], str]:
    """Return the records' methods and the suffix of their metrics; no method where it is another's."""
    if method.startswith("Ours"):
        return (OURS,), ""
    if method.startswith(BASES):
        return (OURS, "ATLOP (base)"), "_base"
    return ((method,), "") if method in ABLATIONS else ((), "")


def docre_measured_rows(what: str) -> list[Row]:
    """Return rows for the sweep's cells on a data set: each shows a dash for the paper.

    For each method F1 on the test split and the average precision, which knows of no threshold, each
    beside the run's own base (none where the base has no stage of its own; `alone` has no average
    precision, as what its base states is certain); on generated documents also precision, and the
    recall of stated and of inferred facts, of the latter the base's, too (with stated facts as the
    base it is 0).

    Args:
        what: `CDR`, `Re-DocRED`; `synthetic`, the generated documents read by ATLOP; `alone`, the
            inference module on stated facts.
    """
    table, dataset, name = MEASURED_CELLS[what]
    cells = sweep.TABLES[table](dataset, ())
    return [row for cell in cells for row in _measured_rows(what, name, cell)]


def _measured_rows(what: str, name: str, cell: sweep.Cell) -> list[Row]:
    from relcl_lib.lab.rows import Row

    method, apart = cell["method"], {k: v for k, v in cell.items() if k not in _ELSEWHERE}
    held = {"generated": 0, **DEFAULTS}
    wanted = {"base": "atlop", **apart}
    metrics = ["F1"] if what == "alone" else ["F1", "AP"]
    if "stage1_epochs" not in METHODS[method]:
        metrics = [each for metric in metrics for each in (metric, f"{metric}_base")]
    if name == "synthetic":
        metrics += STATED
    if what == "synthetic":
        metrics += ["recall_inferred_base"]
    return [
        Row(
            f"{MEASURED}: inference alone" if what == "alone" else MEASURED,
            *(name, f"N_I={cell['inference_layers']}" if what == "alone" else "test"),
            *(method, metric),
            where_dataset={"set": name},
            where_parameters=wanted,
            defaults={k: v for k, v in held.items() if k not in wanted},
        )
        for metric in metrics
    ]


def all_docre_rows() -> list[Row]:
    """Return the rows of all tables that hold results, and of what is measured beside them."""
    printed = [row for table in TABLES for row in docre_rows(table)]
    return [*printed, *(row for what in MEASURED_CELLS for row in docre_measured_rows(what))]
