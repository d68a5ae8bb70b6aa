"""DocRE-II's committed figures, drawn from the committed records."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from relcl_lib.lab import plots, words
from relcl_lib.lab.records import Record, most_seeds
from relcl_lib.papers.docre_ii import printed
from relcl_lib.papers.docre_ii.plots import as_math
from relcl_lib.papers.docre_ii.tables import BLIND, OURS, measured_rows

#: what the gain on the base is shown in
METRICS = ("F1", "AP")


def gain(records: Sequence[Record]) -> Figure:
    """DocRE-II beside its own base as stage 1 left it, per data set and metric.

    A noise that all have stands in the title.
    """
    measured = [r for r in records if r.paper == "docre_ii" and not r.failed]
    found: list[tuple[str, str, dict[str, list[float]]]] = []
    for name in ("CDR", "Re-DocRED", "synthetic"):
        rows = [row for row in measured_rows(name) if row.method == OURS]
        for row in (row for row in rows if row.metric == "F1"):
            with_base = (r for r in measured if row.matches(r) and "F1_base" in r.metrics)
            if chosen := most_seeds(with_base):
                noise = printed.named(name, row.setting).partition(", ")[2]
                label = words.name(name).replace(" ", "\n")  # six of them stand side by side
                text = f"{label}\n{chosen[0].protocol}, n = {len(chosen)}"
                for metric in METRICS:
                    if all(f"{metric}_base" in r.metrics for r in chosen):
                        gained = printed.gain(chosen, metric, f"{metric}_base")
                        bars = {
                            "ATLOP": [r.metrics[f"{metric}_base"] for r in chosen],
                            OURS: [r.metrics[metric] for r in chosen],
                        }
                        found.append((f"{text}\n{metric} {gained}", noise, bars))
    noises = {noise for _, noise, _ in found}
    alike = noises.pop() if len(noises) == 1 else ""
    values = {"\n".join(filter(None, [t, n if n != alike else ""])): bars for t, n, bars in found}
    title = ", ".join(filter(None, ["DocRE-II and its own base (ATLOP)", alike]))
    title += "" if values else ": no records yet"
    axes = plots.plot_strategies(values, title=title, ylabel="F1 or AP on test (%)")
    axes.tick_params(axis="x", labelsize="x-small")
    plots.share_legend([axes], below=True)
    return axes.figure


def inferred(records: Sequence[Record]) -> Figure:
    """The recall of facts that no sentence states, inference module on stated facts alone."""
    measured = [r for r in records if r.paper == "docre_ii" and not r.failed]
    values: dict[str, list[float]] = {}
    rows = [row for row in measured_rows("alone") if row.metric == "recall_inferred"]
    for row in (row for row in rows if BLIND.items() <= row.where_parameters.items()):
        if chosen := most_seeds(filter(row.matches, measured)):
            # The base has no parameters: its recall is the same in every run.
            values["stated facts (base)"] = [chosen[0].metrics["recall_inferred_base"]]
            name = as_math(f"{row.method}, {words.phrase(row.setting)}")
            values[name] = [r.metrics[row.metric] for r in chosen]
    counts = sorted({len(found) for name, found in values.items() if "base" not in name})
    title = "Inference alone: " + (
        f"mean of {' or '.join(map(str, counts))} seeds" if values else "no records yet"
    )
    title += ", 95 % intervals" if counts and counts[0] >= plots.MANY_SEEDS else ""
    axes = plots.plot_bars(values, title=title, xlabel="recall of inferred facts (%)")
    axes.set_xlim(0, 100)
    return axes.figure


FIGURES = {"docre_gain": gain, "docre_inferred": inferred}
