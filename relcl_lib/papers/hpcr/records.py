"""Result records of online replay runs, and running a method only where its records are missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from relcl_lib.data.images import ImageData, load_images
from relcl_lib.lab import metrics
from relcl_lib.lab.recorded import failures_recorded
from relcl_lib.lab.records import Record, find_record, write_record
from relcl_lib.lab.runtime import run_facts
from relcl_lib.papers.hpcr.parameters import STREAMS, ReplayParameters
from relcl_lib.papers.hpcr.run import ReplayRun

#: Settings that have a record field of their own, or do not shape the numbers.
_ELSEWHERE = {"profile", "dataset", "data_root", "method", "variant", "seeds", "device"}


def configuration(run: ReplayRun, seed: int) -> dict[str, Any]:
    """Return the record fields that make one seed of a run what it is (no results)."""
    settings, data = run.settings, run.data
    stream_name = STREAMS[settings.dataset][0]
    return {
        "paper": "hpcr",
        "experiment": stream_name.lower().replace(" ", "_"),
        "method": settings.method,
        "variant": settings.variant,
        "dataset": {
            "name": data.name,
            "stream": stream_name,
            "sizes": data.sizes,
            "classes": data.n_classes,
            "source": data.source,
            "note": data.note,
            "fingerprint": data.fingerprint,
        },
        "protocol": run.given.protocol(),
        "backbone": f"Reduced ResNet-18, width {settings.width}",
        "parameters": settings.model_dump(exclude=_ELSEWHERE),
        "seed": seed,
    }


def run_metrics(accuracy: Any) -> dict[str, float]:
    """Return A_T, AAA and both forgettings of one accuracy matrix (T, T), in the matrix's unit."""
    return {
        "A_T": float(metrics.final_accuracy(accuracy)),
        "AAA": float(metrics.average_anytime_accuracy(accuracy)),
        "F_T": float(metrics.forgetting(accuracy, "paper")),
        "F_T_released": float(metrics.forgetting(accuracy, "released")),
    }


def run_records(run: ReplayRun, note: str = "") -> list[Record]:
    """Return one record a seed of a finished run: per cent, seconds shared evenly by the seeds."""
    if run.tasks_done < len(run.streams[0]):
        raise ValueError(
            f"{run.tasks_done} of {len(run.streams[0])} tasks are done: call run.train() first"
        )
    count = len(run.seeds)
    side_by_side = f"{count} seeds side by side: seconds are the run's divided by {count}"
    facts = run_facts(run.device)
    records = []
    for seed, stream, matrix in zip(run.seeds, run.streams, run.accuracy, strict=True):
        per_cent = (100 * matrix.double()).numpy().round(4)
        order = f"class order {' '.join(map(str, stream.class_order))}"
        notes = [note, side_by_side if count > 1 else "", order]
        records.append(
            Record(
                **configuration(run, seed),
                metrics={k: round(v, 4) for k, v in run_metrics(per_cent).items()},
                accuracy_matrix=per_cent.tolist(),
                seconds=round(run.seconds / count, 2),
                note="; ".join(text for text in notes if text),
                **facts,
            )
        )
    return records


def train_or_read(
    parameters: ReplayParameters,
    *,
    data: ImageData | None = None,
    results: str | Path | None = None,
    work_dir: str | Path | None = None,
    again: bool = False,
    on_task: Callable[[ReplayRun], Any] | None = None,
) -> list[Record]:
    """Return the records of a configuration: read those that exist, train the seeds that lack one.

    Args:
        parameters: what to run.
        data: the data set; loaded by name if None.
        results: folder of the records (None: ``data/results``); new ones are written there.
        again: train even the seeds that have a record, and replace it.
        work_dir: folder for checkpoints, so that a killed run goes on where it was.
        on_task: called with the run after each task.

    Raises:
        RecordError: the results folder cannot be written to; nothing was run.
        Exception: whatever stopped the training; a record that says so is written first.
    """
    data = data or load_images(parameters.dataset, parameters.data_root)
    run = ReplayRun(parameters, data, work_dir)
    found = {
        seed: None if again else find_record(configuration(run, seed), results)
        for seed in run.seeds
    }
    missing = [seed for seed, record in found.items() if record is None]
    if missing:
        if missing != run.seeds:
            run = ReplayRun(parameters.model_copy(update={"seeds": missing}), data, work_dir)
        configurations = [configuration(run, seed) for seed in missing]
        with failures_recorded(run, configurations, results):
            run.train(on_task)
        for record in run_records(run):
            write_record(record, results)
            found[record.seed] = record
    return [found[seed] for seed in parameters.seeds]
