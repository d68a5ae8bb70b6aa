"""What a reader sees in a figure."""

import io
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def only_drawn(monkeypatch, tmp_path):
    """Where a test imports this, its figures take no file but fonts, and can be laid out whole."""

    def guarded(file, *rest, plain=io.open, **named):
        place = str(file)
        # A library that counts the cores reads the system's files, and a pipe.
        read = place.startswith((str(tmp_path), sys.prefix, "/proc", "/sys"))
        assert read or place.endswith(".ttf") or isinstance(file, int), place
        return plain(file, *rest, **named)

    monkeypatch.setattr("builtins.open", guarded)
    monkeypatch.setattr("io.open", guarded)
    yield
    for number in plt.get_fignums():
        plt.figure(number).draw_without_rendering()
    plt.close("all")


def points(drawn):
    return [tuple(point) for point in np.round(drawn, 4).tolist()]


def texts(axes):
    return [text.get_text() for text in axes.texts if text.get_text()]


def legend(place):
    """The names in the legend of axes or of a figure."""
    found = place.get_legend() if hasattr(place, "get_legend") else next(iter(place.legends), None)
    return [] if found is None else [text.get_text() for text in found.get_texts()]


def lines(axes):
    """Name -> points of each line that has a name."""
    named = [line for line in axes.lines if not line.get_label().startswith("_")]
    return {line.get_label(): points(line.get_xydata()) for line in named}


def thin(axes):
    """Points of each line without a name."""
    return [points(line.get_xydata()) for line in axes.lines if line.get_label()[0] == "_"]


def dots(axes):
    """All scattered points, in order of drawing."""
    drawn = [found for found in axes.collections if isinstance(found, PathCollection)]
    return [point for found in drawn for point in points(found.get_offsets())]


def bars(axes):
    """The tick's label and the value of each bar, from left to right or from top to bottom."""
    boxes = [(bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height()) for bar in axes.patches]
    if boxes and all(x == 0 for x, *_ in boxes):
        return [(yticks(axes)[round(y + high / 2)], wide) for _, y, wide, high in sorted(boxes)]
    return [(xticks(axes)[round(x + wide / 2)], high) for x, _, wide, high in sorted(boxes)]


def arrows(axes):
    """Tail and tip of each arrow."""
    drawn = [text for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    return [points([text.get_position(), text.xy]) for text in drawn]


def xticks(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def yticks(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def title(axes):
    return axes.get_title() or axes.get_title(loc="left")


def check(axes, **seen):
    """Compare what a reader sees: name of a function of this file -> what it returns."""
    assert {name: globals()[name](axes) for name in seen} == seen
