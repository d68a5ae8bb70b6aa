"""Result records of DocRE-II runs, and running a method only where records are missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from relcl_lib.data.document_sets import PAPER_NAMES, DocumentData
from relcl_lib.data.documents import load_documents
from relcl_lib.lab.recorded import read_or_make
from relcl_lib.lab.records import Record
from relcl_lib.lab.runtime import run_facts
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.papers.docre_ii.run import DocreRun

#: Settings that have a record field of their own, or do not shape the numbers beyond the data.
_ELSEWHERE = {
    *("profile", "dataset", "data_root", "reduced_data", "train_limit", "method"),
    *("orientation", "variant", "seeds", "device", "encoder", "base"),
}


def configuration(run: DocreRun) -> dict[str, Any]:
    """Return the record fields that make a run what it is (no results, no path of a machine)."""
    settings, data = run.settings, run.data
    network = getattr(getattr(run.model.base, "encoder", None), "network", None)
    kind = getattr(getattr(network, "config", None), "model_type", "none")
    parameters = settings.model_dump(exclude=_ELSEWHERE)
    parameters |= {
        "base": run.base_name,
        "encoder_type": kind,
        "orientation": settings.orientation,
    }
    return {
        "paper": "docre_ii",
        "experiment": data.name,
        "method": settings.method,
        "variant": settings.variant,
        "dataset": {
            "name": data.name,
            "set": PAPER_NAMES.get(data.name, data.name),
            "sizes": data.sizes,
            "relations": len(data.relations),
            "source": data.source,
            "note": data.note,
            "left_out": data.report,
            "fingerprint": data.fingerprint,
        },
        "protocol": run.given.protocol(data.protocol),
        "backbone": Path(settings.encoder).name,
        "parameters": parameters,
        "seed": run.seed,
    }


def run_metrics(run: DocreRun) -> dict[str, float]:
    """Return the scores of a finished run on test and, with the suffix `_dev`, on dev; in per cent.

    Those with `_base` are of the base module by itself, as stage 1 left it. `F1_fed_gold` and
    `F1_fed_none` are of the first inference pass when it is handed the gold relations, or no
    relation at all, in place of the base's predictions; equal F1: the module does not read R. In
    `F1_fed_neighbours` a pair keeps its own prediction, three of four others have the gold relations
    (`docre_evaluation.fed_logits`); runs scored before it was measured lack it. They are absent where no stage trains the inference module ("ATLOP (base)"). Splits without public
    labels are left out. `best_epoch` and the weights of Figure 5 (not in per cent) stand among them.
    """
    found: dict[str, float] = {}
    for split, suffix in (("test", ""), ("dev", "_dev")):
        if not getattr(run.data, split) or not run.data.is_labelled(split):
            continue
        found |= {f"{name}{suffix}": value for name, value in run.evaluate(split).items()}
        if run.has_base:
            base = run.evaluate_base(split)
            found |= {f"{name}_base{suffix}": value for name, value in base.items()}
    of_features, of_relations = run.model.inference.slot_weights()
    return found | {
        "best_epoch": run.best_epoch,
        "weight_features": of_features,
        "weight_relations": of_relations,
    }


def run_record(run: DocreRun, note: str = "") -> Record:
    """Return the record of a finished run."""
    if not run.finished:
        raise ValueError(
            f"{run.epochs_done} epochs are done and the run is not finished: call run.train() first"
        )
    notes = [
        note,
        run.data.note,
        "" if run.data.is_labelled("test") else "the test split has no public labels",
    ]
    # What was cut: no part of the configuration, so that finding a record needs no tokens.
    names = {"training_documents": "train", "dev_documents": "dev", "test_documents": "test"}
    found = configuration(run)
    found["dataset"] |= {name: run.tokens(split).report for name, split in names.items()}
    return Record(
        **found,
        metrics={name: round(float(value), 4) for name, value in run_metrics(run).items()},
        accuracy_matrix=None,
        seconds=round(run.seconds, 2),
        note="; ".join(text for text in notes if text),
        **run_facts(run.device),
    )


def load_data(parameters: DocreParameters) -> DocumentData:
    """Load the data set that parameters name."""
    return load_documents(
        parameters.dataset,
        parameters.data_root,
        reduced=parameters.reduced_data,
        limit=parameters.train_limit,
        generated=parameters.generated,
        orientation=parameters.orientation,
    )


def train_or_read(
    parameters: DocreParameters,
    *,
    data: DocumentData | None = None,
    results: str | Path | None = None,
    work_dir: str | Path | None = None,
    on_epoch: Callable[[DocreRun], Any] | None = None,
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

    def make(run: DocreRun) -> Record:
        run.train(on_epoch)
        return run_record(run)

    runs = (DocreRun(parameters, data, seed, work_dir) for seed in parameters.seeds)
    return read_or_make(runs, configuration, make, results)
