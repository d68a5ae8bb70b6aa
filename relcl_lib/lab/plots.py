"""Figures from records and arrays: each function draws on given axes or a new figure, returns it.

Nothing here trains, reads files or saves: ``save_figure`` writes a figure where it is told to.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from relcl_lib.lab.files import atomic_write_bytes
from relcl_lib.lab.metrics import average_accuracy, confidence_interval
from relcl_lib.lab.runtime import is_watched

if TYPE_CHECKING:
    from relcl_lib.lab.records import Record

WIDTH = 7.0  # inches; every figure fits a notebook column at this width
SHORT_BAR = 10  # per cent; a shorter bar has its number beside it
#: one colour a method, the same in every figure
METHOD_COLOURS = {
    "FINE-TUNE": "#9e9e9e",
    "IID": "#424242",
    "ER": "#1f77b4",
    "PCR": "#ff7f0e",
    "HPCR": "#d62728",
    "CRECL-CL": "#9e9e9e",  # fine-tuning
    "JOINT": "#424242",
    "EMAR+BERT": "#1f77b4",
    "RP-CRE": "#ff7f0e",
    "RP-CRE+MA": "#8c564b",
    "CRECL": "#d62728",
    "CRECL+ATM": "#e377c2",
}
#: colours of other names, which come twice from the seventeenth on
OTHER_COLOURS = [*sns.color_palette("Set2", 8), *sns.color_palette("Dark2", 8)]


def use_house_style() -> None:
    """Set the look shared by all figures (call once, in a notebook's setup)."""
    sns.set_theme(style="whitegrid", context="notebook", font_scale=0.85)
    plt.rcParams.update(
        {"figure.dpi": 80, "savefig.dpi": 110, "figure.constrained_layout.use": True}
    )


def save_figure(figure: Figure, name: str, folder: str | os.PathLike[str] | None) -> None:
    """Write ``figure`` to ``folder/name.png``, whole or not at all; do nothing if folder is None."""
    if folder is None:
        return
    buffer = io.BytesIO()
    # No date and no version in the file: the same figure gives the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    atomic_write_bytes(Path(folder) / f"{name}.png", buffer.getvalue())


def _axes(axes: Axes | None, height: float) -> Axes:
    return plt.subplots(figsize=(WIDTH, height))[1] if axes is None else axes


def colour_of(method: str, index: int = 0) -> Any:
    """Return a method's colour; names without one of their own take the palette's ``index``-th."""
    return METHOD_COLOURS.get(method, OTHER_COLOURS[index % len(OTHER_COLOURS)])


def plot_accuracy_curves(
    curves: Mapping[str, Sequence[Sequence[float]]],
    axes: Axes | None = None,
    *,
    title: str = "",
    ylabel: str = "accuracy, classes seen (%)",
) -> Axes:
    """Draw one curve a method over the tasks: the mean of its seeds, and their spread.

    From five seeds on the spread is a band, the mean's 95 % interval; with fewer, where that interval
    says little, it is the seeds themselves as thin lines.

    Args:
        curves: method -> (seeds, T) values in per cent.
        axes: where to draw; None makes a figure.
        title, ylabel: texts.
    """
    axes = _axes(axes, 3.2)
    for index, (method, values) in enumerate(curves.items()):
        values = np.asarray(values, dtype=float)
        mean, half = confidence_interval(values, axis=0)
        tasks = np.arange(1, values.shape[1] + 1)
        colour = colour_of(method, index)
        axes.plot(tasks, mean, marker="o", label=method, color=colour)
        if 1 < len(values) < 5:
            axes.plot(tasks, values.T, color=colour, alpha=0.35, lw=0.8)
        elif len(values) > 1:
            axes.fill_between(tasks, mean - half, mean + half, color=colour, alpha=0.15, lw=0)
        axes.set_xticks(tasks)
    axes.set(xlabel="tasks learned", ylabel=ylabel, title=title, ylim=(0, 103))
    if curves:
        axes.legend(frameon=False)
    return axes


def curves_of(records: Sequence[Record], methods: Sequence[str] | None = None) -> dict[str, list]:
    """Return method -> one average-accuracy curve a record, for ``plot_accuracy_curves``."""
    curves: dict[str, list] = {}
    for record in records:
        if record.accuracy_matrix is not None and (methods is None or record.method in methods):
            curves.setdefault(record.method, []).append(average_accuracy(record.accuracy_matrix))
    return {m: curves[m] for m in methods or curves if m in curves}


def plot_matrix(
    matrix: Sequence[Sequence[float]],
    axes: Axes | None = None,
    *,
    title: str = "",
    xlabel: str = "test task",
    ylabel: str = "after training task",
    lower: bool = True,
    labels: Sequence[str] | None = None,
    fmt: str = ".0f",
    **style: Any,
) -> Axes:
    """Draw a matrix as a heat map with its numbers; ``lower`` hides what lies above the diagonal."""
    axes = _axes(axes, 3.2)
    values = np.asarray(matrix, dtype=float)
    ticks = labels or [str(i + 1) for i in range(len(values))]
    style = {"cmap": "crest", "cbar": False, "square": True, **style}
    sns.heatmap(
        values,
        mask=np.triu(np.ones_like(values, dtype=bool), 1) if lower else None,
        annot=True,
        fmt=fmt,
        ax=axes,
        xticklabels=ticks,
        yticklabels=ticks,
        **style,
    )
    axes.grid(False)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return axes


def embed_together(
    features: Any, proxies: Any | None = None, *, seed: int = 0, perplexity: float = 30.0
) -> tuple[np.ndarray, np.ndarray]:
    """Map features (n, D), and proxies (C, D) among them, to the plane by t-SNE on their directions.

    Both are normalised and embedded jointly with the cosine metric, so that a proxy lies where its
    similarities put it.

    Returns:
        (n, 2) and (C, 2), the second empty without proxies.
    """
    from sklearn.manifold import TSNE

    features = np.asarray(features, dtype=np.float64)
    points = features if proxies is None else np.concatenate([features, np.asarray(proxies)])
    points = points / np.linalg.norm(points, axis=1, keepdims=True).clip(1e-12)
    perplexity = min(perplexity, (len(points) - 1) / 3)
    tsne = TSNE(metric="cosine", init="random", perplexity=perplexity, random_state=seed)
    flat = tsne.fit_transform(points)
    return flat[: len(features)], flat[len(features) :]


def plot_embedding(
    points: np.ndarray,
    labels: Sequence[int],
    proxies: np.ndarray | None = None,
    axes: Axes | None = None,
    *,
    names: Sequence[str] | None = None,
    title: str = "",
    legend: bool = True,
) -> Axes:
    """Draw embedded samples coloured by class, and class proxies as stars."""
    axes = _axes(axes, 4.0)
    labels = np.asarray(labels)
    palette = sns.color_palette("tab10" if labels.max() < 10 else "husl", int(labels.max()) + 1)
    for label in np.unique(labels):
        chosen = points[labels == label]
        name = names[label] if names else str(label)
        axes.scatter(*chosen.T, s=9, color=palette[label], alpha=0.7, lw=0, label=name)
        if proxies is not None and len(proxies):
            style = {"marker": "*", "s": 190, "edgecolor": "black", "linewidth": 0.8, "zorder": 3}
            axes.scatter(*proxies[label], color=palette[label], **style)
    axes.set(title=title, xticks=[], yticks=[])
    if legend:
        axes.legend(
            frameon=False,
            fontsize="x-small",
            ncol=5,
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            markerscale=1.5,
        )
    return axes


def plot_bars(
    values: Mapping[str, Sequence[float]],
    axes: Axes | None = None,
    *,
    reference: Mapping[str, float] | None = None,
    title: str = "",
    xlabel: str = "final accuracy A_T (%)",
) -> Axes:
    """Draw one horizontal bar a row, the mean of its seeds, and the paper's value as a diamond.

    The seeds' spread is an error bar, the mean's 95 % interval, from five seeds on; with fewer, where
    that interval says little, it is the seeds themselves as dots.
    """
    axes = _axes(axes, 0.8 + 0.42 * len(values))
    names = list(values)
    for index, name in enumerate(names):
        seeds = np.asarray(values[name], dtype=float)
        mean, half = confidence_interval(seeds)
        error = half if len(seeds) >= 5 else None
        colour = colour_of(name, index)
        axes.barh(index, mean, xerr=error, color=colour, alpha=0.85, height=0.65)
        # In the bar, or beside one too short for it.
        inside = mean > SHORT_BAR
        place = 1 if inside else max(mean, 0) + 1
        ink = "white" if inside and _is_dark(colour) else "black"
        axes.text(place, index, f"{mean:.1f}", va="center", color=ink, fontsize="small")
        if 1 < len(seeds) < 5:
            axes.scatter(seeds, [index] * len(seeds), color="black", s=7, zorder=3)
    if reference:
        where = [names.index(n) for n in reference if n in names]
        axes.scatter(
            [reference[names[i]] for i in where],
            where,
            marker="D",
            color="black",
            s=26,
            zorder=3,
            label="paper",
        )
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set(yticks=range(len(names)), yticklabels=names, title=title, xlabel=xlabel)
    axes.invert_yaxis()
    return axes


def _is_dark(colour: Any) -> bool:
    """Whether white text can be read on it (ITU-R BT.601 luma)."""
    return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114))) < 0.6


def plot_groups(
    values: Mapping[str, Mapping[str, float]],
    axes: Axes | None = None,
    *,
    title: str = "",
    ylabel: str = "F1 (%)",
) -> Axes:
    """Draw grouped bars with their numbers.

    Args:
        values: series -> group -> number; a series may lack groups.
        axes: where to draw.
        title: text.
        ylabel: text.
    """
    axes = _axes(axes, 2.6)
    groups = list(dict.fromkeys(group for found in values.values() for group in found))
    width = 0.8 / len(values)
    for index, (name, found) in enumerate(values.items()):
        at = [groups.index(group) + (index + 0.5) * width - 0.4 for group in found]
        bars = axes.bar(at, list(found.values()), 0.92 * width, label=name)
        axes.bar_label(bars, fmt="%.0f", fontsize="xx-small", padding=1)
    axes.set(xticks=range(len(groups)), xticklabels=groups, ylabel=ylabel, title=title)
    axes.margins(y=0.1)  # room for the numbers
    axes.grid(False, axis="x")
    if len(values) > 1:
        axes.legend(frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


class LiveCurve:
    """Accuracy after each task while a run goes on: redrawn for a person, one line a task otherwise.

    Pass ``LiveCurve(name).update`` as a run's ``on_task``.
    """

    def __init__(self, name: str, say: Callable[[str], None] = print) -> None:
        self.name, self.say = name, say
        self.handle: Any = None

    def update(self, run: Any) -> None:
        """Show the run's state; ``run`` is a ReplayRun between two tasks."""
        done, tasks = run.tasks_done, len(run.streams[0])
        curve = 100 * average_accuracy(run.accuracy)[:, :done]  # (S, done)
        self.say(
            f"[{self.name}] {run.settings.method}: task {done}/{tasks}, "
            f"accuracy {curve[:, -1].mean():.1f} (mean of {len(run.seeds)} seeds)"
        )
        self.redraw(lambda axes: plot_accuracy_curves({run.settings.method: curve}, axes), tasks)

    def redraw(self, draw: Callable[[Axes], Any], last: int) -> None:
        """Put a figure in place of the one before, if a person is watching.

        Args:
            draw: draws into the axes it is given.
            last: tasks, epochs or whatever the horizontal axis counts, when the run is over.
        """
        if not is_watched():
            return
        from IPython.display import display

        figure, axes = plt.subplots(figsize=(WIDTH, 2.2))
        draw(axes)
        axes.set_xlim(0.8, last + 0.2)
        if self.handle is None:
            self.handle = display(figure, display_id=True)
        else:
            self.handle.update(figure)
        plt.close(figure)
