"""HPCR's committed figures, drawn from the committed records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from relcl_lib.data.image_sets import SPECS
from relcl_lib.lab import plots, words
from relcl_lib.lab.metrics import LEAST_SEEDS
from relcl_lib.lab.records import Record, gains
from relcl_lib.lab.rows import entries
from relcl_lib.papers.hpcr.features import read_features
from relcl_lib.papers.hpcr.plots import (
    explain_spread,
    plot_novel_and_historical,
    plot_proxy_gradients,
    plot_temperatures,
)
from relcl_lib.papers.hpcr.studies import (
    memory_batches,
    split_cifar10,
    temperature_of_classes,
    temperature_parts,
)
from relcl_lib.papers.hpcr.tables import COMPONENTS, HC_ON, TABLES, as_usual

#: methods of Fig. 3, Fig. 8 and Fig. 4; see `_enough`
CURVES = ["FINE-TUNE", "ER", "DER++", "SCR", "ER-ACE", "OCM", "OnPro", "UER", "PCR", "HPCR"]
PULLED = ["PCR", "PCR+HC+HT", "PCR+HC+HT+SCD", "PCR+HC+HT+PCD", "HPCR"]
BALANCED = ["ER", "SCR", "ER-ACE", "UER", "PCR", "PCR+HC+HT", "HPCR"]
#: who is compared on the same seeds
DIFFERENCES = (
    ("PCR", "ER"),
    ("HPCR", "ER"),
    ("PCR", "ER-ACE"),
    ("HPCR", "ER-ACE"),
    ("HPCR", "PCR"),
)


def _enough(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Method -> runs, of methods with three seeds at least; while there is none, of all."""
    return {name: runs for name, runs in found.items() if len(runs) >= LEAST_SEEDS} or found


def _named(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The same with methods in words, which say whether HC is on."""
    return {words.name(method): runs for method, runs in found.items()}


def curves(records: Sequence[Record]) -> Figure:
    """Accuracy over the tasks of Split CIFAR-10, its last value as printed (compare HPCR's Fig. 3)."""
    found = _enough(plots.curves_of(split_cifar10(records), CURVES))
    title = "Split CIFAR-10, memory 200, from the committed records (compare Fig. 3)"
    axes = plots.plot_accuracy_curves(found, title=title)
    printed = {
        entry.method: entry.value
        for entry in entries("hpcr", "Table III", "Split CIFAR10")
        if entry.setting in ("buffer=200", "buffer=none")
    }
    for method, each in found.items():
        colour = plots.colour_of(method)
        last = len(each[0])
        axes.scatter(last + 0.08, printed[method], marker="D", s=26, color=colour, ec="black")
    if found:
        axes.scatter([], [], marker="D", s=26, color="white", ec="black", label="paper, Table III")
    explain_spread(axes, map(len, found.values()))
    return axes.figure


def components(records: Sequence[Record]) -> Figure:
    """Final accuracy component by component, the paper's Table VII as diamonds."""
    final: dict[str, list[float]] = {}
    reference: dict[str, float] = {}
    printed = {
        entry.method: entry.value
        for entry in entries("hpcr", "Table VII", "Split CIFAR10")
        if entry.setting == "buffer=200"
    }
    chosen = split_cifar10(records)
    for cell in COMPONENTS:
        paper = [printed[name] for name in (cell.method, *cell.prints) if name in printed]
        # Two readings of the paper's row: with HC off, which HPCR has at this size, and on.
        for method in filter(None, (cell.method, HC_ON.get(cell.method))):
            if found := [record.metrics["A_T"] for record in chosen if record.method == method]:
                name = f"{words.name(method)}, n={len(found)}"
                final[name], reference[name] = found, paper[0]
    title = "Split CIFAR-10, memory 200: one component after the other (Table VII)"
    axes = plots.plot_bars(final, reference=reference, title=title)
    explain_spread(axes, map(len, final.values()), bars=True)
    return axes.figure


def knowledge(records: Sequence[Record]) -> Figure:
    """Accuracy on the newest task and on the earlier ones (compare HPCR's Fig. 4)."""
    matrices = plots.curves_of(
        split_cifar10(records), BALANCED, lambda record: record.accuracy_matrix
    )
    found = _named(_enough(matrices))
    figure = plot_novel_and_historical(found)
    title = "Split CIFAR-10, memory 200, from the committed records (compare Fig. 4)"
    figure.suptitle(title, fontsize="medium")
    return figure


def differences(records: Sequence[Record]) -> Figure:
    """Final accuracy of one method less that of another, on the same seeds."""
    chosen, found = split_cifar10(records), {}
    for pair in DIFFERENCES:
        mine, theirs = ([r for r in chosen if r.method == method] for method in pair)
        if gained := gains(mine, theirs, "A_T"):
            found[" − ".join(pair)] = gained
    title = "Split CIFAR-10, memory 200: final accuracy, from the committed records"
    return plots.plot_differences(found, title=title).figure


def proxies(records: Sequence[Record]) -> Figure:
    """The gradient of each proxy while the last task is learned (compare HPCR's Fig. 8)."""
    chosen = [r for r in split_cifar10(records, 100) if "cumulative_gradient" in (r.curves or {})]
    found = plots.curves_of(chosen, PULLED, lambda record: record.curves["cumulative_gradient"])
    title = "Split CIFAR-10, memory 100: while the last task is learned (compare Fig. 8)"
    return plot_proxy_gradients(_named(found), 2, title=title).figure


def of_sweep(records: Sequence[Record], name: str) -> list[Record]:
    """The records of a table's cells, where most of them ran: one data set, memory and network.

    All are of the released form.
    """
    cells, places = TABLES[name].cells, {}
    network = ("width", "image_size")
    varied = {*network, *(setting for cell in cells for setting in cell.settings)}
    for record in records:
        if (
            (record.paper, record.variant, record.failed) == ("hpcr", "released", False)
            and record.method in {cell.method for cell in cells}
            and as_usual(record, varied)
        ):
            held = (record.parameters.get(setting) for setting in ("buffer_size", *network))
            place = record.protocol, str(record.dataset.get("fingerprint")), *held
            places.setdefault(place, []).append(record)
    return max(places.values(), key=len, default=[])


def _where(record: Record, figure: str) -> str:
    stream, memory = words.name(record.dataset["stream"]), record.parameters["buffer_size"]
    return f"{stream}, memory {memory}, protocol {record.protocol} (compare {figure})"


def temperatures(records: Sequence[Record]) -> Figure | None:
    """PCR's accuracy by its temperature, in both parts and in one (compare HPCR's Fig. 2)."""
    found = of_sweep(records, "figure2")
    curves = temperature_of_classes(found), temperature_parts(found)
    if len(curves[0]["all"]) < 2:
        return None
    figure = plot_temperatures(*curves)
    figure.suptitle(_where(found[0], "Fig. 2"), fontsize="medium")
    return figure


def batches(records: Sequence[Record]) -> Figure | None:
    """Final accuracy by the images replayed per step, without and with pairs (HPCR's Fig. 5)."""
    found = of_sweep(records, "figure5")
    curves = memory_batches(found)
    if max(map(len, curves.values())) < 2:
        return None
    about = {"xlabel": "images replayed per step", "title": _where(found[0], "Fig. 5")}
    return plots.plot_against(curves, mark=("60 images in all", 50), **about).figure


def embedding(records: Sequence[Record]) -> Figure:
    """Test features and proxies of recorded runs in the plane (compare HPCR's Fig. 10)."""
    of_memory: dict[int, dict[tuple[str, int], Any]] = {}
    for record in sorted(records, key=lambda record: record.seed, reverse=True):
        if (record.paper, record.experiment) != ("hpcr", "split_cifar10"):
            continue
        if (features := read_features(record)) is not None:
            key = record.method, record.parameters["memory_batch"]
            of_memory.setdefault(record.parameters["buffer_size"], {})[key] = record, features
    # One memory, as in the paper: that with most panels, of two alike the largest.
    found = max(of_memory.items(), key=lambda each: (len(each[1]), each[0]), default=(0, {}))[1]
    shown = [key for method in ("ER", "PCR", "HPCR") for key in sorted(found) if key[0] == method]
    several = len({batch for _, batch in shown}) > 1
    size = (plots.WIDTH, 3.4)
    figure, panels = plt.subplots(1, max(1, len(shown)), figsize=size, squeeze=False)
    for key, axes in zip(shown, panels[0], strict=False):
        _, (features, labels, proxies) = found[key]
        method = f"{key[0]}, {key[1]} replayed" if several else key[0]
        points, stars = plots.embed_together(features, proxies)
        names = SPECS["cifar10"].names
        plots.plot_embedding(points, labels, stars, axes, names=names, title=method)
        axes.set_box_aspect(1)
    plots.share_legend(panels[0], below=True, ncols=5, markerscale=1.5)
    title = "Split CIFAR-10: test features and proxies (stars) after the last task"
    runs = {(r.parameters["buffer_size"], r.seed, r.protocol) for r, _ in found.values()}
    for memory, seed, protocol in sorted(runs):
        title += f"\nmemory {memory}, seed {seed}, protocol {protocol}"
    figure.suptitle(title if shown else "Features: no records yet", fontsize="medium")
    return figure


#: `temperatures` and `batches` are drawn once a sweep of theirs has records
FIGURES = {
    "hpcr_curves": curves,
    "hpcr_components": components,
    "hpcr_knowledge": knowledge,
    "hpcr_differences": differences,
    "hpcr_proxies": proxies,
    "hpcr_features": embedding,
    "hpcr_temperatures": temperatures,
    "hpcr_batches": batches,
}
