"""The cells of each paper's tables, for `relcl_lib.commands.sweep`: one entry a paper in `PAPERS`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relcl_lib.papers.crecl import cells as crecl
from relcl_lib.papers.docre_ii import cells as docre
from relcl_lib.papers.drl import cells as drl

Cell = dict[str, Any]  # the parameters of one run, as plain values

#: the memory sizes of HPCR's Table III
BUFFERS = {
    "cifar10": (100, 200, 500),
    "cifar100": (1000, 2000, 5000),
    "mini_imagenet": (1000, 2000, 5000),
    "tiny_imagenet": (2000, 4000, 10000),
    "tiny_imagenet_100": (1000, 2000, 5000),
    "mnist": (200,),
    "digits": (50,),
}
_WITHOUT_MEMORY = ("IID", "IID++", "FINE-TUNE")


@dataclass(frozen=True)
class Paper:
    """What the sweep needs to know of a paper; places are named, so that listing loads no torch.

    Attributes:
        tables: name -> function of the data set and the memory sizes that returns the cells.
        datasets: name -> default memory sizes (empty where nothing is stored).
        parameters: `module:class` of the parameters.
        runner: `module:function` that reads or trains one cell's records.
        metrics: names to report of a finished cell, where its records have them; what counts is last.
        progress: what a run says of itself while training: (done, of how many, score in per cent).
        unit: what it counts.
        side_by_side: a run trains all its seeds at once, so they are not worth a process each.
    """

    tables: Mapping[str, Callable[[str, Sequence[int]], list[Cell]]]
    datasets: Mapping[str, Sequence[int]]
    parameters: str
    runner: str
    metrics: tuple[str, ...]
    progress: Callable[[Any], tuple[int, int, float]]
    unit: str
    side_by_side: bool = False

    def load(self, place: str) -> Any:
        """Return the class or function that `parameters` or `runner` names."""
        module, name = getattr(self, place).split(":")
        return getattr(importlib.import_module(module), name)


# ---------------------------------------------------------------------------------------- HPCR


def _methods_by_buffers(dataset: str, methods: Iterable[str], buffers: Sequence[int]) -> list[Cell]:
    # The buffer column is empty for methods without a memory: one cell, at the first size.
    return [
        {"dataset": dataset, "method": method, "buffer_size": buffer}
        for method in methods
        for buffer in (buffers[:1] if method in _WITHOUT_MEMORY else buffers)
    ]


def hpcr_table3(dataset: str, buffers: Sequence[int]) -> list[Cell]:
    """Table III (and V, VI, Fig. 3): the methods of the library on every memory size."""
    methods = ("IID", "IID++", "FINE-TUNE", "ER", "ER-ACE", "PCR", "HPCR")
    return _methods_by_buffers(dataset, methods, buffers)


def hpcr_table7(dataset: str, buffers: Sequence[int]) -> list[Cell]:
    """Table VII: couples of proxies and pairs, then HPCR component by component."""
    methods = ("ER", "Couple (Eq. 7)", "Couple (Eq. 8)", "PCR", "PCR+HC", "PCR+HC+HT")
    return _methods_by_buffers(dataset, (*methods, "PCR+HC+HT+PCD", "HPCR"), buffers)


def hpcr_table9(dataset: str, buffers: Sequence[int]) -> list[Cell]:
    """Table IX: the range of the dynamic temperature."""
    return [
        {"dataset": dataset, "method": "HPCR", "buffer_size": b, "t_min": low, "t_max": high}
        for b in buffers[:1]
        for low in (0.05, 0.07, 0.09, 0.11)
        for high in (0.12, 0.14, 0.16, 0.18, 0.20)
    ]


def hpcr_table10(dataset: str, buffers: Sequence[int]) -> list[Cell]:
    """Table X: the period of the dynamic temperature."""
    return [
        {"dataset": dataset, "method": "HPCR", "buffer_size": b, "ht_period": period}
        for b in buffers[:1]
        for period in (50, 100, 125, 250, 500, 1000)
    ]


def hpcr_variants(dataset: str, buffers: Sequence[int]) -> list[Cell]:
    """Not in the paper: HPCR as released and as printed, and each difference by itself."""
    single = ({"ht": "paper"}, {"distil_from_task": 0}, {"scd": "paper"}, {"joint_forward": True})
    return [
        {"dataset": dataset, "method": "HPCR", "buffer_size": b, **change}
        for b in buffers[:1]
        for change in ({}, {"variant": "paper"}, *single)
    ]


def _replay_progress(run: Any) -> tuple[int, int, float]:
    from relcl_lib.lab.metrics import average_accuracy

    done = run.tasks_done
    score = 100 * average_accuracy(run.accuracy)[:, done - 1].mean()
    return done, len(run.streams[0]), float(score)


# -------------------------------------------------------------------------------------- FastRE


def fastre_table2(dataset: str, buffers: Sequence[int] = ()) -> list[Cell]:
    """Tables 2 and 3: FastRE, CasRel, and CasRel's tagger on FastRE's encoder (Section 3.7)."""
    casrel = {"dataset": dataset, "method": "CasRel", "encoder": "bert-base-cased"}
    own = ("FastRE", "CasRel tagger + FastRE encoder")
    return [*({"dataset": dataset, "method": method} for method in own), casrel]


def fastre_table4(dataset: str, buffers: Sequence[int] = ()) -> list[Cell]:
    """Table 4: the number of blocks and their dilations."""
    structures = (
        [1, 2, 4],
        [1, 2, 4, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
        [1, 2, 4, 8, 16, 32],
        [1, 2, 4, 1, 2, 4, 1, 1, 1],
    )
    return [
        {"dataset": dataset, "method": "FastRE", "dilations": dilations} for dilations in structures
    ]


def fastre_table5(dataset: str, buffers: Sequence[int] = ()) -> list[Cell]:
    """Table 5: FastRE without one component at a time."""
    without = ("Dilated Convolution", "Gated Unit", "Residual Connection", "Mapping Mechanism")
    methods = ("FastRE", *(f"-{name}" for name in without), "-Adaptive Thresholding")
    return [{"dataset": dataset, "method": method} for method in methods]


def fastre_variants(dataset: str, buffers: Sequence[int] = ()) -> list[Cell]:
    """Not in the paper: FastRE as released with its faults mended, with them, and as printed."""
    changes = ({}, {"exact_release": True}, {"variant": "paper"})
    return [{"dataset": dataset, "method": "FastRE", **change} for change in changes]


def _fastre_progress(run: Any) -> tuple[int, int, float]:
    return run.epochs_done, run.settings.epochs, run.history[-1]["valid_F1"]


# -------------------------------------------------------------------------------------- papers

PAPERS: dict[str, Paper] = {
    "hpcr": Paper(
        tables={
            "table3": hpcr_table3,
            "table7": hpcr_table7,
            "table9": hpcr_table9,
            "table10": hpcr_table10,
            "variants": hpcr_variants,
        },
        datasets=BUFFERS,
        parameters="relcl_lib.papers.hpcr.parameters:ReplayParameters",
        runner="relcl_lib.papers.hpcr.records:train_or_read",
        metrics=("A_T",),
        progress=_replay_progress,
        unit="task",
        side_by_side=True,
    ),
    "fastre": Paper(
        tables={
            "table2": fastre_table2,
            "table4": fastre_table4,
            "table5": fastre_table5,
            "variants": fastre_variants,
        },
        datasets=dict.fromkeys(("nyt10", "nyt11", "nyt24", "webnlg", "synthetic"), ()),
        parameters="relcl_lib.papers.fastre.parameters:FastreParameters",
        runner="relcl_lib.papers.fastre.records:train_or_read",
        metrics=("F1",),
        progress=_fastre_progress,
        unit="epoch",
    ),
    "crecl": Paper(
        tables=crecl.TABLES,
        datasets=crecl.SIZES,
        parameters="relcl_lib.papers.crecl.parameters:CreclParameters",
        runner="relcl_lib.papers.crecl.records:train_or_read",
        metrics=("T1", "T4", "T10"),
        progress=crecl.progress,
        unit="task",
    ),
    "drl": Paper(
        tables=drl.TABLES,
        datasets=dict.fromkeys(drl.DATASETS, ()),
        parameters="relcl_lib.papers.drl.parameters:DrlParameters",
        runner="relcl_lib.papers.drl.records:train_or_read",
        metrics=("avg_valid_acc", "test_acc"),
        progress=drl.progress,
        unit="experience",
    ),
    "docre_ii": Paper(
        tables=docre.TABLES,
        datasets=dict.fromkeys(docre.DATASETS, ()),
        parameters="relcl_lib.papers.docre_ii.parameters:DocreParameters",
        runner="relcl_lib.papers.docre_ii.records:train_or_read",
        metrics=("F1_base", "F1"),
        progress=docre.progress,
        unit="epoch",
    ),
}
