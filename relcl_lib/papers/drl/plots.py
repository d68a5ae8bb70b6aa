"""Figures of DRL's tracks: sessions, streams, what a batch is made of, accuracy by experience.

As in `plots`: each function draws on given axes or a new figure and returns it; nothing here trains,
reads files or saves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from relcl_lib.lab.metrics import confidence_interval
from relcl_lib.lab.plots import WIDTH, LiveCurve, _axes

if TYPE_CHECKING:
    from torch import Tensor

    from relcl_lib.continual.tracks import DomainStream
    from relcl_lib.data.core50 import SessionData
    from relcl_lib.lab.records import Record

#: the two bars or curves of a strategy
LOSS_COLOURS = {"without the loss": "#9e9e9e", "with the loss": "#d62728"}

# --- data ----------------------------------------------------------------------------------------


def plot_sessions(data: SessionData, classes: Sequence[int] = (0, 1, 2)) -> Figure:
    """Draw one image of some classes in each session; test sessions have red titles."""
    from relcl_lib.data.core50 import TEST_SESSIONS

    sessions = data.sessions.unique().tolist()
    figure, axes = plt.subplots(
        len(classes),
        len(sessions),
        squeeze=False,
        figsize=(WIDTH, 0.25 + WIDTH * len(classes) / len(sessions)),
    )
    for row, label in zip(axes, classes, strict=True):
        for axis, session in zip(row, sessions, strict=True):
            found = ((data.labels == label) & (data.sessions == session)).nonzero()
            image = data.images[found[0, 0]].permute(1, 2, 0)
            axis.imshow(image.squeeze(-1), cmap="gray", vmin=0, vmax=255)
            axis.axis("off")
    for axis, session in zip(axes[0], sessions, strict=True):
        colour = "tab:red" if session in TEST_SESSIONS else "black"
        axis.set_title(f"{session}", fontsize="small", color=colour)
    return figure


def plot_stream(
    stream: DomainStream, data: SessionData, axes: Axes | None = None, *, title: str = ""
) -> Axes:
    """Draw which classes each experience has; the colour is the session, dark grey several.

    Args:
        stream: the experiences, a column each.
        data: the images it is made of; its classes are the rows.
        axes: where to draw.
        title: text.
    """
    axes = _axes(axes, 1.8)
    numbers = [s for s in data.sessions.unique().tolist() if s in set(_sessions(stream, data))]
    palette = dict(zip(numbers, sns.color_palette("husl", len(numbers)), strict=True))
    picture = np.ones((data.n_classes, len(stream), 3))
    for task in stream:
        labels, sessions = data.labels[task.train_indices], data.sessions[task.train_indices]
        for label in labels.unique().tolist():
            of_class = sessions[labels == label].unique().tolist()
            colour = palette[of_class[0]] if len(of_class) == 1 else to_rgb("#555555")
            picture[label, task.index] = colour
    axes.imshow(picture, aspect="auto", interpolation="nearest")
    axes.set(xlabel="experience", ylabel="class", title=title)
    axes.set_xticks(np.arange(len(stream) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(data.n_classes + 1) - 0.5, minor=True)
    axes.grid(False, which="major")
    axes.grid(which="minor", color="white", lw=0.5)
    axes.tick_params(which="minor", length=0)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.get_major_locator().set_params(integer=True)
    handles = [Patch(color=colour, label=f"{number}") for number, colour in palette.items()]
    style = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "title": "session"}
    axes.legend(
        handles=handles, frameon=False, fontsize="xx-small", title_fontsize="x-small", **style
    )
    return axes


def _sessions(stream: DomainStream, data: SessionData) -> list[int]:
    return [s for task in stream for s in data.sessions[task.train_indices].unique().tolist()]


def count_images(stream: DomainStream, labels: Tensor, positions: Tensor) -> np.ndarray:
    """Return how many images there are of each experience and class: (experiences, classes).

    Args:
        stream: whose experiences are meant.
        labels: (N,) int64, of all images.
        positions: (n,), of the images to count, all of them training images of the stream.
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
    xlabel: str = "class",
    ylabel: str = "experience",
) -> Axes:
    """Draw how many images there are of each experience (rows) and class (columns).

    Args:
        counts: (experiences, classes); 0 is left empty.
        axes: where to draw.
        title, xlabel, ylabel: texts.
    """
    axes = _axes(axes, 2.4)
    values = np.asarray(counts, dtype=int)
    style = {"cmap": ListedColormap(sns.color_palette("Blues", 32)[:24]), "cbar": False}
    numbers = np.where(values > 0, values.astype(str), "")
    sns.heatmap(
        np.where(values > 0, values, np.nan),
        annot=numbers,
        fmt="",
        annot_kws={"fontsize": "xx-small"},
        ax=axes,
        linewidths=0.4,
        linecolor="#eeeeee",
        **style,
    )
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, fontsize="small")
    axes.tick_params(axis="both", labelsize="x-small", rotation=0)
    axes.grid(False)
    return axes


# --- accuracy ------------------------------------------------------------------------------------


def plot_validation(
    curves: Mapping[str, Sequence[Sequence[float]]],
    axes: Axes | None = None,
    *,
    title: str = "",
    ylabel: str = "validation (%)",
) -> Axes:
    """Draw accuracy by experience: the mean of the seeds, and each seed as a thin line.

    Args:
        curves: name -> (seeds, experiences) in per cent; the names of ``LOSS_COLOURS`` have colours
            of their own.
        axes: where to draw.
        title, ylabel: texts.
    """
    axes = _axes(axes, 2.4)
    for index, (name, values) in enumerate(curves.items()):
        values = np.asarray(values, dtype=float)
        experiences = np.arange(1, values.shape[1] + 1)
        colour = LOSS_COLOURS.get(name, f"C{index}")
        marker = "o" if len(experiences) <= 10 else None
        axes.plot(experiences, values.mean(0), marker=marker, ms=4, color=colour, label=name)
        if len(values) > 1:
            axes.plot(experiences, values.T, color=colour, alpha=0.35, lw=0.7)
    axes.set(xlabel="experiences learned", ylabel=ylabel, ylim=(0, 103))
    axes.set_title(title, fontsize="small")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize="x-small")
    return axes


def plot_validation_panels(records: Mapping[str, Mapping[str, Sequence[Record]]]) -> Figure:
    """Draw validation accuracy by experience, a panel a strategy that was run with the loss.

    Args:
        records: strategy -> a name of ``LOSS_COLOURS`` -> records, one a seed.
    """
    from relcl_lib.papers.drl.records import validation_curve

    shown = {name: found for name, found in records.items() if "with the loss" in found}
    figure, axes = plt.subplots(
        1, len(shown), figsize=(WIDTH, 2.5), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (name, found) in zip(axes[0], shown.items(), strict=True):
        curves = {series: [validation_curve(r) for r in each] for series, each in found.items()}
        plot_validation(curves, axis, title=name)
        if axis is not axes[0, 0]:
            axis.set_ylabel("")
            axis.get_legend().remove()
    return figure


def plot_strategies(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    axes: Axes | None = None,
    *,
    title: str = "",
    ylabel: str = "test accuracy (%)",
) -> Axes:
    """Draw a group of bars a strategy, without and with the loss: the mean of the seeds as a number.

    As in ``plots.plot_bars`` the spread is the mean's 95 % interval from five seeds on, and the seeds
    themselves as dots with fewer.

    Args:
        values: strategy -> series (a name of ``LOSS_COLOURS``, or another) -> one value a seed; a
            strategy may lack a series.
        axes: where to draw.
        title, ylabel: texts.
    """
    axes = _axes(axes, 2.6)
    series = list(dict.fromkeys(name for found in values.values() for name in found))
    width = 0.8 / max(1, len(series))
    for index, name in enumerate(series):
        colour, labelled = LOSS_COLOURS.get(name, f"C{index}"), False
        for place, found in enumerate(values.values()):
            if name not in found:
                continue
            seeds = np.asarray(found[name], dtype=float)
            mean, half = confidence_interval(seeds)
            at = place + (index + 0.5) * width - 0.4 if len(found) > 1 else place
            error = half if len(seeds) >= 5 else None
            label = None if labelled else name
            axes.bar(at, mean, 0.92 * width, yerr=error, color=colour, alpha=0.85, label=label)
            axes.text(at, 2, f"{mean:.0f}", ha="center", fontsize="x-small", color="white")
            if 1 < len(seeds) < 5:
                axes.scatter([at] * len(seeds), seeds, color="black", s=7, zorder=3)
            labelled = True
    axes.set(xticks=range(len(values)), xticklabels=list(values), ylabel=ylabel, ylim=(0, 100))
    axes.set_title(title, fontsize="small")
    axes.grid(False, axis="x")
    if len(series) > 1:
        axes.legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


def share_legend(figure: Figure) -> None:
    """Give the panels of ``plot_strategies`` one legend, below, and one label of the y axis."""
    handles: dict[str, Any] = {}
    for number, axes in enumerate(figure.axes):
        found, names = axes.get_legend_handles_labels()
        handles |= dict(zip(names, found, strict=True))
        if axes.get_legend():
            axes.get_legend().remove()
        if number:
            axes.set_ylabel("")
    names = [name for name in LOSS_COLOURS if name in handles]
    style = {"loc": "outside lower center", "ncols": 2, "frameon": False, "fontsize": "small"}
    if names:
        figure.legend([handles[name] for name in names], names, **style)


class ExperienceCurve(LiveCurve):
    """Validation accuracy while a run goes on: redrawn for a person, else a line at the end.

    Pass ``ExperienceCurve(name).update`` to ``DrlRun.train``.
    """

    def update(self, run: Any) -> None:
        """Show the run's state; ``run`` is a DrlRun between two experiences."""
        done, experiences = run.experiences_done, len(run.stream)
        curve = 100 * run.valid[:done].mean(1)
        if done == experiences:
            chosen = run.settings
            self.say(
                f"[{self.name}] {chosen.track} {chosen.method}, lambda {chosen.drl_weight:g}, seed "
                f"{run.seed}: {experiences} experiences, validation {curve[-1]:.1f}"
            )
        shown = {run.settings.method: [curve.tolist()]}
        self.redraw(lambda axes: plot_validation(shown, axes), experiences)
