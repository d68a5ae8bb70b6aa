"""Figures of continual relation extraction: sentences, streams, two tasks in the plane, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relcl_lib.lab.live import Progress
from relcl_lib.lab.plots import (
    WIDTH,
    Box,
    axes_of,
    curves_of,
    plot_accuracy_curves,
    plot_flow,
    share_legend,
)
from relcl_lib.lab.sentence_plots import plot_words, wrap_words
from relcl_lib.papers.crecl.tables import ACCURACIES

if TYPE_CHECKING:
    from relcl_lib.continual.streams import TaskStream
    from relcl_lib.data.sentences import MarkedSentence
    from relcl_lib.lab.records import Record

HEAD_COLOUR, TAIL_COLOUR = "#7fb5f0", "#ffb84d"

# --- the model ----------------------------------------------------------------------------------

_ENCODER_COLOUR, _CLASSES_COLOUR = "#4c72b0", "#7f7f7f"
_PROTOTYPES_COLOUR, _CONTRAST_COLOUR = "#dd8452", "#d62728"
#: name -> left, bottom, width, text, colour; the text takes the sizes of a run
_PARTS = {
    "sentences": (3.6, 0, 3.2, "sentences of a batch\n(B, N) = ({B}, {N})", _ENCODER_COLOUR),
    "states": (3.6, 1.5, 3.2, "BERT at [E11] and [E21]: e\n({B}, {twice})", _ENCODER_COLOUR),
    "h": (3.6, 3, 3.2, "dropout, linear: h (Eq. 1)\n(B, d) = ({B}, {d})", _ENCODER_COLOUR),
    "head": (0, 3, 3.0, "head: class scores (Eq. 2)\n({B}, {rows})", _CLASSES_COLOUR),
    "L1": (
        0,
        4.5,
        3.0,
        "cross-entropy $\\mathcal{{L}}_1$ (Eq. 3)\non the task's sentences",
        _CLASSES_COLOUR,
    ),
    "memory": (7.4, 0, 3.2, "memory, chosen by K-means on h\n{L} per relation", _PROTOTYPES_COLOUR),
    "encoded": (7.4, 1.5, 3.2, "the same encoder, no dropout\n({kept}, {d})", _PROTOTYPES_COLOUR),
    "p": (7.4, 3, 3.2, "means: prototypes p (Eq. 4)\n(C, d) = ({C}, {d})", _PROTOTYPES_COLOUR),
    "projector": (
        *(3.6, 4.5, 7.0),
        "one projector for both (Eq. 5): $s_i$ ({B}, {half}) and $s_r$ ({C}, {half}), of length 1",
        _CONTRAST_COLOUR,
    ),
    "z": (3.6, 6, 7.0, "cosines $z = s_i \\cdot s_r$: (B, C) = ({B}, {C})", _CONTRAST_COLOUR),
    "L2": (
        3.6,
        7.5,
        3.2,
        "$\\mathcal{{L}}_2$ (Eq. 6 to 8), in training:\nCL1, then CL2",
        _CONTRAST_COLOUR,
    ),
    "answer": (7.4, 7.5, 3.2, "nearest prototype (Eq. 9),\nin prediction", _CONTRAST_COLOUR),
}
_FLOWS = (
    *(("sentences", "states"), ("states", "h"), ("h", "head"), ("head", "L1")),
    *(("memory", "encoded"), ("encoded", "p"), ("h", "projector"), ("p", "projector")),
    *(("projector", "z"), ("z", "L2"), ("z", "answer")),
)


def plot_architecture(sizes: Mapping[str, int], axes: Axes | None = None) -> Axes:
    """Draw the encoder, the classifier and the two towers with the shapes of a run.

    `sizes` are B sentences of a batch, N tokens, H of the BERT, d of h, C relations seen, L sentences
    kept of each, and the `rows` of the head.
    """
    more = {"twice": 2 * sizes["H"], "half": sizes["d"] // 2, "kept": sizes["C"] * sizes["L"]}
    boxes = {
        name: Box(left, bottom, width, text.format(**sizes, **more), colour)
        for name, (left, bottom, width, text, colour) in _PARTS.items()
    }
    return plot_flow(boxes, _FLOWS, axes)


# --- sentences and streams -----------------------------------------------------------------------


def plot_sentences(sentences: Sequence[MarkedSentence], names: Sequence[str]) -> Figure:
    """Write sentences below one another, head entity blue, tail entity orange, relation above.

    `names` are those of the relations, by label.
    """
    lines = [wrap_words(sentence.tokens)[-1][0] + 1 for sentence in sentences]
    style = {"figsize": (WIDTH, sum(0.27 * count + 0.35 for count in lines))}
    figure, axes = plt.subplots(len(lines), 1, squeeze=False, height_ratios=lines, **style)
    for axis, sentence in zip(axes[:, 0], sentences, strict=True):
        colours: list[Any] = [None] * len(sentence.tokens)
        for (start, end), colour in ((sentence.tail, TAIL_COLOUR), (sentence.head, HEAD_COLOUR)):
            colours[start:end] = [colour] * (end - start)
        plot_words(sentence.tokens, colours, axis, title=names[sentence.label])
    return figure


def plot_stream(
    stream: TaskStream, names: Sequence[str], memory_size: int, axes: Axes | None = None
) -> Axes:
    """Draw a stream of tasks from left to right: relations that come, below them what is kept.

    `names` are those of the relations, by label; `memory_size` sentences are kept per relation.
    """
    most = max(len(task.classes) for task in stream)
    axes = axes_of(axes, 0.19 * most + 0.9)
    palette, size = sns.color_palette("pastel", len(stream)), min(7.0, 35 / len(stream))
    for task, colour in zip(stream, palette, strict=True):
        axes.add_patch(plt.Rectangle((task.index - 0.47, -0.5), 0.94, most, color=colour, lw=0))
        for place, label in enumerate(task.classes):
            axes.text(task.index, place, names[label], ha="center", va="center", fontsize=size)
        kept = memory_size * len(stream.classes_seen(task.index))
        text = f"train {len(task.train_indices)}, test {len(task.test_indices)}\nmemory {kept} after it"
        style = {"fontsize": size, "color": "dimgrey"}
        axes.text(task.index, most - 0.1, text, ha="center", va="top", **style)
    axes.set(xlim=(-0.5, len(stream) - 0.5), ylim=(most + 1.6, -0.6), yticks=[])
    axes.set_xticks(range(len(stream)), [f"task {task.index + 1}" for task in stream])
    axes.xaxis.tick_top()
    axes.grid(False)
    sns.despine(ax=axes, left=True, bottom=True)
    return axes


# --- two tasks in the plane ----------------------------------------------------------------------


def turned(points: Any, like: Any) -> np.ndarray:
    """Points (n, 2) turned, mirrored and moved to lie as near as they can to `like` (n, 2).

    t-SNE leaves all of that open; distances stay as they are.
    """
    points, like = np.asarray(points), np.asarray(like)
    centred = points - points.mean(0)
    left, _, right = np.linalg.svd(centred.T @ (like - like.mean(0)))
    return centred @ (left @ right) + like.mean(0)


def plot_two_tasks(
    panels: Mapping[str, Any], labels: Any, tasks: Any, names: Sequence[str]
) -> Figure:
    """Draw sentences of two tasks in several embeddings: dots of the old one, crosses of the new one.

    Args:
        panels: title -> points (n, 2), turned to lie like those of the first.
        labels: (n,) relations, a colour each, the same wherever the labels are the same.
        tasks: (n,) two values, of which the smaller is the old task.
        names: of the relations, by label; they stand in one legend below.
    """
    labels, tasks = np.asarray(labels), np.asarray(tasks)
    height = 1.0 + 0.95 * WIDTH / len(panels)
    figure, axes = plt.subplots(1, len(panels), squeeze=False, figsize=(WIDTH, height))
    first = next(iter(panels.values()))
    found = sorted(set(zip(tasks.tolist(), labels.tolist(), strict=True)))
    palette = sns.color_palette("tab10" if len(found) <= 10 else "husl", len(found))
    for axis, (title, points) in zip(axes[0], panels.items(), strict=True):
        points = turned(points, first)
        for colour, (task, label) in zip(palette, found, strict=True):
            chosen = points[(tasks == task) & (labels == label)]
            old = task == tasks.min()
            style = {"marker": "o", "s": 16, "lw": 0} if old else {"marker": "x", "s": 18}
            axis.scatter(*chosen.T, color=[colour], alpha=0.8, label=names[label], **style)
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontsize="small")
    share_legend(axes[0], below=True, fontsize="x-small", ncols=4, markerscale=1.4)
    return figure


# --- accuracy over the tasks ---------------------------------------------------------------------


def task_curves(
    records: Sequence[Record], methods: Sequence[str] | None = None, kind: str = "historical"
) -> dict[str, list[list[float]]]:
    """Method -> one curve per record: accuracy after each task, in per cent.

    `methods` selects and orders them; `kind` is `historical`, all tasks so far, or `current`, the last
    one alone. Failed runs are left out.
    """

    def curve(record: Record) -> list[float]:
        tasks = range(1, len(record.accuracy_matrix) + 1)
        return [record.metrics[f"{ACCURACIES[kind]}{k}"] for k in tasks]

    return curves_of(records, methods, curve)


def say_seeds(axes: Axes, curves: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Write how many seeds a curve has behind its name in the legend; CRECL(C) is dashed.

    On the last task CRECL(C) lies on CRECL-CL, and both are grey.
    """
    for line in axes.get_lines():
        if line.get_label() in curves:
            if line.get_label() == "CRECL(C)":
                line.set(linestyle="--", marker="x")
            line.set_label(f"{line.get_label()}, n={len(curves[line.get_label()])}")


def plot_history_and_current(
    records: Sequence[Record], methods: Sequence[str] | None = None, *, title: str = ""
) -> Figure:
    """Draw Figure 3: accuracy on all tasks so far (left) and on the last one alone (right)."""
    figure, panels = plt.subplots(1, 2, sharey=True, figsize=(WIDTH, 2.9))
    for axes, kind in zip(panels, ACCURACIES, strict=True):
        curves = task_curves(records, methods, kind)
        plot_accuracy_curves(curves, axes, title=f"{kind} tasks", ylabel="accuracy (%)")
        say_seeds(axes, curves)
    share_legend(panels)
    figure.suptitle(title, fontsize="medium")
    return figure


def progress(run: Any) -> Progress:
    """How far a `CreclRun` is: accuracy after each task that it has learned."""
    done, method = run.tasks_done, run.settings.method
    accuracy = 100 * run.accuracy.double()[:done, :done].numpy()
    tests = np.array([test for _, test in run.stream.sizes()][:done])
    historical = np.tril(accuracy) @ tests / tests.cumsum()  # of the pooled test sets
    curves = {"historical": [historical], "current": [accuracy.diagonal()]}
    line = (
        f"{method}, seed {run.seed}: task {done}/{len(run.stream)}, "
        f"historical {historical[-1]:.1f}, current {accuracy[-1, -1]:.1f}"
    )
    style = {"title": method, "ylabel": "accuracy (%)"}
    return Progress(
        done, len(run.stream), line, lambda axes: plot_accuracy_curves(curves, axes, **style)
    )
