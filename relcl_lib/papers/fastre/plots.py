"""Figures of cascade tagging: receptive fields, scores over a sentence, epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from relcl_lib.lab.live import Progress
from relcl_lib.lab.plots import (
    BESIDE,
    OTHER_COLOURS,
    Box,
    axes_of,
    colour_of,
    plot_differences,
    plot_flow,
    plot_lines,
)
from relcl_lib.lab.sentence_plots import TYPE_COLOURS
from relcl_lib.lab.words import name as in_words
from relcl_lib.models.tagger import TaggerConfig
from relcl_lib.papers.fastre import printed

if TYPE_CHECKING:
    from relcl_lib.lab.records import Record

_ENCODER_COLOUR, _HEAD_COLOUR, _TAIL_COLOUR = "#4c72b0", "#dd8452", "#55a868"


def plot_architecture(
    config: TaggerConfig, sentences: int, words: int, heads: int, axes: Axes | None = None
) -> Axes:
    """Draw the network with the shapes of a batch: encoder, head tagger and tail tagger.

    `heads` is the number of head entities that the batch's sentences have together.
    """
    b, n, m, d = sentences, words, heads, config.hidden
    types, relations = config.columns
    z = 4 * d + config.type_size
    where = {  # left and bottom of each box, from the bottom up: what reads stands above what is read
        "words": (0, 10.4, f"words\nids ({b}, {n})"),
        "vectors": (0, 9.05, f"word vectors\n({b}, {n}, {config.vector_size})"),
        "projection": (0, 7.7, f"projection + positions\n({b}, {n}, {d})"),
        "convolution": (0, 5.6, f"dilated convolution: g and h\n({b}, {n}, {2 * d})"),
        "gate": (0, 4.3, f"gate: (1 - s) h + s x, s = σ(g)\n({b}, {n}, {d})"),
        "head attention": (4.5, 1.4, f"self-attention: H_h\n({b}, {n}, {d})"),
        "head features": (4.5, 2.7, f"convolution on [H; H_h], ReLU\n({b}, {n}, {d})"),
        "head scores": (4.5, 4.0, f"starts, ends: types and AT\n2 × ({b}, {n}, {types})"),
        "head threshold": (4.5, 5.3, "adaptive threshold:\nscore > score of AT?"),
        "heads": (4.5, 6.6, f"head entities, by pairing\n({m}, 4)"),
        "tail attention": (9.0, 1.4, f"self-attention: H_t\n({b}, {n}, {d})"),
        "z": (9.0, 6.6, f"z: H, H_t, head's ends, type\n({m}, {n}, {z})"),
        "tail scores": (9.0, 7.9, f"convolution, ReLU, linear\n2 × ({m}, {n}, {relations})"),
        "tail threshold": (9.0, 9.2, "adaptive threshold:\nscore > score of AT?"),
        "triples": (9.0, 10.5, "pairing; relations of M(t) only\ntriples"),
    }
    colours = {0: _ENCODER_COLOUR, 4.5: _HEAD_COLOUR, 9.0: _TAIL_COLOUR}
    boxes = {
        name: Box(left, bottom, 3.9, text, colours[left], 0.95)
        for name, (left, bottom, text) in where.items()
    }
    boxes["H"] = Box(0, 0, 12.9, f"H ({b}, {n}, {d}): what is known of each word", _ENCODER_COLOUR)
    down = ("words", "vectors", "projection", "convolution", "gate", "H")
    up = ("H", "head attention", "head features", "head scores", "head threshold", "heads", "z")
    right = ("H", "tail attention", "z", "tail scores", "tail threshold", "triples")
    flows = [pair for path in (down, up, right) for pair in pairwise(path)]
    axes = plot_flow(boxes, flows, axes, height=5.6)
    axes.add_patch(Rectangle((-0.25, 4.0), 4.4, 2.85, fc="none", ec=_ENCODER_COLOUR, ls="--"))
    rates = ", ".join(map(str, config.dilations))
    repeated = f"a block, {len(config.dilations)} times,\nδ = {rates}"
    for left, bottom, text, colour in (
        (2.15, 3.25, repeated, _ENCODER_COLOUR),
        (0, 11.55, "encoder", _ENCODER_COLOUR),
        (4.5, 7.75, "head tagger", _HEAD_COLOUR),
        (9.0, 11.65, "tail tagger, per head entity", _TAIL_COLOUR),
    ):
        axes.text(left, bottom, text, fontsize=7, color=colour)
    axes.set(xlim=(-0.4, 13.1), ylim=(-0.2, 12.1))
    return axes


def reached_words(dilations: Sequence[int]) -> list[list[int]]:
    """Which words one output depends on, block by block, as offsets from it.

    The kernel of a block has three taps, at -δ, 0 and δ; `dilations` are δ of the L blocks, first to
    last. Of the L + 1 sorted lists the first has the words of the input, the last the output, [0].
    """
    layers = [[0]]
    for rate in reversed(dilations):
        layers.append(sorted({at + tap for at in layers[-1] for tap in (-rate, 0, rate)}))
    return layers[::-1]


def plot_receptive_field(dilations: Sequence[int], axes: Axes | None = None) -> Axes:
    """Draw the words that reach one output (top) through the blocks, and the paths between them."""
    axes = axes_of(axes, 1.9)
    layers = reached_words(dilations)
    size = 90 / max(6, len(layers[0]) ** 0.8)
    for depth, (below, above, rate) in enumerate(
        zip(layers, layers[1:], dilations, strict=False), start=1
    ):
        ends = [(at + tap, at) for at in above for tap in (-rate, 0, rate)]
        axes.plot(np.transpose(ends), [[depth - 1], [depth]], color="silver", lw=0.5, zorder=1)
        axes.scatter(below, [depth - 1] * len(below), s=size, color="tab:blue", zorder=2)
    axes.scatter([0], [len(dilations)], s=2 * size, color="tab:red", zorder=2)
    ticks = ["words", *(f"{depth}: δ={rate}" for depth, rate in enumerate(dilations, start=1))]
    title = f"dilations {'-'.join(map(str, dilations))}: {len(layers[0])} words"
    axes.set(yticks=range(len(ticks)), yticklabels=ticks)
    axes.set_title(title, fontsize="small")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize="x-small")
    axes.grid(False)
    sns.despine(ax=axes, left=True)
    return axes


def plot_scores(
    scores: Any,
    words: Sequence[str],
    classes: Sequence[str],
    axes: Axes | None = None,
    *,
    show_words: bool = True,
) -> Axes:
    """Draw scores minus threshold, (n, C), as a heat map of a row per class; dots mark what is above.

    Scores beyond 10, in either direction, look alike. `show_words=False` leaves the n words out, for a
    map with another one below it.
    """
    values = np.asarray(scores, dtype=float).T
    axes = axes_of(axes, 1.2 + 0.22 * len(classes))
    ticks = {"xticklabels": words if show_words else False, "yticklabels": classes}
    style = {"cmap": "vlag", "center": 0, "vmin": -10, "vmax": 10, "linewidths": 0.5}
    sns.heatmap(values, ax=axes, cbar_kws={"pad": 0.01, "aspect": 12}, **style, **ticks)
    row, column = np.nonzero(values > 0)
    axes.scatter(column + 0.5, row + 0.5, color="black", s=12, zorder=3)
    axes.collections[0].colorbar.ax.tick_params(labelsize="x-small")
    axes.tick_params(axis="x", rotation=90, labelsize="x-small")
    axes.tick_params(axis="y", rotation=0, labelsize="x-small")
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
    """Draw each word's threshold as a step and the scores of the C classes as dots.

    `logits` (n, C + 1) have the threshold in column 0. `show_words=False` leaves the n words out, for
    a plot with another one below it.
    """
    axes = axes_of(axes, 2.6)
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
    axes.legend(fontsize="x-small", **BESIDE)
    return axes


def plot_reliability(
    curves: Mapping[str, Sequence[tuple[float, float, int]]],
    axes: Axes | None = None,
    *,
    title: str = "",
) -> Axes:
    """Draw the share of triples that are right over their score, a line per curve.

    A curve is what `confidence.reliability` gives: mean score, share that is right and number of
    triples of each bin. A dot's area grows with its number; on the dashed line scores say the truth.
    """
    axes = axes_of(axes, 2.8)
    axes.plot([0, 1], [0, 1], color="grey", ls="--", lw=1)
    for index, (name, curve) in enumerate(curves.items()):
        if not curve:  # no triple was found
            continue
        means, shares, counts = map(np.array, zip(*curve, strict=True))
        colour = colour_of(name, index)
        axes.plot(means, shares, color=colour, lw=1, label=name)
        axes.scatter(means, shares, s=8 + 180 * counts / counts.sum(), color=colour, alpha=0.7)
    axes.set(xlabel="score of a triple", ylabel="share that is right", title=title)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if axes.collections:
        axes.legend(fontsize="x-small", **BESIDE)
    return axes


def plot_epochs(
    histories: Mapping[str, Sequence[Mapping[str, float]]], axes: Axes | None = None
) -> Axes:
    """Draw validation F1 over the epochs, one line per run, from each run's `history`."""
    lines = {
        name: {epoch: entry["valid_F1"] for epoch, entry in enumerate(history, start=1)}
        for name, history in histories.items()
    }
    texts = {"xlabel": "epoch", "ylabel": "F1, validation (%)"}
    axes = plot_lines(lines, axes, colours=OTHER_COLOURS, **texts)
    axes.set_ylim(0, None)
    return axes


def plot_recorded_thresholds(records: Sequence[Record], dataset: str = "NYT10") -> dict[str, Axes]:
    """Learned thresholds and one for all in the records of a data set, by figure; none without a number.

    `convergence`: validation F1 at the best threshold of each epoch. `threshold_differences`: F1 on the
    test set, paired.
    """
    drawn = {}
    curves, vectors = printed.convergence(records, dataset)
    said = f"{dataset}, our records, word vectors: {{}}\n{{}}"
    if curves:
        title = said.format(vectors, "validation, both at the best threshold of each epoch")
        texts = {"xlabel": "epoch", "ylabel": "F1, validation (%)", "title": title}
        lines = {in_words(method): line for method, line in curves.items()}
        drawn["convergence"] = plot_lines(lines, **texts)
    rows, vectors = printed.threshold_differences(records, dataset)
    if rows:
        title = said.format(vectors, "F1, FastRE less one threshold for all")
        drawn["threshold_differences"] = plot_differences(rows, title=title)
    return drawn


def plot_recorded_looks(records: Sequence[Record], dataset: str = "NYT10") -> Axes | None:
    """Attention and gradients in the records of a data set; None where they have none."""
    rows, vectors = printed.recorded_looks(records, dataset)
    title = f"FastRE, {dataset}, our records, word vectors: {vectors}"
    texts = {"title": title, "xlabel": "difference, one dot per seed"}
    return plot_differences(rows, **texts) if rows else None


def progress(run: Any) -> Progress:
    """How far a `FastreRun` is: loss and validation F1 after each epoch."""
    last, method, epochs = run.history[-1], run.settings.method, run.settings.epochs
    scores = f"loss {last['loss']:.3f}, validation F1 {last['valid_F1']:.1f}"
    line = f"{in_words(method)}, seed {run.seed}: epoch {run.epochs_done}/{epochs}, {scores}"
    shown = {in_words(method): run.history}
    return Progress(
        run.epochs_done, epochs, line, lambda axes: plot_epochs(shown, axes), due=run.finished
    )
