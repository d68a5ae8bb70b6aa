"""Figures of DocRE-II's matrix of entity pairs: what was found, what changed, what a pair reads."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex, to_rgb
from matplotlib.patches import Patch, Rectangle

from relcl_lib.data.document_files import Document, Fact
from relcl_lib.lab.plots import _axes
from relcl_lib.papers.docre_ii.plots import OUTCOMES, outcomes, short_name

#: the four lines that a pair's attention reads, heads 1 to 4
HEADS = ("head 1: row s", "head 2: column o", "head 3: column s", "head 4: row o")


def pale(colour: str) -> str:
    """Return a colour that black text can be read on."""
    return to_hex(1 - 0.5 * (1 - np.array(to_rgb(colour))))


def _cut(text: str, letters: int) -> str:
    """Return a text whose words longer than `letters` end in an ellipsis."""
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

    A cell with a wrong relation is `wrong` even if another one of it is right.

    Args:
        document: with public labels.
        predicted: facts.
        axes: to draw on; None: a figure of its own.
        before: facts predicted an iteration earlier. Cells that have changed get a frame; where a
            fact came, the cells of the triangles it closes get a dot.
        names: relation -> its name; None leaves the ids.
        title: over the matrix.
    """
    count = len(document.entities)
    axes = _axes(axes, 0.8 + 0.42 * count)
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
        axes.text(tail, head, "\n".join(lines[:3]), fontsize=6.5, ha="center", va="center")
    if before is not None:
        _mark_changes(axes, predicted, before)
    ticks = [short_name(document, entity, 18) for entity in range(count)]
    axes.set(xticks=range(count), yticks=range(count), xlabel="tail", ylabel="head", title=title)
    axes.set_xticklabels([str(entity) for entity in range(count)])
    axes.set_yticklabels(ticks, fontsize="x-small")
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(False)
    axes.grid(True, which="minor", color="white", lw=1.2)
    axes.tick_params(which="both", length=0)
    handles = [Patch(color=colour, label=kind) for kind, colour in OUTCOMES.items()]
    axes.legend(
        handles=handles, frameon=False, fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1)
    )
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
    axes = _axes(axes, 2.8)
    s, o = pair
    lines = [
        [(s, m) for m in range(count)],
        [(m, o) for m in range(count)],
        [(m, s) for m in range(count)],
        [(o, m) for m in range(count)],
    ]
    colours = sns.color_palette("deep", 4)
    picture = np.ones((count, count, 3)) * 0.95
    for line, colour in zip(lines, colours, strict=True):
        for cell in line:
            if cell[0] != cell[1] and cell != pair:
                picture[cell] = colour
    # (o, s) lies on two lines, heads 3 and 4.
    picture[o, s] = (np.array(colours[2]) + np.array(colours[3])) / 2
    picture[pair] = 0.15
    for entity in range(count):
        picture[entity, entity] = 1
    axes.imshow(picture)
    axes.text(o, s, "s, o", color="white", ha="center", va="center", fontsize="x-small")
    names = ["s" if i == s else "o" if i == o else str(i) for i in range(count)]
    axes.set(xticks=range(count), yticks=range(count), xlabel="object", ylabel="subject")
    axes.set_xticklabels(names)
    axes.set_yticklabels(names)
    axes.grid(False)
    handles = [Patch(color=c, label=n) for c, n in zip(colours, HEADS, strict=True)]
    handles.append(Patch(color="0.15", label="the pair itself, in every head"))
    axes.legend(
        handles=handles,
        frameon=False,
        fontsize="x-small",
        loc="center left",
        bbox_to_anchor=(1, 0.5),
    )
    return axes
