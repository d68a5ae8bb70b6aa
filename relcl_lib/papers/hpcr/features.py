"""Test features of a recorded run, kept beside its record, so that Fig. 10 draws without training.

    python -m relcl_lib hpcr features --work-dir FOLDER method=HPCR dataset=cifar10 seeds=0 [NAME=VALUE ...]

takes the network from the checkpoints of a sweep with this `--work-dir` (and trains what is missing),
and writes, for each seed, the features of the first test images of each class and all proxies. Settings
are those of `ReplayParameters`, by default the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from relcl_lib.lab.command_line import parse, positive
from relcl_lib.lab.files import atomic_write_bytes
from relcl_lib.lab.records import Record, RecordError, find_record, record_path, write_record
from relcl_lib.papers.hpcr.recorded_run import command_line, named_run

if TYPE_CHECKING:
    from torch import Tensor

    from relcl_lib.papers.hpcr.run import ReplayRun

#: test images of each class: thirty make a cloud, and ten classes of them a file below 100 kB
PER_CLASS = 30


class Features(NamedTuple):
    """Features (n, D) of test images, their labels (n,), and the proxies (C, D)."""

    features: Tensor
    labels: Tensor
    proxies: Tensor


def features_path(record: Record, results: str | Path | None = None) -> Path:
    """Where the features of a record's run lie: beside it."""
    return record_path(record, results).with_suffix(".safetensors")


def keep_features(
    run: ReplayRun, results: str | Path | None = None, per_class: int = PER_CLASS
) -> list[Path]:
    """Write the features of each seed of a finished run beside its record, in half precision.

    A record that is missing is written too.

    Raises:
        RecordError: the record is of another training than this network; nothing is written.
    """
    from safetensors.torch import save

    made = run.records()
    for record in made:
        known = find_record(record, results)
        if known is not None and known.accuracy_matrix != record.accuracy_matrix:
            raise RecordError(
                f"{record_path(record, results)} has A_T {known.metrics['A_T']:.2f}, this network "
                f"{record.metrics['A_T']:.2f}: it was trained anew, on another machine or by another "
                "version. Name another folder with --results, which then gets its record too"
            )
    paths = []
    for index, record in enumerate(made):
        if find_record(record, results) is None:
            write_record(record, results)
        features, labels, proxies = run.test_features(index, per_class)
        tensors = {"features": features.half(), "labels": labels.byte(), "proxies": proxies.half()}
        tensors = {name: value.contiguous() for name, value in tensors.items()}
        paths.append(atomic_write_bytes(features_path(record, results), save(tensors)))
    return paths


def read_features(record: Record, results: str | Path | None = None) -> Features | None:
    """The features kept beside a record; None if there are none.

    Raises:
        RecordError: the file is not what `keep_features` writes; names it.
    """
    import torch
    from safetensors.torch import load_file

    path = features_path(record, results)
    if not path.is_file():
        return None
    try:
        tensors = load_file(path)
        found = Features(*(tensors[name] for name in Features._fields))
        features, labels, proxies = found
        sizes = (*features.shape, *proxies.shape)
        if sizes != (len(labels), features.shape[1], len(proxies), features.shape[1]):
            raise ValueError(f"shapes {[tuple(value.shape) for value in found]} do not fit")
        if not all(value.isfinite().all() for value in (features, proxies)):
            raise ValueError("a number is not finite")
        if not torch.isin(labels, torch.arange(len(proxies))).all():
            raise ValueError("a label has no proxy")
    except Exception as error:  # safetensors has an error class of its own
        raise RecordError(
            f"the features {path} cannot be read ({error}); delete the file, or write it again with "
            "python -m relcl_lib hpcr features"
        ) from error
    return Features(features.float(), labels.long(), proxies.float())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `features`; return 0."""
    line = command_line("features", __doc__, checkpoints=False)
    line.add_argument("--per-class", type=positive, default=PER_CLASS, help="test images")
    options = parse(line, arguments)
    run = named_run(options)
    run.train(lambda trained: print(f"task {trained.done}/{trained.total}", flush=True))
    for path in keep_features(run, options.results, options.per_class):
        print(path)
    return 0
