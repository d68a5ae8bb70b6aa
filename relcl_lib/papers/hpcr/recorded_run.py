"""What the commands share that read something off a recorded run: its words, and the run they name."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from relcl_lib.lab.files import existing_folder
from relcl_lib.lab.records import Record, RecordError, find_record, record_path, write_record

if TYPE_CHECKING:
    from relcl_lib.papers.hpcr.run import ReplayRun


def command_line(command: str, about: str, *, checkpoints: bool) -> argparse.ArgumentParser:
    """The words of such a command; with `checkpoints` their folder has to be named."""
    line = argparse.ArgumentParser(
        prog="python -m relcl_lib hpcr",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    line.add_argument("command", choices=[command])
    line.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="of the run")
    line.add_argument("--work-dir", required=checkpoints, help="folder with the checkpoints")
    line.add_argument("--data-root", help="folder that holds the data set")
    line.add_argument(
        "--results", type=existing_folder, help="folder of the records (data/results)"
    )
    return line


def named_run(options: argparse.Namespace) -> ReplayRun:
    """The run that these words name, as it is before anything is trained or read."""
    from relcl_lib.lab.parameters import read_settings
    from relcl_lib.papers.hpcr.parameters import ReplayParameters
    from relcl_lib.papers.hpcr.run import ReplayRun

    settings = {
        "profile": "full",
        "data_root": options.data_root,
        **read_settings(options.settings),
    }
    parameters = ReplayParameters.create(settings)
    return ReplayRun(parameters, ReplayRun.load_data(parameters), options.work_dir)


def finished_run(options: argparse.Namespace) -> ReplayRun:
    """The run that these words name, read from its checkpoint.

    Raises:
        RecordError: there is no checkpoint of the finished run.
    """
    run = named_run(options)
    run.resume()
    if not run.finished:
        raise RecordError(
            f"{run.folder} holds no checkpoint of the finished run: name the --work-dir and the "
            "settings of the sweep that trained it. Seeds that trained side by side are one checkpoint: "
            "name them all and no others (a sweep with more --jobs than cells parts them)"
        )
    return run


def recorded(run: ReplayRun, results: str | Path | None = None) -> list[Record]:
    """The records of a finished run, one per seed.

    Raises:
        RecordError: one is missing, or of another training than this network.
    """
    found = []
    for made in run.records():
        known, place = find_record(made, results), record_path(made, results)
        if known is None:
            raise RecordError(f"the record {place} is missing: run the sweep with this --work-dir")
        if known.accuracy_matrix != made.accuracy_matrix:
            raise RecordError(
                f"the record {place} is of another training than this network: name the --work-dir of "
                "the sweep that wrote it, or remove the record and run the sweep"
            )
        found.append(known)
    return found


def add_metrics(
    records: Sequence[Record],
    found: Sequence[Mapping[str, float]],
    topic: str,
    said: str,
    results: str | Path | None = None,
) -> list[Record]:
    """Write further metrics into records, a mapping each.

    Of a record's note the part that begins with `topic` is replaced by `said`, which begins so, too,
    and by the commit.
    """
    from relcl_lib.lab.runtime import current_commit  # late: the help loads no torch

    said += f", commit {current_commit()}"
    kept = []
    for record, metrics in zip(records, found, strict=True):
        parts = [part for part in record.note.split("; ") if not part.startswith(topic)]
        note = "; ".join(filter(None, [*parts, said]))
        further = {name: float(value) for name, value in metrics.items()}
        kept.append(record.model_copy(update={"metrics": record.metrics | further, "note": note}))
    for record in kept:
        write_record(record, results)
    return kept
