"""Result records of CRECL and its baselines, and running a method only where records are missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from relcl_lib.data.sentences import RelationSentences, load_sentences
from relcl_lib.lab.recorded import read_or_make
from relcl_lib.lab.records import Record, write_record
from relcl_lib.lab.runtime import run_facts
from relcl_lib.papers.crecl.evaluation import has_two_readings
from relcl_lib.papers.crecl.parameters import STREAMS, CreclParameters
from relcl_lib.papers.crecl.run import CreclRun

#: Settings that have a record field of their own, or do not shape the numbers.
_ELSEWHERE = {
    *("profile", "dataset", "data_root", "method", "variant", "seeds", "device", "encoder"),
}


def configuration(run: CreclRun) -> dict[str, Any]:
    """Return the record fields that make a run what it is (no results, no path of a machine)."""
    settings, data = run.settings, run.data
    sizes = run.stream.sizes()
    return {
        "paper": "crecl",
        "experiment": data.name,
        "method": settings.method,
        "variant": settings.variant,
        "dataset": {
            "name": data.name,
            "set": STREAMS[data.name][0],
            "sizes": {"train": sum(n for n, _ in sizes), "test": sum(n for _, n in sizes)},
            "relations": len(data.relations),
            "source": data.source,
            "report": dict(data.report),
            "fingerprint": data.fingerprint,
        },
        "protocol": run.given.protocol(data.protocol),
        "backbone": Path(settings.encoder).name,
        "parameters": settings.model_dump(exclude=_ELSEWHERE),
        "seed": run.seed,
    }


def run_metrics(accuracy: Tensor, test_sizes: list[int]) -> dict[str, float]:
    """Return the accuracies the paper reports, in the unit given.

    `T1` .. `Tk`: historical, of the pooled test sets of tasks 1 .. k after task k; `current_T1` ..:
    of task k's test set alone. The candidates are all relations seen in both.

    Args:
        accuracy: (T, T), row i after training task i.
        test_sizes: test sentences of each task.
    """
    metrics = {}
    for k, row in enumerate(accuracy.tolist(), start=1):
        correct = sum(value * size for value, size in zip(row[:k], test_sizes, strict=False))
        metrics[f"T{k}"] = correct / sum(test_sizes[:k])
        metrics[f"current_T{k}"] = row[k - 1]
    return metrics


def run_record(run: CreclRun, note: str = "") -> Record:
    """Return the record of a finished run, in per cent; with what `crecl_separation` noted."""
    if run.tasks_done < len(run.stream):
        raise ValueError(
            f"{run.tasks_done} of {len(run.stream)} tasks are done: call run.train() first"
        )
    per_cent = 100 * run.accuracy.double()
    scores = run_metrics(per_cent, [n for _, n in run.stream.sizes()]) | run.separation
    order = f"task order {' '.join(map(str, run.stream.class_order))}"
    return Record(
        **configuration(run),
        metrics={name: round(value, 4) for name, value in scores.items()},
        accuracy_matrix=per_cent.numpy().round(4).tolist(),
        seconds=round(run.seconds, 2),
        note="; ".join(text for text in (note, order) if text),
        **run_facts(run.device),
    )


def train_or_read(
    parameters: CreclParameters,
    *,
    data: RelationSentences | None = None,
    results: str | Path | None = None,
    work_dir: str | Path | None = None,
    on_task: Callable[[CreclRun], Any] | None = None,
    on_phase: Callable[[CreclRun, str], Any] | None = None,
) -> list[Record]:
    """Return the records of a configuration, one a seed: read those that exist, train the others.

    Training CRECL leaves a record of CRECL(C) as well, which is the same training.

    Args:
        parameters: what to run.
        data: the data set; loaded by name if None.
        results: folder of the records (None: `data/results`); new ones are written there.
        work_dir: folder for checkpoints, so that a killed run goes on where it was.
        on_task: called with the run after each task.
        on_phase: called with the run and the phase's name after each phase of a task.

    Raises:
        RecordError: the results folder cannot be written to; nothing was run.
        Exception: whatever stopped the training; a record that says so is written first.
    """
    data = data or load_sentences(parameters.dataset, parameters.data_root)

    def make(run: CreclRun) -> Record:
        run.train(on_task, on_phase)
        if has_two_readings(run):
            write_record(run_record(run.at_head(), "the same training as CRECL"), results)
        return run_record(run)

    runs = (CreclRun(parameters, data, seed, work_dir) for seed in parameters.seeds)
    return read_or_make(runs, configuration, make, results)
