"""Result records of FastRE and CasRel runs, and running a method only where records are missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from relcl_lib.data.triples import PAPER_NAMES, TripleData, load_triples
from relcl_lib.lab.recorded import read_or_make
from relcl_lib.lab.records import Record
from relcl_lib.lab.runtime import run_facts
from relcl_lib.papers.fastre.parameters import FastreParameters
from relcl_lib.papers.fastre.run import FastreRun

#: Settings that have a record field of their own, or do not shape the numbers beyond the data.
_ELSEWHERE = {
    *("profile", "dataset", "data_root", "reduced_data", "train_limit", "method", "variant"),
    *("seeds", "device", "encoder", "word_vectors"),
}


def configuration(run: FastreRun) -> dict[str, Any]:
    """Return the record fields that make a run what it is (no results, no path of a machine)."""
    settings, data, schema = run.settings, run.data, run.schema
    parameters = settings.model_dump(exclude=_ELSEWHERE)
    parameters |= {"word_vectors": run.vector_source, "type_map": schema.source}
    if settings.method == "CasRel":
        backbone = Path(settings.encoder).name
    else:
        del parameters["encoder_precision"]  # there is no such encoder
        backbone = f"gated dilated CNN, {len(settings.dilations)} blocks, width {settings.hidden}"
    report = {
        name: value for name, value in run.tagged.report.items() if not name.endswith("examples")
    }
    return {
        "paper": "fastre",
        "experiment": data.name,
        "method": settings.method,
        "variant": settings.variant,
        "dataset": {
            "name": data.name,
            "set": PAPER_NAMES.get(data.name, data.name),
            "sizes": data.sizes,
            "relations": len(schema.relations),
            "types": list(schema.types),
            "source": data.source,
            "note": data.note,
            "training_triples": report,
            "fingerprint": data.fingerprint,
        },
        "protocol": run.given.protocol(data.protocol),
        "backbone": backbone,
        "parameters": parameters,
        "seed": run.seed,
    }


def run_record(run: FastreRun, note: str = "") -> Record:
    """Return the record of a finished run, scored on the test set; metrics in per cent.

    `params_K` (trained numbers in thousands) and `best_epoch` stand among them, as the paper's
    tables have the first.
    """
    if not run.finished:
        raise ValueError(
            f"{run.epochs_done} of {run.settings.epochs} epochs are done: call run.train() first"
        )
    scores = run.evaluate("test") | {"F1_valid": run.best_score}
    scores |= {"params_K": run.parameter_count / 1000, "best_epoch": run.best_epoch}
    lost = run.tagged.report["triples"] - run.tagged.report["tagged"]
    notes = [
        note,
        f"word vectors: {run.vector_source}",
        f"type map: {run.schema.source}",
        run.data.note,
        f"{lost} of {run.tagged.report['triples']} training triples could not be located"
        if lost
        else "",
        "" if run.model.threshold is None else f"global threshold {run.threshold}",
    ]
    return Record(
        **configuration(run),
        metrics={name: round(float(value), 4) for name, value in scores.items()},
        accuracy_matrix=None,
        seconds=round(run.seconds, 2),
        note="; ".join(text for text in notes if text),
        **run_facts(run.device),
    )


def load_data(parameters: FastreParameters) -> TripleData:
    """Load the data set that parameters name."""
    return load_triples(
        parameters.dataset,
        parameters.data_root,
        reduced=parameters.reduced_data,
        limit=parameters.train_limit,
    )


def train_or_read(
    parameters: FastreParameters,
    *,
    data: TripleData | None = None,
    results: str | Path | None = None,
    work_dir: str | Path | None = None,
    on_epoch: Callable[[FastreRun], Any] | None = None,
) -> list[Record]:
    """Return the records of a configuration, one a seed: read those that exist, train the others.

    Args:
        parameters: what to run.
        data: the data set; loaded by name if None.
        results: folder of the records (None: `data/results`); new ones are written there.
        work_dir: folder for checkpoints, so that a killed run goes on where it was.
        on_epoch: called with the run after each epoch.

    Raises:
        RecordError: the results folder cannot be written to; nothing was run.
        Exception: whatever stopped the training; a record that says so is written first.
    """
    data = data or load_data(parameters)

    def make(run: FastreRun) -> Record:
        run.train(on_epoch)
        return run_record(run)

    runs = (FastreRun(parameters, data, seed, work_dir) for seed in parameters.seeds)
    return read_or_make(runs, configuration, make, results)
