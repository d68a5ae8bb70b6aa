"""HPCR's tables: what a sweep runs for each, and which records stand beside a printed number."""

from __future__ import annotations

from typing import Any

from relcl_lib.lab.rows import (
    Cell,
    Entry,
    Row,
    entries,
    parse_setting,
    printed_names,
    table,
)
from relcl_lib.papers.hpcr.methods import METHODS
from relcl_lib.papers.hpcr.parameters import STREAMS

#: data set -> the memory sizes of Table III, or ours
DATASETS = {
    "cifar10": (100, 200, 500),
    "cifar100": (1000, 2000, 5000),
    "mini_imagenet": (1000, 2000, 5000),
    "tiny_imagenet": (2000, 4000, 10000),
    "tiny_imagenet_100": (1000, 2000, 5000),
    "mnist": (200,),
    "digits": (50,),
}
COUNTS = ("A_T",)
#: Table VII's rows, and Table VIII's, which are two of them. From +HC+HT on the paper's rows carry
#: "HC", while these methods leave HC to the batch size, as the release does: off at 10 + 10 images.
COMPONENTS = (
    Cell("ER"),
    Cell("Couple (Eq. 7)"),
    Cell("Couple (Eq. 8)"),
    Cell("PCR", prints=("PCR w/o HT",)),
    Cell("PCR+HC", prints=("PCR+HC (PCR_C)",)),
    Cell("PCR+HC+HT", prints=("PCR+HC+HT (PCR_CT)", "PCR with HT")),
    Cell("PCR+HC+HT+PCD", prints=("PCR_CT+PCD",)),
    Cell("HPCR", prints=("PCR_CT+PCD+SCD (HPCR)",)),
)
#: methods with HC off -> the same with HC on, the other reading of the paper's rows
HC_ON = {
    "PCR+HC+HT": "PCR+HC+HT (HC on)",
    "PCR+HC+HT+PCD": "PCR+HC+HT+PCD (HC on)",
    "HPCR": "HPCR (HC on)",
}
_RANGES = [
    (low, high) for low in (0.05, 0.07, 0.09, 0.11) for high in (0.12, 0.14, 0.16, 0.18, 0.2)
]
#: HPCR as released and as printed, and each difference by itself
_CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"variant": "paper"},
    {"ht": "paper"},
    {"distil_from_task": 0},
    {"scd": "paper"},
    {"joint_forward": True},
)
_TABLE_4: dict[str, Any] = {
    "width": 64,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "memory_batch": 64,
}
_ONCE: dict[str, Any] = {"memory": "buffer_size", "every_size": False}
TABLES = {
    "table3": table(
        "Tables III, V and VI, Fig. 3: methods at every memory size",
        *(Cell(name, memory=False) for name in ("IID", "IID++", "FINE-TUNE")),
        "ER",
        "ER-DVC",
        "ER-ACE",
        "PCR",
        "HPCR",
        memory="buffer_size",
    ),
    "table4": table(
        "Table IV: a wide network with Adam and a large memory batch",
        *(Cell(name, _TABLE_4) for name in ("PCR", "HPCR")),
        memory="buffer_size",
        dataset="cifar100",
    ),
    "table7": table(
        "Table VII: couples of proxies and pairs, then HPCR component by component",
        *COMPONENTS,
        *(Cell(name) for name in HC_ON.values()),
        memory="buffer_size",
    ),
    "table9": table(
        "Table IX: the range of the dynamic temperature",
        *(Cell("HPCR", {"t_min": low, "t_max": high}) for low, high in _RANGES),
        dataset="cifar100",
        **_ONCE,
    ),
    "table10": table(
        "Table X: the period of the dynamic temperature",
        *(Cell("HPCR", {"ht_period": period}) for period in (50, 100, 125, 250, 500, 1000)),
        dataset="cifar100",
        **_ONCE,
    ),
    "table11": table(
        "Table XI: stored logits of the classes in the step (PCD) or of all (DER)",
        Cell("PCR+HC+HT+PCD", prints=("PCD distillation",)),
        Cell("PCR+HC+HT+DER", prints=("DER distillation",)),
        dataset="cifar10",
        **_ONCE,
    ),
    "variants": table(
        "not in the paper: what paper and release do otherwise",
        *(Cell("HPCR", change) for change in _CHANGES),
        ours=True,
        **_ONCE,
    ),
}
#: settings of which the paper has several, or that are judged by what they name
KEPT: tuple[str, ...] = ("variant",)
#: setting -> values that any cell of the paper's may have; () for whatever value
FREE: dict[str, tuple[Any, ...]] = {}
#: rows of the summary: table, data set, setting, method, metric of the records
SUMMARY = (
    ("Table III", "Split CIFAR10", "buffer=200", "HPCR", "A_T"),
    ("Table III", "Split CIFAR10", "buffer=200", "PCR", "A_T"),
)

#: names in the paper's settings -> parameters; others are taken as they are
_PARAMETERS = {
    "buffer": "buffer_size",
    "S": "ht_period",
    "tau_min": "t_min",
    "tau_max": "t_max",
    "mem_batch": "memory_batch",
}
#: bare words in the paper's settings -> parameters
_WORDS: dict[str, dict[str, Any]] = {
    "ResNet18-nf64": {"width": 64},
    "Adam": {"optimizer": "adam", "learning_rate": 1e-3},
}
#: what some tables vary and the others hold
USUAL = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "width": 20,
    "image_size": None,
    "stream_batch": 10,
    "memory_batch": 10,
    "views": 2,
    "beta": 0.5,
    "hold_out": 0.0,
    "mask": "seen",
    "temperature": 0.09,
    "ht_period": 500,
    "t_min": 0.05,
    "t_max": 0.16,
}


def rows() -> list[Row]:
    """The rows of all tables; the records' `dataset.stream` names the data set.

    What the paper leaves open comes twice: Table VI for `F_T` (the paper's forgetting) and for
    `F_T_released`, which its code has; rows whose name says HC with HC off and on.
    """
    names, found = printed_names(TABLES.values()), []
    loaded = {stream: dataset for dataset, (stream, *_) in STREAMS.items()}
    for entry in entries("hpcr"):
        setting = parse_setting(entry.setting)
        if setting.get("buffer") == "none":
            del setting["buffer"]  # a method without a memory: whatever size was given
        wanted: dict[str, Any] = {}
        for name, value in setting.items():
            wanted |= _WORDS.get(name, {_PARAMETERS.get(name, name): value})
        for metric in ("F_T", "F_T_released") if entry.metric == "F_T" else (entry.metric,):
            for methods, shown in _readings(entry, names.get(entry.method, (entry.method,))):
                dataset = loaded.get(entry.dataset, "")
                known = [METHODS[name].options_of(dataset) for name in methods if name in METHODS]
                found.append(
                    Row.of(
                        entry,
                        methods=methods,
                        shown=shown,
                        record_metric=metric,
                        where_dataset={"stream": entry.dataset},
                        where_parameters=wanted,
                        usual={**USUAL, "options": known[0]} if known else USUAL,
                    )
                )
    return found


def _readings(entry: Entry, methods: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    """The methods that may stand behind a printed row, and what each reading is called."""
    other = {**HC_ON, "PCR": "PCR+HC"} if entry.table == "Table VIII" else HC_ON
    if entry.table not in ("Table VII", "Table VIII") or methods[0] not in other:
        return [(methods, "")]
    on = (other[methods[0]],)
    return [(methods, f"{entry.method}, HC off"), (on, f"{entry.method}, HC on")]
