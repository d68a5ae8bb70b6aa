"""CRECL's committed figures, drawn from the committed records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from relcl_lib.lab import plots
from relcl_lib.lab.files import repository_root
from relcl_lib.lab.records import Record, config_hash, gains, most_seeds, trained_on
from relcl_lib.lab.rows import entries, parse_setting
from relcl_lib.papers.crecl.parameters import METHODS
from relcl_lib.papers.crecl.plots import plot_two_tasks, say_seeds, task_curves
from relcl_lib.papers.crecl.tables import ABLATIONS, ACCURACIES, in_table_1, leads, of_one_content

#: variants of Figure 3 that lie far below CRECL, on all tasks or on the last one
_FAR = ("CRECL-CL2", "CRECL-CL", "CRECL(C)")
#: a copy of what a recorded run of CRECL on FewRel left beside its checkpoint
RECORDED_FEATURES = repository_root() / "data" / "features" / "crecl_fewrel.safetensors"


def _chosen(
    records: Sequence[Record], dataset: str, methods: Sequence[str], *varied: str
) -> list[Record]:
    """The runs in the paper's form and with the settings of Table 1, but for those varied.

    All have the content of the data set on which the methods have most runs in common, and the
    protocol and encoder that most was measured with.
    """
    chosen = of_one_content(in_table_1(records, tuple(METHODS), dataset, varied), methods)
    kinds = Counter((record.protocol, record.backbone) for record in chosen)
    usual = max(sorted(kinds), key=kinds.get, default=None)
    return [record for record in chosen if (record.protocol, record.backbone) == usual]


def _title(chosen: Sequence[Record], dataset: str, what: str) -> str:
    samples = max(map(trained_on, chosen), default=0)
    kinds = {f"{record.protocol}, {record.backbone}" for record in chosen}
    about = [*sorted(kinds), *([f"{samples:,} training samples"] if samples else [])]
    return f"{dataset} ({', '.join(about) or 'no records yet'}): {what}"


def curves(records: Sequence[Record], dataset: str = "FewRel") -> Figure:
    """Accuracy on all tasks so far after each task, and the methods' leads over RP-CRE.

    Of the content of the data set on which most seeds have all of the methods compared.
    """
    rivals = ("CRECL", "CRECL+ATM", "RP-CRE+MA", "RP-CRE", "RP-CRE (25 epochs)", "EMAR+BERT")
    chosen = most_seeds(_chosen(records, dataset, rivals))
    methods = ("JOINT", *rivals, "CRECL-CL")
    ahead = {
        method: [list(by_task.values()) for by_task in found.values()]
        for method in rivals
        if method != "RP-CRE" and (found := leads(chosen, dataset, "RP-CRE", method))
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(plots.WIDTH, 2.9))
    so_far = task_curves(chosen, methods)
    plots.plot_accuracy_curves(so_far, left, title="all tasks so far", ylabel="accuracy (%)")
    style = {"title": "ahead of RP-CRE, seed by seed", "ylabel": "points"}
    plots.plot_accuracy_curves(ahead, right, **style)
    right.autoscale(axis="y")
    right.axhline(0, color=plots.colour_of("RP-CRE"), zorder=1)
    say_seeds(left, so_far)
    say_seeds(right, ahead)
    # The legend is theirs together; a lead may have fewer seeds than its method.
    named = {line.get_label() for line in left.get_lines()}
    for line in right.get_lines():
        if (label := line.get_label()) not in named and not label.startswith("_"):
            line.set_label(f"{label}, right")
    plots.share_legend([left, right])
    figure.suptitle(_title(chosen, dataset, "Table 1; thin: one seed"), fontsize="medium")
    return figure


def ablation(records: Sequence[Record], dataset: str = "FewRel") -> Figure:
    """CRECL without one part after the other (Figure 3 a, b on FewRel).

    Above the variants that lie far below CRECL on one of the two; below the others, which would lie
    on its curve, as what they are ahead of CRECL.
    """
    chosen = most_seeds(_chosen(records, dataset, ("CRECL", *ABLATIONS)))
    figure, panels = plt.subplots(2, 2, figsize=(plots.WIDTH, 5.0))
    panels[0, 1].sharey(panels[0, 0])
    for kind, (above, below) in zip(ACCURACIES, panels.T, strict=True):
        so_far = task_curves(chosen, ("CRECL", *_FAR), kind)
        style = {"title": f"{kind} tasks", "ylabel": "accuracy (%)"}
        plots.plot_accuracy_curves(so_far, above, **style)
        say_seeds(above, so_far)
        ahead = {
            method: [list(by_task.values()) for by_task in found.values()]
            for method in ABLATIONS
            if method not in _FAR and (found := leads(chosen, dataset, "CRECL", method, kind))
        }
        style = {"title": f"{kind}, ahead of CRECL", "ylabel": "points, same seeds"}
        plots.plot_accuracy_curves(ahead, below, **style)
        below.autoscale(axis="y")
        below.axhline(0, color=plots.colour_of("CRECL"), zorder=1)
        say_seeds(below, ahead)
    for row in panels:
        plots.share_legend(row)
    title = _title(chosen, dataset, "Figure 3; thin: one seed")
    figure.suptitle(title, fontsize="medium")
    return figure


def memory_sizes(records: Sequence[Record]) -> Figure:
    """CRECL at the end of FewRel against the memory size, with Table 2, and its lead over RP-CRE.

    Left, CRECL's line joins means of the same seeds: those run at every size it was run at. Right,
    each dot is a seed that both methods have at that size (Figure 4).
    """
    chosen = _chosen(records, "FewRel", ("CRECL", "RP-CRE"), "memory_size")
    found: dict[str, dict[int, list[Record]]] = {}  # by method and L
    for size in sorted({record.parameters["memory_size"] for record in chosen}):
        for record in most_seeds(r for r in chosen if r.parameters["memory_size"] == size):
            found.setdefault(record.method, {}).setdefault(size, []).append(record)
    ours, theirs = found.get("CRECL", {}), found.get("RP-CRE", {})
    seeds = [{run.seed for run in runs} for runs in ours.values()]
    common = set.intersection(*seeds) if seeds else set()
    values = {
        size: [run.metrics["T10"] for run in runs if run.seed in common or not common]
        for size, runs in ours.items()
    }
    ahead = {
        f"L = {size}": gained
        for size in sorted(ours.keys() & theirs.keys())
        if (gained := gains(ours[size], theirs[size], "T10"))
    }
    at_end = {
        parse_setting(entry.setting)["L"]: entry.value
        for entry in entries("crecl", "Table 2")
        if entry.setting.endswith(";T10")
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(plots.WIDTH, 2.8))
    shown = {"CRECL": values} if values else {}
    count = f", n={len(common)}" if common else ""
    style = {"xlabel": "sentences kept of a relation, L", "ylabel": "accuracy (%), axis cut"}
    plots.plot_against(shown, left, title=f"CRECL after task 10{count}", **style)
    style = {"marker": "D", "color": "black", "s": 26, "label": "CRECL, paper"}
    left.scatter([*at_end], [*at_end.values()], **style)
    left.set_xticks(sorted({*values, *at_end}))
    left.legend(fontsize="x-small", frameon=False)
    plots.plot_differences(ahead, right, title="CRECL less RP-CRE")
    figure.suptitle(_title(chosen, "FewRel", "Table 2 and Figure 4"), fontsize="medium")
    return figure


def two_tasks(records: Sequence[Record], path: Path = RECORDED_FEATURES) -> Figure:
    """Figures 1 and 5: sentences of two tasks in the plane, before and after the contrast.

    The features are those that a recorded run left (`separation.write_features`).
    """
    from relcl_lib.papers.crecl.separation import read_features

    frames, about = read_features(path)
    of_run = [record for record in records if config_hash(record) == about["record"]]
    if not of_run:
        figure = plt.figure(figsize=(plots.WIDTH, 1.0))
        figure.suptitle("Figures 1 and 5: no records yet of the run that the features are of")
        return figure
    titles = {"classification": "before contrast (Figure 1)"}
    panels = {
        titles.get(phase, f"after {phase}" + (" (Figure 5)" if phase == "CL2" else "")): (
            plots.embed_together(found.projections.float())[0]
        )
        for phase, found in frames.items()
    }
    (found, *_), (record, *_) = frames.values(), of_run
    figure = plot_two_tasks(panels, found.labels, found.tasks, about["names"])
    title = f"{record.dataset['set']} ({record.protocol}, {record.backbone}, seed {record.seed}): t-SNE of s"
    figure.suptitle(title, fontsize="medium")
    return figure


FIGURES = {
    "crecl_curves": curves,
    "crecl_ablation": ablation,
    "crecl_memory_sizes": memory_sizes,
}
if RECORDED_FEATURES.is_file():
    FIGURES["crecl_two_tasks"] = two_tasks
