"""Sentences as figures: words with colours behind them and notes below.

A notebook's HTML loses its colours on some sites that show it; a figure does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relcl_lib.lab.plots import WIDTH, axes_of

#: one colour per entity type, the same in every figure
TYPE_COLOURS = {"PER": "#7fb5f0", "ORG": "#ffb84d", "LOC": "#78c98a", "OTH": "#d39be6"}
COLUMNS = 90  # letters per line of `plot_words`, which fill the width of a figure


def wrap_words(words: Sequence[str], columns: int = COLUMNS) -> list[tuple[int, int]]:
    """Return (line, first column) of each word of a text broken at word ends, like print does."""
    places, line, column = [], 0, 0
    for word in words:
        if column and column + len(word) > columns:
            line, column = line + 1, 0
        places.append((line, column))
        column += len(word) + 1
    return places


def plot_words(
    words: Sequence[str],
    colours: Sequence[Any],
    axes: Axes | None = None,
    *,
    notes: Mapping[int, str] | None = None,
    title: str = "",
) -> Axes:
    """Write a sentence with a colour behind each word; a colour of None leaves a word plain.

    `notes` are small texts below words, by the words' index.
    """
    places = wrap_words(words)
    lines, step = places[-1][0] + 1 if places else 1, 1.9 if notes else 1.3
    axes = axes_of(axes, 0.21 * step * lines + (0.3 if title else 0.05))
    for at, (word, colour, (line, column)) in enumerate(zip(words, colours, places, strict=True)):
        top = -step * line
        if colour is not None:
            # A span is one box: its words share a colour, and the gap up to the next one with it.
            after = at + 1 < len(words) and places[at + 1][0] == line and colours[at + 1] == colour
            box = plt.Rectangle((column - 0.3, top - 0.5), len(word) + (1.3 if after else 0.6), 1)
            box.set(color=colour, lw=0)
            axes.add_patch(box)
        style = {"va": "center_baseline", "family": "monospace", "fontsize": 9.2}
        axes.text(column, top, word, **style)
        if notes and at in notes:
            axes.text(column, top - 0.95, notes[at], va="center", fontsize=7, color="dimgrey")
    axes.set(xlim=(-0.5, COLUMNS + 0.5), ylim=(-step * lines + 0.7, 0.7))
    axes.set_title(title, fontsize="small", loc="left")
    axes.axis("off")
    return axes


def plot_triples(
    words: Sequence[str],
    triples: Sequence[Sequence[int]],
    types: Sequence[str],
    relations: Sequence[str],
    *,
    title: str = "",
) -> Figure:
    """Write a sentence once per head entity: the head in its type's colour, its tails in grey.

    `triples` are rows (T, 7), all of this sentence: sentence, head's first and last word and type,
    relation, tail's first and last word. Below heads stand the names of their types, below tails those
    of the relations, from the last slash on.
    """
    heads: dict[tuple[int, ...], list[Sequence[int]]] = {}
    for row in triples:
        heads.setdefault(tuple(row[1:4]), []).append(row)
    lines = wrap_words(words)[-1][0] + 1
    height = 0.4 * lines * max(1, len(heads)) + 0.3
    figure, axes = plt.subplots(max(1, len(heads)), 1, squeeze=False, figsize=(WIDTH, height))
    if not heads:
        plot_words(words, [None] * len(words), axes[0, 0], title=title)
    for axis, ((start, end, kind), rows) in zip(axes[:, 0], sorted(heads.items()), strict=False):
        colours: list[Any] = [None] * len(words)
        notes: dict[int, str] = {}
        for *_, relation, first, last in rows:
            colours[first : last + 1] = ["#dddddd"] * (last + 1 - first)
            name = relations[relation].rsplit("/", 1)[-1]
            notes[first] = f"{notes[first]}, {name}" if first in notes else name
        colour = TYPE_COLOURS.get(types[kind], "#f4a6a6")
        colours[start : end + 1] = [colour] * (end + 1 - start)
        notes[start] = types[kind]
        plot_words(words, colours, axis, notes=notes, title=title if axis is axes[0, 0] else "")
    return figure
