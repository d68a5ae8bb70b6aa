"""Reading the records of runs that were made before, and making and recording the others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from relcl_lib.lab.records import Record, RecordError, check_writable, find_record, write_record
from relcl_lib.lab.runtime import run_facts

if TYPE_CHECKING:
    import torch

Configuration = Mapping[str, Any]


class Run(Protocol):
    """What every paper's run has: where it computes, and for how long it has."""

    device: torch.device
    seconds: float


R = TypeVar("R", bound=Run)


def failure_record(configuration: Configuration, run: Run, error: BaseException) -> Record:
    """Return a record that says the run failed and why."""
    return Record(
        **configuration,
        metrics={},
        accuracy_matrix=None,
        seconds=round(run.seconds, 2),
        note=f"failed: {type(error).__name__}: {error}",
        **run_facts(run.device),
    )


@contextlib.contextmanager
def failures_recorded(
    run: Run, configurations: Iterable[Configuration], results: str | Path | None
) -> Iterator[None]:
    """Write a record of each configuration if the body raises an error, and raise it again.

    Raises:
        RecordError: the folder `results` cannot be written to; the body was not entered.
    """
    check_writable(results)
    try:
        yield
    except Exception as error:
        # Where even this cannot be written, the error that matters is the first one.
        with contextlib.suppress(RecordError):
            for configuration in configurations:
                write_record(failure_record(configuration, run, error), results)
        raise


def read_or_make(
    runs: Iterable[R],
    configuration: Callable[[R], Configuration],
    make: Callable[[R], Record],
    results: str | Path | None,
) -> list[Record]:
    """Return one record a run: read it where it exists, else make and write it.

    Args:
        runs: one a seed, drawn one after the other, so that one at a time is in memory.
        configuration: returns the record fields that make a run what it is.
        make: trains a run and returns its record.
        results: folder of the records (None: `data/results`).

    Raises:
        RecordError: the folder cannot be written to; nothing was run.
        Exception: whatever stopped a run; a record that says so is written first.
    """
    records = []
    for run in runs:
        chosen = configuration(run)
        record = find_record(chosen, results)
        if record is None:
            with failures_recorded(run, [chosen], results):
                record = make(run)
            write_record(record, results)
        records.append(record)
    return records
