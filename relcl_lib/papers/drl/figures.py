"""DRL's committed figures, drawn from the committed records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from relcl_lib.lab import plots, words
from relcl_lib.lab.compare import compare
from relcl_lib.lab.metrics import mean_and_half
from relcl_lib.lab.records import Record, most_seeds
from relcl_lib.papers.drl.control import TRACKS, alike, differences, missing
from relcl_lib.papers.drl.parameters import DrlParameters
from relcl_lib.papers.drl.similarity import FIGURE1_PAIRS, KINDS, RecordedSimilarities
from relcl_lib.papers.drl.similarity_plots import (
    KIND_NAMES,
    plot_correlations,
    plot_similarity_densities,
    plot_similarity_scatter,
)
from relcl_lib.papers.drl.tables import (
    CONTROL,
    ROUNDING,
    SHARE,
    STRATEGIES,
    printed_rows,
    stand_in_rows,
)

#: the classifier of Figure 1 that is drawn, in words
_CLASSIFIER = words.phrase("classifier=closest")
_STAND_IN = words.name("CORe50-standin(cifar10)")
#: of the reduced profile's network
WIDTH = DrlParameters.profiles["reduced"]["width"]


def tracks(records: Sequence[Record]) -> Figure:
    """Test accuracy by strategy without and with DRL's loss, a panel per track that was run.

    The cells are those of the sweep on a stand-in; ER as released stands beside ER where there are
    more experiences than B. Both bars of a strategy have the same seeds: of its configurations that
    with most in common, of equals the latest.
    """
    measured = [r for r in records if r.paper == "drl" and not r.failed]
    runs: dict[str, dict[str, list[Record]]] = {}
    for row in stand_in_rows("pairs", metrics=("test_acc",)):
        strategies = runs.setdefault(row.where_dataset["track"], {})
        if found := list(filter(row.matches, measured)):
            form = "\nreleased" if row.where_parameters.get("er") == "released" else ""
            strategies.setdefault(row.method + form, []).extend(found)
    runs = {track: strategies for track, strategies in runs.items() if strategies} or runs
    ratios = [max(len(strategies), 3) for strategies in runs.values()]
    figure, axes = plt.subplots(
        1, len(runs), figsize=(plots.WIDTH, 2.8), sharey=True, width_ratios=ratios, squeeze=False
    )
    for axis, (track, strategies) in zip(axes[0], runs.items(), strict=True):
        values, widths = {}, set()
        for name, found in strategies.items():
            bars = max(map(_common, alike(found)), key=_rank)
            named = f"{name}\nn={len(next(iter(bars.values())))}"
            for (weight,), seeds in sorted(bars.items(), key=lambda bar: bar[0]):
                on = f"{'with' if weight else 'without'} the loss"
                values.setdefault(named, {})[on] = [r.metrics["test_acc"] for r in seeds]
                widths |= {r.parameters["width"] for r in seeds}
        title = ", ".join([track, *(f"width {width}" for width in sorted(widths))])
        plots.plot_strategies(values, axis, title=title)
        if not values:
            axis.text(0.5, 0.5, "no records yet", ha="center", transform=axis.transAxes)
    plots.share_legend(axes[0], below=True)
    figure.suptitle(f"{_STAND_IN}, from the committed records", fontsize="medium")
    return figure


def _common(
    by_weight: Mapping[tuple, Mapping[int, Record]],
) -> dict[tuple, list[Record]]:
    """The runs of the seeds that every weight has; those of one weight where they share none."""
    seeds = sorted(set.intersection(*map(set, by_weight.values())))
    if not seeds:
        weight, runs = max(by_weight.items(), key=lambda side: len(side[1]))
        return {weight: list(runs.values())}
    return {weight: [runs[seed] for seed in seeds] for weight, runs in by_weight.items()}


def _rank(bars: Mapping[tuple, Sequence[Record]]) -> tuple[int, int, str]:
    """Two bars before one, then the number of seeds, then the date."""
    runs = [record for seeds in bars.values() for record in seeds]
    return len(bars), len(runs), max(record.date for record in runs)


def similarity(records: Sequence[Record]) -> Figure:
    """The correlations of DRL's Figure 1, ours of each seed and the paper's."""
    ours, printed = {}, {}
    measured = [r for r in records if r.paper == "drl" and not r.failed]
    measured = [r for r in measured if r.parameters.get("classifier", "closest") == "closest"]
    for row in printed_rows("Figure 1"):
        if row.metric != "pearson_r":
            continue
        pairs = "one class" if "same" in row.setting else "different classes"
        kind = KIND_NAMES[row.our_metric.split("_")[1]]
        name = f"{row.dataset.split('-')[1]} {kind}, {pairs}"
        ours[name] = [r.metrics[row.our_metric] for r in measured if row.matches(r)]
        (printed[name],) = compare("drl", [row], [])["paper"]
    title = f"MNIST, {_CLASSIFIER}, compare Figure 1"
    title += "" if any(ours.values()) else ": no records yet"
    return plot_correlations(ours, reference=printed, title=title).figure


def control(records: Sequence[Record]) -> Figure:
    """What lambda alone changes: runs less those at lambda = 0 of the same seed, in points.

    Dots are seeds, strokes their mean with a 95 % interval. The first place, 1e-8, shows what
    rounding alone does to two runs of one seed. The network has the reduced profile's width.
    """
    found = [each for each in differences(records) if each.width == WIDTH]
    weights = CONTROL[1:]
    style = {"figsize": (plots.WIDTH, 4.6), "sharex": True, "sharey": "row", "squeeze": False}
    metrics = {"avg_valid_acc": "validation", "test_acc": "test"}
    figure, axes = plt.subplots(len(metrics), len(TRACKS), **style)
    for row, metric in zip(axes, metrics, strict=True):
        for axis, track in zip(row, TRACKS, strict=True):
            axis.axhline(0, color="black", lw=0.8)
            for each in (e for e in found if (e.track, e.metric) == (track, metric)):
                shift = 0.24 * (STRATEGIES.index(each.strategy) - 1)
                x, colour = weights.index(each.weight) + shift, plots.colour_of(each.strategy)
                mean, half = mean_and_half(each.gains)
                seeds = {"s": 12, "alpha": 0.8, "lw": 0, "color": colour}
                axis.scatter([x] * len(each.gains), each.gains, **seeds)
                axis.errorbar(x, mean, half, color=colour, lw=1.4, capsize=2, marker="_", ms=8)
            axis.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights])
        row[0].set_ylabel(f"{metrics[metric]}: points more\nthan at $\\lambda=0$", fontsize="small")
    for axis, track in zip(axes[0], TRACKS, strict=True):
        axis.set_title(track, fontsize="small")
    for axis in axes[-1]:
        axis.set_xlabel(r"$\lambda$")
        axis.set_xlim(-0.6, len(weights) - 0.4)
    handles = [Line2D([], [], color=plots.colour_of(name), label=name) for name in STRATEGIES]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    note = missing(records, WIDTH)
    figure.suptitle(
        f"{_STAND_IN}, width {WIDTH}, from the committed records" + (f"\n{note}" if note else ""),
        fontsize="small",
    )
    return figure


def shares(records: Sequence[Record]) -> Figure:
    """The loss's share of the gradient through training, of the control's runs with ER.

    The length of the gradient of lambda L_DR over that of the cross-entropy's, in per cent, the mean
    over the looks of an experience and over seeds.
    """
    measured = [r for r in records if r.paper == "drl" and not r.failed]
    figure, axes = plt.subplots(1, 2, figsize=(plots.WIDTH, 3.3), sharey=True)
    widths = set()
    for axis, track in zip(axes, TRACKS, strict=True):
        drawn = False
        for row in stand_in_rows("control", metrics=("test_acc",)):
            held = row.where_parameters
            if row.where_dataset["track"] != track or row.method != "ER":
                continue
            runs = most_seeds(filter(row.matches, measured))
            runs = [r for r in runs if r.curves and SHARE in r.curves]
            seeds = [r.curves[SHARE] for r in runs]
            if seeds and held["drl_weight"] > ROUNDING:
                mean = [sum(values) / len(values) for values in zip(*seeds, strict=True)]
                label = f"$\\lambda={held['drl_weight']:g}$, n={len(seeds)}"
                axis.plot(range(1, len(mean) + 1), mean, marker="o", ms=3, label=label)
                widths |= {r.parameters["width"] for r in runs}
                drawn = True
        axis.set(title=track, xlabel="experience", yscale="log")
        axis.xaxis.get_major_locator().set_params(integer=True)
        if drawn:  # below, where no line can run through it
            place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.25)}
            axis.legend(frameon=False, fontsize="x-small", ncols=2, **place)
        else:
            axis.text(0.5, 0.5, "no records yet", ha="center", transform=axis.transAxes)
    axes[0].set_ylabel("share of the gradient (%)")
    about = ", ".join([_STAND_IN, "ER", *(f"width {width}" for width in sorted(widths))])
    figure.suptitle(f"{about}, from the committed records", fontsize="medium")
    return figure


def scatter(records: Sequence[Record]) -> Figure:
    """DRL's Figure 1 on MNIST from records: 250 pairs of each kind, of the first seed of each pair."""
    figure, axes = plt.subplots(2, 2, figsize=(plots.WIDTH, 6.2), sharex=True, sharey=True)
    kept = [r for r in _kept(records, "figure1") if r.parameters["classifier"] == "closest"]
    for row, classes in zip(axes, FIGURE1_PAIRS, strict=True):
        found = [r for r in kept if tuple(r.parameters["classes"]) == classes]
        found = sorted(found, key=lambda record: record.seed)[:1]
        for axis, kind in zip(row, KINDS, strict=True):
            if found:
                name = f"{{{classes[0]}, {classes[1]}}}: {KIND_NAMES[kind]}"
                plot_similarity_scatter(RecordedSimilarities(tuple(found)), kind, axis, title=name)
            else:
                axis.text(0.5, 0.5, "no records yet", ha="center", transform=axis.transAxes)
    title = f"MNIST, {_CLASSIFIER}, compare Figure 1: a dot per pair of samples"
    figure.suptitle(title, fontsize="medium")
    return figure


def densities(records: Sequence[Record]) -> Figure:
    """DRL's Figure 2 on MNIST from records: 250 pairs of each kind, of all seeds together."""
    figure, axes = plt.subplots(1, 2, figsize=(plots.WIDTH, 3.4), sharey=True)
    kept = _kept(records, "figure2")
    found = {
        name: RecordedSimilarities(tuple(seeds))
        for name, weight in (("without", 0.0), ("with", 1e-3))
        if (seeds := [r for r in kept if r.parameters["drl_weight"] == weight])
    }
    for axis, kind in zip(axes, ("representations", "gradients"), strict=True):
        if found:
            plot_similarity_densities(found, kind, axis)
        else:
            axis.text(0.5, 0.5, "no records yet", ha="center", transform=axis.transAxes)
    axes[1].set_ylabel("")
    plots.share_legend(axes, below=True)
    counts = " and ".join(str(len(each.records)) for each in found.values())
    title = f"MNIST, compare Figure 2: with the loss and without, seeds: {counts or 'none'}"
    figure.suptitle(title, fontsize="medium")
    return figure


def _kept(records: Sequence[Record], experiment: str) -> list[Record]:
    """Records of a figure on MNIST that keep cosines of pairs."""
    ours = (r for r in records if r.paper == "drl" and r.experiment == experiment and r.curves)
    return [record for record in ours if record.dataset["name"] == "mnist"]


FIGURES = {
    "drl_figure1": scatter,
    "drl_figure2": densities,
    "drl_tracks": tracks,
    "drl_similarity": similarity,
    "drl_control": control,
    "drl_shares": shares,
}
