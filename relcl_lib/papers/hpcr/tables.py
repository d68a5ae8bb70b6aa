"""HPCR's tables: what a sweep runs for each, and which records stand beside a printed number."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from relcl_lib.lab.rows import (
    MEASURED,
    Cell,
    Entry,
    Row,
    entries,
    parse_setting,
    printed_names,
    table,
)

if TYPE_CHECKING:
    from relcl_lib.lab.records import Record

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
#: data set -> numbers in an image, in a feature and in logits (Table XIII)
STORED = {
    "cifar10": (3 * 32**2, 160, 10),
    "cifar100": (3 * 32**2, 160, 100),
    "mini_imagenet": (3 * 84**2, 640, 100),
    "tiny_imagenet": (3 * 64**2, 640, 200),
}
#: how Table XIII's memory is counted -> what a stored float weighs beside a number of an image
WEIGHTS = {"as the paper counts": 1, "in bytes": 4}
COUNTS = ("A_T",)
#: metrics of `lossless.py`: the estimate, what it adds to A_T, and the standard error of that
LOSSLESS = ("A_T_lossless", "A_T_lossless_change", "A_T_lossless_error")
#: those of `measure.py` on principal components (Fig. 6)
PRINCIPAL = ("components_kept", "A_T_components_5", "A_T_components_10")
#: what is measured beside the paper's tables -> its metrics, and the memories they are shown for
BESIDE = {
    "lossless test images": (LOSSLESS, (200,)),
    "principal components": (PRINCIPAL, DATASETS["cifar10"]),
}
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
#: the paper has no numbers of GSS and A-GEM on Tiny-ImageNet
_WITHOUT_TINY = tuple(name for name in DATASETS if name != "tiny_imagenet")
_COMPARED = (
    *("GMED", "MIR", "ASER", "ER-WA", "DER++", "SS-IL", "SCR"),
    *("ER-DVC", "OCM", "OnPro", "ER-ACE", "OBC", "UER"),
)
#: methods that have Adam, and a rate for it, from their authors
_OWN_OPTIMIZER = ("OCM", "OnPro")
#: learning rates that are tried for the others, tested on images held out of the training set
RATES = (0.01, 0.03, 0.1, 0.3)
#: methods of which no readable source settles every detail, see their docstrings
INFERRED = ("GMED", "ER-WA", "SS-IL", "OBC", "UER", "OCM", "OnPro", "PCR+HC+HT+DER")
#: Fig. 2 tries temperatures in the part G of the gradient, in P of the softmax, and in both
TEMPERATURES = (0.01, 0.03, 0.05, 0.07, 0.09, 0.12, 0.16, 0.2, 0.3, 0.5)
#: Fig. 5's memory batches
MEMORY_BATCHES = (10, 20, 40, 60, 80, 100)


def memory_ratio(pixels: int, features: int, classes: int, weight: int = 1) -> float:
    """Memory of images with features and logits beside images alone; `weight` of `WEIGHTS`."""
    return 1 + weight * (features + classes) / pixels


def control_size(dataset: str, size: int, weight: int) -> int:
    """Images that fit where `size` lie with features and logits, with the paper's network.

    As the paper counts it is its own rounded ratio, else the images that make the same bytes.
    """
    ratio = memory_ratio(*STORED[dataset], weight)
    return round(size * (round(ratio, 2) if weight == 1 else ratio))


def apart(gradient: float = 0.09, softmax: float = 0.09) -> dict[str, float]:
    """Parameters of a run of PCR with a temperature for each part (Fig. 2): G is a learning rate."""
    return {"temperature": softmax, "learning_rate": round(0.1 * softmax / gradient, 9)}


_PARTS = [
    parts for t in TEMPERATURES for parts in ((t, t), (t, 0.09), (0.09, t))[: 1 if t == 0.09 else 3]
]
_ONCE: dict[str, Any] = {"memory": "buffer_size", "every_size": False}
TABLES = {
    "table3": table(
        "Tables III, V and VI, Fig. 3: methods at every memory size",
        *(Cell(name, memory=False) for name in ("IID", "IID++", "FINE-TUNE")),
        "ER",
        *(Cell(name, only=_WITHOUT_TINY) for name in ("GSS", "A-GEM")),
        *(Cell(name) for name in _COMPARED),
        "PCR",
        "HPCR",
        memory="buffer_size",
    ),
    "table4": table(
        "Table IV: a wide network with Adam and a large memory batch",
        *(Cell(name, _TABLE_4) for name in ("SCR", "OCM", "OnPro", "PCR", "HPCR")),
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
    "table13": table(
        "Table XIII: HPCR, and its memory spent on images alone (Control), two ways to count it",
        *(
            Cell(
                "PCR+HC+HT",  # inferred: HPCR without what it stores
                prints=("Control",),
                only=tuple(STORED),
                size=partial(control_size, weight=weight),
                ours=weight > 1,
            )
            for weight in WEIGHTS.values()
        ),
        "HPCR",
        **_ONCE,
    ),
    "figure2": table(
        "Fig. 2: PCR's temperature in the gradient (G), in the softmax (P), in both; with --dataset "
        "cifar10 Table II",
        *(Cell("PCR", apart(*parts)) for parts in _PARTS),
        dataset="cifar100",
        **_ONCE,
    ),
    "figure5": table(
        "Fig. 5: the memory batch, without and with pairs of samples",
        *(Cell(m, {"memory_batch": n}) for n in MEMORY_BATCHES for m in ("PCR", "PCR+HC")),
        dataset="cifar100",
        largest=True,
        **_ONCE,
    ),
    "figure8": table(
        "Fig. 8: the proxies' gradients with relations distilled alone (SCD), with logits alone (PCD)",
        "PCR+HC+HT+SCD",
        "PCR+HC+HT+PCD",
        dataset="cifar10",
        **_ONCE,
    ),
    "figure10": table(
        "Fig. 10: few images replayed, and many, whose features `hpcr features` keeps for the t-SNE",
        *(Cell(m, {"memory_batch": n}) for n in (10, 100) for m in ("ER", "HPCR")),
        dataset="cifar10",
        largest=True,
        **_ONCE,
    ),
    "encoding": table(
        "not in the paper: images as they are and as JPEG copies, a tenth of them held out as test",
        *(Cell("HPCR", {"hold_out": 0.1, "reencode": kind}) for kind in ("none", "jpeg75")),
        ours=True,
        memory="buffer_size",
    ),
    "rates": table(
        "not in the paper: learning rates of compared methods, a tenth held out (with --seeds 10); "
        "one that is chosen goes into the method's `switches`, to be its row in Table III",
        *(
            Cell(name, {"learning_rate": rate, "hold_out": 0.1})
            for name in ("ER", "GSS", "A-GEM", *_COMPARED)
            if name not in _OWN_OPTIMIZER
            for rate in RATES
        ),
        *(Cell("DER++", {"learning_rate": rate, "hold_out": 0.1, "beta": 1.0}) for rate in RATES),
        ours=True,
        memory="buffer_size",
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
FREE: dict[str, tuple[Any, ...]] = {"cuda_graph": ()}
#: rows of the summary: table, data set, setting, method, metric of the records
SUMMARY = (
    ("Table III", "Split CIFAR10", "buffer=200", "HPCR", "A_T"),
    ("Table III", "Split CIFAR10", "buffer=200", "PCR", "A_T"),
)
#: points beyond which RESULTS.md says why a number is not the paper's
FAR = 3.0
#: table, method and metric of such a number -> why, where that is known
MISSES = {
    (place, method, metric): why
    for place, metric, why in (
        ("Table VI", "F_T", "the released code's definition, in the next column, is nearer"),
        ("Table V", "AAA_all", "over the classes seen, in the column before, it is nearer"),
    )
    for method in ("PCR", "HPCR")
} | {
    ("Table VIII", f"PCR {ht} HT, HC {hc}", f"cumulative_gradient_{which}_classes"): (
        "the paper does not define its sum; ours is that of Figure 8"
    )
    for ht in ("w/o", "with")
    for hc in ("off", "on")
    for which in ("old", "new")
}
#: the same -> what may be behind it, where that is not known
HINTS = {
    ("Table III", "ASER", "A_T"): "its public code trains on clean images, not on two views",
    ("Table III", "DER++", "A_T"): "its weights and rate are not tuned here",
    ("Table III", "UER (inferred)", "A_T"): "the scale of its cosines is not known",
}

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
    "extra memory spent on samples": {},  # see `_readings`
    "average": {"buffer_size": DATASETS["cifar10"][0]},  # Table XI: the sweep's, none is named
}
#: metrics in print -> those of the records that stand beside each, and what brings it to per cent
_METRICS = {
    "AAA": (("AAA", 1), ("AAA_all", 1)),
    "F_T": (("F_T", 1), ("F_T_released", 1), ("F_T_released_all", 1)),
    "final_accuracy_fraction": (("A_T", 100),),
}
#: metrics whose numbers are small -> decimals shown
_DIGITS = {"train_loss": 2, "loss_difference_all_classes": 4, "loss_difference_new_classes": 4}
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
    "reencode": "none",
    "mask": "seen",
    "temperature": 0.09,
    "ht_period": 500,
    "t_min": 0.05,
    "t_max": 0.16,
}


def rows() -> list[Row]:
    """The rows of all tables; the records' `dataset.stream` names the data set.

    After the paper's come our estimates on lossless test images, and the principal components.

    What the paper leaves open comes several times: Table V over the classes seen and over all
    (`AAA_all`); Table VI for `F_T` (the paper's forgetting) and for `F_T_released`, which its code
    has, over the classes seen and over all; rows whose name says HC with HC off and on; Table XIII's
    Control with its memory counted in the two `WEIGHTS`.
    """
    names, found = printed_names(TABLES.values()), []
    # Late, as it loads torch: a sweep lists its tables without it.
    from relcl_lib.papers.hpcr.parameters import STREAMS

    loaded = {stream: dataset for dataset, (stream, *_) in STREAMS.items()}
    for entry in entries("hpcr"):
        setting = parse_setting(entry.setting)
        if setting.get("buffer") == "none":
            del setting["buffer"]  # a method without a memory: whatever size was given
        wanted: dict[str, Any] = {}
        for name, value in setting.items():
            wanted |= _WORDS.get(name, {_PARAMETERS.get(name, name): value})
        for metric, scale in _METRICS.get(entry.metric, ((entry.metric, 1),)):
            dataset = loaded.get(entry.dataset, "")
            named = names.get(entry.method, (entry.method,))
            for methods, shown, more in _readings(entry, named, dataset):
                found.append(
                    Row.of(
                        entry,
                        methods=methods,
                        shown=shown,
                        record_metric=metric,
                        paper_scale=scale,
                        digits=_DIGITS.get(metric, 1),
                        where_dataset={"stream": entry.dataset},
                        where_parameters=wanted | more,
                        usual=_usual(methods, dataset),
                    )
                )
    return found + _beside()


def _beside() -> list[Row]:
    """Rows of what is measured on Split CIFAR-10 beside the paper's tables, for each method."""
    cells, stream = (*TABLES["table3"].cells, *TABLES["table7"].cells), "Split CIFAR10"
    return [
        Row(
            f"{MEASURED}: {what}",
            stream,
            f"buffer={size}",
            method,
            metric,
            where_dataset={"stream": stream},
            where_parameters={"buffer_size": size},
            usual=_usual((method,), "cifar10"),
        )
        for what, (metrics, sizes) in BESIDE.items()
        for size in sizes
        for method in dict.fromkeys(cell.method for cell in cells)
        for metric in metrics
    ]


def _usual(methods: tuple[str, ...], dataset: str) -> dict[str, Any]:
    """What a row holds unless it says otherwise: `USUAL`, and what its method has of its own."""
    from relcl_lib.papers.hpcr.methods import METHODS

    known = [METHODS[name] for name in methods if name in METHODS]
    if not known:
        return USUAL
    own = {name: value for name, value in known[0].switches.items() if name in USUAL}
    return {**USUAL, **own, "options": known[0].options_of(dataset)}


def as_usual(record: Record, but: Collection[str] = ()) -> bool:
    """Whether a record's run has the settings that its method has on its data by default.

    The memory's size and the precision are left open, and what `but` names.
    """
    usual = _by_default(record.method, str(record.dataset["name"]), record.variant)
    free = {"buffer_size", "precision", *but}
    return all(
        name in free or usual.get(name) == value for name, value in record.parameters.items()
    )


@cache
def _by_default(method: str, dataset: str, variant: str) -> dict[str, Any]:
    from relcl_lib.papers.hpcr.parameters import ReplayParameters

    given = ReplayParameters(method=method, dataset=dataset, variant=variant)
    return given.resolved().model_dump(mode="json")


def _readings(
    entry: Entry, methods: tuple[str, ...], dataset: str
) -> list[tuple[tuple[str, ...], str, dict[str, Any]]]:
    """The methods that may stand behind a printed row, what each is called, and its settings."""
    if entry.method == "Control":
        size = parse_setting(entry.setting)["buffer"]
        sizes = {how: control_size(dataset, size, weight) for how, weight in WEIGHTS.items()}
        return [
            (methods, f"Control, memory {size} ({how})", {"buffer_size": size})
            for how, size in sizes.items()
        ]
    if methods[0] in INFERRED:
        return [(methods, f"{entry.method} (inferred)", {})]
    other = {**HC_ON, "PCR": "PCR+HC"} if entry.table == "Table VIII" else HC_ON
    if entry.table not in ("Table VII", "Table VIII") or methods[0] not in other:
        return [(methods, "", {})]
    on = (other[methods[0]],)
    return [(methods, f"{entry.method}, HC off", {}), (on, f"{entry.method}, HC on", {})]
