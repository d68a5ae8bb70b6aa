"""Figures of cascade tagging: receptive fields, scores over a sentence, groups, epochs.

As in `plots`: each function draws on given axes or a new figure and returns it; nothing here trains,
reads files or saves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes

from relcl_lib.lab.plots import LiveCurve, _axes, colour_of
from relcl_lib.lab.sentence_plots import TYPE_COLOURS

# --- receptive fields ----------------------------------------------------------------------------


def reached_tokens(dilations: Sequence[int]) -> list[list[int]]:
    """Return which tokens one output depends on, block by block, as offsets from it.

    Kernels have three taps, at -d, 0 and d.

    Args:
        dilations: d of each block, first to last.

    Returns:
        L + 1 sorted lists: first the tokens of the input, last the output alone ([0]).
    """
    layers = [[0]]
    for rate in reversed(dilations):
        layers.append(sorted({at + tap for at in layers[-1] for tap in (-rate, 0, rate)}))
    return layers[::-1]


def plot_receptive_field(
    dilations: Sequence[int], axes: Axes | None = None, *, title: str | None = None
) -> Axes:
    """Draw the tokens that reach one output (top) through the blocks, and the paths between them."""
    axes = _axes(axes, 1.9)
    layers = reached_tokens(dilations)
    size = 90 / max(6, len(layers[0]) ** 0.8)
    for depth, (below, above, rate) in enumerate(
        zip(layers, layers[1:], dilations, strict=False), start=1
    ):
        ends = [(at + tap, at) for at in above for tap in (-rate, 0, rate)]
        axes.plot(np.transpose(ends), [[depth - 1], [depth]], color="silver", lw=0.5, zorder=1)
        axes.scatter(below, [depth - 1] * len(below), s=size, color="tab:blue", zorder=2)
    axes.scatter([0], [len(dilations)], s=2 * size, color="tab:red", zorder=2)
    ticks = ["words", *(f"{depth}: d={rate}" for depth, rate in enumerate(dilations, start=1))]
    if title is None:
        title = f"dilations {'-'.join(map(str, dilations))}: {len(layers[0])} tokens"
    axes.set(title=title, yticks=range(len(ticks)), yticklabels=ticks)
    axes.set_title(title, fontsize="small")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize="x-small")
    axes.grid(False)
    sns.despine(ax=axes, left=True)
    return axes


# --- scores over a sentence ----------------------------------------------------------------------


def plot_scores(
    scores: Any,
    words: Sequence[str],
    classes: Sequence[str],
    axes: Axes | None = None,
    *,
    title: str = "",
    limit: float = 10.0,
    show_words: bool = True,
) -> Axes:
    """Draw a heat map of scores minus threshold; a dot marks what is above it.

    Args:
        scores: (n, C), one number a word and class, positive where the class is on.
        words: n of them, below the map.
        classes: C names, a row each.
        axes: where to draw.
        title: text.
        limit: scores beyond it, in either direction, look alike.
        show_words: False leaves the words out, for a map with another one below it.
    """
    values = np.asarray(scores, dtype=float).T
    axes = _axes(axes, 1.2 + 0.22 * len(classes))
    sns.heatmap(
        values,
        ax=axes,
        cmap="vlag",
        center=0,
        vmin=-limit,
        vmax=limit,
        linewidths=0.5,
        xticklabels=words if show_words else False,
        yticklabels=classes,
        cbar_kws={"pad": 0.01, "aspect": 12},
    )
    row, column = np.nonzero(values > 0)
    axes.scatter(column + 0.5, row + 0.5, color="black", s=12, zorder=3)
    axes.collections[0].colorbar.ax.tick_params(labelsize="xx-small")
    axes.tick_params(axis="x", rotation=90, labelsize="x-small")
    axes.tick_params(axis="y", rotation=0, labelsize="x-small")
    axes.set_title(title, fontsize="small")
    return axes


def plot_thresholds(
    logits: Any,
    words: Sequence[str],
    classes: Sequence[str],
    axes: Axes | None = None,
    *,
    title: str = "",
    show_words: bool = True,
) -> Axes:
    """Draw each position's threshold as a step and the scores of its classes as dots.

    Args:
        logits: (n, C + 1), the threshold in column 0.
        words: n of them.
        classes: C names.
        axes: where to draw.
        title: text.
        show_words: False leaves the words out, for a plot with another one below it.
    """
    axes = _axes(axes, 2.6)
    values = np.asarray(logits, dtype=float)
    at = np.arange(len(words))
    axes.step(at, values[:, 0], where="mid", color="black", lw=1.5, label="threshold")
    for index, name in enumerate(classes):
        colour, score = TYPE_COLOURS.get(name, colour_of(name, index)), values[:, index + 1]
        on = score > values[:, 0]
        axes.scatter(at[~on], score[~on], s=14, color=colour, label=name)
        axes.scatter(at[on], score[on], s=60, color=colour, edgecolor="black", zorder=3)
    axes.set(xticks=at, xlim=(-0.6, len(words) - 0.4), ylabel="score")
    axes.set_xticklabels(words if show_words else [], rotation=90, fontsize="x-small")
    axes.set_title(title, fontsize="small")
    axes.legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


# --- numbers -------------------------------------------------------------------------------------


def plot_epochs(
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    axes: Axes | None = None,
    *,
    title: str = "",
) -> Axes:
    """Draw validation F1 over the epochs, one line a run, from each run's `history`."""
    axes = _axes(axes, 2.6)
    for index, (name, history) in enumerate(histories.items()):
        scores = [entry["valid_F1"] for entry in history]
        colour = colour_of(name, index)
        axes.plot(range(1, len(scores) + 1), scores, marker="o", ms=4, label=name, color=colour)
    axes.set(xlabel="epoch", ylabel="F1, validation (%)", title=title, ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(histories) > 1:
        axes.legend(frameon=False, fontsize="small")
    return axes


class EpochCurve(LiveCurve):
    """Validation F1 while a tagger is trained: redrawn for a person, else a line an epoch.

    Pass ``EpochCurve(name).update`` to ``FastreRun.train``.

    Args:
        name: of the notebook, which its lines begin with.
        say: prints a line.
        every: epochs a line; the last one has a line of its own in any case.
    """

    def __init__(self, name: str, say: Callable[[str], None] = print, every: int = 1) -> None:
        super().__init__(name, say)
        self.every = every

    def update(self, run: Any) -> None:
        """Show the run's state; ``run`` is a FastreRun between two epochs."""
        if run.epochs_done % self.every and not run.finished:
            return
        last = run.history[-1]
        self.say(
            f"[{self.name}] {run.settings.method}, seed {run.seed}: epoch "
            f"{run.epochs_done}/{run.settings.epochs}, loss {last['loss']:.3f}, "
            f"validation F1 {last['valid_F1']:.1f}"
        )
        shown = {run.settings.method: run.history}
        self.redraw(lambda axes: plot_epochs(shown, axes), run.settings.epochs)
