"""FastRE's committed figure, drawn from the committed records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from matplotlib.figure import Figure

from relcl_lib.lab import plots
from relcl_lib.lab.records import Record, most_seeds
from relcl_lib.lab.rows import entries
from relcl_lib.papers.fastre.tables import printed_rows


def ablation(records: Sequence[Record], dataset: str = "NYT10") -> Figure:
    """F1 without one component of FastRE after the other, the paper's Table 5 as diamonds.

    All bars have the same word vectors: those that most was measured with.
    """
    rows = printed_rows("Table 5", dataset)
    chosen = [
        record
        for record in records
        if (record.paper, record.variant) == ("fastre", "released")
        and any(row.matches(record) for row in rows)
        and not record.failed
    ]
    sources = Counter(record.parameters["word_vectors"] for record in chosen)
    usual = max(sorted(sources), key=sources.get, default=None)
    chosen = most_seeds(r for r in chosen if r.parameters["word_vectors"] == usual)
    values = {
        row.method: [record.metrics["F1"] for record in chosen if record.method == row.method]
        for row in rows
    }
    values = {name: scores for name, scores in values.items() if scores}
    printed = entries("fastre", "Table 5", dataset)
    protocols = ", ".join(sorted({record.protocol for record in chosen})) or "no records yet"
    return plots.plot_bars(
        values,
        reference={e.method: e.value for e in printed if e.method in values},
        title=f"{dataset} ({protocols}): FastRE without one component (Table 5)",
        xlabel="F1, partial match (%)",
    ).figure


FIGURES = {"fastre_ablation": ablation}
