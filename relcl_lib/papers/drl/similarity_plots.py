"""Figures of similarities: of gradients, pixels and representations, and what a loss does to vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from relcl_lib.lab.plots import BESIDE, arrow, axes_of

if TYPE_CHECKING:
    from relcl_lib.papers.drl.similarity import RecordedSimilarities, Similarities

#: pairs of different classes, and of one class, as in the paper's figures
PAIR_COLOURS = {False: "#1f77b4", True: "#ff7f0e"}
PAIR_NAMES = {False: "different classes", True: "one class"}
#: kind of cosines -> what it is of, in words
KIND_NAMES = {"gradients": "gradients", "features": "pixels", "representations": "representations"}
#: class 0, class 1 in the plane: no colours of pairs, which have a meaning of their own
CLASS_COLOURS = ("#55a868", "#8172b3")

# --- many samples --------------------------------------------------------------------------------


def plot_cosine_matrix(
    cosines: Any,
    labels: Sequence[int],
    axes: Axes | None = None,
    *,
    title: str = "",
    limit: float = 1.0,
) -> Axes:
    """Draw the cosines (n, n) between samples as a picture, the samples sorted by class.

    `labels` (n,) are the classes; cosines beyond `limit`, in either direction, look alike.
    """
    axes = axes_of(axes, 3.2)
    labels = np.asarray(labels)
    order = np.argsort(labels, kind="stable")
    values = np.asarray(cosines, dtype=float)[np.ix_(order, order)]
    style = {"cmap": "vlag", "vmin": -limit, "vmax": limit, "square": True, "rasterized": True}
    sns.heatmap(values, ax=axes, cbar_kws={"pad": 0.02, "aspect": 22, "shrink": 0.8}, **style)
    classes, counts = np.unique(labels, return_counts=True)
    ends = counts.cumsum()
    for end in ends[:-1]:
        axes.axhline(end, color="black", lw=0.6)
        axes.axvline(end, color="black", lw=0.6)
    middles = ends - counts / 2
    axes.set(xticks=middles, yticks=middles, xlabel="class", ylabel="class", title=title)
    axes.set_xticklabels(classes, rotation=0)
    axes.set_yticklabels(classes, rotation=0)
    return axes


def plot_similarity_scatter(
    found: Similarities | RecordedSimilarities,
    kind: str,
    axes: Axes | None = None,
    *,
    title: str = "",
) -> Axes:
    """Draw a panel of Figure 1: cosines of gradients against those of `kind`, a dot per pair.

    All panels reach from -1 to 1 in gradients; panels that share their other axis have slopes that
    can be compared.

    The lines are least squares fits, one for the pairs of different classes and one for those of one
    class; the legend has Pearson's r of each. `kind` is `features` or `representations`.
    """
    axes = axes_of(axes, 3.0)
    for same, colour in PAIR_COLOURS.items():
        x, y = (found.pairs(name, same).numpy() for name in ("gradients", kind))
        label = f"{PAIR_NAMES[same]}, r = {found.correlation(kind, same):.2f}"
        axes.scatter(x, y, s=4, color=colour, alpha=0.25, lw=0, rasterized=True)
        if len(x) > 1 and np.ptp(x) > 0:
            ends = np.array([x.min(), x.max()])
            fit = np.clip(np.polyval(np.polyfit(x, y, 1), ends), -1, 1)
            axes.plot(ends, fit, color=colour, label=label)
    axes.set(xlabel="cosine of gradients", ylabel=f"cosine of {KIND_NAMES[kind]}")
    axes.set_xlim(-1.05, 1.05)
    # Between the title and the frame, where neither a dot nor a label of an axis lies under it.
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.97), "columnspacing": 1}
    axes.legend(frameon=False, fontsize="x-small", ncols=2, **place)
    axes.set_title(title, pad=20)
    return axes


def plot_similarity_densities(
    found: Mapping[str, Similarities | RecordedSimilarities],
    kind: str,
    axes: Axes | None = None,
) -> Axes:
    """Draw a panel of Figure 2: how the cosines of pairs are distributed, two curves per network.

    `found` are name of a network -> cosines; the first is drawn dotted, the last solid. `kind` is
    `gradients`, `features` or `representations`.
    """
    axes = axes_of(axes, 2.6)
    bins = np.linspace(-1, 1, 61)
    styles = [*(":", "--", "-.")[: len(found) - 1], "-"]
    for (name, similarities), style in zip(found.items(), styles, strict=True):
        for same, colour in PAIR_COLOURS.items():
            density, _ = np.histogram(similarities.pairs(kind, same), bins, density=True)
            # The mean of three bins next to one another: a bin alone is ragged.
            smooth = np.convolve(np.pad(density, 1, mode="edge"), np.ones(3) / 3, mode="valid")
            label = f"{name}, {PAIR_NAMES[same]}"
            axes.plot((bins[1:] + bins[:-1]) / 2, smooth, style, color=colour, label=label)
    axes.set(xlabel=f"cosine of {KIND_NAMES[kind]}", ylabel="density", xlim=(-1, 1))
    axes.set_ylim(0, None)
    return axes


def plot_mean_cosines(
    found: Mapping[str, Sequence[Similarities]], kind: str, axes: Axes | None = None
) -> Axes:
    """Draw the mean cosine of pairs by what was changed: name -> one network per seed.

    A line for the pairs of different classes and one for those of one class; dots are seeds. `kind`
    is `gradients`, `features` or `representations`.
    """
    axes = axes_of(axes, 2.6)
    for same, colour in PAIR_COLOURS.items():
        means = [[float(s.pairs(kind, same).mean()) for s in seeds] for seeds in found.values()]
        middle = [float(np.mean(values)) for values in means]
        axes.plot(list(found), middle, marker="o", color=colour, label=PAIR_NAMES[same])
        for name, values in zip(found, means, strict=True):
            axes.scatter([name] * len(values), values, s=9, color=colour, alpha=0.5, lw=0)
    axes.set(ylabel=f"mean cosine of {KIND_NAMES[kind]}", ylim=(-0.25, 1.05))
    axes.legend(frameon=False, fontsize="x-small")
    return axes


def plot_correlations(
    values: Mapping[str, Sequence[float]],
    axes: Axes | None = None,
    *,
    reference: Mapping[str, float] | None = None,
    title: str = "",
) -> Axes:
    """Draw Pearson's r, a row per name: dots are seeds, a stroke their mean, a diamond the paper's r.

    `values` are name -> one r per seed, none where only the paper's `reference` has one.
    """
    axes = axes_of(axes, 1.0 + 0.28 * max(1, len(values)))
    for row, (name, seeds) in enumerate(values.items()):
        colour = PAIR_COLOURS[name.endswith(PAIR_NAMES[True])]
        if len(seeds):
            axes.scatter(seeds, [row] * len(seeds), s=16, color=colour, alpha=0.8, zorder=3)
            axes.plot([np.mean(seeds)] * 2, [row - 0.3, row + 0.3], color=colour, lw=2)
    handles = []
    if any(map(len, values.values())):
        dot, stroke = {"marker": "o", "ms": 4}, {"marker": "|", "ms": 11, "mew": 2}
        for style, label in ((dot, "one seed"), (stroke, "mean")):
            handles.append(Line2D([], [], ls="", color="grey", label=label, **style))
    axes.axvline(0, color="black", lw=0.8)
    axes.set(yticks=range(len(values)), yticklabels=list(values), xlim=(-1, 1))
    axes.set(xlabel="Pearson's r with the cosine of gradients", title=title)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.tick_params(axis="y", labelsize="small")
    axes.invert_yaxis()
    if reference:
        printed = [(reference[name], row) for row, name in enumerate(values) if name in reference]
        style = {"marker": "D", "s": 26, "color": "black", "zorder": 4, "label": "paper"}
        handles.append(axes.scatter(*np.reshape(printed, (-1, 2)).T, **style))
    if handles:
        axes.legend(handles=handles, **BESIDE)
    return axes


# --- vectors in the plane ------------------------------------------------------------------------


def plot_pushes(
    points: Any, labels: Sequence[int], pushes: Any, axes: Axes | None = None, *, title: str = ""
) -> Axes:
    """Draw vectors (n, 2) of the plane, a colour per class, and where each is pushed.

    The pushes (n, 2), such as the negative gradient of a loss, are drawn with the longest one two
    thirds of the longest vector, so only directions and ratios within a picture mean something; how
    long that one is stands in the corner. One that would hardly be visible is left out.
    """
    axes = axes_of(axes, 3.0)
    points, pushes = np.asarray(points, dtype=float), np.asarray(pushes, dtype=float)
    reach = np.linalg.norm(points, axis=1).max()
    longest = np.linalg.norm(pushes, axis=1).max()
    ends = points + pushes * (0.65 * reach / longest if longest > 0 else 0.0)
    axes.axhline(0, color="lightgrey", lw=0.8)
    axes.axvline(0, color="lightgrey", lw=0.8)
    for point, end, label in zip(points, ends, labels, strict=True):
        colour = CLASS_COLOURS[int(label)]
        axes.plot(*zip((0, 0), point, strict=True), color=colour, lw=0.8, alpha=0.6)
        if np.linalg.norm(end - point) > 0.1 * reach:
            arrow(axes, point, end, "black")
        axes.scatter(*point, s=45, color=colour, zorder=3)
    # Of the points alone, so that pictures of other pushes of the same points can be compared.
    corners = np.concatenate([points, np.zeros((1, 2))])
    low, high = corners.min(0) - 0.7 * reach, corners.max(0) + 0.7 * reach
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])
    axes.set_title(title, fontsize="small")
    style = {"transform": axes.transAxes, "fontsize": "x-small"}
    axes.text(0.02, 0.04, f"longest arrow: {longest:.2g}", **style)
    return axes


def plot_projection(
    gradient: Any,
    references: Any,
    projected: Any,
    axes: Axes | None = None,
    *,
    names: Sequence[str],
    title: str = "",
) -> Axes:
    """Draw gradients in the plane: as computed (2,), of past tasks (t, 2), and projected (2,).

    Shaded is where no past task objects: a product of at least 0 with each of its gradients (Eq. 1).
    `names` are what the past gradients are called, such as `g_1`.
    """
    axes = axes_of(axes, 3.0)
    gradient, projected = np.asarray(gradient, float), np.asarray(projected, float)
    references = np.asarray(references, float)
    limit = 1.25 * max(np.abs(v).max() for v in (gradient, references, projected))
    side = np.linspace(-limit, limit, 301)
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    allowed = (grid @ references.T >= 0).all(-1)
    axes.contourf(side, side, allowed, levels=[0.5, 1.5], colors=["#d5efd8"])
    for name, reference in zip(names, references, strict=True):
        arrow(axes, (0, 0), reference, "tab:green")
        axes.text(*(1.12 * reference), f"${name}$", color="tab:green", ha="center", va="center")
    arrow(axes, (0, 0), gradient, "black")
    axes.text(*(1.12 * gradient), "$g_t$", ha="center", va="center")
    axes.plot(*zip(gradient, projected, strict=True), color="grey", ls=":")
    arrow(axes, (0, 0), projected, "tab:red", lw=2.2)
    axes.text(*(projected + 0.1 * limit), r"$\tilde{g}$", color="tab:red", ha="center", va="center")
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
    axes.set_title(title, fontsize="small")
    plt.setp(axes.spines.values(), color="lightgrey")
    return axes
