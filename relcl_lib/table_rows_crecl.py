"""Which records correspond to the numbers CRECL's paper prints (Tables 1 and 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relcl_lib.table_rows import Row

#: what Table 2 and Figures 3 and 4 vary and Table 1 holds fixed, so that a sweep stays out of it
DEFAULTS: dict[str, Any] = {
    "memory_size": 10,
    "temperature": 0.08,
    "margin": 0.3,
    "n_tasks": 10,
    "validation": False,
}
#: methods whose numbers have no run of ours: a relative gain, and what is quoted only
DERIVED = ("relative_improvement_pct",)


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
        variant: only records of this variant.
    """
    from relcl_lib.table_rows import Row, parse_setting, read_paper_table

    rows = []
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
                defaults={k: v for k, v in DEFAULTS.items() if k not in wanted},
                variant=variant,
            )
        )
    return rows


def all_crecl_rows() -> list[Row]:
    """Return the rows of both tables."""
    return [row for number in (1, 2) for row in crecl_rows(f"Table {number}")]
