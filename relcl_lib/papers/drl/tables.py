"""DRL's tables: what a sweep runs for each, and which records stand beside a printed number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from relcl_lib.lab.rows import MEASURED, Cell, Entry, Row, entries, parse_setting, table

if TYPE_CHECKING:
    import pandas as pd

    from relcl_lib.lab.records import Record
    from relcl_lib.papers.drl.parameters import DrlNotebook, DrlParameters

#: of what the paper's tables report, what runs of one process can be compared by -> in words
REPORTED = {
    "avg_valid_acc": "average validation accuracy (%)",
    "test_acc": "test accuracy (%)",
    "time_min": "minutes",
}

#: network as the tables name it, and as `models.taps` recognises it -> where the paper's weights are
NETWORKS = {"ResNet50": "microsoft/resnet-50", "ResNeSt50": "timm/resnest50d.in1k"}
#: stand-ins with rows of their own: those whose images the reduced ResNet-18 takes
STAND_INS = ("cifar10", "cifar100", "tiny_imagenet", "tiny_imagenet_100")
#: data sets whose images have sessions, or can be given some; `mnist` has the Disjoint stream alone
DATASETS: dict[str, tuple[int, ...]] = dict.fromkeys(
    ("core50", *STAND_INS, "digits", "mnist", "own"), ()
)
COUNTS = ("avg_valid_acc", "test_acc")
STRATEGIES = ("Shuffle", "ER", "BER")

#: the rows that the paper prints, table by table: method, memory, B, lambda, network
PRINTED: dict[str, tuple[tuple[str, int, int, float, str], ...]] = {
    "NI": (
        ("Shuffle", 100, 32, 0.0, "ResNet50"),
        ("Shuffle", 100, 16, 0.0, "ResNet50"),
        ("ER", 100, 16, 0.0, "ResNet50"),
        ("BER", 100, 16, 0.0, "ResNet50"),
        ("ER", 100, 16, 2e-4, "ResNet50"),
        ("BER", 100, 16, 2e-4, "ResNet50"),
        ("BER", 300, 16, 2e-4, "ResNet50"),
        ("BER", 300, 16, 1e-3, "ResNet50"),
        ("BER", 2000, 16, 1e-3, "ResNet50"),
        ("BER", 1500, 16, 0.0, "ResNeSt50"),
        ("BER", 1500, 16, 1e-3, "ResNeSt50"),
    ),
    "Multi-Task-NC": (
        ("Shuffle", 20, 32, 0.0, "ResNet50"),
        ("Shuffle", 100, 32, 0.0, "ResNet50"),
        ("Shuffle", 100, 16, 0.0, "ResNet50"),
        ("BER", 100, 16, 2e-4, "ResNet50"),
        ("ER", 100, 16, 2e-4, "ResNet50"),
        ("ER", 500, 16, 2e-4, "ResNet50"),
        ("ER", 500, 16, 2e-4, "ResNeSt50"),
    ),
    "NIC": (
        ("Shuffle", 10, 32, 0.0, "ResNet50"),
        ("Shuffle", 50, 32, 2e-4, "ResNet50"),
        ("Shuffle", 50, 16, 2e-4, "ResNet50"),
        ("ER", 50, 16, 0.0, "ResNet50"),
        ("ER", 50, 16, 2e-4, "ResNet50"),
        ("BER", 50, 2, 2e-4, "ResNet50"),
        ("Shuffle", 50, 32, 1e-5, "ResNeSt50"),
    ),
}


def _printed_cells(track: str) -> list[Cell]:
    """The cells of a printed table: on CORe50 one a row, with the row's network.

    A stand-in has one network for both of the paper's, so rows that differ in nothing else are one
    cell there, which says whom it stands for.
    """
    own, shared = [], {}
    for method, memory, batch, weight, network in PRINTED[track]:
        settings = {"track": track, "memory_size": memory, "batch_size": batch}
        settings["drl_weight"] = weight
        if track == "NIC" and method == "ER":
            settings["er"] = "released"  # the printed 0.04 is of the form that soon replays nothing
        pretrained = {**settings, "backbone": NETWORKS[network]}
        own.append(Cell(method, pretrained, only=("core50",)))
        shared.setdefault((method, *settings.items()), []).append(network)
    elsewhere = tuple(name for name in DATASETS if name != "core50")
    merged = [
        Cell(key[0], dict(key[1:]), only=elsewhere, stands_for=tuple(networks))
        for key, networks in shared.items()
    ]
    return [*own, *merged]


def _cells(methods: Iterable[str], weights: Iterable[float], **shared: Any) -> list[Cell]:
    return [Cell(m, {**shared, "drl_weight": w}) for w in weights for m in methods]


_NI: dict[str, Any] = {"track": "NI", "memory_size": 100, "batch_size": 16}
_NC = {**_NI, "track": "Multi-Task-NC"}
_NIC: dict[str, Any] = {"track": "NIC", "memory_size": 50}
#: lambda of the pairs of runs without and with the loss, which is the tables' for ResNet50
PAIRED = 2e-4
_BOTH = (0.0, PAIRED)
#: a lambda that changes nothing but the rounding of a step: what two runs differ by anyway (1e-12 does
#: not even that: such a share of a gradient is lost in float32's 24 bits)
ROUNDING = 1e-8
CONTROL = (0.0, ROUNDING, PAIRED, 1e-3, 1e-2)
_FORMS = {"released": 1e-3, "dev": 1e-3, "later": 1e-3, "paper": 1e-3, "paper_cos": 0.5}
TABLES = {
    "table1": table("Table 1, NI", *_printed_cells("NI")),
    "table2": table("Table 2, Multi-Task-NC", *_printed_cells("Multi-Task-NC")),
    "table3": table("Table 3, NIC", *_printed_cells("NIC")),
    "bounds": table(
        "not in the paper: no memory at all, and all experiences at once, in one pass and in four",
        *(
            Cell(method, {"track": track, "batch_size": 16, **heads, **passes})
            for track in PRINTED
            for method, passes in (("FINE-TUNE", {}), ("JOINT", {}), ("JOINT", {"epochs": 4}))
            # One head of all classes: the task label chooses among its own.
            for heads in [
                {"heads": "masked"} if (track, method) == ("Multi-Task-NC", "JOINT") else {}
            ]
        ),
        ours=True,
    ),
    "pairs": table(
        "not in the paper: each strategy without and with the loss, all else equal; NIC's ER twice",
        *_cells(STRATEGIES, _BOTH, **_NI),
        *_cells(STRATEGIES, _BOTH, **_NC),
        *_cells(("Shuffle",), _BOTH, **_NIC, batch_size=32),
        *_cells(("ER",), _BOTH, **_NIC, batch_size=16, er="paper"),
        *_cells(("BER",), _BOTH, **_NIC, batch_size=2),
        *_cells(("ER",), _BOTH, **_NIC, batch_size=16, er="released"),
        ours=True,
    ),
    "control": table(
        "not in the paper: the same runs at lambda = 0, as good as 0, and more",
        *_cells(STRATEGIES, CONTROL, **_NI),
        *_cells(STRATEGIES, CONTROL, **_NC),
        ours=True,
    ),
    "gradients": table(
        "not in the paper: GEM, A-GEM and GSS, which it argues from; past tasks' own heads, too",
        *_cells(("GEM", "A-GEM", "GSS"), (0.0,), **_NI),
        *_cells(("GEM", "A-GEM"), (0.0,), **_NC),
        *_cells(("GEM", "A-GEM"), (0.0,), **_NC, heads="task"),
        ours=True,
    ),
    "variants": table(
        "not in the paper: each form of the loss on all representations and on the logits",
        *(
            Cell("BER", {"memory_size": 100, "loss": form, "taps": taps, "drl_weight": weight})
            for taps in ("all", "logits")
            for form, weight in _FORMS.items()
        ),
        ours=True,
    ),
    "lambda": table(
        "not in the paper as a table: the weight of the loss",
        *_cells(("BER",), (0.0, 1e-5, 2e-4, 1e-3, 1e-2, 1e-1), memory_size=100),
        ours=True,
    ),
}
#: the loss's share of the gradient by experience, among a record's curves
SHARE = "gradient_share"
#: cells of a sweep on a stand-in -> what stands for a table, as the paper has none
MEASURED_TABLES = {
    "table1": f"{MEASURED}: Table 1",
    "table2": f"{MEASURED}: Table 2",
    "table3": f"{MEASURED}: Table 3",
    "bounds": f"{MEASURED}: floor and ceiling",
    "pairs": f"{MEASURED}: without and with the loss",
    "control": f"{MEASURED}: control",
    "gradients": f"{MEASURED}: methods on gradients",
    "lambda": f"{MEASURED}: lambda",
    "variants": f"{MEASURED}: forms of the loss",
}
#: settings of which the paper has several, or that are judged by what they name
KEPT: tuple[str, ...] = ("variant",)
#: setting -> values that any cell of the paper's may have; () for whatever value
FREE: dict[str, tuple[Any, ...]] = {}
SUMMARY = (
    (
        "Figure 1",
        "MNIST-{7,9}",
        "pairs=different_class",
        "corr(gradient_sim,representation_sim)",
        "r_representations_different",
    ),
    *(
        (
            MEASURED_TABLES["pairs"],
            f"CORe50-standin(cifar10) {track}",
            f"mem=100;bs=16;lambda={weight:g}",
            "ER",
            "test_acc",
        )
        for track in ("NI", "Multi-Task-NC")
        for weight in _BOTH
    ),
)

#: metric in the paper's tables -> in records, and what brings the paper's number to their unit.
#: Memory and minutes belong to a machine; they stand there because the tables have them.
_METRICS = {
    "test_acc": ("test_acc", 100.0),
    "avg_valid_acc": ("avg_valid_acc", 100.0),
    "ram_mb": ("ram_mb", 1.0),
    "time_min": ("time_min", 1.0),
    "test_acc_percent": ("test_acc", 1.0),
}
#: name in a setting -> parameter, of the paper's tables and of our own
_PARAMETERS = {"mem": "memory_size", "bs": "batch_size", "lambda": "drl_weight"}
_SHOWN = {**_PARAMETERS, **{n: n for n in ("er", "loss", "taps", "heads", "epochs")}}
#: what no table varies, so that other runs stay out of them
USUAL = {"order": 0, "epochs": 1, "limit": None, "heads": "released", "memory_budget": None}
#: what no table of a stand-in varies either
_FROM_SCRATCH = {"learning_rate": 0.1, "image_size": None, "freeze_stages": 0}
#: what Figure 1 plots against the cosines of gradients, of which pairs -> in the names of our metrics
_KINDS = {
    "corr(gradient_sim,feature_sim)": "features",
    "corr(gradient_sim,representation_sim)": "representations",
}
_PAIRS = {"pairs=different_class": "different", "pairs=same_class": "same"}
#: what is measured for Figure 2, which the paper plots without a number, in the names of the
#: records: accuracy in per cent, means of cosines and, as the paper sees gradients of different
#: classes concentrate around 0, the spread of theirs
FIGURE2_METRICS = (
    "test_acc",
    "representations_different",
    "representations_same",
    "gradients_different",
    "gradients_different_sd",
    "gradients_same",
)


def printed_rows(name: str | None = None) -> list[Row]:
    """The rows of Tables 1 to 3 and Figure 1; the records' `dataset.track` names the track.

    Only runs on CORe50 itself correspond: a stand-in's numbers stand in no column of the paper's.
    """
    return [
        _figure1_row(entry) if entry.table == "Figure 1" else _track_row(entry)
        for entry in entries("drl", name)
    ]


def _track_row(entry: Entry) -> Row:
    setting = parse_setting(entry.setting)
    metric, scale = _METRICS[entry.metric]
    track = entry.dataset.removeprefix("CORe50-")
    wanted = {_PARAMETERS[name]: setting[name] for name in _PARAMETERS}
    if (track, entry.method) == ("NIC", "ER"):
        wanted["er"] = "released"
    return Row.of(
        entry,
        record_metric=metric,
        where_dataset={"name": "core50", "track": track},
        where_parameters={**wanted, "network": setting["network"]},
        usual=USUAL,
        experiment=f"{track.lower().replace('-', '_')}_core50",
        protocol="paper",  # every setting that the paper fixes, in the form of the run's variant
        paper_scale=scale,
    )


def _figure1_row(entry: Entry) -> Row:
    if entry.metric == "pearson_r":
        metric, scale, digits = f"r_{_KINDS[entry.method]}_{_PAIRS[entry.setting]}", 1.0, 2
    else:
        (metric, scale), digits = _METRICS[entry.metric], 2  # as printed: 99.95 and 96.25
    return Row.of(
        entry,
        methods=("MLP 2x100",),
        record_metric=metric,
        where_dataset={"set": entry.dataset},
        experiment="figure1",
        paper_scale=scale,
        digits=digits,
        told=("classifier",),
    )


def figure2_rows() -> list[Row]:
    """Rows for Figure 2, which the paper plots without a number: each shows a dash for it."""
    return [
        Row.of(
            Entry(f"{MEASURED}: Figure 2", "MNIST Disjoint", f"lambda={weight:g}", "BER", metric),
            where_dataset={"name": "mnist", "track": "Disjoint"},
            where_parameters={"drl_weight": weight, "network": "MLP 2x100"},
            usual={**USUAL, "limit": 1000, "loss": "released", "taps": "all", "samples": 150},
            experiment="figure2",
            digits=1 if metric == "test_acc" else 3,
            told=("taps",),
        )
        for metric in FIGURE2_METRICS
        for weight in (0.0, 1e-3)
    ]


def stand_in_rows(name: str, base: str = "cifar10", metrics: Sequence[str] = COUNTS) -> list[Row]:
    """Rows for a sweep's table on a stand-in, one of `STAND_INS`: each shows a dash for the paper.

    A stand-in's numbers never share a column with CORe50's, so these rows have no printed entry; the
    setting names what the paper's would.
    """
    found = []
    cells = [cell for cell in TABLES[name].cells if not cell.only or base in cell.only]
    for cell in cells:
        settings = dict(cell.settings)
        track, data = settings.pop("track", "NI"), f"CORe50-standin({base})"
        # What other cells of the track set stands in each.
        alike = (c.settings for c in cells if c.settings.get("track", "NI") == track)
        usual = {key: USUAL[key] for key in {k for each in alike for k in each} & USUAL.keys()}
        every = usual | settings
        shown = {short: every[key] for short, key in _SHOWN.items() if key in every}
        numbers = {k: f"{v:g}" if isinstance(v, float) else v for k, v in shown.items()}
        if "ResNeSt50" in cell.stands_for:
            numbers["for"] = "+".join(cell.stands_for)
        setting = ";".join(f"{short}={value}" for short, value in numbers.items())
        for metric in metrics:
            entry = Entry(MEASURED_TABLES[name], f"{data} {track}", setting, cell.method, metric)
            row = Row.of(
                entry,
                where_dataset={"name": data, "track": track},
                where_parameters={**settings, "network": "Reduced ResNet-18"},
                usual={**USUAL, **_FROM_SCRATCH, "loss": "released", "taps": "logits"},
                told=("width",),
            )
            found.append(row)
    return found


def rows() -> list[Row]:
    """The rows of all tables and figures, and of what is measured on the stand-ins."""
    beside = [
        row for base in STAND_INS for name in MEASURED_TABLES for row in stand_in_rows(name, base)
    ]
    return [*printed_rows(), *figure2_rows(), *beside]


def table_run(
    given: DrlNotebook, track: str, method: str, *, loss: bool, **changes: Any
) -> DrlParameters:
    """The run of a cell that a sweep has of a track, with the loss or without.

    What the notebook was given (a memory size, say) goes before the cell's settings; its
    `drl_weight` is that of the cells with the loss. `er` and `heads` among the changes choose
    between cells.
    """
    weight = PAIRED if loss else 0.0
    cells = [
        cell
        for name in ("pairs", "gradients", "bounds")
        for cell in TABLES[name].runs(given.dataset)
        if (cell["track"], cell["method"]) == (track, method)
        and cell.get("drl_weight", 0.0) == weight
        and all(cell.get(k) == changes.get(k, cell.get(k)) for k in ("er", "heads"))
    ]
    chosen = given.model_dump(include=set(cells[0]), exclude_none=True)
    if loss and given.drl_weight is not None:
        weight = given.drl_weight
    own = {"track": track, "method": method, "drl_weight": weight}
    return given.run(**{**cells[0], **chosen, **own, **changes})


def summary(records: Mapping[str, Mapping[str, Sequence[Record]]]) -> pd.DataFrame:
    """What the paper's tables report of each strategy, the mean over seeds.

    Memory is left out: it is the process's, whose runs share it.

    Args:
        records: strategy -> with or without the loss -> records, one per seed.
    """
    import pandas as pd

    rows = {
        (name, series): {
            **pd.DataFrame([record.metrics for record in each]).mean()[list(REPORTED)],
            "seeds": len(each),
        }
        for name, found in records.items()
        for series, each in found.items()
    }
    shown = pd.DataFrame(rows).T.round(dict.fromkeys(COUNTS, 1) | {"time_min": 3})
    return shown.astype({"seeds": int}).rename(columns=REPORTED)
