"""Figures of DRL's tracks: sessions, streams, what a batch is made of, accuracy by experience."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from relcl_lib.lab.live import Progress
from relcl_lib.lab.plots import (
    BESIDE,
    MANY_STEPS,
    WIDTH,
    Box,
    axes_of,
    part_cells,
    plot_accuracy_curves,
    plot_flow,
    plot_matrix,
    share_legend,
)

if TYPE_CHECKING:
    from torch import Tensor

    from relcl_lib.continual.tracks import DomainStream
    from relcl_lib.data.core50 import SessionData
    from relcl_lib.lab.records import Record


_DATA_COLOUR, _NETWORK_COLOUR, _LOSS_COLOUR = "#55a868", "#4c72b0", "#c44e52"


def plot_architecture(run: Any, past: int, axes: Axes | None = None) -> Axes:
    """Draw a step of a `DrlRun` with BER after `past` experiences, with the shapes of its tensors.

    Left what the batch is made of, in the middle the network from the top down, right the losses.
    """
    import torch

    b, image = run.settings.batch_size, tuple(run.images.shape[1:])
    with torch.no_grad():  # shapes alone; in evaluation mode, so that no statistics move
        was_training = run.network.training
        _, found = run.network.eval()(run.pixels(run.stream[0].train_indices[:1]))
        run.network.train(was_training)
    names = [*run.network.layout.taps[: len(found) - 1], "logits"]
    n = b * (past + 1)
    top = 1.6 + 1.4 * len(names)
    boxes = {
        "current": Box(0, top + 1.2, 3.4, f"B current images\n{(b, *image)}", _DATA_COLOUR),
        "replayed": Box(
            0, top, 3.4, f"B of each past experience\n{(b * past, *image)}", _DATA_COLOUR
        ),
        "memory": Box(
            0,
            top - 1.4,
            3.4,
            f"memory: m = {run.memory.per_experience} images of each\n"
            f"of the {past} past experiences",
            _DATA_COLOUR,
        ),
        "batch": Box(
            4.2, top, 3.0, f"batch of N = {past + 1} B\n{(n, *image)}", _NETWORK_COLOUR, 2.2
        ),
    }
    for place, (name, h) in enumerate(zip(names, found, strict=True)):
        bottom = top - 1.4 * (place + 1)
        text = f"{name}\n{(n, h.shape[1])}"
        boxes[name] = Box(4.2, bottom, 3.0, text, _NETWORK_COLOUR)
    boxes |= {
        "own": Box(
            8.2,
            1.6,
            2.6,
            "discriminative loss\n$L_{DR}$, summed\nover the taps",
            _LOSS_COLOUR,
            top - 2.0,
        ),
        "clf": Box(4.2, 0.2, 3.0, "cross-entropy\n$L_{clf}$", _LOSS_COLOUR),
        "loss": Box(8.2, 0.2, 2.6, "$L=L_{clf}+\\lambda\\,L_{DR}$\none step down", _LOSS_COLOUR),
    }
    order = ["batch", *names, "clf"]
    flows = [("current", "batch"), ("memory", "replayed"), ("replayed", "batch")]
    flows += [*pairwise(order), *((name, "own") for name in names)]
    return plot_flow(boxes, [*flows, ("clf", "loss"), ("own", "loss")], axes)


def plot_sessions(data: SessionData, classes: Sequence[int] = (0, 1, 2)) -> Figure:
    """Draw one image of some classes in each session; test sessions have red titles.

    A class that is absent from a session has an empty place there.
    """
    classes = classes[: data.n_classes]
    sessions = data.sessions.unique().tolist()
    size = (WIDTH, 0.25 + WIDTH * len(classes) / len(sessions))
    figure, axes = plt.subplots(len(classes), len(sessions), squeeze=False, figsize=size)
    for row, label in zip(axes, classes, strict=True):
        for axis, session in zip(row, sessions, strict=True):
            found = ((data.labels == label) & (data.sessions == session)).nonzero()
            axis.set(xticks=[], yticks=[])
            plt.setp(axis.spines.values(), visible=False)
            if len(found):
                image = data.images[found[0, 0]].permute(1, 2, 0)
                axis.imshow(image.squeeze(-1), cmap="gray", vmin=0, vmax=255)
    for axis, session in zip(axes[0], sessions, strict=True):
        colour = "tab:red" if session in data.test_sessions else "black"
        axis.set_title(f"{session}", fontsize="small", color=colour)
    for axis, label in zip(axes[:, 0], classes, strict=True):
        axis.set_ylabel(f"class {label}", fontsize="small")
    figure.suptitle("session (red: for the test)", fontsize="small")
    return figure


def plot_stream(
    stream: DomainStream, data: SessionData, axes: Axes | None = None, *, title: str = ""
) -> Axes:
    """Draw a stream as a picture: a column per experience, a row per class of the data.

    A cell's colour is the session that the images are of, dark grey if there are several.
    """
    axes = axes_of(axes, 1.8)
    used = {s for task in stream for s in data.sessions[task.train_indices].unique().tolist()}
    palette = dict(zip(sorted(used), sns.color_palette("husl", len(used)), strict=True))
    picture = np.ones((data.n_classes, len(stream), 3))
    for task in stream:
        labels, sessions = data.labels[task.train_indices], data.sessions[task.train_indices]
        for label in labels.unique().tolist():
            of_class = sessions[labels == label].unique().tolist()
            colour = palette[of_class[0]] if len(of_class) == 1 else to_rgb("#555555")
            picture[label, task.index] = colour
    axes.imshow(picture, aspect="auto", interpolation="nearest")
    axes.set(xlabel="experience", ylabel="class", title=title)
    part_cells(axes, data.n_classes, len(stream))
    axes.yaxis.get_major_locator().set_params(integer=True)
    count = len(stream)
    shown = range(1, count + 1) if count <= MANY_STEPS else [1, *range(10, count + 1, 10)]
    axes.set_xticks([number - 1 for number in shown], shown)
    handles = [Patch(color=colour, label=f"{number}") for number, colour in palette.items()]
    style = {"title": "session", "fontsize": "x-small", "title_fontsize": "x-small"}
    axes.legend(handles=handles, **BESIDE, **style)
    return axes


def count_images(stream: DomainStream, labels: Tensor, positions: Tensor) -> np.ndarray:
    """How many images there are of each experience and class: (experiences, classes).

    `labels` (N,) are those of all images, `positions` (n,) training images of the stream to count.
    """
    owner = np.full(len(labels), -1)
    for task in stream:
        owner[task.train_indices.numpy()] = task.index
    counts = np.zeros((len(stream), int(labels.max()) + 1), dtype=int)
    np.add.at(counts, (owner[positions.numpy()], labels[positions].numpy()), 1)
    return counts


def plot_counts(
    counts: Any,
    axes: Axes | None = None,
    *,
    title: str = "",
    most: float | None = None,
) -> Axes:
    """Draw counts (experiences, classes) as a heat map with its numbers; 0 is left empty.

    `most` is the count of the darkest colour, for panels that are compared (None: the largest).
    """
    axes = axes_of(axes, 2.4)
    values = np.asarray(counts, dtype=int)
    blues = ListedColormap(sns.color_palette("Blues", 32)[:24])
    lines = {"linewidths": 0.4, "linecolor": "#eeeeee", "annot_kws": {"fontsize": "x-small"}}
    style = {"mask": values == 0, "cmap": blues, "square": False, **lines}
    style |= {"vmin": 0, "vmax": most or max(1, values.max(initial=0))}
    style |= {"xticklabels": "auto", "yticklabels": range(1, len(values) + 1)}
    plot_matrix(values, axes, lower=False, xlabel="class", ylabel="experience", **style)
    axes.set_title(title, fontsize="small")
    axes.tick_params(axis="both", labelsize="x-small", rotation=0)
    return axes


def plot_validation_panels(
    records: Mapping[str, Mapping[str, Sequence[Record]]],
    curve: Callable[[Record], Sequence[float]],
) -> Figure:
    """Draw validation accuracy by experience, a panel per strategy that was run with the loss.

    `records` are strategy -> `with the loss` or `without the loss` -> one per seed; `curve` is what
    one of them says, in per cent.
    """
    shown = {name: found for name, found in records.items() if "with the loss" in found}
    style = {"figsize": (WIDTH, 2.5), "sharey": True, "squeeze": False}
    figure, axes = plt.subplots(1, max(1, len(shown)), **style)
    texts = {"xlabel": "experiences learned", "ylabel": "validation accuracy (%)"}
    for axis, (name, found) in zip(axes[0], shown.items(), strict=False):
        curves = {series: list(map(curve, seeds)) for series, seeds in found.items()}
        plot_accuracy_curves(curves, axis, title=name, **texts)
    share_legend(axes[0], below=True)
    return figure


def progress(run: Any) -> Progress:
    """How far a `DrlRun` is: mean validation accuracy after each experience."""
    chosen, done, total = run.settings, run.experiences_done, len(run.stream)
    curve = 100 * run.valid[:done].mean(1)
    line = (
        f"{chosen.track} {chosen.method}, lambda {chosen.drl_weight:g}, seed {run.seed}: "
        f"{total} experiences, validation {curve[-1]:.1f}"
    )
    curves = {chosen.method: [curve.tolist()]}
    texts = {"xlabel": "experiences learned", "ylabel": "validation (%)"}
    return Progress(
        done,
        total,
        line if done == total else None,
        lambda axes: plot_accuracy_curves(curves, axes, **texts),
    )
