"""DocRE-II's tables: what a sweep runs for each, and which records stand beside a printed number.

Every row asks for the base that it means, so that runs on ATLOP and runs on stated facts are never
counted together.
"""

from __future__ import annotations

from typing import Any

from relcl_lib.lab.rows import (
    MEASURED,
    Cell,
    Entry,
    Row,
    entries,
    parse_setting,
    table,
)
from relcl_lib.papers.docre_ii.parameters import (
    LINEAR,
    METHODS,
    PAPER,
    RELEASED,
    TRAINING,
    DocreParameters,
)

DATASETS: dict[str, tuple[int, ...]] = dict.fromkeys(
    ("docred", "redocred", "cdr", "gda", "synthetic"), ()
)
COUNTS = ("F1_base", "F1")
#: the paper's "Ours", followed by the encoder's name
OURS = "DocRE-II"
#: its base by itself
BASE = "ATLOP (base)"
#: the rows of Table 4; Table 8 has the first three
ABLATIONS = (
    "w/o ECA",
    "w/o contrastive loss",
    "w/o fusion sub-layer",
    "w/ negative pairs",
    "w/o pre-training",
    "w/ freeze base module",
)
#: what the release does otherwise, one at a time
_CHANGES: tuple[dict[str, Any], ...] = (
    {"markers": "typed"},
    {"document_vector": True},
    {"encoder_layers": 3},
    {"own_bonus": 1.0},
    {"feedback": "gold"},
    {"noise": [0.2, 0.5]},
    {"spurious": True},
    {"sum_logits": True},
    {"inference_classifier": "projected"},
    {"inference_layers": 1},
)
#: what the search for a base tries, beside what the profile has
_BASES: tuple[dict[str, Any], ...] = (
    {},
    {"chosen_by": "AP"},
    {"encoder_rate": 5e-5},
    {"encoder_rate": 2e-4},
    {"classifier_rate": 5e-4},
    {"classifier_rate": 2e-3},
    {"stage1_epochs": 6},
    {"stage1_epochs": 15},
    {"batch_size": 4},
    {"batch_size": 16},
    {"encoder_dropout": 0.2},
    {"mention": "both"},
    {"markers": "typed"},
    {"base_classifier": "normalised"},
    {"weight_decay": 0.05},
    {"layer_decay": 0.8},
    {"frozen_layers": 2},
    {"encoder_layers": 2},
)
#: what the quick profile trains the tiny encoder with, whatever profile the sweep is given
_QUICK = {
    **{
        name: value
        for name, value in DocreParameters.profiles["quick"].items()
        if name not in ("dataset", "seeds", "stage1_epochs", "stage2_epochs")
    },
    "encoder_layers": 1,
    "document_vector": False,
}
_ALONE = {
    **_QUICK,
    "generated": 0,
    "base": "stated_facts",
    "stage2_epochs": 10,
    "batch_size": 8,
    "inference_rate": 3e-3,
}
#: the cells differ in stage 2 only, so in one `--work-dir` a seed's stage 1 is trained once
_TEXT = {**_QUICK, "generated": 4000, "batch_size": 4, "stage1_epochs": 4, "stage2_epochs": 3}
TABLES = {
    # Its records hold the scores of its own base, too.
    "table1": table("Tables 1, 3, 5 and 6: the full model", OURS),
    # The scores after each iteration K stand in one record.
    "table2": table(
        "Table 2: the layers N_I", *(Cell(OURS, {"inference_layers": n}) for n in (1, 2, 3, 4))
    ),
    "table4": table("Table 4: one component after the other left out or changed", OURS, *ABLATIONS),
    "table8": table(
        "Table 8: those of them that are reported on CDR and GDA", OURS, *ABLATIONS[:3]
    ),
    "variants": table(
        "not in the paper: as printed, as released, and single differences",
        *(Cell(OURS, change) for change in ({}, {"variant": "released"}, *_CHANGES)),
        # Of one relation, what is likeliest is what is predicted: there this would be the whole again.
        Cell(OURS, {"relation": "argmax"}, only=("docred", "redocred", "synthetic")),
        Cell(OURS, {"orientation": "kind"}, only=("cdr", "gda")),
        ours=True,
    ),
    "rates": table(
        "not in the paper: the inference module's rate in stage 2, the paper's for CDR and larger ones",
        *(Cell(OURS, {"inference_rate": rate}) for rate in (5e-5, 2e-4, 2e-3)),
        ours=True,
    ),
    "scores": table(
        "not in the paper: whose first predictions and features of training documents stage 2 reads: "
        "the base's, those of bases that have not seen them, of another base, trained a third as long",
        *(Cell(OURS, {"training_scores": how}) for how in ("own", "out_of_fold", "early")),
        ours=True,
    ),
    "base": table(
        "not in the paper: the base alone, one setting after the other changed, chosen by dev; with "
        "--results data/tries, as records in data/results stand where the paper's base does",
        *(Cell(BASE, change) for change in _BASES),
        dataset="cdr",
        only=True,
        ours=True,
    ),
    "floor": table(
        "not in the paper: what a linear model on words and places comes to",
        Cell(LINEAR, {"seeds": [0]}),  # nothing in it is drawn
        ours=True,
    ),
    "alone": table(
        "not in the paper: the inference module on a base that is handed what the sentences state, "
        "which only generated documents say",
        *(Cell(OURS, {**_ALONE, "inference_layers": n}) for n in (1, 2, 3, 4)),
        *(Cell(method, {**_ALONE, "inference_layers": 2}) for method in ABLATIONS[:3]),
        dataset="synthetic",
        only=True,
        ours=True,
    ),
    "text": table(
        "not in the paper: both modules on generated documents, many more than are committed",
        *(Cell(method, _TEXT) for method in (OURS, *ABLATIONS[:2])),
        dataset="synthetic",
        only=True,
        ours=True,
    ),
}
#: settings of which the paper has several, or that are judged by what they name
KEPT: tuple[str, ...] = ("variant", "encoder")
#: setting -> values that any cell of the paper's may have; () for whatever value
FREE: dict[str, tuple[Any, ...]] = {
    "iterations": (1, 2, 3, 4),  # Table 2: the scores after each stand in one record
    # of these the data set's own protocol speaks
    "orientation": (),
    "reduced_data": (),
    "train_limit": (),
    "generated": (),
}
SUMMARY = (
    ("Table 3", "CDR", "test", "Ours-SciBERT", "F1"),
    (MEASURED, "Re-DocRED", "test", OURS, "F1"),
    (f"{MEASURED}: inference alone", "synthetic", "N_I=2", OURS, "recall_inferred"),
)

#: tables and figures that hold results, Figure 5 the mean weights of two matrices
_PRINTED = (*(f"Table {number}" for number in (1, 2, 3, 4, 5, 6, 8)), "Figure 5")
#: name in the paper's tables -> in the records; Table 6 prints bare names for inferred facts
_METRICS = {
    "Precision": "Infer-P",
    "Recall": "Infer-R",
    "mean weight of feature matrix": "weight_features",
    "mean weight of relation matrix": "weight_relations",
}
#: what Table 2 and `CHANGES` vary and the other tables hold
USUAL: dict[str, Any] = {
    "inference_layers": 2,
    "iterations": 3,
    "training_scores": "own",
    "relation": "set",
    "orientation": "document",
    **{
        name: PAPER[name]
        for name in ("own_bonus", "feedback", "noise", "sum_logits", "inference_classifier")
    },
}
#: what sweeps of ours change of the whole, one setting at a time: each stands in a row of its own
CHANGES = tuple(
    cell.settings
    for name in ("scores", "rates", "variants")
    for cell in TABLES[name].cells
    if not cell.settings.items() <= USUAL.items()
)
#: as printed: wrong relations are drawn without a look at gold. It plays no part in the base's scores
BLIND = {"noise_draw": "blind", "spurious": False}
#: earlier runs; their rows say so, and none stands beside a printed number
LEAKY = {"noise_draw": "not_gold", "spurious": True}
#: Table 2's cells on another data set than the paper's
GRID = f"{MEASURED}: layers and iterations"
#: what is measured -> the sweep's table, and the records' `dataset.set`
MEASURED_CELLS = {
    "CDR": ("table4", "CDR"),
    "Re-DocRED": ("table4", "Re-DocRED"),
    "synthetic": ("text", "synthetic"),
    "alone": ("alone", "synthetic"),
}


def printed_rows(name: str | None = None, dataset: str | None = None) -> list[Row]:
    """The rows of the paper's tables, or of one and one data set, as the table file has them.

    The base's rows are found in every run that had a stage 1, by its metrics with `_base`: they are
    that run's own base. Table 2 is found by the records' `inference_layers` and their scores after
    each iteration. Which predictions count in Table 6 is not printed, so each of its rows comes
    twice, in both readings of `document_metrics.inference_scores`. Numbers of methods that are not
    implemented stand without a record, so that the comparison shows them too.
    """
    found = []
    for entry in entries("docre_ii", name, dataset):
        if entry.table not in _PRINTED:
            continue
        setting, usual = parse_setting(entry.setting), dict(USUAL)
        methods, suffix = _record_names(entry.method)
        metric = _METRICS.get(entry.metric, entry.metric)
        encoder = "roberta" if "RoBERTa" in entry.method else "bert"
        wanted: dict[str, Any] = {"base": "atlop", "encoder_type": encoder}
        if "K" in setting:
            metric, wanted["inference_layers"] = f"F1_K{setting['K']}", setting["N_I"]
            del usual["iterations"]
        if not suffix:
            wanted |= BLIND
        if "dev" in setting:
            suffix += "_dev"
        for reading in ("", "_all") if entry.table == "Table 6" else ("",):
            found.append(
                Row.of(
                    entry,
                    methods=methods,
                    record_metric=f"{metric}{reading}{suffix}",
                    where_dataset={"set": entry.dataset},
                    where_parameters=wanted,
                    usual=usual,
                    either=_together(entry.dataset),
                )
            )
    return found


def _together(data: str) -> tuple[dict[str, Any], ...]:
    """Settings that go together on a data set read by ATLOP: the paper's, then those of `reduced`.

    Each size of the inference module has a rate of its own. Earlier records have the small size on
    the base as printed.
    """
    listed = data in ("CDR", "GDA")
    printed = {"markers": "mention" if listed else "boundary"}
    printed |= {name: PAPER[name] for name in ("encoder_layers", "document_vector")}
    large = {"inference_size": DocreParameters.model_fields["inference_size"].default}
    large["inference_rate"] = TRAINING[data.lower() if listed else "docred"]["inference_rate"]
    reduced = DocreParameters.profiles["reduced"]
    small = {name: reduced[name] for name in large}
    now = {name: reduced.get(name, value) for name, value in printed.items()}
    return printed | large, printed | small, now | small


def _record_names(printed: str) -> tuple[tuple[str, ...], str]:
    """The records' methods and the suffix of their metrics."""
    if printed.startswith("Ours"):
        return (OURS,), ""
    if printed.startswith(("ATLOP", "w/o Inference module")):
        return (OURS, BASE), "_base"
    return (printed,), ""


def measured_rows(what: str) -> list[Row]:
    """Rows for the sweep's cells on a data set: each shows a dash for the paper.

    For each method F1 on the test split with the threshold of training and with dev's, and the
    average precision, which knows of none, each beside the run's own base (none where the base has
    no stage of its own; `alone` has no average precision, as what its base states is certain); on
    generated documents also precision, and the recall of stated and of inferred facts, of the
    latter the base's, too (with stated facts as the base it is 0).

    Runs whose noise spared gold have rows of their own, which say so.
    `changed_rows` has those of the whole with another setting.

    Args:
        what: `CDR`, `Re-DocRED`; `synthetic`, the generated documents read by ATLOP; `alone`, the
            inference module on stated facts.
    """
    name, data = MEASURED_CELLS[what]
    found = []
    for noise in (BLIND, LEAKY):
        for cell in TABLES[name].cells:
            settings = {k: v for k, v in cell.settings.items() if k != "encoder"}
            settings = {"base": "atlop", **settings}
            place, setting = MEASURED, "test"
            if what == "alone":
                place = f"{MEASURED}: inference alone"
                setting = f"N_I={settings['inference_layers']}"
            if noise is LEAKY:
                setting += ";noise_draw=not_gold"
            either = _together(data) if name == "table4" else ()
            for metric in _measured_metrics(what, cell.method):
                entry = Entry(place, data, setting, cell.method, metric)
                found.append(_measured_row(entry, settings | noise, either))
    if what in ("CDR", "Re-DocRED"):
        for metric in ("F1", "F1_tuned", "AP"):
            entry = Entry(MEASURED, data, "test", LINEAR, metric)
            where = {"where_dataset": {"set": data}, "where_parameters": {"base": "linear"}}
            found.append(Row.of(entry, **where))
    return found


def changed_rows(what: str) -> list[Row]:
    """Rows for the whole with one of `CHANGES`, as `measured_rows`, with blind noise; [] on generated documents.

    A change that one scale has anyhow (`_together`) is a row of the others.
    """
    name, data = MEASURED_CELLS[what]
    if name != "table4":  # those cells say all their settings
        return []
    usual, found = _together(data), []
    for change in CHANGES:
        released = change == {"variant": "released"}
        settings = RELEASED if released else change
        either = [{n: settings.get(n, v) for n, v in each.items()} for each in usual]
        either = tuple(each for each in either if each not in usual) or usual
        wanted = {"base": "atlop", **BLIND}
        wanted |= {n: v for n, v in settings.items() if n not in usual[0]}
        if released:
            del wanted["spurious"]  # the data set decides
        setting = ";".join(["test", *(f"{name}={value}" for name, value in change.items())])
        for metric in _measured_metrics(what, OURS):
            if not metric.endswith("_base"):
                entry = Entry(MEASURED, data, setting, OURS, metric)
                found.append(_measured_row(entry, wanted, either))
    return found


def grid_rows(data: str = "CDR") -> list[Row]:
    """Table 2's cells on a data set: test F1 after each of the iterations K, a setting per N_I.

    Of noise as printed alone: of other noise the grid shows nothing that the paper speaks of.
    """
    found = []
    for cell in TABLES["table2"].cells:
        layers = cell.settings["inference_layers"]
        wanted = {"base": "atlop", "inference_layers": layers, **BLIND}
        for k in FREE["iterations"]:
            entry = Entry(GRID, data, f"test;N_I={layers}", OURS, f"F1_K{k}")
            found.append(_measured_row(entry, wanted, _together(data), ("iterations",)))
    return found


def _measured_row(
    entry: Entry,
    wanted: dict[str, Any],
    either: tuple[dict[str, Any], ...],
    open_: tuple[str, ...] = (),
) -> Row:
    """A row of ours, of the usual settings but for those left open."""
    usual = {n: value for n, value in {"generated": 0, **USUAL}.items() if n not in open_}
    choice = {"where_dataset": {"set": entry.dataset}, "where_parameters": wanted}
    return Row.of(entry, **choice, usual=usual, either=either)


def _measured_metrics(what: str, method: str) -> list[str]:
    metrics = ["F1"] if what == "alone" else ["F1", "F1_tuned", "AP"]
    if "stage1_epochs" not in METHODS[method]:
        metrics = [each for metric in metrics for each in (metric, f"{metric}_base")]
    if what in ("synthetic", "alone"):
        metrics += ["precision", "recall_stated", "recall_inferred"]
    return [*metrics, "recall_inferred_base"] if what == "synthetic" else metrics


def rows() -> list[Row]:
    """The rows of all tables that hold results, and of what is measured beside them."""
    measured = (row for what in MEASURED_CELLS for row in measured_rows(what))
    changed = (row for what in MEASURED_CELLS for row in changed_rows(what))
    return [*printed_rows(), *measured, *changed, *grid_rows()]
