"""The cells of DocRE-II's tables, for `relcl_lib.sweep`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Cell = dict[str, Any]

DATASETS = ("docred", "redocred", "cdr", "gda", "synthetic")
#: the rows of Table 4; Table 8 has the first three
ABLATIONS = (
    *("w/o ECA", "w/o contrastive loss", "w/o fusion sub-layer"),
    *("w/ negative pairs", "w/o pre-training", "w/ freeze base module"),
)
#: what the release does otherwise, one at a time
CHANGES: tuple[Cell, ...] = (
    {"markers": "typed"},
    {"document_vector": True},
    {"encoder_layers": 3},
    {"own_bonus": 1.0},
    {"feedback": "gold"},
    {"sum_logits": True},
    {"relation": "argmax"},
    {"inference_classifier": "projected"},
    {"inference_layers": 1},
)


def _cells(dataset: str, methods: Sequence[str]) -> list[Cell]:
    return [{"dataset": dataset, "method": method} for method in methods]


def table1(dataset: str, sizes: Sequence[int] = ()) -> list[Cell]:
    """Tables 1, 3, 5 and 6: the full model; its records hold the scores of its own base, too."""
    return _cells(dataset, ("DocRE-II",))


def table2(dataset: str, sizes: Sequence[int] = ()) -> list[Cell]:
    """Table 2: the layers N_I; the scores after each iteration K stand in one record."""
    return [{"dataset": dataset, "method": "DocRE-II", "inference_layers": n} for n in (1, 2, 3, 4)]


def table4(dataset: str, sizes: Sequence[int] = ()) -> list[Cell]:
    """Table 4: one component after the other left out or changed."""
    return _cells(dataset, ("DocRE-II", *ABLATIONS))


def table8(dataset: str, sizes: Sequence[int] = ()) -> list[Cell]:
    """Table 8: the three of them that are reported on CDR and GDA."""
    return _cells(dataset, ("DocRE-II", *ABLATIONS[:3]))


def variants(dataset: str, sizes: Sequence[int] = ()) -> list[Cell]:
    """Not in the paper: as printed, as released, and single differences."""
    changes = ({}, {"variant": "released"}, *CHANGES)
    if dataset in ("cdr", "gda"):
        changes = (*changes, {"orientation": "kind"})
    return [{"dataset": dataset, "method": "DocRE-II", **change} for change in changes]


TABLES: Mapping[str, Callable[[str, Sequence[int]], list[Cell]]] = {
    "table1": table1,
    "table2": table2,
    "table4": table4,
    "table8": table8,
    "variants": variants,
}


def progress(run: Any) -> tuple[int, int, float]:
    """Return epochs done, of how many, and F1 on the dev split."""
    settings = run.settings
    return (
        run.epochs_done,
        settings.stage1_epochs + settings.stage2_epochs,
        run.history[-1]["dev_F1"],
    )
