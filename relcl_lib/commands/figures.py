"""Draw the committed figures from the committed records, by functions the notebooks call too."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from relcl_lib.lab.claim_files import read_claims
from relcl_lib.lab.claims import (
    CONTRADICTED,
    INCONCLUSIVE,
    LEAST_SEEDS,
    SUPPORTED,
    Outcome,
    Verdict,
    first_lines,
    in_words,
    judge,
)
from relcl_lib.lab.files import repository_root
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

    from relcl_lib.lab import plots

    shown = {}
    for name, paper in PAPERS.items():
        ours = [record for record in records if record.paper == name]
        found = first_lines(judge(read_claims(name), ours))
        shown[paper.title] = [row for verdict in found for row in _rows(verdict)]
    heights = [2 + len(rows) for rows in shown.values()]
    size = (plots.WIDTH, 0.8 + 0.13 * sum(heights))
    figure, panels = plt.subplots(len(shown), figsize=size, sharex=True, height_ratios=heights)
    for axes, (title, rows) in zip(panels, shown.items(), strict=True):
        for row, (_, outcome) in enumerate(rows):
            if outcome is None:
                continue
            turn = 1 if outcome.comparison.direction == "higher" else -1
            value = outcome.mean * turn - outcome.comparison.margin
            half = outcome.high - outcome.mean if len(outcome.left) >= LEAST_SEEDS else None
            style = {"fmt": "o", "markersize": 3, "color": COLOURS[outcome.verdict]}
            axes.errorbar(value, row, xerr=half, **style)
        labels = [label for label, _ in rows]
        axes.set_yticks(range(len(labels)), labels, fontsize=7)
        for tick, (_, outcome) in zip(axes.get_yticklabels(), rows, strict=True):
            tick.set_fontweight("normal" if outcome else "bold")
        axes.set_ylim(max(len(labels), 1) - 0.5, -0.5)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks([-10, -1, 0, 1, 10], ["−10", "−1", "0", "1", "10"])
        axes.set_title(title, fontsize="small", loc="left")
    panels[-1].set_xlabel(
        "right of 0: as claimed (points; DRL, Figures 1 and 2: cosines)",
        fontsize="medium",
        loc="right",
    )
    keys = [Line2D([], [], color=colour, marker="o") for colour in COLOURS.values()]
    figure.legend(keys, COLOURS, loc="outside lower center", ncols=len(keys), frameon=False)
    if not any(shown.values()):
        figure.suptitle("The papers' claims: no records yet", fontsize="medium")
    return figure


def _rows(verdict: Verdict) -> list[tuple[str, Outcome | None]]:
    """The rows of a claim: of several comparisons its name comes first, then each by what it compares."""
    decided = [outcome for outcome in verdict.outcomes if outcome.left]
    name = f"{verdict.claim.id} ({verdict.scale}"
    if len(verdict.outcomes) == 1:
        return [(f"{name}, n={len(outcome.left)})", outcome) for outcome in decided]
    rows = []
    for outcome in decided:
        called = outcome.comparison.label or in_words(outcome.comparison)
        rows.append((f"{called} (n={len(outcome.left)})", outcome))
    return [(f"{name}):", None), *rows] if rows else []


def all_figures() -> dict[str, Callable[[Sequence[Record]], Figure]]:
    """File name -> function of the records: the claims, and what each paper's `figures.py` has."""
    found: dict[str, Callable[[Sequence[Record]], Figure]] = {"claims": claims}
    for name, paper in PAPERS.items():
        if importlib.util.find_spec(f"relcl_lib.papers.{name}.figures"):
            found |= paper.module("figures").FIGURES
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every committed figure; return 0."""
    line = argparse.ArgumentParser(prog="python -m relcl_lib figures", description=__doc__)
    line.add_argument("--out", default=str(repository_root() / "figures"), help="folder")
    out = line.parse_args(arguments).out
    import matplotlib.pyplot as plt

    from relcl_lib.lab import plots
    from relcl_lib.lab.records import read_records

    plt.switch_backend("agg")
    plots.use_house_style()
    records = read_records()
    for name, draw in all_figures().items():
        plots.save_figure(draw(records), name, out)
        print(f"{out}/{name}.png")
    return 0
