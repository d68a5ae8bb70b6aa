"""DRL's committed figures, drawn from the committed records."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from relcl_lib.lab import plots
from relcl_lib.lab.compare import compare
from relcl_lib.lab.records import Record, most_seeds
from relcl_lib.papers.drl.similarity_plots import plot_correlations
from relcl_lib.papers.drl.tables import printed_rows, stand_in_rows


def tracks(records: Sequence[Record], base: str = "cifar10") -> Figure:
    """Test accuracy by strategy without and with DRL's loss, a panel per track that was run.

    The cells are those of the sweep on a stand-in; ER as released stands beside ER where there are
    more experiences than B.
    """
    measured = [r for r in records if r.paper == "drl" and not r.failed]
    panels: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row in stand_in_rows("pairs", base, ("test_acc",)):
        values = panels.setdefault(row.where_dataset["track"], {})
        seeds = [r.metrics["test_acc"] for r in most_seeds(filter(row.matches, measured))]
        if seeds:
            form = "\nreleased" if row.where_parameters.get("er") == "released" else ""
            on = "with" if row.where_parameters["drl_weight"] else "without"
            values.setdefault(row.method + form, {})[f"{on} the loss"] = seeds
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


def similarity(records: Sequence[Record]) -> Figure:
    """The correlations of DRL's Figure 1, ours of each seed and the paper's."""
    ours, printed = {}, {}
    measured = [r for r in records if r.paper == "drl" and not r.failed]
    measured = [r for r in measured if r.parameters.get("classifier", "closest") == "closest"]
    for row in printed_rows("Figure 1"):
        if row.metric != "pearson_r":
            continue
        pairs = "one class" if "same" in row.setting else "different classes"
        kind = row.our_metric.split("_")[1]
        name = f"{row.dataset.split('-')[1]} {kind}, {pairs}"
        ours[name] = [r.metrics[row.our_metric] for r in measured if row.matches(r)]
        (printed[name],) = compare("drl", [row], [])["paper"]
    title = "MNIST, compare Figure 1" + ("" if any(ours.values()) else ": no records yet")
    return plot_correlations(ours, reference=printed, title=title).figure


FIGURES = {"drl_tracks": tracks, "drl_similarity": similarity}
