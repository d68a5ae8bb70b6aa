"""The cells of CRECL's tables and figures, for `relcl_lib.commands.sweep`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Cell = dict[str, Any]

#: data set -> memory sizes L: Table 2's for FewRel, ours for TACRED (Figure 4 does not say)
SIZES: dict[str, tuple[int, ...]] = {
    "fewrel": (5, 10, 15, 20),
    "tacred": (4, 6, 8, 10, 12),
    "fewrel_val": (5, 10, 15, 20),
    "synthetic": (5, 10),
}
#: the curves of Figure 3
ABLATIONS = ("CRECL-MAG", "CRECL-CL1", "CRECL-CL2", "CRECL-CL", "CRECL-K", "CRECL(C)")
#: what the release does otherwise, one at a time (its loss is CRECL-MAG), and ours (the last two)
CHANGES: tuple[Cell, ...] = (
    {"order": "double"},
    {"memory_passes": 1},
    {"classification_passes": 10},
    {"classification_passes": 10, "consistency": True},
    {"epochs_warmup": 5},
    {"attend_pads": True},
    {"refresh_prototypes": True},
    {"pooling": "pairs"},
)


def table1(dataset: str, sizes: Sequence[int]) -> list[Cell]:
    """Table 1: CRECL and what it is compared with, the floor and the ceiling."""
    methods = ("CRECL", "CRECL+ATM", "RP-CRE", "RP-CRE+MA", "EMAR+BERT", "CRECL-CL", "JOINT")
    return [{"dataset": dataset, "method": method} for method in methods]


def table2(dataset: str, sizes: Sequence[int]) -> list[Cell]:
    """Table 2: the memory size."""
    return [{"dataset": dataset, "method": "CRECL", "memory_size": size} for size in sizes]


def figure3(dataset: str, sizes: Sequence[int]) -> list[Cell]:
    """Figure 3: CRECL without one part at a time; CRECL's run leaves CRECL(C)'s record as well."""
    methods = [method for method in ("CRECL", *ABLATIONS) if method != "CRECL(C)"]
    return [{"dataset": dataset, "method": method} for method in methods]


def figure4(dataset: str, sizes: Sequence[int]) -> list[Cell]:
    """Figure 4: the memory size of CRECL and of RP-CRE."""
    return [
        {"dataset": dataset, "method": method, "memory_size": size}
        for method in ("CRECL", "RP-CRE")
        for size in sizes
    ]


def variants(dataset: str, sizes: Sequence[int]) -> list[Cell]:
    """Not in the paper: CRECL as written, as printed and as released, and single differences."""
    whole: tuple[Cell, ...] = ({}, {"exact_paper": True}, {"variant": "released"})
    return [{"dataset": dataset, "method": "CRECL", **change} for change in (*whole, *CHANGES)]


TABLES: Mapping[str, Callable[[str, Sequence[int]], list[Cell]]] = {
    "table1": table1,
    "table2": table2,
    "figure3": figure3,
    "figure4": figure4,
    "variants": variants,
}


def progress(run: Any) -> tuple[int, int, float]:
    """Return tasks done, of how many, and accuracy on all tasks so far in per cent."""
    from relcl_lib.papers.crecl.records import run_metrics  # loads torch

    done = run.tasks_done
    scores = run_metrics(100 * run.accuracy, [test for _, test in run.stream.sizes()])
    return done, len(run.stream), scores[f"T{done}"]
