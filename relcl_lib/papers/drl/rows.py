"""Which records correspond to the numbers DRL's paper prints (Tables 1 to 3, Figure 1) or plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from relcl_lib.papers.drl.cells import TABLES

if TYPE_CHECKING:
    from relcl_lib.lab.rows import Row
    from relcl_lib.papers.drl.cells import Cell

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
#: our cells, as the sweep makes them -> what stands for a table where the paper has none
MEASURED = {
    "table1": "Measured: Table 1",
    "table2": "Measured: Table 2",
    "table3": "Measured: Table 3",
    "lambda": "Measured: lambda",
    "variants": "Measured: forms of the loss",
}
#: stands for a table where the paper has a plot without numbers
MEASURED_FIGURE2 = "Measured: Figure 2"
#: what is measured for it, in the names of the records: accuracy in per cent, means of cosines and,
#: as the paper sees gradients of different classes concentrate around 0, the spread of theirs
FIGURE2_METRICS = (
    *("test_acc", "representations_different", "representations_same"),
    *("gradients_different", "gradients_different_sd", "gradients_same"),
)
#: stand-ins with rows of their own: those whose images the reduced ResNet-18 takes
STAND_INS = ("cifar10", "cifar100", "tiny_imagenet", "tiny_imagenet_100")
PAIRS = {"pairs=different_class": "different", "pairs=same_class": "same"}


def drl_rows(table: str = "Table 1", *, variant: str | None = None) -> list[Row]:
    """Return the rows of one of DRL's tables; the records' ``dataset.track`` names the track.

    Only runs on CORe50 itself correspond: a stand-in's numbers stand in no column of the paper's.

    Args:
        table: as in the table file, ``Table 1`` to ``Table 3`` or ``Figure 1``.
        variant: only records of this variant.
    """
    from relcl_lib.lab.rows import Row, parse_setting, read_paper_table

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
    from relcl_lib.lab.rows import Row, read_paper_table

    rows = []
    for entry in read_paper_table("drl", "Figure 1").itertuples():
        if entry.metric == "pearson_r":
            metric, scale, digits = f"r_{KINDS[entry.method]}_{PAIRS[entry.setting]}", 1.0, 2
        else:
            (metric, scale), digits = METRICS[entry.metric], 1
        rows.append(
            Row(
                *("Figure 1", entry.dataset, entry.setting, entry.method, entry.metric),
                methods=("MLP 2x100",),
                record_metric=metric,
                where_dataset={"set": entry.dataset},
                experiment="figure1",
                variant=variant,
                paper_scale=scale,
                digits=digits,
            )
        )
    return rows


def drl_stand_in_rows(
    table: str = "table1",
    base: str = "cifar10",
    metrics: Sequence[str] = ("avg_valid_acc", "test_acc"),
) -> list[Row]:
    """Return rows for the sweep's cells on a stand-in: each shows a dash for the paper.

    A stand-in's numbers never share a column with CORe50's, so these rows have no printed entry; the
    setting names what the paper's would.

    Args:
        table: of `python -m relcl_lib drl sweep`.
        base: one of ``STAND_INS``.
        metrics: of the records.
    """
    cells = TABLES[table](base, ())
    return [_stand_in_row(table, base, cell, metric) for cell in cells for metric in metrics]


def _stand_in_row(table: str, base: str, cell: Cell, metric: str) -> Row:
    from relcl_lib.lab.rows import Row

    track = cell.get("track", "NI")
    apart = {k: v for k, v in cell.items() if k not in ("dataset", "track", "method")}
    shown = {"mem": "memory_size", "bs": "batch_size", "lambda": "drl_weight", "er": "er"}
    shown |= {"loss": "loss", "taps": "taps"}
    setting = [
        f"{name}={apart[key]:g}" if isinstance(apart[key], float) else f"{name}={apart[key]}"
        for name, key in shown.items()
        if key in apart
    ]
    held = {**DEFAULTS, "loss": "released", "taps": "logits"}
    return Row(
        *(MEASURED[table], f"CORe50-standin({base}) {track}", ";".join(setting)),
        *(cell["method"], metric),
        where_dataset={"name": f"CORe50-standin({base})", "track": track},
        where_parameters={**apart, "network": "Reduced ResNet-18"},
        defaults={k: v for k, v in held.items() if k not in apart},
    )


def drl_figure2_rows(weights: Sequence[float] = (0.0, 1e-3)) -> list[Row]:
    """Return rows for Figure 2, which the paper plots without a number: each shows a dash for it.

    Args:
        weights: lambda of each run; the setting names it.
    """
    from relcl_lib.lab.rows import Row

    held = {**DEFAULTS, "limit": 1000, "loss": "released", "taps": "all", "samples": 150}
    return [
        Row(
            *(MEASURED_FIGURE2, "MNIST Disjoint", f"lambda={weight:g}", "BER", metric),
            where_dataset={"name": "mnist", "track": "Disjoint"},
            where_parameters={"drl_weight": weight, "network": "MLP 2x100"},
            defaults=held,
            experiment="figure2",
            digits=1 if metric == "test_acc" else 3,
        )
        for metric in FIGURE2_METRICS
        for weight in weights
    ]


def all_drl_rows() -> list[Row]:
    """Return the rows of all tables and figures, and of what is measured on the stand-ins."""
    tables = ("Table 1", "Table 2", "Table 3", "Figure 1")
    printed = [row for table in tables for row in drl_rows(table)]
    beside = [
        row for base in STAND_INS for table in MEASURED for row in drl_stand_in_rows(table, base)
    ]
    return [*printed, *drl_figure2_rows(), *beside]
