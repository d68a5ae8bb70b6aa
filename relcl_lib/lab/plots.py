"""Figures from numbers: each function draws on given axes or on a new figure, and returns them.

Nothing here trains, reads files or saves: `save_figure` writes a figure where it is told to.
"""

from __future__ import annotations

import io
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from relcl_lib.lab.files import atomic_write_bytes
from relcl_lib.lab.format import signed
from relcl_lib.lab.metrics import average_accuracy, confidence_interval, mean_and_half

if TYPE_CHECKING:
    from relcl_lib.lab.records import Record

WIDTH = 7.0  # inches; every figure fits a notebook column at this width
SHORT_BAR = 10  # per cent; a shorter bar has its number beside it
MANY_SEEDS = 5  # with fewer a 95 % interval says little, so the seeds themselves are drawn
MANY_STEPS = 20  # more are drawn without a marker and a tick for each
#: where a legend stands that is right of its axes
BESIDE = {"frameon": False, "loc": "center left", "bbox_to_anchor": (1, 0.5)}
#: one colour per method, the same in every figure
METHOD_COLOURS = {
    "FINE-TUNE": "#9e9e9e",
    "IID": "#424242",
    "ER": "#1f77b4",
    "ER-ACE": "#2ca02c",
    "DER++": "#9467bd",
    "SCR": "#17becf",
    "OCM": "#8c564b",
    "OnPro": "#e377c2",
    "UER": "#bcbd22",
    "PCR": "#ff7f0e",
    "PCR+HC": "#6b6ecf",
    "PCR+HC+HT": "#c49c94",
    "PCR+HC+HT+SCD": "#98df8a",
    "PCR+HC+HT+PCD": "#c5b0d5",
    "HPCR": "#d62728",
    "CRECL-CL": "#9e9e9e",  # fine-tuning
    "JOINT": "#424242",
    "EMAR+BERT": "#1f77b4",
    "RP-CRE": "#ff7f0e",
    "RP-CRE (25 epochs)": "#ffbb78",
    "RP-CRE+MA": "#8c564b",
    "CRECL": "#d62728",
    "CRECL+ATM": "#e377c2",
    "CRECL-MAG": "#9467bd",
    "CRECL-CL1": "#17becf",
    "CRECL-CL2": "#bcbd22",
    "CRECL-K": "#2ca02c",
    "CRECL(C)": "#8fa3bf",
    "CasRel": "#1f77b4",
    "without adaptive thresholds": "#ff7f0e",
    "FastRE": "#d62728",
    "ATLOP": "#1f77b4",
    "w/o ECA": "#ff7f0e",
    "DocRE-II": "#d62728",
    "BER": "#17becf",
    "Shuffle": "#bcbd22",
    "GSS": "#e377c2",
    "GEM": "#9467bd",
    "A-GEM": "#8c564b",
    "without the loss": "#9e9e9e",
    "with the loss": "#d62728",
}
#: colours of other names, which come twice from the seventeenth on
OTHER_COLOURS = [*sns.color_palette("Set2", 8), *sns.color_palette("Dark2", 8)]
#: the colours that matplotlib would take, for names that belong to one figure only
CYCLE = [f"C{index}" for index in range(10)]


def use_house_style() -> None:
    """Set the look shared by all figures (call once, in a notebook's setup)."""
    sns.set_theme(style="whitegrid", context="notebook", font_scale=0.85)
    plt.rcParams.update(
        {"figure.dpi": 80, "savefig.dpi": 220, "figure.constrained_layout.use": True}
    )
    if (shell := _notebook()) is not None:
        import matplotlib_inline.backend_inline  # sets its own format first  # noqa: F401

        shell.display_formatter.formatters["image/png"].for_type(Figure, sharp_png)


def _notebook() -> Any:
    """The shell of the notebook that this runs in, or None."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell if hasattr(shell, "kernel") else None


#: what was last drawn of a figure
_DRAWN: WeakKeyDictionary[Figure, tuple[bytes, dict[str, int]]] = WeakKeyDictionary()


def sharp_png(figure: Figure) -> tuple[bytes, dict[str, int]] | None:
    """`figure` as a notebook shows it: two pixels per point of the screen, and its size in points.

    Nothing is shown of an empty figure. A figure that has not changed since is not drawn again.
    """
    from IPython.core.pylabtools import print_figure

    if figure in _DRAWN and not figure.stale:
        return _DRAWN[figure]
    # It is packed well afterwards, so that packing it here would only take time.
    options = {"dpi": 2 * figure.dpi, "pil_kwargs": {"compress_level": 1}}
    found = print_figure(figure, "png", base64=False, **options)
    if found is None:
        return None
    small, (width, height) = _in_few_colours(found)
    _DRAWN[figure] = small, {"width": width // 2, "height": height // 2}
    # Drawn at another size it calls itself stale; from here on only a change of a part does.
    figure.stale = False
    return _DRAWN[figure]


def _in_few_colours(png: bytes) -> tuple[bytes, tuple[int, int]]:
    """A picture in 256 colours, which make the file much smaller, and its size.

    It has no date and no version in it: the same figure gives the same bytes.
    """
    from PIL import Image

    picture, buffer = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
    return buffer.getvalue(), picture.size


def save_figure(figure: Figure, name: str, folder: str | os.PathLike[str] | None) -> None:
    """Write `figure` to `folder/name.png`, whole or not at all; do nothing if folder is None.

    In a notebook it is the picture that the notebook shows.
    """
    if folder is None:
        return
    if _notebook() is not None and (shown := sharp_png(figure)):
        picture, _ = shown
    else:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 1})
        picture, _ = _in_few_colours(buffer.getvalue())
    atomic_write_bytes(Path(folder) / f"{name}.png", picture)


def axes_of(axes: Axes | None, height: float) -> Axes:
    """The axes given, or those of a new figure of this height in inches."""
    return plt.subplots(figsize=(WIDTH, height))[1] if axes is None else axes


def colour_of(name: str, index: int = 0, others: Sequence[Any] = OTHER_COLOURS) -> Any:
    """A method's colour, whatever setting follows it after a comma or in brackets.

    Names without one of their own take the `index`-th of `others`.
    """
    method = name if name in METHOD_COLOURS else re.split(r", | \(", name)[0]
    return METHOD_COLOURS.get(method, others[index % len(others)])


def share_legend(panels: Sequence[Axes], *, below: bool = False, **style: Any) -> None:
    """Give panels one legend, right of the last or below all; a y axis they share is labelled once."""
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
        if axes.get_legend():
            axes.get_legend().remove()
        if axes is not panels[0] and axes.get_shared_y_axes().joined(axes, panels[0]):
            axes.set_ylabel("")
    if handles and below:
        style = {"loc": "outside lower center", "ncols": 2, "fontsize": "small", **style}
        panels[0].figure.legend(handles.values(), handles.keys(), frameon=False, **style)
    elif handles:
        style = {"fontsize": "x-small", **style}
        panels[-1].legend(handles.values(), handles.keys(), **BESIDE, **style)


def arrow(
    axes: Axes, start: Any, end: Any, colour: Any, *, zorder: float = 3, **style: Any
) -> None:
    """Draw an arrow between two points (2,); `style` is that of matplotlib's `FancyArrowPatch`."""
    style = {"arrowstyle": "-|>", "color": colour, "lw": 1.6, "shrinkA": 0, "shrinkB": 0, **style}
    axes.annotate("", tuple(end), tuple(start), arrowprops=style, zorder=zorder)


def part_cells(axes: Axes, rows: int, columns: int, width: float = 0.5) -> None:
    """Draw white lines between the cells of a picture made by `imshow`."""
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(False, which="major")
    axes.grid(which="minor", color="white", lw=width)
    axes.tick_params(which="minor", length=0)


# --- architectures --------------------------------------------------------------------------------


class Box(NamedTuple):
    """A part of a model in a drawing: where it stands and what it says, shapes on a line of their own."""

    left: float
    bottom: float
    width: float
    text: str
    colour: str = "#4c72b0"
    height: float = 1.0


def pale(colour: Any, share: float = 0.5) -> str:
    """A colour that black text can be read on: `share` of it is left, the rest is white."""
    return to_hex([1 - share * (1 - part) for part in to_rgb(colour)])


def plot_flow(
    boxes: Mapping[str, Box],
    flows: Iterable[tuple[str, str]],
    axes: Axes | None = None,
    *,
    height: float = 4.4,
) -> Axes:
    """Draw a model: its boxes by name, and an arrow for each pair of names in `flows`.

    An arrow is upright where its two boxes lie above one another, level where they lie beside one
    another, and slanted otherwise. A box is one unit high and a line of text about 0.4.
    """
    axes = axes_of(axes, height)
    for box in boxes.values():
        place, colour = (box.left, box.bottom), box.colour
        axes.add_patch(Rectangle(place, box.width, box.height, fc=pale(colour, 0.25), ec=colour))
        middle = (box.left + box.width / 2, box.bottom + box.height / 2)
        axes.text(*middle, box.text, ha="center", va="center", fontsize=7)
    for start, end in flows:
        across, upright = (_ends(boxes[start], boxes[end], side) for side in (0, 1))
        arrow(axes, *zip(across, upright, strict=True), "#555555")
    corners = [(box.left, box.bottom) for box in boxes.values()]
    corners += [(box.left + box.width, box.bottom + box.height) for box in boxes.values()]
    (left, bottom), (right, top) = np.min(corners, 0), np.max(corners, 0)
    axes.set(xlim=(left - 0.2, right + 0.2), ylim=(bottom - 0.2, top + 0.2))
    axes.axis("off")
    return axes


def _ends(start: Box, end: Box, side: int) -> tuple[float, float]:
    """Where an arrow leaves and arrives along x (`side` 0) or y (1): one place where both boxes are."""
    (a, length), (b, other) = (
        (box[side], box.height if side else box.width) for box in (start, end)
    )
    low, high = max(a, b), min(a + length, b + other)
    if low < high:
        return (low + high) / 2, (low + high) / 2
    return (a + length, b) if a < b else (a, b + other)


# --- curves --------------------------------------------------------------------------------------


def plot_accuracy_curves(
    curves: Mapping[str, Sequence[Sequence[float]]],
    axes: Axes | None = None,
    *,
    title: str = "",
    xlabel: str = "tasks learned",
    ylabel: str = "accuracy, classes seen (%)",
) -> Axes:
    """Draw one curve per method over the tasks: the mean of its seeds, and their spread.

    `curves` are method -> (seeds, T), in per cent.
    From five seeds on the spread is a band, the mean's 95 % interval; with fewer, where that interval
    says little, it is the seeds themselves as thin lines.
    """
    axes = axes_of(axes, 3.2)
    for index, (method, values) in enumerate(curves.items()):
        values = np.asarray(values, dtype=float)
        mean, half = confidence_interval(values, axis=0)
        tasks = np.arange(1, values.shape[1] + 1)
        colour = colour_of(method, index)
        few = len(tasks) <= MANY_STEPS
        axes.plot(tasks, mean, marker="o" if few else None, label=method, color=colour)
        if 1 < len(values) < MANY_SEEDS:
            axes.plot(tasks, values.T, color=colour, alpha=0.35, lw=0.8)
        elif len(values) > 1:
            axes.fill_between(tasks, mean - half, mean + half, color=colour, alpha=0.15, lw=0)
        if few:
            axes.set_xticks(tasks)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title, ylim=(0, 103))
    if curves:
        axes.legend(frameon=False)
    return axes


def curves_of(
    records: Sequence[Record],
    methods: Sequence[str] | None = None,
    curve: Callable[[Record], Any] = lambda record: average_accuracy(record.accuracy_matrix),
) -> dict[str, list]:
    """Method -> one curve per record that has a matrix, for `plot_accuracy_curves`.

    `methods` selects and orders them; `curve` reads a record (default: average accuracy by task).
    """
    curves: dict[str, list] = {}
    for record in records:
        if record.accuracy_matrix is not None and (methods is None or record.method in methods):
            curves.setdefault(record.method, []).append(curve(record))
    return {m: curves[m] for m in methods or curves if m in curves}


def plot_lines(
    values: Mapping[str, Mapping[int, float | Sequence[float]]],
    axes: Axes | None = None,
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    colours: Sequence[Any] = CYCLE,
) -> Axes:
    """Draw one line per name; `values` are name -> epoch, iteration or the like -> number or runs.

    Of runs the mean is drawn, and from five on its 95 % interval.
    `colours` are for names without one of their own.
    """
    axes = axes_of(axes, 2.4)
    for index, (name, line) in enumerate(values.items()):
        colour = colour_of(name, index, colours)
        means, halves = means_and_halves(line.values())
        axes.plot(list(line), means, marker="o", ms=4, label=name, color=colour)
        if not np.isnan(halves).all():
            axes.errorbar(list(line), means, halves, fmt="none", capsize=3, color=colour)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(values) > 1:
        axes.legend(fontsize="x-small", frameon=False)
    return axes


# --- bars ----------------------------------------------------------------------------------------


def plot_against(
    values: Mapping[str, Mapping[float, Sequence[float]]],
    axes: Axes | None = None,
    *,
    xlabel: str,
    ylabel: str = "final accuracy A_T (%)",
    title: str = "",
    colours: Sequence[Any] = OTHER_COLOURS,
    mark: tuple[str, float] | None = None,
    log: bool = False,
) -> Axes:
    """Draw a line per name through the mean of the seeds, which are dots: name -> x -> (seeds,).

    Names stand a little beside one another at each x, so that no dot hides another's. Two x make no
    curve: their means are joined by a dotted line. `colours` are for names without one of their own;
    `mark` is what a vertical line stands for, and its x; `log` spaces the x, then all labelled, by
    their ratios.
    """
    axes = axes_of(axes, 2.8)
    every = sorted({x for found in values.values() for x in found})
    for index, (name, found) in enumerate(values.items()):
        colour = colour_of(name, index, colours)
        aside = 0.012 * (index - (len(values) - 1) / 2)  # of the axis
        at = {
            x: x * (every[-1] / every[0]) ** aside if log else x + aside * (every[-1] - every[0])
            for x in sorted(found)
        }
        style = ":" if len(every) == 2 else "-"
        means = [np.mean(found[x]) for x in at]
        axes.plot([*at.values()], means, style, color=colour, marker="_", label=name)
        for x, place in at.items():
            axes.scatter([place] * len(found[x]), found[x], color=colour, s=8, alpha=0.6, lw=0)
    if values:
        axes.scatter([], [], color="#555555", s=8, lw=0, label="one seed")
    if mark is not None:
        axes.axvline(mark[1], color="black", lw=0.8, ls=":", label=mark[0])
    if log:
        axes.set_xscale("log")
        axes.set_xticks(every, [f"{x:.3g}" for x in every])
        axes.minorticks_off()
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if values:
        axes.legend(fontsize="x-small", **BESIDE)
    return axes


def means_and_halves(cells: Iterable[float | Sequence[float]]) -> tuple[list[float], list[float]]:
    """Of each cell's runs the mean, and half its 95 % interval (NaN below `MANY_SEEDS`)."""
    found = [_spread(np.atleast_1d(cell)) for cell in cells]
    return [mean for mean, *_ in found], [np.nan if half is None else half for _, half, _ in found]


def _spread(seeds: Sequence[float]) -> tuple[float, float | None, Sequence[float]]:
    """The mean, half its 95 % interval (many seeds), and the seeds to draw (few)."""
    mean, half = confidence_interval(np.asarray(seeds, dtype=float))
    many = len(seeds) >= MANY_SEEDS
    return mean, half if many else None, [] if many or len(seeds) == 1 else seeds


def plot_bars(
    values: Mapping[str, Sequence[float]],
    axes: Axes | None = None,
    *,
    reference: Mapping[str, float] | None = None,
    title: str = "",
    xlabel: str = "final accuracy A_T (%)",
) -> Axes:
    """Draw one horizontal bar per row, the mean of its seeds, and the paper's value as a diamond.

    The seeds' spread is an error bar, the mean's 95 % interval, from five seeds on; with fewer, where
    that interval says little, it is the seeds themselves as dots. A row's name is a method, or a
    method and a setting, see `colour_of`.
    """
    axes = axes_of(axes, 0.8 + 0.42 * len(values))
    names = list(values)
    for index, name in enumerate(names):
        mean, error, dots = _spread(values[name])
        colour = colour_of(name, index)
        axes.barh(index, mean, xerr=error, color=colour, alpha=0.85, height=0.65)
        # In the bar, or beside one too short for it.
        inside = mean > SHORT_BAR
        place = 1 if inside else max(mean, 0) + 1
        ink = "white" if inside and _is_dark(colour) else "black"
        axes.text(place, index, f"{mean:.1f}", va="center", color=ink, fontsize="small")
        axes.scatter(dots, [index] * len(dots), color="black", s=7, zorder=3)
    if reference:
        where = [names.index(n) for n in reference if n in names]
        printed = [reference[names[i]] for i in where]
        axes.scatter(printed, where, marker="D", color="black", s=26, zorder=3, label="paper")
        axes.legend(**BESIDE)
    axes.set(yticks=range(len(names)), yticklabels=names, title=title, xlabel=xlabel)
    axes.invert_yaxis()
    return axes


def plot_differences(
    values: Mapping[str, Sequence[float]],
    axes: Axes | None = None,
    *,
    title: str = "",
    xlabel: str = "points more, same seeds",
) -> Axes:
    """Draw paired differences: name -> one difference per seed, each a dot, with the mean's 95 % interval.

    An interval that holds 0 says that chance alone may give such a mean. It is grey, the others black.
    Fewer than three seeds have no interval and are grey.
    """
    axes = axes_of(axes, 0.8 + 0.42 * len(values))
    for index, found in enumerate(values.values()):
        mean, half = mean_and_half(found)
        colour = "black" if abs(mean) > half else "#9e9e9e"
        rows = [index] * len(found)
        axes.scatter(found, rows, s=16, facecolor="white", edgecolor=colour, lw=0.8, zorder=3)
        interval = None if np.isnan(half) else half
        style = {"fmt": "o", "ms": 6, "capsize": 4, "color": colour, "zorder": 2}
        axes.errorbar(mean, index, xerr=interval, **style)
        digits = _decimals(mean if interval is None else half)
        axes.annotate(
            f"{signed(mean, half, digits)}, n={len(found)}",
            (1, index),
            (5, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    axes.axvline(0, color="#555555", lw=1)
    axes.set(yticks=range(len(values)), yticklabels=list(values), title=title, xlabel=xlabel)
    axes.set_ylim(max(1, len(values)) - 0.5, -0.5)
    axes.grid(False, axis="y")
    return axes


def _decimals(number: float) -> int:
    """How many decimals show two significant digits of a number, four at most; one of 0."""
    size = abs(number)
    return min(4, max(0, 1 - math.floor(math.log10(size)))) if size > 1e-9 else 1


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
    """Draw grouped bars with their numbers: series -> group -> number; a series may lack groups."""
    axes = axes_of(axes, 2.6)
    groups = list(dict.fromkeys(group for found in values.values() for group in found))
    width = 0.8 / max(1, len(values))
    for index, (name, found) in enumerate(values.items()):
        at = [groups.index(group) + (index + 0.5) * width - 0.4 for group in found]
        colour = colour_of(name, index, CYCLE)
        bars = axes.bar(at, list(found.values()), 0.92 * width, label=name, color=colour)
        axes.bar_label(bars, fmt="%.0f", fontsize="x-small", padding=1)
    axes.set(xticks=range(len(groups)), xticklabels=groups, ylabel=ylabel, title=title)
    axes.margins(y=0.1)  # room for the numbers
    axes.grid(False, axis="x")
    if len(values) > 1:
        axes.legend(fontsize="x-small", **BESIDE)
    return axes


def plot_strategies(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    axes: Axes | None = None,
    *,
    title: str = "",
    ylabel: str = "test accuracy (%)",
) -> Axes:
    """Draw a group of bars per strategy: strategy -> series -> one value per seed.

    The mean stands in the bar, and the spread of the seeds is drawn as in `plot_bars`. A strategy may
    lack a series; a single bar stands in the middle.
    """
    axes = axes_of(axes, 2.6)
    series = list(dict.fromkeys(name for found in values.values() for name in found))
    known = list(METHOD_COLOURS)  # without the loss before with it, also where a strategy lacks one
    series.sort(key=lambda name: known.index(name) if name in known else len(known))
    width = 0.8 / max(1, len(series))
    for index, name in enumerate(series):
        label: str | None = name
        for place, found in enumerate(values.values()):
            if name not in found:
                continue
            mean, error, dots = _spread(found[name])
            at = place + (index + 0.5) * width - 0.4 if len(found) > 1 else place
            style = {"color": colour_of(name, index, CYCLE), "alpha": 0.85, "label": label}
            axes.bar(at, mean, 0.92 * width, yerr=error, **style)
            axes.text(at, 2, f"{mean:.0f}", ha="center", fontsize="x-small", color="white")
            axes.scatter([at] * len(dots), dots, color="black", s=7, zorder=3)
            label = None  # once in the legend
    axes.set(xticks=range(len(values)), xticklabels=list(values), ylabel=ylabel, ylim=(0, 100))
    axes.set_title(title, fontsize="small")
    axes.grid(False, axis="x")
    if len(series) > 1:
        axes.legend(fontsize="x-small", **BESIDE)
    return axes


# --- matrices and points -------------------------------------------------------------------------


def plot_matrix(
    matrix: Sequence[Sequence[float]],
    axes: Axes | None = None,
    *,
    title: str = "",
    xlabel: str = "test task",
    ylabel: str = "after training task",
    lower: bool = True,
    labels: Sequence[str] | None = None,
    **style: Any,
) -> Axes:
    """Draw a matrix as a heat map with its numbers; `lower` hides what lies above the diagonal.

    `labels` name the rows and columns (None: 1, 2, ...); `style` is that of `seaborn.heatmap`.
    """
    axes = axes_of(axes, 3.2)
    values = np.asarray(matrix, dtype=float)
    ticks = labels or [str(i + 1) for i in range(len(values))]
    style = {"xticklabels": ticks, "yticklabels": ticks, "annot": True, "fmt": ".0f", **style}
    style = {"cmap": "crest", "cbar": False, "square": True, **style}
    if lower:
        style["mask"] = np.triu(np.ones_like(values, dtype=bool), 1)
    sns.heatmap(values, ax=axes, **style)
    axes.grid(False)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return axes


def embed_together(
    features: Any, proxies: Any | None = None, *, perplexity: float = 30.0
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
    tsne = TSNE(metric="cosine", init="random", perplexity=perplexity, random_state=0)
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
) -> Axes:
    """Draw embedded samples (n, 2) coloured by class, and class proxies (C, 2) as stars."""
    axes = axes_of(axes, 4.0)
    labels = np.asarray(labels)
    palette = sns.color_palette("tab10" if labels.max() < 10 else "husl", int(labels.max()) + 1)
    for label in np.unique(labels):
        chosen = points[labels == label]
        name = names[label] if names else str(label)
        axes.scatter(*chosen.T, s=9, color=palette[label], alpha=0.7, lw=0, label=name)
        if proxies is not None and len(proxies):
            # Stars may touch: one that lies under another shows through.
            style = {"marker": "*", "s": 150, "edgecolor": "black", "linewidth": 0.8, "alpha": 0.75}
            style["zorder"] = 3
            axes.scatter(*proxies[label], color=palette[label], **style)
    axes.set(title=title, xticks=[], yticks=[])
    style = {"ncol": 5, "loc": "upper center", "bbox_to_anchor": (0.5, 0), "markerscale": 1.5}
    axes.legend(frameon=False, fontsize="x-small", **style)
    return axes
