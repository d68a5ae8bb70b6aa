"""DocRE-II's committed figures, drawn from the committed records."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from matplotlib.figure import Figure

from relcl_lib.lab import plots
from relcl_lib.lab.records import Record, most_seeds
from relcl_lib.papers.docre_ii.tables import BLIND, OURS, measured_rows


def gain(records: Sequence[Record]) -> Figure:
    """F1 of DocRE-II beside that of its own base as stage 1 left it, a pair per data set."""
    measured = [r for r in records if r.paper == "docre_ii" and not r.failed]
    values: dict[str, dict[str, list[float]]] = {}
    for name in ("CDR", "Re-DocRED", "synthetic"):
        rows = [row for row in measured_rows(name) if row.method == OURS]
        for row in (row for row in rows if row.metric == "F1"):
            with_base = (r for r in measured if row.matches(r) and "F1_base" in r.metrics)
            if chosen := most_seeds(with_base):
                pair = {k: [r.metrics[k] for r in chosen] for k in ("F1_base", "F1")}
                ahead = fmean(pair["F1"]) - fmean(pair["F1_base"])
                text = f"{name} ({chosen[0].protocol})\n{ahead:+.1f}, n = {len(chosen)}"
                if noise := row.setting.removeprefix("test").strip(";"):
                    text += f"\n{noise}"
                values[text] = {"base": pair["F1_base"], "base + inference": pair["F1"]}
    title = "DocRE-II and its own base" + ("" if values else ": no records yet")
    return plots.plot_strategies(values, title=title, ylabel="F1, test (%)").figure


def inferred(records: Sequence[Record]) -> Figure:
    """The recall of facts that no sentence states, inference module on stated facts alone."""
    measured = [r for r in records if r.paper == "docre_ii" and not r.failed]
    values: dict[str, list[float]] = {}
    rows = [row for row in measured_rows("alone") if row.metric == "recall_inferred"]
    for row in (row for row in rows if BLIND.items() <= row.where_parameters.items()):
        if chosen := most_seeds(filter(row.matches, measured)):
            # The base has no parameters: its recall is the same in every run.
            values["stated facts (base)"] = [chosen[0].metrics["recall_inferred_base"]]
            values[f"{row.method}, {row.setting}"] = [r.metrics[row.metric] for r in chosen]
    title = "Inference alone, generated documents" + ("" if values else ": no records yet")
    axes = plots.plot_bars(values, title=title, xlabel="recall of inferred facts (%)")
    axes.set_xlim(0, 100)
    return axes.figure


FIGURES = {"docre_gain": gain, "docre_inferred": inferred}
