"""Which records correspond to the numbers CRECL's paper prints (Tables 1 and 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from relcl_lib.lab.format import MEASURED
from relcl_lib.papers.crecl.cells import ABLATIONS
from relcl_lib.papers.crecl.parameters import STREAMS

if TYPE_CHECKING:
    from relcl_lib.lab.records import Record
    from relcl_lib.lab.rows import Row

#: what Table 2 and Figures 3 and 4 vary and Table 1 holds fixed, so that a sweep stays out of it
DEFAULTS: dict[str, Any] = {
    "memory_size": 10,
    "temperature": 0.08,
    "margin": 0.3,
    "n_tasks": 10,
    "validation": False,
}
#: what the variants change, one at a time: a row of the method as written has none of it
AS_WRITTEN: dict[str, Any] = {
    **DEFAULTS,
    "exact_paper": False,
    "order": "single",
    "attend_pads": False,
    "pooling": "opening",
    "refresh_prototypes": False,
    "classification_passes": 1,
    "memory_passes": 10,
    "epochs_warmup": 0,
}
#: methods whose numbers have no run of ours: a relative gain, and what is quoted only
DERIVED = ("relative_improvement_pct",)
#: the floor and the ceiling, which are ours
OURS = ("CRECL-CL", "JOINT")
#: 16 relations of FewRel in full, which the paper does not use -> what is run on them
SMALL = STREAMS["fewrel_val"][0]
ON_SMALL = ("CRECL", "RP-CRE", *OURS)

__all__ = [
    "ABLATIONS",
    "AS_WRITTEN",
    "DEFAULTS",
    "MEASURED",
    "OURS",
    "SMALL",
    "all_crecl_rows",
    "crecl_leads",
    "crecl_own_rows",
    "crecl_rows",
]


def crecl_rows(
    table: str = "Table 1", dataset: str | None = None, *, variant: str | None = None
) -> list[Row]:
    """Return the rows of one of CRECL's tables; the records' ``dataset.set`` names the dataset.

    The setting names the task after which accuracy is taken (``T7``), which is the records' metric;
    in Table 2 also the memory size L. Methods that are not implemented (EA-EMR, EMAR, CML) stand
    without a record, so that the comparison shows them too. The paper's relative improvements
    follow from its other rows and are left out.

    Args:
        table: as in the table file, ``Table 1`` or ``Table 2``.
        dataset: FewRel or TACRED; None for all.
        variant: only records of this variant; ``paper`` leaves out those that change a part of it.
    """
    from relcl_lib.lab.rows import Row, parse_setting, read_paper_table

    rows, held = [], AS_WRITTEN if variant == "paper" else DEFAULTS
    for entry in read_paper_table("crecl", table).itertuples():
        if entry.metric in DERIVED or dataset not in (None, entry.dataset):
            continue
        setting = parse_setting(entry.setting)
        wanted = {"memory_size": setting.pop("L")} if "L" in setting else {}
        (task,) = setting
        rows.append(
            Row(
                *(table, entry.dataset, entry.setting, entry.method, entry.metric),
                record_metric=task,
                where_dataset={"set": entry.dataset},
                where_parameters=wanted,
                defaults={k: v for k, v in held.items() if k not in wanted},
                variant=variant,
            )
        )
    return rows


def crecl_own_rows(
    methods: Sequence[str],
    settings: Sequence[str],
    dataset: str = "FewRel",
    *,
    held: bool = True,
    variant: str | None = "paper",
) -> list[Row]:
    """Return rows for what the paper draws without numbers (Figure 3), or does not have at all.

    Args:
        methods: of the records.
        settings: metrics of the records: ``T10``, or ``current_T10`` for the last task alone.
        dataset: FewRel, TACRED or `SMALL`.
        held: leave out runs that change what Table 1 holds fixed; False shows each of them in a
            line of its own.
        variant: as for `crecl_rows`.
    """
    from relcl_lib.lab.rows import Row

    fixed = dict(AS_WRITTEN if variant == "paper" else DEFAULTS)
    if dataset == SMALL:
        del fixed["n_tasks"]
    return [
        Row(
            *(MEASURED, dataset, setting, method, "accuracy_pct"),
            record_metric=setting,
            where_dataset={"set": dataset},
            defaults=fixed if held else {},
            variant=variant,
        )
        for method in methods
        for setting in settings
    ]


def all_crecl_rows() -> list[Row]:
    """Return the rows of both tables, and of what is measured beside them."""
    printed = [row for number in (1, 2) for row in crecl_rows(f"Table {number}")]
    beside = crecl_own_rows(tuple(dict.fromkeys((*OURS, *ABLATIONS))), ("T10",))
    return [*printed, *beside, *crecl_own_rows(ON_SMALL, ("T4",), SMALL)]


def crecl_leads(
    records: Sequence[Record],
    dataset: str = "FewRel",
    over: str = "RP-CRE",
    method: str = "CRECL",
) -> dict[int, dict[str, float]]:
    """Return seed -> task -> how far a method is ahead of another, in points.

    A seed gives both the same tasks in the same order with the same sentences, and single streams
    differ by more than the methods do, so only the difference within a seed says which is better.

    Args:
        records: all there are; those in Table 1's form are taken, where a seed has both.
        dataset: FewRel, TACRED or `SMALL`.
        over: the other method.
        method: the one that is ahead where the number is positive.
    """
    ours, theirs = (
        {r.seed: r.metrics for r in records if row.matches(r) and not r.failed}
        for row in crecl_own_rows((method, over), ("T1",), dataset)
    )
    return {
        seed: {
            name: value - theirs[seed][name]
            for name, value in ours[seed].items()
            if name.startswith("T")
        }
        for seed in sorted(ours.keys() & theirs.keys())
    }
