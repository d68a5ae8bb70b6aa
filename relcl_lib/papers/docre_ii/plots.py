"""Figures of DocRE-II: documents, their facts as graphs and as matrices of entity pairs, epochs."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from relcl_lib.data.document_files import Document, Fact
from relcl_lib.lab.live import Progress
from relcl_lib.lab.plots import (
    BESIDE,
    WIDTH,
    Box,
    arrow,
    axes_of,
    colour_of,
    means_and_halves,
    pale,
    part_cells,
    plot_flow,
    plot_lines,
)
from relcl_lib.lab.sentence_plots import plot_words
from relcl_lib.text.document_tokens import DocumentBatch

#: what a predicted or annotated fact is -> colour of its edge or cell
OUTCOMES = {"right": "#2a9d5c", "wrong": "#d1495b", "missed": "#b9bec7"}
#: the four lines of the matrix that a pair's attention reads
HEADS = ("head 1: row s", "head 2: column o", "head 3: column s", "head 4: row o")


def entity_colours(count: int) -> list[Any]:
    """Return `count` pale colours, one per entity."""
    return [pale(colour, 0.45) for colour in sns.color_palette("husl", count)]


def as_math(text: str) -> str:
    """A text whose number of layers is set as the symbol that it is."""
    return text.replace("N_I", "$N_I$")


def plot_document(document: Document, axes: Axes | None = None, *, title: str = "") -> Axes:
    """Write a document with a colour behind each mention and its entity's number below it."""
    palette = entity_colours(len(document.entities))
    words = [word for sentence in document.sentences for word in sentence]
    notes: dict[int, str] = {}
    first = np.cumsum([0, *(len(sentence) for sentence in document.sentences)])
    colours: list[Any] = [None] * len(words)
    for entity, mentions in enumerate(document.entities):
        for mention in mentions:
            start, end = (first[mention.sentence] + at for at in (mention.start, mention.end))
            colours[start:end] = [palette[entity]] * (end - start)
            notes[int(start)] = str(entity)
    return plot_words(words, colours, axes, notes=notes, title=title)


def short_name(document: Document, entity: int, length: int = 14) -> str:
    """An entity's number and the name of its first mention, cut to `length` letters."""
    name = document.entities[entity][0].name
    return f"{entity} {name if len(name) <= length else name[: length - 1] + '…'}"


def outcomes(predicted: AbstractSet[Fact], gold: AbstractSet[Fact]) -> dict[str, set[Fact]]:
    """The facts that are right, wrong and missed."""
    return {"right": predicted & gold, "wrong": predicted - gold, "missed": gold - predicted}


def plot_graphs(
    document: Document,
    predictions: Mapping[str, AbstractSet[Fact]],
    *,
    names: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Draw predicted facts as arrows between entities, one panel per prediction (compare Figure 6).

    Arrows that not every panel has bear the relation's name. `predictions` are panel title -> facts,
    `names` relation -> its name. Drawn are the entities that have a fact in some panel or in the
    labels, which have to be public.
    """
    gold = document.gold()
    facts = gold.union(*predictions.values())
    shown = sorted({end for fact in facts for end in (fact.head, fact.tail)})
    common = set.intersection(*map(set, predictions.values())) if len(predictions) > 1 else set()
    angle = {e: math.pi / 2 - 2 * math.pi * i / max(len(shown), 1) for i, e in enumerate(shown)}
    place = {e: np.array([math.cos(a), math.sin(a)]) for e, a in angle.items()}
    size = WIDTH / max(len(predictions), 2)
    figure, row = plt.subplots(
        1, len(predictions), figsize=(1.25 * size * len(predictions), 0.95 * size), squeeze=False
    )
    for axes, (panel, predicted) in zip(row[0], predictions.items(), strict=True):
        for kind, facts in outcomes(predicted, gold).items():
            for fact in sorted(facts):
                named = kind != "missed" and fact not in common
                text = (names or {}).get(fact.relation, fact.relation) if named else ""
                _edge(axes, place[fact.head], place[fact.tail], kind, text)
        for entity in shown:
            x, y = place[entity]
            axes.plot(x, y, "o", ms=7, color="#4b5563", zorder=3)
            name = short_name(document, entity)
            side = "center" if abs(x) < 0.3 else "left" if x > 0 else "right"
            axes.text(1.09 * x, 1.12 * y, name, ha=side, va="center", fontsize=7)
        axes.set(xlim=(-2.1, 2.1), ylim=(-1.25, 1.25), title=panel)
        axes.title.set_fontsize("small")
        axes.axis("off")
    style = {"loc": "lower center", "ncol": 3, "frameon": False, "fontsize": "x-small"}
    figure.legend(handles=patches(OUTCOMES), **style)
    figure.suptitle(title, fontsize="medium")
    return figure


def patches(colours: Mapping[str, Any]) -> list[Patch]:
    """Name -> colour as what a legend takes."""
    return [Patch(color=colour, label=name) for name, colour in colours.items()]


def _edge(axes: Axes, start: Any, end: Any, kind: str, text: str) -> None:
    missed, colour = kind == "missed", OUTCOMES[kind]
    # Curved, so that the two directions of a pair lie side by side.
    style = {"connectionstyle": "arc3,rad=0.16", "shrinkA": 5, "shrinkB": 5, "mutation_scale": 8}
    style |= {"lw": 0.7, "linestyle": ":"} if missed else {"lw": 1.2, "linestyle": "-"}
    arrow(axes, start, end, colour, zorder=1 if missed else 2, **style)
    if text:
        normal = np.array([end[1] - start[1], start[0] - end[0]])
        control, t = (start + end) / 2 + 0.16 * normal, 0.33
        # On the curve, nearer to its start: the other direction's text is beside the other end.
        place = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
        box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"}
        style = {"fontsize": 7, "ha": "center", "va": "center", "zorder": 4}
        axes.text(*place, text, color=colour, bbox=box, **style)


def _cut(text: str, letters: int) -> str:
    """A text whose words longer than `letters` end in an ellipsis."""
    return " ".join(w if len(w) <= letters + 1 else f"{w[:letters]}…" for w in text.split())


def plot_pair_matrix(
    document: Document,
    predicted: AbstractSet[Fact],
    axes: Axes | None = None,
    *,
    before: AbstractSet[Fact] | None = None,
    names: Mapping[str, str] | None = None,
    title: str = "",
) -> Axes:
    """Draw the matrix of entity pairs: row head, column tail, a cell coloured by what was found.

    A cell with a wrong relation is `wrong` even if another one of it is right. `before` are the facts
    predicted an iteration earlier: cells that have changed get a frame; where a fact (x, z) came over
    (x, y) and (y, z), the cells of these two get a dot. `names` are those of relations, by id.
    """
    count = len(document.entities)
    axes = axes_of(axes, 0.8 + 0.42 * count)
    found = outcomes(predicted, document.gold())
    grid = np.zeros((count, count))
    for value, kind in enumerate(("missed", "right", "wrong"), start=1):
        for fact in found[kind]:
            grid[fact.head, fact.tail] = max(grid[fact.head, fact.tail], value)
    np.fill_diagonal(grid, np.nan)
    colours = ["#f3f4f6", *(pale(OUTCOMES[kind]) for kind in ("missed", "right", "wrong"))]
    axes.imshow(grid, cmap=ListedColormap(colours), vmin=0, vmax=3, aspect="auto")
    cells: dict[tuple[int, int], list[str]] = {}
    for fact in sorted(predicted | document.gold()):
        text = (names or {}).get(fact.relation, fact.relation)
        cells.setdefault((fact.head, fact.tail), []).append(text)
    width = axes.get_window_extent().width / axes.figure.dpi / count  # of a cell, in inches
    letters = max(5, int(width / 0.052))
    for (head, tail), texts in cells.items():
        whole = (_cut(text, letters) for text in texts[:2])
        lines = [line for text in whole for line in textwrap.wrap(text, letters + 1)]
        axes.text(tail, head, "\n".join(lines[:3]), fontsize=7, ha="center", va="center")
    if before is not None:
        _mark_changes(axes, predicted, before)
    ticks = [short_name(document, entity, 18) for entity in range(count)]
    axes.set(xlabel="tail", ylabel="head", title=title)
    axes.set_xticks(range(count), [str(entity) for entity in range(count)])
    axes.set_yticks(range(count), ticks, fontsize="x-small")
    part_cells(axes, count, count, 1.2)
    axes.tick_params(length=0)
    style = {"frameon": False, "loc": "upper left", "bbox_to_anchor": (1, 1)}
    axes.legend(handles=patches(OUTCOMES), fontsize="x-small", **style)
    return axes


def _mark_changes(axes: Axes, predicted: AbstractSet[Fact], before: AbstractSet[Fact]) -> None:
    pairs, earlier = ({(f.head, f.tail) for f in facts} for facts in (predicted, before))
    for head, tail in {(f.head, f.tail) for f in predicted ^ before}:
        corner = (tail - 0.46, head - 0.46)
        axes.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, lw=1.8, ec="black", zorder=3))
    for fact in predicted - before:
        middles = {m for s, m in earlier if s == fact.head and (m, fact.tail) in earlier}
        on_triangles = {cell for m in middles for cell in ((fact.head, m), (m, fact.tail))}
        for head, tail in on_triangles & pairs:
            axes.plot(tail + 0.38, head - 0.36, "o", ms=3, color="black", zorder=3)


def plot_reach(count: int, pair: tuple[int, int], axes: Axes | None = None) -> Axes:
    """Draw the 4 n - 6 cells that the attention of one pair reads, coloured by head."""
    axes = axes_of(axes, 2.8)
    s, o = pair
    colours = sns.color_palette("deep", 4)
    picture = np.full((count, count, 3), 0.95)
    for line, colour in zip((np.s_[s], np.s_[:, o], np.s_[:, s], np.s_[o]), colours, strict=True):
        picture[line] = colour
    picture[o, s] = np.mean(colours[2:], axis=0)  # lies on the lines of heads 3 and 4
    picture[pair] = 0.15
    picture[np.diag_indices(count)] = 1
    axes.imshow(picture)
    for subject, other, text in ((s, o, "s, o"), (o, s, "3, 4")):
        axes.text(other, subject, text, color="white", ha="center", va="center", fontsize="x-small")
    names = ["s" if i == s else "o" if i == o else str(i) for i in range(count)]
    axes.set(xlabel="object", ylabel="subject")
    axes.set_xticks(range(count), names)
    axes.set_yticks(range(count), names)
    axes.grid(False)
    shown = dict(zip(HEADS, colours, strict=True)) | {"(o, s): heads 3 and 4": picture[o, s]}
    shown |= {"the pair itself, in every head": "0.15"}
    axes.legend(handles=patches(shown), fontsize="x-small", **BESIDE)
    return axes


#: stage of training -> the method that it ends with
_STAGES = {"stage 1: base": "ATLOP", "stage 2: with inference module": "DocRE-II"}


def plot_stages(
    history: Sequence[Mapping[str, float]], axes: Axes | None = None, *, title: str = ""
) -> Axes:
    """Draw dev F1 over the epochs of both stages, from a run's `history`."""
    lines: dict[str, dict[int, float]] = {}
    for epoch, entry in enumerate(history, start=1):
        lines.setdefault(list(_STAGES)[int(entry["stage"]) - 1], {})[epoch] = entry["dev_F1"]
    colours = [colour_of(_STAGES[name]) for name in lines]
    texts = {"xlabel": "epoch", "ylabel": "F1, dev (%)", "title": title}
    axes = plot_lines(lines, axes, colours=colours, **texts)
    axes.set_ylim(0, None)
    return axes


def progress(run: Any) -> Progress:
    """How far a `DocreRun` is: loss and dev F1 after each epoch; the last of a stage is due."""
    last, settings, done = run.history[-1], run.settings, run.epochs_done
    total = settings.stage1_epochs + settings.stage2_epochs
    line = (
        f"{settings.method}, seed {run.seed}: stage {last['stage']}, epoch {done}/{total}, "
        f"loss {last['loss']:.3f}, dev F1 {last['dev_F1']:.1f}"
    )
    due = done in (settings.stage1_epochs, total)
    return Progress(done, total, line, lambda axes: plot_stages(run.history, axes), due)


_BASE_COLOUR, _INFERENCE_COLOUR = "#4c72b0", "#dd8452"
#: part of the base module, from the top down: its text, which takes the sizes of a batch
_BASE = {
    "document": "document, marked mentions\nids ({b}, {T})",
    "encoder": "encoder\nH ({b}, {T}, {D}), A ({m}, {heads}, {T})",
    "entities": "entities: log sum exp\nh(e) ({b} · {N}, {D})",
    "context": "context, from A and H\nc ({b}, {N}, {N}, {D})",
    "features": "bilinear on [h(e); c]\nF_0 ({p}, {features})",
    "base": "classifier of the base\nlogits ({p}, {C})",
}
#: part of the inference module -> where it stands (left, bottom, width), its text with the shapes
_INFERENCE = {
    "feature slot": (4.6, 1.4, 2.6, "reduce\nF ({p}, {d})"),
    "relation slot": (4.6, 0.0, 2.6, "embed predictions\nR ({p}, {d})"),
    "memory": (4.6, 2.8, 5.6, "M: [F; R] projected to ({p}, {d}),\nas a matrix ({b}, {N}, {N})"),
    "feature attention": (4.6, 4.2, 2.6, "crossed attention\nqueries F ({p}, {d})"),
    "relation attention": (7.6, 4.2, 2.6, "crossed attention\nqueries R ({p}, {d})"),
    "gate": (4.6, 5.6, 5.6, "gate: g F~ + (1 - g) R~, one mixture ({p}, {d})"),
    "networks": (
        *(4.6, 7.0, 5.6),
        "a network each, added to F and to R, and a norm\nF, R ({p}, {d}), read by the next layer",
    ),
    "classifier": (11.4, 7.0, 3.0, "classifier on [F; R]\nlogits ({p}, {C})"),
    "decode": (11.4, 0.0, 3.0, "decode by the threshold\nlabels ({p}, {C})"),
}
_FLOWS = (
    *itertools.pairwise(_BASE),
    ("features", "feature slot"),
    ("base", "relation slot"),
    ("feature slot", "memory"),
    ("memory", "feature attention"),
    ("memory", "relation attention"),
    ("feature attention", "gate"),
    ("relation attention", "gate"),
    ("gate", "networks"),
    ("networks", "classifier"),
    ("classifier", "decode"),
    ("decode", "relation slot"),
)


def plot_architecture(run: Any, batch: DocumentBatch, axes: Axes | None = None) -> Axes:
    """Draw base and inference module of a `DocreRun`, with the shapes of a batch of documents.

    A base that reads no text (stated facts) is left out.
    """
    model, (b, pieces) = run.model, batch.ids.shape
    encoder = getattr(model.base, "encoder", None)
    sizes = {"b": b, "T": pieces}
    if encoder is not None:
        network = encoder.network.config
        sizes |= {"D": network.hidden_size, "heads": network.num_attention_heads}
    sizes |= {"N": batch.n_entities, "m": len(batch.mentions), "p": len(batch.pairs)}
    sizes |= {"d": model.inference.config.size, "features": model.base.feature_size}
    sizes["C"] = model.inference.config.n_relations + 1
    boxes = {
        name: Box(0, 7 - 1.4 * index, 3.4, text.format(**sizes), _BASE_COLOUR)
        for index, (name, text) in enumerate(_BASE.items() if encoder is not None else ())
    }
    for name, (left, bottom, width, text) in _INFERENCE.items():
        boxes[name] = Box(left, bottom, width, text.format(**sizes), _INFERENCE_COLOUR)
    axes = plot_flow(boxes, [flow for flow in _FLOWS if boxes.keys() >= {*flow}], axes)
    # From the relation slot, beside the feature slot, into the memory.
    corner = (8.9, 0.7)
    axes.plot([7.2, corner[0]], [corner[1]] * 2, color="#555555", lw=1.6)
    arrow(axes, corner, (corner[0], 2.8), "#555555")
    axes.add_patch(Rectangle((4.35, 2.6), 6.1, 5.6, fc="none", ec=_INFERENCE_COLOUR, ls="--"))
    layers, passes = len(model.inference.layers), run.settings.iterations
    style = {"fontsize": 7, "color": _INFERENCE_COLOUR}
    axes.text(10.4, 8.36, f"a layer, N_I = {layers} times", ha="right", **style)
    axes.text(
        9.3, 0.12, f"fed back until K = {passes} passes", ha="center", fontsize=7, color="#555555"
    )
    if encoder is not None:
        axes.text(0, 8.36, "base module (ATLOP)", fontsize=7, color=_BASE_COLOUR)
    axes.set(ylim=(-0.3, 8.9))
    return axes


def plot_ablations(
    values: Mapping[str, Mapping[str, Sequence[float]]], axes: Axes | None = None
) -> Axes:
    """Draw by how much F1 of the whole is above F1 with each change: whose -> difference -> values.

    `whose` is `paper, CDR` (a diamond) or `ours, CDR, ...` (a dot), with a colour per data set. One
    value per seed: their mean is drawn, and from five seeds on its 95 % interval.
    """
    names = list(dict.fromkeys(name for found in values.values() for name in found))
    axes = axes_of(axes, 0.8 + 0.55 * len(names))
    data = {whose: whose.split(", ")[1] for whose in values}
    distinct = list(dict.fromkeys(data.values()))
    palette = dict(zip(distinct, sns.color_palette("colorblind", len(distinct)), strict=True))
    rows = {name: [whose for whose, found in values.items() if name in found] for name in names}
    for whose, found in values.items():
        # A row's marks lie around its middle, however many it has.
        places = [
            names.index(n) + 0.8 * ((rows[n].index(whose) + 0.5) / len(rows[n]) - 0.5)
            for n in found
        ]
        means, halves = means_and_halves(found.values())
        quoted, counts = whose.startswith("paper"), {len(seeds) for seeds in found.values()}
        axes.errorbar(
            means,
            places,
            xerr=halves,
            linestyle="none",
            marker="D" if quoted else "o",
            markersize=5,
            color=palette[data[whose]],
            label=whose if quoted else f"{whose}, n = {' or '.join(map(str, sorted(counts)))}",
        )
    axes.axvline(0, color="#555555", lw=1)
    for place in range(1, len(names)):
        axes.axhline(place - 0.5, color="#dddddd", lw=0.6, zorder=0)
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel="difference in F1 (points)")
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first on top
    axes.grid(False, axis="y")
    axes.legend(fontsize="x-small", **BESIDE)
    return axes


def plot_slot_weights(weights: Mapping[str, tuple[float, float]], axes: Axes | None = None) -> Axes:
    """Draw Figure 5: the mean absolute weight of the F half and of the R half, a pair per line."""
    axes = axes_of(axes, 0.8 + 0.4 * len(weights))
    for side, (name, colour) in enumerate(
        (("F half", _BASE_COLOUR), ("R half", _INFERENCE_COLOUR))
    ):
        places = [index + 0.4 * side - 0.2 for index in range(len(weights))]
        bars = axes.barh(places, [pair[side] for pair in weights.values()], 0.38, color=colour)
        bars.set_label(name)
        axes.bar_label(bars, fmt="%.3f", fontsize=7, padding=2)
    names = [as_math(name) for name in weights]
    axes.set(yticks=range(len(weights)), yticklabels=names, xlabel="mean absolute weight")
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlim(0, 1.3 * max(map(max, weights.values())))  # room for the longest bar's number
    axes.legend(fontsize="small", **BESIDE)
    return axes
