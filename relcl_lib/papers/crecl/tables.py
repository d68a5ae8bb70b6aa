"""CRECL's tables: what a sweep runs for each, and which records stand beside a printed number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from relcl_lib.lab.records import Record, most_seeds, trained_on
from relcl_lib.lab.rows import (
    MEASURED,
    Cell,
    Entry,
    Row,
    entries,
    parse_setting,
    table,
)
from relcl_lib.papers.crecl.parameters import STREAMS

#: data set -> memory sizes L: Table 2's for FewRel, ours for TACRED (Figure 4 does not say)
DATASETS = {
    "fewrel": (5, 10, 15, 20),
    "tacred": (4, 6, 8, 10, 12),
    "fewrel_val": (5, 10, 15, 20),
    "synthetic": (5, 10),
}
COUNTS = ("T1", "T4", "T10")
#: accuracy on all tasks so far, and on the last one alone -> its metrics, without the number of the task
ACCURACIES = {"historical": "T", "current": "current_T"}
#: the curves of Figure 3 that a sweep runs; CRECL's run leaves CRECL(C)'s record as well
_TRAINED = ("CRECL-MAG", "CRECL-CL1", "CRECL-CL2", "CRECL-CL", "CRECL-K")
ABLATIONS = (*_TRAINED, "CRECL(C)")
#: ours: the floor, a reference that keeps all sentences, RP-CRE with as many gradient passes as CRECL
OURS = ("CRECL-CL", "JOINT", "RP-CRE (25 epochs)")
_COMPARED = ("CRECL", "CRECL+ATM", "RP-CRE", "RP-CRE+MA", "EMAR+BERT", *OURS)
#: what the paper prints or its release does otherwise, one at a time, and ours (the last); the
#: release's loss without a margin is CRECL-MAG in figure3, its memory on TACRED a size of figure4
_CHANGES: tuple[dict[str, Any], ...] = (
    {"order": "double"},
    {"head": "per_task"},
    {"head_bias": True},
    {"projector_norm": False},
    {"memory_passes": 1},
    {"classification_passes": 10},
    {"classification_passes": 10, "consistency": True},
    {"epochs_warmup": 5},
    {"attend_pads": True},
    {"pooling": "pairs"},
    {"refresh_prototypes": True},
)
#: the same, where profiles or methods have values of their own: a table shows these runs in a line of
#: their own, as another configuration (the last is what records of before have)
_RATES: tuple[dict[str, Any], ...] = (
    {"epochs_current": 15, "epochs_memory": 10},
    {"learning_rate": 5e-5, "head_learning_rate": 5e-5, "contrast_learning_rate": 5e-5},
    {"batch_size": 64},
    {"norm_group": "head"},
)
#: lambda1 and m, which the paper does not print; without a margin (lambda1 = 1) m says nothing
_SHARES, MARGINS = (0.3, 0.5, 0.7, 0.9), (0.1, 0.2, 0.3, 0.5)
_GRID = ({"lambda1": 1.0}, *({"lambda1": x, "margin": m} for x in _SHARES for m in MARGINS))
#: a seed that no table has
GRID_SEED = 1921
_TRIED: dict[str, Any] = {"validation": True, "seeds": [GRID_SEED]}
_WHOLE: tuple[dict[str, Any], ...] = ({}, {"exact_paper": True}, {"variant": "released"})
TABLES = {
    "table1": table(
        "Table 1: CRECL and what it is compared with, the floor and a reference with full memory",
        *(Cell(method, ours=method in OURS) for method in _COMPARED),
    ),
    "table2": table("Table 2: the memory size", "CRECL", memory="memory_size"),
    "figure3": table("Figure 3: CRECL without one part at a time", "CRECL", *_TRAINED),
    "figure4": table(
        "Figure 4: the memory size of CRECL and of RP-CRE", "CRECL", "RP-CRE", memory="memory_size"
    ),
    "variants": table(
        "not in the paper: CRECL as written, as printed and as released, and single differences",
        *(Cell("CRECL", change) for change in (*_WHOLE, *_CHANGES, *_RATES)),
        Cell("CRECL+ATM", {"attention_memory": "untrained"}),
        Cell("RP-CRE", {"memory_dropout": True}),
        ours=True,
    ),
    "grid": table(
        "not in the paper: lambda1 and m on validation sentences of a seed that is not reported",
        *(Cell("CRECL", change | _TRIED) for change in _GRID),
        ours=True,
    ),
}
#: settings of which the paper has several, or that are judged by what they name
KEPT: tuple[str, ...] = ("variant", "exact_paper", "encoder")
#: setting -> values that any cell of the paper's may have; () for whatever value
FREE: dict[str, tuple[Any, ...]] = {"cuda_graph": ()}

#: what some tables and figures vary and the others hold
USUAL: dict[str, Any] = {
    "memory_size": 10,
    "temperature": 0.08,
    "margin": 0.3,
    "n_tasks": 10,
    "validation": False,
}
#: what the variants change, one at a time: a row of the method as written has none of it
AS_WRITTEN: dict[str, Any] = {
    **USUAL,
    "exact_paper": False,
    "order": "single",
    "sizes": None,
    "train_limit": None,
    "consistency": False,
    "attend_pads": False,
    "pooling": "opening",
    "refresh_prototypes": False,
    "classification_passes": 1,
    "memory_passes": 10,
    "epochs_warmup": 0,
    "head": "fixed",
    "head_bias": False,
    "projector_norm": True,
    "memory_dropout": False,
}
_WRITTEN = ("usual", AS_WRITTEN), ("variant", "paper")
SUMMARY = (
    ("Table 1", "FewRel", "T10", "CRECL", "T10", *_WRITTEN),
    ("Table 1", "FewRel", "T10", "RP-CRE", "T10", *_WRITTEN),
)
#: CRECL+ATM's attention memory, trained as in the paper, or not, as in its release: every run of CRECL
#: leaves a record of the latter as well
UNTRAINED = "CRECL+ATM (untrained)"
ATTENTION = {"CRECL+ATM": "trained", UNTRAINED: "untrained"}
#: 16 relations of FewRel in full, which the paper does not use -> what is run on them
SMALL = STREAMS["fewrel_val"][0]
ON_SMALL = ("CRECL", "RP-CRE", *OURS)


def printed_rows(
    name: str | None = None, dataset: str | None = None, *, variant: str | None = None
) -> list[Row]:
    """The rows of the paper's tables; the records' `dataset.set` names the data set.

    The setting names the task after which accuracy is taken (`T7`), which is the records' metric;
    in Table 2 also the memory size L. Methods that are not implemented (EA-EMR, EMAR, CML) stand
    without a record, so that the comparison shows them too. The paper's relative improvements
    follow from its other rows and are left out.

    Args:
        name: of the table, `Table 1` or `Table 2`; None for both.
        dataset: FewRel or TACRED; None for both.
        variant: only records of this variant; `paper` leaves out those that change a part of it.
    """
    found = []
    for entry in entries("crecl", name, dataset):
        if entry.metric != "relative_improvement_pct":
            setting = parse_setting(entry.setting)
            wanted = {"memory_size": setting.pop("L")} if "L" in setting else {}
            (task,) = setting
            found.append(_row(entry, task, variant, wanted))
    return found


def own_rows(methods: Sequence[str], metrics: Sequence[str], dataset: str = "FewRel") -> list[Row]:
    """Rows for what the paper draws without numbers (Figure 3), or does not have at all.

    The metrics are the records', such as `T10`, or `current_T10` for the last task alone; `methods`
    are theirs, or `UNTRAINED`; `dataset` is FewRel, TACRED or `SMALL`. All is in the paper's variant.
    """
    wanted = {"n_tasks": STREAMS["fewrel_val"][1]} if dataset == SMALL else {}
    return [
        _row(Entry(MEASURED, dataset, metric, method, "accuracy_pct"), metric, "paper", wanted)
        for method in methods
        for metric in metrics
    ]


def _row(entry: Entry, metric: str, variant: str | None, wanted: dict[str, Any]) -> Row:
    if entry.method in ATTENTION:
        wanted = {**wanted, "attention_memory": ATTENTION[entry.method]}
    return Row.of(
        entry,
        methods=("CRECL+ATM",) if entry.method == UNTRAINED else (),
        record_metric=metric,
        where_dataset={"set": entry.dataset},
        where_parameters=wanted,
        usual=AS_WRITTEN if variant == "paper" else USUAL,
        variant=variant,
    )


def rows() -> list[Row]:
    """The rows of both tables, and of what is measured beside them."""
    beside = own_rows(tuple(dict.fromkeys((*OURS, *ABLATIONS, UNTRAINED))), ("T10",))
    return [*printed_rows(), *beside, *own_rows(ON_SMALL, ("T4",), SMALL)]


def in_table_1(
    records: Iterable[Record],
    methods: Sequence[str],
    dataset: str = "FewRel",
    varied: Sequence[str] = (),
) -> list[Record]:
    """The finished runs of methods in Table 1's form, but for the settings that are `varied`."""
    rows = [
        replace(row, usual={n: v for n, v in row.usual.items() if n not in varied})
        for row in own_rows(methods, ("T1",), dataset)
    ]
    return [r for r in records if not r.failed and any(row.matches(r) for row in rows)]


def of_one_content(records: Sequence[Record], methods: Sequence[str] = ("CRECL",)) -> list[Record]:
    """The records on one content of their data set: all of FewRel, or a part of it.

    It is that on which the methods have most runs in common (alike in seed and memory size), of two
    alike the one with more training sentences. A method without any record does not count.
    """
    runs: dict[str, dict[str, set[Any]]] = {}  # by content and method
    largest: dict[str, int] = {}
    for record in records:
        content = str(record.dataset.get("fingerprint"))
        of_method = runs.setdefault(content, {}).setdefault(record.method, set())
        of_method.add((record.seed, record.parameters.get("memory_size")))
        largest[content] = max(trained_on(record), largest.get(content, 0))
    found = {method for of_content in runs.values() for method in of_content}

    def size(content: str) -> tuple[int, int]:
        each = [runs[content].get(method, set()) for method in methods if method in found]
        return len(set.intersection(*each)) if each else 0, largest[content]

    usual = max(sorted(runs), key=size, default=None)
    return [record for record in records if str(record.dataset.get("fingerprint")) == usual]


def leads(
    records: Sequence[Record],
    dataset: str = "FewRel",
    over: str = "RP-CRE",
    method: str = "CRECL",
    kind: str = "historical",
) -> dict[int, dict[str, float]]:
    """How far `method` is ahead of `over`, in points: seed -> task (`T1`) -> lead.

    `kind` is `historical`, on all tasks so far, or `current`, on the last one alone.

    A seed gives both the same tasks in the same order with the same sentences, and single streams
    differ by more than the methods do, so only the difference within a seed says which is better.
    Of the records those in Table 1's form and `of_one_content` are taken, of several configurations
    the one with most seeds.
    """
    chosen = of_one_content(in_table_1(records, (method, over), dataset), (method, over))
    ours, theirs = (
        {record.seed: record.metrics for record in most_seeds(filter(row.matches, chosen))}
        for row in own_rows((method, over), ("T1",), dataset)
    )
    return {
        seed: {
            name.removeprefix("current_"): value - theirs[seed][name]
            for name, value in ours[seed].items()
            if name.startswith(ACCURACIES[kind])
        }
        for seed in sorted(ours.keys() & theirs.keys())
    }
