"""The committed figures: drawn from the committed records, by functions the notebooks call too.

``python -m relcl_lib.figures`` writes them all to ``figures/``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from relcl_lib.lab import compare as tables
from relcl_lib.lab import plots
from relcl_lib.lab.files import repository_root
from relcl_lib.lab.records import Record, most_seeds, read_records
from relcl_lib.papers.crecl.figures import crecl_ablation, crecl_curves, crecl_memory_sizes
from relcl_lib.papers.docre_ii.rows import docre_measured_rows
from relcl_lib.papers.drl import similarity_plots as plots_similarity
from relcl_lib.papers.drl.rows import drl_rows, drl_stand_in_rows
from relcl_lib.papers.fastre.rows import ABLATIONS, DEFAULTS

#: our names of the rows of HPCR's Table VII
HPCR_COMPONENTS = {
    "ER": "ER",
    "PCR": "PCR",
    "PCR+HC": "PCR+HC (PCR_C)",
    "PCR+HC+HT": "PCR+HC+HT (PCR_CT)",
    "PCR+HC+HT+PCD": "PCR_CT+PCD",
    "HPCR": "PCR_CT+PCD+SCD (HPCR)",
}


def _hpcr_cifar10(records: Sequence[Record]) -> list[Record]:
    """Pick Split CIFAR-10 at memory 200 with the released HPCR: the cell most is measured in."""
    return most_seeds(
        record
        for record in records
        if (record.paper, record.experiment) == ("hpcr", "split_cifar10")
        and (record.variant, record.protocol) == ("released", "paper")
        and record.parameters["buffer_size"] == 200
        and not record.failed
    )


def hpcr_curves(records: Sequence[Record]) -> Figure:
    """Draw accuracy over the tasks of Split CIFAR-10 (compare HPCR's Fig. 3)."""
    curves = plots.curves_of(_hpcr_cifar10(records), ["FINE-TUNE", "ER", "PCR", "HPCR"])
    title = "Split CIFAR-10, memory 200, from the committed records (compare Fig. 3)"
    return plots.plot_accuracy_curves(curves, title=title).figure


def hpcr_components(records: Sequence[Record]) -> Figure:
    """Draw final accuracy component by component, the paper's Table VII as diamonds."""
    chosen = _hpcr_cifar10(records)
    final = {
        name: [record.metrics["A_T"] for record in chosen if record.method == name]
        for name in HPCR_COMPONENTS
    }
    final = {name: values for name, values in final.items() if values}
    rows = tables.read_paper_table("hpcr", "Table VII")
    rows = rows[(rows["dataset"] == "Split CIFAR10") & (rows["setting"] == "buffer=200")]
    printed = dict(zip(rows["method"], rows["value"], strict=True))
    reference = {name: printed[HPCR_COMPONENTS[name]] for name in final}
    title = "Split CIFAR-10, memory 200: one component after the other (Table VII)"
    return plots.plot_bars(final, reference=reference, title=title).figure


def fastre_ablation(records: Sequence[Record], dataset: str = "NYT10") -> Figure:
    """Draw F1 without one component of FastRE after the other, the paper's Table 5 as diamonds.

    All bars have the same word vectors: those that most was measured with.
    """
    chosen = [
        record
        for record in records
        if (record.paper, record.variant) == ("fastre", "released")
        and record.dataset.get("set") == dataset
        and record.method in ("FastRE", *ABLATIONS)
        and all(
            record.parameters[k] == v for k, v in ABLATIONS.get(record.method, DEFAULTS).items()
        )
        and not record.failed
    ]
    sources = Counter(record.parameters["word_vectors"] for record in chosen)
    usual = max(sorted(sources), key=sources.get, default=None)
    chosen = most_seeds(r for r in chosen if r.parameters["word_vectors"] == usual)
    values = {
        name: [record.metrics["F1"] for record in chosen if record.method == name]
        for name in ("FastRE", *ABLATIONS)
    }
    values = {name: scores for name, scores in values.items() if scores}
    rows = tables.read_paper_table("fastre", "Table 5")
    rows = rows[rows["dataset"] == dataset]
    printed = dict(zip(rows["method"], rows["value"], strict=True))
    protocols = ", ".join(sorted({record.protocol for record in chosen})) or "no records yet"
    return plots.plot_bars(
        values,
        reference={name: printed[name] for name in values},
        title=f"{dataset} ({protocols}): FastRE without one component (Table 5)",
        xlabel="F1, partial match (%)",
    ).figure


def drl_tracks(records: Sequence[Record], base: str = "cifar10") -> Figure:
    """Draw test accuracy by strategy without and with DRL's loss, a panel a track that was run.

    The cells are those of the sweep on a stand-in; ER as released stands beside ER where there are
    more experiences than B.
    """
    measured = [r for r in records if r.paper == "drl" and not r.failed]
    panels: dict[str, dict[str, dict[str, list[float]]]] = {}
    for table in ("table1", "table2", "table3"):
        values: dict[str, dict[str, list[float]]] = {}
        rows = drl_stand_in_rows(table, base, ("test_acc",))
        for row in rows:
            seeds = [r.metrics["test_acc"] for r in most_seeds(filter(row.matches, measured))]
            # Methods on gradients have no run with the loss, so no pair of bars.
            if seeds and row.method in ("Shuffle", "ER", "BER"):
                form = "\nreleased" if row.where_parameters.get("er") == "released" else ""
                on = "with" if row.where_parameters["drl_weight"] else "without"
                values.setdefault(row.method + form, {})[f"{on} the loss"] = seeds
        panels[rows[0].dataset.split()[-1]] = values
    panels = {track: values for track, values in panels.items() if values} or panels
    widths = [max(len(values), 3) for values in panels.values()]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(plots.WIDTH, 2.8), sharey=True, width_ratios=widths, squeeze=False
    )
    for axis, (track, values) in zip(axes[0], panels.items(), strict=True):
        plots.plot_strategies(values, axis, title=track)
        if not values:
            axis.text(0.5, 0.5, "no records yet", ha="center", transform=axis.transAxes)
    plots.share_legend(axes[0], below=True)
    figure.suptitle(f"CORe50-standin({base}), from the committed records", fontsize="medium")
    return figure


def drl_similarity(records: Sequence[Record]) -> Figure:
    """Draw the correlations of DRL's Figure 1, ours of each seed and the paper's."""
    ours, printed = {}, {}
    measured = [r for r in records if r.paper == "drl" and not r.failed]
    measured = [r for r in measured if r.parameters.get("classifier", "closest") == "closest"]
    for row in drl_rows("Figure 1"):
        if row.metric != "pearson_r":
            continue
        pairs = "one class" if "same" in row.setting else "different classes"
        kind = row.our_metric.split("_")[1]
        name = f"{row.dataset.split('-')[1]} {kind}, {pairs}"
        ours[name] = [r.metrics[row.our_metric] for r in measured if row.matches(r)]
        (printed[name],) = tables.compare("drl", [row], [])["paper"]
    title = "MNIST, compare Figure 1" + ("" if any(ours.values()) else ": no records yet")
    axes = plots_similarity.plot_correlations(ours, reference=printed, title=title)
    return axes.figure


def docre_gain(records: Sequence[Record]) -> Figure:
    """Draw F1 of DocRE-II beside that of its own base as stage 1 left it, a pair a data set."""
    measured = [r for r in records if r.paper == "docre_ii" and not r.failed]
    values: dict[str, dict[str, list[float]]] = {}
    for name in ("CDR", "Re-DocRED", "synthetic"):
        rows = [r for r in docre_measured_rows(name) if r.method == "DocRE-II"]
        base = next(row for row in rows if row.metric == "F1_base")
        if chosen := most_seeds(filter(base.matches, measured)):
            pair = {k: [r.metrics[k] for r in chosen] for k in ("F1_base", "F1")}
            gain = fmean(pair["F1"]) - fmean(pair["F1_base"])
            text = f"{name} ({chosen[0].protocol})\n{gain:+.1f}, n = {len(chosen)}"
            values[text] = {"base": pair["F1_base"], "base + inference": pair["F1"]}
    title = "DocRE-II and its own base" + ("" if values else ": no records yet")
    return plots.plot_strategies(values, title=title, ylabel="F1, test (%)").figure


def docre_inferred(records: Sequence[Record]) -> Figure:
    """Draw the recall of facts that no sentence states, inference module on stated facts alone."""
    measured = [r for r in records if r.paper == "docre_ii" and not r.failed]
    values: dict[str, list[float]] = {}
    for row in docre_measured_rows("alone"):
        if row.metric == "recall_inferred" and (
            chosen := most_seeds(filter(row.matches, measured))
        ):
            # The base has no parameters: its recall is the same in every run.
            values["stated facts (base)"] = [chosen[0].metrics["recall_inferred_base"]]
            values[f"{row.method}, {row.setting}"] = [r.metrics[row.metric] for r in chosen]
    title = "Inference alone, generated documents" + ("" if values else ": no records yet")
    axes = plots.plot_bars(values, title=title, xlabel="recall of inferred facts (%)")
    axes.set_xlim(0, 100)
    return axes.figure


FIGURES: dict[str, Callable[[Sequence[Record]], Figure]] = {
    "hpcr_curves": hpcr_curves,
    "hpcr_components": hpcr_components,
    "fastre_ablation": fastre_ablation,
    "crecl_curves": crecl_curves,
    "crecl_ablation": crecl_ablation,
    "crecl_memory_sizes": crecl_memory_sizes,
    "docre_gain": docre_gain,
    "docre_inferred": docre_inferred,
    "drl_tracks": drl_tracks,
    "drl_similarity": drl_similarity,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every committed figure; return 0."""
    line = argparse.ArgumentParser(prog="python -m relcl_lib.figures", description=__doc__)
    line.add_argument("--out", default=str(repository_root() / "figures"), help="folder")
    out = line.parse_args(arguments).out
    plt.switch_backend("agg")
    plots.use_house_style()
    records = read_records()
    for name, draw in FIGURES.items():
        plots.save_figure(draw(records), name, out)
        print(f"{out}/{name}.png")
    return 0
