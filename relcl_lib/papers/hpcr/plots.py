"""Figures of HPCR: its idea, its architecture, its analyses; and how far a run is, for `LiveCurve`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch

from relcl_lib.lab import words
from relcl_lib.lab.live import Progress
from relcl_lib.lab.metrics import average_accuracy, new_task_accuracy, old_task_accuracy
from relcl_lib.lab.plots import (
    BESIDE,
    CYCLE,
    MANY_SEEDS,
    WIDTH,
    Box,
    axes_of,
    colour_of,
    plot_accuracy_curves,
    plot_against,
    plot_flow,
    share_legend,
)
from relcl_lib.papers.hpcr.strategies.proxies import with_pairs

if TYPE_CHECKING:
    from relcl_lib.papers.hpcr.parameters import ReplayParameters
    from relcl_lib.papers.hpcr.run import ReplayRun
    from relcl_lib.papers.hpcr.studies import Curves

#: for names without a colour of their own: none is near PCR's orange or HPCR's red
COLOURS = ["C2", "C0", "C4", "C5", "C8", "C9"]


def method_in_words(settings: ReplayParameters) -> str:
    """A run's method, which says so where its steps are too small for HC."""
    pairs = with_pairs(settings.hc, settings.stream_batch + settings.memory_batch)
    return settings.method if pairs else words.name(settings.method)


def progress(run: Any) -> Progress:
    """How far a `ReplayRun` is: accuracy on the classes seen, after each task."""
    done, tasks, method = run.tasks_done, len(run.streams[0]), method_in_words(run.settings)
    curve = 100 * average_accuracy(run.accuracy)[:, :done]  # (S, done)
    mean = f"accuracy {curve[:, -1].mean():.1f} (mean of {len(run.seeds)} seeds)"
    line = f"{method}: task {done}/{tasks}, {mean}"
    return Progress(done, tasks, line, lambda axes: plot_accuracy_curves({method: curve}, axes))


# --- the idea and the architecture ---------------------------------------------------------------

ANCHOR, OWN, RIVAL, ABSENT = "black", "tab:green", "tab:red", "silver"
#: who competes: title -> proxies and samples as (degrees, colour); the anchor stands at 20 degrees
_COMPETITIONS = {
    "ER: the proxies of all classes": (
        ((34, OWN), (109, RIVAL), (178, RIVAL), (246, RIVAL), (309, RIVAL)),
        (),
    ),
    "contrast: the samples of the batch": ((), ((43, OWN), (115, RIVAL), (304, RIVAL))),
    "PCR: the proxies of the batch": (
        ((34, OWN), (109, RIVAL), (178, ABSENT), (246, ABSENT), (309, RIVAL)),
        (),
    ),
}


def _on_circle(degrees: float) -> tuple[float, float]:
    angle = np.deg2rad(degrees)
    return float(np.cos(angle)), float(np.sin(angle))


def plot_competition() -> Figure:
    """Draw who competes for an anchor: its class pulls it, the others push it away."""
    figure, panels = plt.subplots(1, len(_COMPETITIONS), figsize=(WIDTH, 2.9))
    anchor = _on_circle(20)
    for axes, (title, groups) in zip(panels, _COMPETITIONS.items(), strict=True):
        axes.add_patch(Circle((0, 0), 1, fill=False, color="lightgrey"))
        for marker, size, members in zip("*o", (190, 45), groups, strict=True):
            for degrees, colour in members:
                point = _on_circle(degrees)
                axes.scatter(*point, s=size, marker=marker, color=colour, zorder=3)
                if colour != ABSENT:
                    axes.plot(*zip(anchor, point, strict=True), color=colour, lw=1.2, alpha=0.7)
        axes.scatter(*anchor, s=80, color=ANCHOR, zorder=4)
        axes.set(xticks=[], yticks=[], aspect="equal", xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
        axes.set_title(title, fontsize="small")
        axes.axis("off")
    marks = {
        "anchor": ("o", ANCHOR),
        "proxy": ("*", "grey"),
        "sample": ("o", "grey"),
        "its own class": ("s", OWN),
        "competitor": ("s", RIVAL),
        "takes no part": ("s", ABSENT),
    }
    handles = [
        Line2D([], [], marker=marker, color=colour, ls="", label=name)
        for name, (marker, colour) in marks.items()
    ]
    style = {"ncols": len(handles), "frameon": False, "fontsize": "x-small"}
    figure.legend(handles=handles, loc="outside lower center", **style)
    return figure


def plot_on_circle(
    points: Mapping[float, int], proxies: Mapping[float, int], axes: Axes | None = None
) -> Axes:
    """Draw points and proxies on the unit circle, each with its angle: degrees -> class."""
    if axes is None:
        axes = plt.subplots(figsize=(4.4, 3.2))[1]
    axes.add_patch(Circle((0, 0), 1, fill=False, color="lightgrey"))
    for kind, members, marker, size in (("point", points, "o", 60), ("proxy", proxies, "*", 200)):
        for degrees, label in members.items():
            at = _on_circle(degrees)
            axes.scatter(*at, marker=marker, s=size, color=CYCLE[label], zorder=3)
            outside = (1.22 * at[0], 1.17 * at[1])
            axes.text(*outside, f"{degrees:g}°", ha="center", va="center", fontsize=8)
        axes.scatter([], [], marker=marker, s=size, color="grey", label=kind)
    for label in sorted({*points.values(), *proxies.values()}):
        axes.scatter([], [], marker="s", color=CYCLE[label], label=f"class {label}")
    axes.set(xlim=(-1.4, 1.4), ylim=(-1.3, 1.3), aspect="equal")
    axes.axis("off")
    axes.legend(fontsize="small", **BESIDE)
    return axes


_NETWORK, _MEMORY, _LOSS = "#4c72b0", "#55a868", "#c44e52"
#: part -> where it stands (left, bottom, width), its text with places for the shapes, its colour
_PARTS: dict[str, tuple[float, float, float, str, str]] = {
    "stream": (0, 9.8, 4.6, "images that arrive\n{arriving}", _NETWORK),
    "memory": (
        5.2,
        9.8,
        10.4,
        "memory: image, label, logits $o^*$ and features $z^*$\n{slots}",
        _MEMORY,
    ),
    "views": (0, 8.4, 4.6, "{views}\n$x$ {x}", _NETWORK),
    "memory views": (5.2, 8.4, 4.6, "views of those drawn\n$x$ {x_m}", _NETWORK),
    "stored logits": (10.4, 8.4, 2.5, "$o^*$ of those drawn\n{stored_o}", _MEMORY),
    "stored features": (13.1, 8.4, 2.5, "$z^*$ of those drawn\n{stored_z}", _MEMORY),
    "body": (0, 7.0, 9.8, "reduced ResNet-18, {passes}", _NETWORK),
    "features": (0, 5.6, 4.6, "features $z$ {z}", _NETWORK),
    "memory features": (5.2, 5.6, 4.6, "features $z$ {z_m}", _NETWORK),
    "head": (0, 4.2, 9.8, "cosine classifier, proxies $w$ {w}", _NETWORK),
    "logits": (0, 2.8, 4.6, "logits $o$ {o}", _NETWORK),
    "memory logits": (5.2, 2.8, 4.6, "logits $o$ {o_m}", _NETWORK),
    "contrast": (
        0,
        1.4,
        9.8,
        "$L_C$ (Eq. 9, 18): {rows} rows against their classes, $k$ {k}",
        _LOSS,
    ),
    "pcd": (10.4, 2.8, 2.5, "$L_{{PCD}}$ (Eq. 24)\n$o$ near $o^*$", _LOSS),
    "scd": (13.1, 5.6, 2.5, "$L_{{SCD}}$ (Eq. 25)\n$z$ related as $z^*$", _LOSS),
    "loss": (
        0,
        0,
        15.6,
        "$L = g(s)\\,L_C + \\alpha\\,L_{{PCD}} + \\beta\\,L_{{SCD}}$ (Eq. 26), {seeds} values",
        _LOSS,
    ),
}
_FLOWS = (
    *(("stream", "memory"), ("stream", "views"), ("memory", "memory views")),
    *(("memory", "stored logits"), ("memory", "stored features")),
    *(("views", "body"), ("memory views", "body"), ("body", "features")),
    *(("body", "memory features"), ("features", "head"), ("memory features", "head")),
    *(("head", "logits"), ("head", "memory logits"), ("logits", "contrast")),
    *(("memory logits", "contrast"), ("memory logits", "pcd"), ("memory features", "scd")),
    *(("stored logits", "pcd"), ("stored features", "scd")),
    *(("contrast", "loss"), ("pcd", "loss"), ("scd", "loss")),
)


def plot_architecture(run: ReplayRun, axes: Axes | None = None) -> Axes:
    """Draw a training step of HPCR with the shapes that it has in `run`: S seeds side by side."""
    settings, (height, width) = run.settings, run.images.shape[-2:]
    weight = run.network.head.weight  # (S, C, D)
    seeds, classes, dim = weight.shape
    image = f"3, {height}, {width})"
    new, old = (settings.views * n for n in (settings.stream_batch, settings.memory_batch))
    shapes = {
        "seeds": seeds,
        "rows": new + old,
        "views": ("clean views", "clean and random views")[settings.views - 1],
        "passes": "both groups in one pass" if settings.joint_forward else "one pass per group",
        "arriving": f"({seeds}, {settings.stream_batch}, {image}",
        "slots": f"{settings.buffer_size} slots for each of {seeds} seeds",
        "x": f"({seeds}, {new}, {image}",
        "x_m": f"({seeds}, {old}, {image}",
        "z": f"({seeds}, {new}, {dim})",
        "z_m": f"({seeds}, {old}, {dim})",
        "o": f"({seeds}, {new}, {classes})",
        "o_m": f"({seeds}, {old}, {classes})",
        "stored_z": f"({seeds}, {settings.memory_batch}, {dim})",
        "stored_o": f"({seeds}, {settings.memory_batch}, {classes})",
        "w": f"({seeds}, {classes}, {dim})",
        "k": f"({seeds}, {classes})",
    }
    boxes = {
        name: Box(left, bottom, wide, text.format(**shapes), colour)
        for name, (left, bottom, wide, text, colour) in _PARTS.items()
    }
    return plot_flow(boxes, _FLOWS, axes, height=5.2)


# --- analyses ------------------------------------------------------------------------------------


def explain_spread(axes: Axes, seeds: Iterable[int], *, bars: bool = False) -> None:
    """Add to a legend what shows the spread: of few seeds each of them, of many an interval.

    `seeds` are how many each curve, or with `bars` each bar, has.
    """
    handles, names = axes.get_legend_handles_labels()
    few, many = {"color": "grey", "lw": 0.8}, Patch(color="grey", alpha=0.3, lw=0)
    if bars:
        few = {"color": "black", "marker": "o", "ms": 3, "ls": ""}
    counts = [*seeds]
    if any(1 < count < MANY_SEEDS for count in counts):
        handles, names = [*handles, Line2D([], [], **few)], [*names, "one seed"]
    if any(count >= MANY_SEEDS for count in counts):
        interval = Line2D([], [], color="#424242", lw=2.2) if bars else many
        handles, names = [*handles, interval], [*names, "95 % interval"]
    if handles:
        axes.legend(handles, names, fontsize="x-small", **BESIDE)


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
    explain_spread(panels[-1], map(len, matrices.values()))
    return figure


def plot_temperatures(classes: Curves, parts: Curves) -> Figure:
    """Fig. 2: accuracy by the temperature in both parts, on all, old and new classes; and in one part.

    The other part is at 0.09.
    """
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.8), sharey=True)
    about = {"xlabel": "temperature", "ylabel": "accuracy at the end (%)", "log": True}
    for axes, values, title, colours in (
        (panels[0], classes, "τ in both parts", COLOURS),
        (panels[1], parts, "τ in G or in P alone", COLOURS[len(classes) :]),
    ):
        plot_against(values, axes, title=title, mark=("0.09", 0.09), colours=colours, **about)
        axes.legend(frameon=False, fontsize="x-small", ncols=2)
    panels[0].set_ylim(0, 105)
    return figure


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
        classes, label = len(means), f"{name}, n={len(values)}"
        at = np.arange(1, classes + 1) + (index + 0.5) * width - 0.4
        axes.bar(at, means, 0.92 * width, label=label, color=colour_of(name, index, COLOURS))
    axes.axhline(0, color="black", lw=0.8)
    if gradients:
        axes.axvline(classes - new + 0.5, color="black", lw=0.8, ls=":")
        axes.set_xticks(range(1, classes + 1))
        axes.legend(fontsize="x-small", **BESIDE)
    texts = {"xlabel": "proxy (right of the line: new classes)", "ylabel": "cumulative gradient"}
    axes.set(title=title, **texts)
    axes.grid(False, axis="x")
    return axes
