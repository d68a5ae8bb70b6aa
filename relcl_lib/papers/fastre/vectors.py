"""Which word vectors the records beside a table have: one kind for all rows of a data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relcl_lib.lab import words
from relcl_lib.lab.metrics import LEAST_SEEDS

if TYPE_CHECKING:
    from relcl_lib.lab.records import Record
    from relcl_lib.lab.rows import Row


@dataclass(frozen=True, order=True)
class Vectors:
    """What a run's word vectors are: their content, random ones' size, and a name that a file may change."""

    name: str = field(compare=False)
    trained: bool
    digest: str
    size: int

    @classmethod
    def of(cls, record: Record) -> Vectors | None:
        """Those of a record; None where it has an encoder in their place."""
        if "encoder" in record.inputs:
            return None
        held, digest = record.parameters, record.inputs.get("word_vectors", "")
        size = 0 if digest else held.get("vector_size", 0)
        return cls(held.get("word_vectors") or "", held.get("train_vectors", False), digest, size)

    @property
    def rank(self) -> tuple[int, Vectors]:
        """Of kinds with as many rows the least is chosen: frozen GloVe, random, the others."""
        if self.name.startswith("GloVe") and not self.trained:
            return 0, self
        return 1 if self.name == "random" else 2, self


def on_usual_vectors(
    records: Iterable[Record], rows: Iterable[Row]
) -> tuple[list[Record], dict[str, str]]:
    """The records that may stand beside a table's rows: those on one kind of vectors per data set.

    A column on several kinds would compare vectors, not methods. Chosen is the kind with most rows of
    at least three seeds, then with most rows, then by `Vectors.rank`. Runs without word vectors
    (CasRel on BERT) and failed ones stay.

    Args:
        records: any runs of FastRE.
        rows: the table's; those of F1 decide.

    Returns:
        The records, and data set -> its word vectors in words.
    """
    records = list(records)
    seeds: dict[str, dict[Vectors, dict[str, set[int]]]] = {}
    for row in rows:
        for record in records:
            vectors = None if record.failed else Vectors.of(record)
            if vectors and row.our_metric == "F1" and row.matches(record):
                by_row = seeds.setdefault(row.dataset, {}).setdefault(vectors, defaultdict(set))
                by_row[f"{row.method} {row.setting}"].add(record.seed)
    usual: dict[str, Vectors] = {}
    for dataset, found in seeds.items():
        counts = {vectors: [len(n) for n in by_row.values()] for vectors, by_row in found.items()}
        enough = {vectors: sum(n >= LEAST_SEEDS for n in counts[vectors]) for vectors in counts}
        usual[dataset] = min(counts, key=lambda v: (-enough[v], -len(counts[v]), v.rank))
    kept = [
        record
        for record in records
        if record.failed or Vectors.of(record) in (None, usual.get(record.dataset.get("set")))
    ]
    return kept, {dataset: in_words(vectors) for dataset, vectors in usual.items()}


def in_words(vectors: Vectors) -> str:
    """Their name, and whether they are trained."""
    name = words.setting(f"word_vectors={vectors.name}")[1]
    return f"{name}, {'trained' if vectors.trained else 'fixed'}"


def caption(usual: Mapping[str, str]) -> str:
    """A line below a table: the word vectors of our numbers, by data set where they differ."""
    if len({*usual.values()}) > 1:
        usual = {dataset: f"{dataset} {vectors}" for dataset, vectors in usual.items()}
    return f"Word vectors of ours: {'; '.join(dict.fromkeys(usual.values()))}." if usual else ""
