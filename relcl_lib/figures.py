"""The committed figures: drawn from the committed records, by functions the notebooks call too.

``python -m relcl_lib.figures`` writes them all to ``figures/``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from relcl_lib import plots, tables
from relcl_lib.files import repository_root
from relcl_lib.records import Record, canonical_json, configuration, read_records
from relcl_lib.table_rows_fastre import ABLATIONS, DEFAULTS

#: our names of the rows of HPCR's Table VII
HPCR_COMPONENTS = {
    "ER": "ER",
    "PCR": "PCR",
    "PCR+HC": "PCR+HC (PCR_C)",
    "PCR+HC+HT": "PCR+HC+HT (PCR_CT)",
    "PCR+HC+HT+PCD": "PCR_CT+PCD",
    "HPCR": "PCR_CT+PCD+SCD (HPCR)",
}


def _hpcr_cifar10(records: Sequence[Record]) -> list[Record]:
    """Pick Split CIFAR-10 at memory 200 with the released HPCR: the cell most is measured in."""
    return _most_seeds(
        record
        for record in records
        if (record.paper, record.experiment) == ("hpcr", "split_cifar10")
        and (record.variant, record.protocol) == ("released", "paper")
        and record.parameters["buffer_size"] == 200
        and not record.failed
    )


def _most_seeds(records: Iterable[Record]) -> list[Record]:
    """Keep one configuration a method, the one with most seeds (of several number formats, say)."""
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        key = (record.method, canonical_json({**configuration(record), "seed": None}))
        groups.setdefault(key, []).append(record)
    largest: dict[str, list[Record]] = {}
    for (method, _), group in sorted(groups.items()):
        if len(group) > len(largest.get(method, [])):
            largest[method] = group
    return [record for group in largest.values() for record in group]


def hpcr_curves(records: Sequence[Record]) -> Figure:
    """Draw accuracy over the tasks of Split CIFAR-10 (compare HPCR's Fig. 3)."""
    curves = plots.curves_of(_hpcr_cifar10(records), ["FINE-TUNE", "ER", "PCR", "HPCR"])
    title = "Split CIFAR-10, memory 200, from the committed records (compare Fig. 3)"
    return plots.plot_accuracy_curves(curves, title=title).figure


def hpcr_components(records: Sequence[Record]) -> Figure:
    """Draw final accuracy component by component, the paper's Table VII as diamonds."""
    chosen = _hpcr_cifar10(records)
    final = {
        name: [record.metrics["A_T"] for record in chosen if record.method == name]
        for name in HPCR_COMPONENTS
    }
    final = {name: values for name, values in final.items() if values}
    rows = tables.read_paper_table("hpcr", "Table VII")
    rows = rows[(rows["dataset"] == "Split CIFAR10") & (rows["setting"] == "buffer=200")]
    printed = dict(zip(rows["method"], rows["value"], strict=True))
    reference = {name: printed[HPCR_COMPONENTS[name]] for name in final}
    title = "Split CIFAR-10, memory 200: one component after the other (Table VII)"
    return plots.plot_bars(final, reference=reference, title=title).figure


def fastre_ablation(records: Sequence[Record], dataset: str = "NYT10") -> Figure:
    """Draw F1 without one component of FastRE after the other, the paper's Table 5 as diamonds.

    All bars have the same word vectors: those that most was measured with.
    """
    chosen = [
        record
        for record in records
        if (record.paper, record.variant) == ("fastre", "released")
        and record.dataset.get("set") == dataset
        and record.method in ("FastRE", *ABLATIONS)
        and all(
            record.parameters[k] == v for k, v in ABLATIONS.get(record.method, DEFAULTS).items()
        )
        and not record.failed
    ]
    sources = Counter(record.parameters["word_vectors"] for record in chosen)
    usual = max(sorted(sources), key=sources.get, default=None)
    chosen = _most_seeds(r for r in chosen if r.parameters["word_vectors"] == usual)
    values = {
        name: [record.metrics["F1"] for record in chosen if record.method == name]
        for name in ("FastRE", *ABLATIONS)
    }
    values = {name: scores for name, scores in values.items() if scores}
    rows = tables.read_paper_table("fastre", "Table 5")
    rows = rows[rows["dataset"] == dataset]
    printed = dict(zip(rows["method"], rows["value"], strict=True))
    protocols = ", ".join(sorted({record.protocol for record in chosen})) or "no records yet"
    return plots.plot_bars(
        values,
        reference={name: printed[name] for name in values},
        title=f"{dataset} ({protocols}): FastRE without one component (Table 5)",
        xlabel="F1, partial match (%)",
    ).figure


FIGURES: dict[str, Callable[[Sequence[Record]], Figure]] = {
    "hpcr_curves": hpcr_curves,
    "hpcr_components": hpcr_components,
    "fastre_ablation": fastre_ablation,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every committed figure; return 0."""
    line = argparse.ArgumentParser(prog="python -m relcl_lib.figures", description=__doc__)
    line.add_argument("--out", default=str(repository_root() / "figures"), help="folder")
    out = line.parse_args(arguments).out
    plt.switch_backend("agg")
    plots.use_house_style()
    records = read_records()
    for name, draw in FIGURES.items():
        plots.save_figure(draw(records), name, out)
        print(f"{out}/{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
