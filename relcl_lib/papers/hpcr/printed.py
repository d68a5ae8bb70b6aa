"""HPCR's printed tables in the paper's layout, and those that need a layout of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any

from relcl_lib.lab.compare import compare, nearest
from relcl_lib.lab.format import DASH
from relcl_lib.lab.printed import Grid, PrintedTables, measured
from relcl_lib.lab.rows import entries, parse_setting, printed_names
from relcl_lib.papers.hpcr import studies, tables

if TYPE_CHECKING:
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
    "S": "period",
    "A_T": "final accuracy (%)",
    "AAA": "accuracy over the stream (%)",
    "AAA_all": "accuracy over the stream (%)",  # the same number of the paper
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
#: what several of our numbers beside one of the paper's are called
OURS = {
    "AAA": "ours, classes seen",
    "AAA_all": "ours, all classes",
    "F_T": "ours, F_T",
    "F_T_released": "ours, F_T as released",
    "F_T_released_all": "ours, as released, all classes",
}


class _Tables(PrintedTables):
    def label(self, line: Mapping[str, Any], name: str) -> str:
        """As of every paper; a class has its kind beside its number."""
        if name != "class":
            return super().label(line, name)
        setting = parse_setting(line["setting"])
        return f"class {setting[name] + 1} ({setting['type']})"


TABLES = _Tables("hpcr", LAYOUTS, tables.rows, WORDS, OURS)
beside, quoted = TABLES.beside, TABLES.quoted


def budgets(found: Mapping[str, studies.Budget]) -> str:
    """Table XII: what methods need in one step, and beside ER, which is among them."""
    one = found["ER"]
    columns = {
        "images forward": {method: each.forward for method, each in found.items()},
        "images back": {method: each.backward for method, each in found.items()},
        "computation: ours": {m: each.computation / one.computation for m, each in found.items()},
        "memory for models: ours": {m: each.model / one.model for m, each in found.items()},
    }
    return quoted("Table XII", columns)


def best_temperatures(columns: Mapping[str, Iterable[Record]]) -> str:
    """Table II: the temperature in P that is best for each class, of those of a sweep of PCR.

    `columns` are a name -> records; those without accuracy by class are left out.
    """
    found = {name: studies.best_temperatures(records) for name, records in columns.items()}
    return quoted("Table II", {name: best for name, best in found.items() if best})


def distillations(records: Iterable[Record]) -> str:
    """Table XI: accuracy on each task at the end, as a fraction, by what is distilled.

    The paper names no memory size; ours is the first of `sweep hpcr table11`.
    """
    found: Grid = {}
    swept = tables.TABLES["table11"]
    names = printed_names([swept])
    runs = studies.split_cifar10(records, tables.DATASETS[swept.dataset][0])
    for entry in entries("hpcr", "Table XI"):
        task = parse_setting(entry.setting).get("task")
        last = [run.accuracy_matrix[-1] for run in runs if run.method in names[entry.method]]
        ours = DASH
        if last:
            tasks = [fmean(of_task) / 100 for of_task in zip(*last, strict=True)]
            ours = f"{tasks[task - 1] if task else fmean(tasks):.4f} (n={len(last)})"
        what, column = entry.method.split()[0], f"task {task}" if task else "average"
        for who, text in (("paper", f"{entry.value:.4f}"), ("ours", ours)):
            found.setdefault(f"{what}, {who}", {})[column, ""] = text
    return TABLES.markdown(found, "distillation")


def memory(records: Iterable[Record]) -> str:
    """Table XIII: what HPCR stores, and Control, which has that memory full of images alone.

    Control has as many images as the paper's count of the memory gives, or as many bytes.
    """
    chosen = [row for row in tables.rows() if (row.table, row.metric) == ("Table XIII", "A_T")]
    frame = nearest(compare("hpcr", chosen, records))
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
            about = f"{TABLES.label(line, 'buffer')}: "
            texts.setdefault((name, "paper"), ("" if size else about) + TABLES.printed(line))
            how = size.rpartition(" (")
            texts[name, f"ours{', ' + how[2][:-1] if size else ''}"] = (
                f"{how[0] + ': ' if size else ''}{measured(line)}"
            )
    return TABLES.markdown(found, "data set")
