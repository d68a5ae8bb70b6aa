"""The cells of DocRE-II's tables, for `relcl_lib.commands.sweep`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from relcl_lib.lab.parameters import ParameterError
from relcl_lib.papers.docre_ii.parameters import DocreParameters

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
    {"noise": [0.2, 0.5]},
    {"sum_logits": True},
    {"relation": "argmax"},
    {"inference_classifier": "projected"},
    {"inference_layers": 1},
)
#: what the quick profile trains the tiny encoder with, whatever profile the sweep is given
QUICK: Cell = {
    name: value
    for name, value in DocreParameters.profiles["quick"].items()
    if name not in ("dataset", "seeds", "stage1_epochs", "stage2_epochs")
}


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


def alone(dataset: str, sizes: Sequence[int] = ()) -> list[Cell]:
    """Not in the paper: the inference module on a base that is handed what the sentences state.

    Raises:
        ParameterError: for data that do not say which facts are stated.
    """
    _only_synthetic("alone", dataset)
    rows = [*(("DocRE-II", n) for n in (1, 2, 3, 4)), *((method, 2) for method in ABLATIONS[:3])]
    shared = {**QUICK, "dataset": dataset, "generated": 0, "base": "stated_facts"}
    shared |= {"stage2_epochs": 10, "batch_size": 8, "inference_rate": 3e-3}
    return [{**shared, "method": method, "inference_layers": n} for method, n in rows]


def text(dataset: str, sizes: Sequence[int] = ()) -> list[Cell]:
    """Not in the paper: both modules on generated documents, many more than are committed.

    The cells differ in stage 2 only, so in one `--work-dir` a seed's stage 1 is trained once.

    Raises:
        ParameterError: for data that cannot be generated.
    """
    _only_synthetic("text", dataset)
    shared = {**QUICK, "dataset": dataset, "generated": 4000, "batch_size": 4}
    shared |= {"stage1_epochs": 4, "stage2_epochs": 3}
    return [{**shared, "method": method} for method in ("DocRE-II", *ABLATIONS[:2])]


def _only_synthetic(table: str, dataset: str) -> None:
    if dataset != "synthetic":
        raise ParameterError(
            f"the table {table} has no cells for {dataset}: it needs generated documents; use "
            "--dataset synthetic"
        )


TABLES: Mapping[str, Callable[[str, Sequence[int]], list[Cell]]] = {
    "table1": table1,
    "table2": table2,
    "table4": table4,
    "table8": table8,
    "variants": variants,
    "alone": alone,
    "text": text,
}


def progress(run: Any) -> tuple[int, int, float]:
    """Return epochs done, of how many, and F1 on the dev split."""
    settings = run.settings
    return (
        run.epochs_done,
        settings.stage1_epochs + settings.stage2_epochs,
        run.history[-1]["dev_F1"],
    )
