"""Figures of HPCR's analyses, and how far a run of online replay is, for `LiveCurve`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relcl_lib.lab.live import Progress
from relcl_lib.lab.metrics import average_accuracy, new_task_accuracy, old_task_accuracy
from relcl_lib.lab.plots import (
    BESIDE,
    WIDTH,
    axes_of,
    colour_of,
    plot_accuracy_curves,
    share_legend,
)

#: for names without a colour of their own: none is near PCR's orange or HPCR's red
COLOURS = ["C2", "C0", "C4", "C5", "C8", "C9"]


def progress(run: Any) -> Progress:
    """How far a `ReplayRun` is: accuracy on the classes seen, after each task."""
    done, tasks, method = run.tasks_done, len(run.streams[0]), run.settings.method
    curve = 100 * average_accuracy(run.accuracy)[:, :done]  # (S, done)
    mean = f"accuracy {curve[:, -1].mean():.1f} (mean of {len(run.seeds)} seeds)"
    line = f"{method}: task {done}/{tasks}, {mean}"
    return Progress(done, tasks, line, lambda axes: plot_accuracy_curves({method: curve}, axes))


def plot_novel_and_historical(matrices: Mapping[str, Sequence[Any]]) -> Figure:
    """Fig. 4: accuracy on the task just learned, and on the earlier ones; method -> (seeds, T, T)."""
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.8), sharey=True)
    for axes, measure, title in zip(
        panels,
        (new_task_accuracy, old_task_accuracy),
        ("novel: the task just learned", "historical: the tasks before it"),
        strict=True,
    ):
        curves = {method: measure(np.asarray(values)) for method, values in matrices.items()}
        plot_accuracy_curves(curves, axes, title=title, ylabel="accuracy (%)")
    share_legend(panels)
    return figure


def plot_against(
    values: Mapping[str, Mapping[float, Sequence[float]]],
    axes: Axes | None = None,
    *,
    xlabel: str,
    ylabel: str = "final accuracy A_T (%)",
    title: str = "",
    mark: float | None = None,
    log: bool = False,
) -> Axes:
    """Draw a line per name through the mean of the seeds, which are dots: name -> x -> (seeds,).

    `mark` is an x that a dotted line stands at; `log` spaces the x, then all labelled, by their ratios.
    """
    axes = axes_of(axes, 2.8)
    for index, (name, found) in enumerate(values.items()):
        colour = colour_of(name, index, COLOURS)
        xs = sorted(found)
        axes.plot(xs, [np.mean(found[x]) for x in xs], color=colour, label=name)
        for x in xs:
            axes.scatter([x] * len(found[x]), found[x], color=colour, s=8, alpha=0.6, lw=0)
    if mark is not None:
        axes.axvline(mark, color="black", lw=0.8, ls=":")
    if log:
        ticks = sorted({x for found in values.values() for x in found})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{x:.2g}" for x in ticks])
        axes.minorticks_off()
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if len(values) > 1:
        axes.legend(fontsize="x-small", **BESIDE)
    return axes


def plot_proxy_gradients(
    gradients: Mapping[str, Any], new: int, axes: Axes | None = None, *, title: str = ""
) -> Axes:
    """Fig. 8: a bar per proxy, the mean of the seeds; name -> (seeds, C), the `new` last ones new.

    The classes are in the order they were met (`studies.in_class_order`).
    """
    axes = axes_of(axes, 2.8)
    width = 0.8 / max(1, len(gradients))
    classes = 0
    for index, (name, values) in enumerate(gradients.items()):
        means = np.asarray(values, dtype=float).mean(0)
        classes = len(means)
        at = np.arange(1, classes + 1) + (index + 0.5) * width - 0.4
        axes.bar(at, means, 0.92 * width, label=name, color=colour_of(name, index, COLOURS))
    axes.axhline(0, color="black", lw=0.8)
    if gradients:
        axes.axvline(classes - new + 0.5, color="black", lw=0.8, ls=":")
        axes.set_xticks(range(1, classes + 1))
        axes.legend(fontsize="x-small", **BESIDE)
    texts = {"xlabel": "proxy (right of the line: new classes)", "ylabel": "cumulative gradient"}
    axes.set(title=title, **texts)
    axes.grid(False, axis="x")
    return axes
