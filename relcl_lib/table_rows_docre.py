"""Which records correspond to the numbers DocRE-II's paper prints (Tables 1 to 6 and 8, Figure 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relcl_lib.table_rows import Row

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
    from relcl_lib.table_rows import Row, parse_setting, read_paper_table

    rows = []
    for entry in read_paper_table("docre_ii", table).itertuples():
        if dataset not in (None, entry.dataset):
            continue
        setting = parse_setting(entry.setting)
        methods, suffix = _record_names(entry.method)
        metric = {**INFER, **WEIGHTS}.get(entry.metric, entry.metric)
        wanted: dict[str, Any] = {}
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


def all_docre_rows() -> list[Row]:
    """Return the rows of all tables that hold results."""
    return [row for table in TABLES for row in docre_rows(table)]
