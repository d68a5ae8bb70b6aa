"""Draw the committed figures from the committed records, by functions the notebooks call too."""

from __future__ import annotations

import argparse
import importlib.util
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from relcl_lib.lab.claims import (
    CONTRADICTED,
    INCONCLUSIVE,
    SUPPORTED,
    Outcome,
    Verdict,
    first_lines,
    in_words,
    verdicts_of,
)
from relcl_lib.lab.command_line import parse, place
from relcl_lib.lab.files import existing_folder, repository_root
from relcl_lib.lab.metrics import LEAST_SEEDS
from relcl_lib.papers.registry import PAPERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from relcl_lib.lab.records import Record


COLOURS = {SUPPORTED: "#2ca02c", CONTRADICTED: "#d62728", INCONCLUSIVE: "#9e9e9e"}


def claims(records: Sequence[Record]) -> Figure:
    """The differences that decide the papers' claims, each turned so that right is as claimed.

    Of every claim the line that counts (`first_lines`); a dot without an interval has fewer seeds
    than decide. A margin is taken off. Intervals are 95 %, which supports a claim; to contradict one
    of several comparisons takes a wider one.
    """
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.transforms import blended_transform_factory

    from relcl_lib.lab import plots

    shown = {}
    for name, paper in PAPERS.items():
        found = first_lines(verdicts_of(name, records))
        shown[paper.title] = [row for verdict in found for row in _rows(verdict)]
    heights = [max(6, 2 + len(rows)) for rows in shown.values()]  # room for a title where none is
    size = (plots.WIDTH, 0.8 + 0.14 * sum(heights))
    figure, panels = plt.subplots(len(shown), figsize=size, sharex=True, height_ratios=heights)
    for axes, (title, rows) in zip(panels, shown.items(), strict=True):
        across = blended_transform_factory(figure.transFigure, axes.transData)
        heading = {"fontsize": 7, "fontweight": "bold", "va": "center", "transform": across}
        heading["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        for row, (text, outcome) in enumerate(rows):
            if outcome is None:  # the claim, from one edge to the other
                axes.text(0.005, row, text, **heading).set_in_layout(False)
                continue
            turn = 1 if outcome.comparison.direction == "higher" else -1
            value = outcome.mean * turn - outcome.comparison.margin
            half = outcome.half if len(outcome.left) >= LEAST_SEEDS else None
            style = {"fmt": "o", "markersize": 3, "color": COLOURS[outcome.verdict]}
            axes.errorbar(value, row, xerr=half, **style)
        labels = {row: label for row, (label, outcome) in enumerate(rows) if outcome}
        axes.set_yticks(list(labels), labels.values(), fontsize=7)
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks([-10, -1, 0, 1, 10], ["−10", "−1", "0", "1", "10"])
        axes.set_title(title, fontsize="small", loc="left")
    said = "right of 0: as claimed (points, or the claim's own unit; logarithmic beyond ±1)"
    panels[-1].set_xlabel(said, fontsize="small", loc="right")
    keys = [Line2D([], [], color=colour, marker="o") for colour in COLOURS.values()]
    figure.legend(keys, COLOURS, loc="outside lower center", ncols=len(keys), frameon=False)
    if not any(shown.values()):
        figure.suptitle("The papers' claims: no records yet", fontsize="medium")
    return figure


def _rows(verdict: Verdict) -> list[tuple[str, Outcome | None]]:
    """The rows of a claim: first what it says, in lines, then what each comparison compares."""
    rows: list[tuple[str, Outcome | None]] = []
    for outcome in verdict.outcomes:
        if outcome.left:
            called = outcome.comparison.label or in_words(outcome.comparison)
            rows.append((f"{called} (n={len(outcome.left)})", outcome))
    said = textwrap.wrap(f"{shortened(verdict.claim.text)} ({verdict.scale})", 118)
    return [*((line, None) for line in said), *rows] if rows else []


def shortened(text: str) -> str:
    """A claim up to its first colon or semicolon, without what stands in brackets."""
    return re.split(r"[;:]", re.sub(r" \([^()]*\)", "", text))[0].removesuffix(".")


def all_figures() -> dict[str, Callable[[Sequence[Record]], Figure | None]]:
    """File name -> function of the records: the claims, and what each paper's `figures.py` has.

    A function returns None where its figure is not drawn without records.
    """
    found: dict[str, Callable[[Sequence[Record]], Figure | None]] = {"claims": claims}
    for name, paper in PAPERS.items():
        if importlib.util.find_spec(f"relcl_lib.papers.{name}.figures"):
            found |= paper.module("figures").FIGURES
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every committed figure; return 0."""
    line = argparse.ArgumentParser(prog="python -m relcl_lib figures", description=__doc__)
    line.add_argument("--out", type=place, default=repository_root() / "figures", help="folder")
    about = (
        "folder with the records (data/results); a t-SNE is of features beside the committed ones"
    )
    line.add_argument("--results", type=existing_folder, help=about)
    options = parse(line, arguments)
    out = options.out
    import matplotlib.pyplot as plt

    from relcl_lib.lab import plots
    from relcl_lib.lab.records import read_records

    plt.switch_backend("agg")
    plots.use_house_style()
    records = read_records(options.results)
    for name, draw in all_figures().items():
        if (figure := draw(records)) is not None:
            plots.save_figure(figure, name, out)
            plt.close(figure)  # matplotlib keeps each, and warns of more than twenty
            print(f"{out}/{name}.png")
        else:
            print(f"not drawn: {name}, whose sweep has no records here")
    return 0
