"""The cells of DRL's tables, for `relcl_lib.commands.sweep`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Cell = dict[str, Any]

#: data sets whose images have sessions, or can be given some; `mnist` has the Disjoint stream alone
DATASETS = (
    *("core50", "cifar10", "cifar100", "tiny_imagenet", "tiny_imagenet_100", "digits", "mnist"),
)


def _cells(
    dataset: str, track: str | None, methods: Iterable[str], weights: Iterable[float], **shared: Any
) -> list[Cell]:
    cell = {"dataset": dataset, **({"track": track} if track else {}), **shared}
    return [{**cell, "method": m, "drl_weight": w} for w in weights for m in methods]


def table1(dataset: str, sizes: Sequence[int] = ()) -> list[Cell]:
    """Table 1, NI: replay strategies without and with the loss, then the methods on gradients."""
    shared = {"memory_size": 100, "batch_size": 16}
    strategies = _cells(dataset, "NI", ("Shuffle", "ER", "BER"), (0.0, 2e-4), **shared)
    return strategies + _cells(dataset, "NI", ("GEM", "A-GEM", "GSS"), (0.0,), **shared)


def table2(dataset: str, sizes: Sequence[int] = ()) -> list[Cell]:
    """Table 2, Multi-Task-NC: replay strategies without and with the loss; then GEM and A-GEM."""
    shared = {"memory_size": 100, "batch_size": 16}
    track = "Multi-Task-NC"
    strategies = _cells(dataset, track, ("Shuffle", "ER", "BER"), (0.0, 2e-4), **shared)
    return strategies + _cells(dataset, track, ("GEM", "A-GEM"), (0.0,), **shared)


def table3(dataset: str, sizes: Sequence[int] = ()) -> list[Cell]:
    """Table 3, NIC: the same, each with its B; and ER as released, which soon replays nothing."""
    rows = (
        ("Shuffle", {"batch_size": 32}),
        ("ER", {"batch_size": 16, "er": "paper"}),
        ("BER", {"batch_size": 2}),
        ("ER", {"batch_size": 16, "er": "released"}),
    )
    return [
        cell
        for method, own in rows
        for cell in _cells(dataset, "NIC", (method,), (0.0, 2e-4), memory_size=50, **own)
    ]


def variants(dataset: str, sizes: Sequence[int] = ()) -> list[Cell]:
    """Not in the paper: each form of the loss on all representations and on the logits."""
    forms = {"released": 1e-3, "dev": 1e-3, "later": 1e-3, "paper": 1e-3, "paper_cos": 0.5}
    return [
        cell
        for taps in ("all", "logits")
        for form, weight in forms.items()
        for cell in _cells(
            dataset, None, ("BER",), (weight,), memory_size=100, loss=form, taps=taps
        )
    ]


def weights(dataset: str, sizes: Sequence[int] = ()) -> list[Cell]:
    """Not in the paper as a table: the weight of the loss."""
    swept = (0.0, 1e-5, 2e-4, 1e-3, 1e-2, 1e-1)
    return _cells(dataset, None, ("BER",), swept, memory_size=100)


def progress(run: Any) -> tuple[int, int, float]:
    """Return experiences done, of how many, and the validation accuracy in per cent."""
    done = run.experiences_done
    return done, len(run.stream), 100 * float(run.valid[done - 1].mean())


TABLES: Mapping[str, Callable[[str, Sequence[int]], list[Cell]]] = {
    "table1": table1,
    "table2": table2,
    "table3": table3,
    "variants": variants,
    "lambda": weights,
}
