"""HPCR's printed tables in the paper's layout, as Markdown, with ours beside each number.

Of several configurations that correspond to one number, the one with the most seeds is shown;
RESULTS.md has a line for each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from relcl_lib.lab.compare import compare
from relcl_lib.lab.format import DASH, TableError, markdown_table
from relcl_lib.lab.rows import entries, parse_setting
from relcl_lib.papers.hpcr import tables
from relcl_lib.papers.hpcr.studies import Budget, tasks_beside

if TYPE_CHECKING:
    import pandas as pd

    from relcl_lib.lab.records import Record

#: table -> what goes down and what goes across: a column of the paper's numbers, or a setting's name
LAYOUTS = {
    "Table II": ("class", "dataset"),
    "Table III": ("method", "buffer"),
    "Table IV": ("method", "buffer"),
    "Table V": ("method", "buffer"),
    "Table VI": ("method", "buffer"),
    "Table VII": ("method", "buffer"),
    "Table VIII": ("metric", "method"),
    "Table IX": ("tau_min", "tau_max"),
    "Table X": ("metric", "S"),
    "Table XII": ("method", "metric"),
}
#: keys of the paper's numbers in words
WORDS = {
    "buffer": "memory",
    "tau_min": "τ_min",
    "tau_max": "τ_max",
    "S": "period S =",
    "A_T": "final accuracy (%)",
    "AAA": "accuracy over the stream (%)",
    "F_T": "forgetting",
    "Split CIFAR10": "CIFAR-10",
    "Split CIFAR100": "CIFAR-100",
    "Split MiniImageNet": "Mini-ImageNet",
    "Split TinyImageNet": "Tiny-ImageNet",
    "cumulative_gradient_old_classes": "cumulative gradient, old classes",
    "cumulative_gradient_new_classes": "cumulative gradient, new classes",
    "train_loss": "training loss",
    "loss_difference_all_classes": "change of the loss under noise, all classes",
    "loss_difference_new_classes": "change of the loss under noise, new classes",
    "computation_C_D": "computation",
    "memory_model": "memory for models",
    "memory_data": "memory for data",
}
#: metrics in per cent, which are shown with a decimal
PER_CENT = ("A_T", "AAA", "F_T", "F_T_released")
#: what two of our numbers beside one of the paper's are called
OURS = {"F_T": "ours, F_T", "F_T_released": "ours, F_T as released"}
#: protocols of our numbers that have a mark
MARKS = {"reduced": "\\*", "stand-in": "†"}


#: label of a row -> (column, whose number) -> text; the column "" stands for all of them
Grid = dict[str, dict[tuple[str, str], str]]


def beside(table: str, records: Iterable[Record], *datasets: str, metric: str | None = None) -> str:
    """A printed table with ours beside each number, a dash where nothing was run.

    Where none of it was run, the paper's numbers stand alone. What a method without a memory has
    stands at every size of it.

    Args:
        table: e.g. `Table III`.
        records: any runs.
        datasets: the paper's names, e.g. `Split CIFAR10`; none for all that the table has.
        metric: one of the table's; None for all.
    """
    chosen = [
        row
        for row in tables.rows()
        if row.table == table
        and (not datasets or row.dataset in datasets)
        and metric in (None, row.metric)
    ]
    if table not in LAYOUTS or not chosen:
        about = ", ".join(filter(None, (*datasets, metric)))
        raise TableError(f"HPCR has no {table!r} {about}; there are: {', '.join(LAYOUTS)}")
    frame = _most_seeds(compare("hpcr", chosen, records))
    run = frame["n"].gt(0).any()
    down, across = LAYOUTS[table]
    found: Grid = {}
    for line in frame.to_dict("records"):
        column = _label(line, across)
        if column and frame["dataset"].nunique() > 1:
            column = f"{_label(line, 'dataset')}, {column}"
        texts = found.setdefault(_label(line, down), {})
        texts.setdefault((column, "paper" if run else ""), _paper(line))
        if run:
            texts[column, OURS.get(line["metric"], "ours")] = _ours(line)
    return _markdown(found, down)


def quoted(
    table: str, ours: Mapping[str, Mapping[str, float] | Sequence[float]] | None = None
) -> str:
    """A printed table with numbers of our own that no record holds, each a further column.

    `ours` are column -> row, as the paper's file or this table has it, -> number; or one number per row.
    """
    down, across = LAYOUTS[table]
    found: Grid = {}
    for entry in entries("hpcr", table):
        line = {**entry._asdict(), "paper": entry.value, "paper_pm": entry.std}
        column = (_label(line, across), "paper" if ours else "")
        found.setdefault(_label(line, down), {})[column] = _paper(line)
    for column, values in (ours or {}).items():
        given = values if isinstance(values, Mapping) else dict(zip(found, values, strict=True))
        named = {WORDS.get(row, row): value for row, value in given.items()}
        if unknown := sorted({*named} - {*found}):
            raise TableError(f"{table} has no row {unknown[0]!r}; it has: {', '.join(found)}")
        for row, value in named.items():
            found[row][column, ""] = f"{value:.3g}"
    return _markdown(found, down)


def budgets(found: Mapping[str, Budget], base: str = "ER") -> str:
    """Table XII: what methods need in one step, and beside `base`, which is among them."""
    one = found[base]
    columns = {
        "images forward": {method: each.forward for method, each in found.items()},
        "images back": {method: each.backward for method, each in found.items()},
        "computation: ours": {m: each.computation / one.computation for m, each in found.items()},
        "memory for models: ours": {m: each.model / one.model for m, each in found.items()},
    }
    return quoted("Table XII", columns)


def distillations(records: Iterable[Record]) -> str:
    """Table XI: accuracy on each task at the end, as a fraction, by what is distilled."""
    found: Grid = {}
    for line in tasks_beside(records).to_dict("records"):
        column = "average" if line["task"] == "average" else f"task {line['task']}"
        ours = f"{line['ours']:.3f} (n={line['seeds']})" if line["seeds"] else DASH
        for who, text in (("paper", f"{line['paper']:.3f}"), ("ours", ours)):
            found.setdefault(f"{line['distillation']}, {who}", {})[column, ""] = text
    return _markdown(found, "distillation")


def memory(records: Iterable[Record]) -> str:
    """Table XIII: what HPCR stores, and Control, which has that memory full of images alone.

    Control has as many images as the paper's count of the memory gives, or as many bytes.
    """
    chosen = [row for row in tables.rows() if (row.table, row.metric) == ("Table XIII", "A_T")]
    frame = _most_seeds(compare("hpcr", chosen, records))
    found: Grid = {}
    for (dataset, lines), stored in zip(
        frame.groupby("dataset", sort=False), tables.STORED.values(), strict=True
    ):
        texts = found.setdefault(WORDS[dataset], {})
        texts["image + features + logits", ""] = " + ".join(map(str, stored))
        for how, weight in tables.WEIGHTS.items():
            ratio = tables.memory_ratio(*stored, weight)
            texts["memory beside images alone", how] = f"× {ratio:.2f}"
        for line in lines.to_dict("records"):
            name, _, size = line["method"].partition(", ")
            about = f"{_label(line, 'buffer')}: "
            texts.setdefault((name, "paper"), ("" if size else about) + _paper(line))
            how = size.rpartition(" (")
            texts[name, f"ours{', ' + how[2][:-1] if size else ''}"] = (
                f"{how[0] + ': ' if size else ''}{_ours(line)}"
            )
    return _markdown(found, "data set")


def _most_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Of the configurations of each number the one with the most seeds, at a tie `paper`'s."""
    number = ["dataset", "setting", "method", "metric"]
    frame = frame.assign(nearest=frame["protocol"] == "paper")
    frame = frame.sort_values(["n", "nearest"], kind="stable")
    return frame.drop_duplicates(number, keep="last").sort_index()


def _label(line: Mapping[str, Any], name: str) -> str:
    """What a row or a column of a layout is called; "" for a setting that the line lacks."""
    if name in line:
        return WORDS.get(line[name], line[name])
    setting = parse_setting(line["setting"])
    value = setting.get(name, "none")
    if name == "class":
        return f"class {value + 1} ({setting['type']})"
    return "" if value == "none" else f"{WORDS.get(name, name)} {value}"


def _paper(line: Mapping[str, Any]) -> str:
    value, half = line["paper"], line["paper_pm"]
    short = line["metric"] in PER_CENT and value == round(value, 1)
    shown = f"{value:.1f}" if short else f"{value:g}"
    return shown if math.isnan(half) else f"{shown} ± {half:.1f}"


def _ours(line: Mapping[str, Any]) -> str:
    if not line["n"]:
        return DASH
    half = "" if math.isnan(line["ours_pm"]) else f" ± {line['ours_pm']:.1f}"
    return f"{line['ours']:.1f}{half} (n={line['n']}){MARKS.get(line['protocol'], '')}"


def _markdown(found: Grid, down: str) -> str:
    columns = list(dict.fromkeys(key for texts in found.values() for key in texts if key[0]))
    header = [": ".join(filter(None, key)) for key in columns]
    rows = [
        [label, *(texts.get(key) or texts.get(("", key[1])) or DASH for key in columns)]
        for label, texts in found.items()
    ]
    corner = "" if down in WORDS else down  # where it stands in each label
    shown = markdown_table([corner, *header], rows, right=header)
    notes = [f"{mark} protocol `{kind}`" for kind, mark in MARKS.items() if mark in shown]
    return "\n\n".join([shown, *notes])
