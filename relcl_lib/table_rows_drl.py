"""Which records correspond to the numbers DRL's paper prints (Tables 1 to 3, Figure 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relcl_lib.table_rows import Row

#: metric in the paper's tables -> in records, and what brings the paper's number to their unit.
#: Memory and minutes belong to a machine; they stand there because the tables have them.
METRICS = {
    "test_acc": ("test_acc", 100.0),
    "avg_valid_acc": ("avg_valid_acc", 100.0),
    "ram_mb": ("ram_mb", 1.0),
    "time_min": ("time_min", 1.0),
    "test_acc_percent": ("test_acc", 1.0),
}
PARAMETERS = {"mem": "memory_size", "bs": "batch_size", "lambda": "drl_weight"}
#: what no table varies, so that other runs stay out of them
DEFAULTS = {"order": 0, "epochs": 1, "limit": None, "heads": "released", "memory_budget": None}
TRACKS = {
    "CORe50-NI": "NI",
    "CORe50-Multi-Task-NC": "Multi-Task-NC",
    "CORe50-NIC": "NIC",
}
#: what the paper plots against the cosines of gradients -> in the names of our metrics
KINDS = {
    "corr(gradient_sim,feature_sim)": "features",
    "corr(gradient_sim,representation_sim)": "representations",
}
PAIRS = {"pairs=different_class": "different", "pairs=same_class": "same"}


def drl_rows(table: str = "Table 1", *, variant: str | None = None) -> list[Row]:
    """Return the rows of one of DRL's tables; the records' ``dataset.track`` names the track.

    Only runs on CORe50 itself correspond: a stand-in's numbers stand in no column of the paper's.

    Args:
        table: as in the table file, ``Table 1`` to ``Table 3`` or ``Figure 1``.
        variant: only records of this variant.
    """
    from relcl_lib.table_rows import Row, parse_setting, read_paper_table

    if table == "Figure 1":
        return _figure1_rows(variant)
    rows = []
    for entry in read_paper_table("drl", table).itertuples():
        setting = parse_setting(entry.setting)
        metric, scale = METRICS[entry.metric]
        wanted = {PARAMETERS[name]: setting[name] for name in PARAMETERS}
        rows.append(
            Row(
                *(table, entry.dataset, entry.setting, entry.method, entry.metric),
                methods=(setting["er"],),
                record_metric=metric,
                where_dataset={"name": "core50", "track": TRACKS[entry.dataset]},
                where_parameters={**wanted, "network": entry.method},
                defaults=DEFAULTS,
                experiment=f"{TRACKS[entry.dataset].lower().replace('-', '_')}_core50",
                variant=variant,
                paper_scale=scale,
            )
        )
    return rows


def _figure1_rows(variant: str | None) -> list[Row]:
    from relcl_lib.table_rows import Row, read_paper_table

    rows = []
    for entry in read_paper_table("drl", "Figure 1").itertuples():
        if entry.metric == "pearson_r":
            metric, scale = f"r_{KINDS[entry.method]}_{PAIRS[entry.setting]}", 1.0
        else:
            metric, scale = METRICS[entry.metric]
        rows.append(
            Row(
                *("Figure 1", entry.dataset, entry.setting, entry.method, entry.metric),
                methods=("MLP 2x100",),
                record_metric=metric,
                where_dataset={"set": entry.dataset},
                experiment="figure1",
                variant=variant,
                paper_scale=scale,
            )
        )
    return rows


def all_drl_rows() -> list[Row]:
    """Return the rows of all tables and of Figure 1."""
    tables = ("Table 1", "Table 2", "Table 3", "Figure 1")
    return [row for table in tables for row in drl_rows(table)]
