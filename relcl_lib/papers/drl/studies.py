"""Figures 1 and 2 of DRL as records: read where they exist, made where they are missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from relcl_lib.data.core50 import SessionData
from relcl_lib.data.images import ImageData
from relcl_lib.lab.records import Record, find_record
from relcl_lib.lab.run import make_records
from relcl_lib.lab.runtime import run_facts
from relcl_lib.papers.drl.similarity import (
    CLASSIFIERS,
    FIGURE1_PAIRS,
    DisjointStudy,
    PairStudy,
    disjoint_findings,
    disjoint_run,
    pair_study,
)

#: how Figure 1's classifiers are trained and looked at here, by Adam; the paper does not say
PAIR_SETTINGS = {"samples": 100, "batch_size": 100, "epochs": 1, "learning_rate": 1e-3}


@dataclass
class FigureStudy:
    """A study behind a figure, recorded as a run is.

    Attributes:
        fields: the record fields that make it what it is.
        make: trains and compares; what it returns names the metrics.
        device: where.
        seconds: how long that took; 0 before.
    """

    fields: dict[str, Any]
    make: Callable[[], PairStudy | DisjointStudy]
    device: torch.device
    seconds: float = 0.0

    @property
    def seeds(self) -> list[int]:
        """The only seed."""
        return [self.fields["seed"]]

    def configuration(self, seed: int | None = None) -> dict[str, Any]:
        """The record fields that make it what it is."""
        return self.fields

    def records(self) -> list[Record]:
        """Make the study; its record."""
        started = time.perf_counter()
        try:
            study = self.make()
        finally:  # a failed study's record has the time, too
            self.seconds = time.perf_counter() - started
        found = {
            "metrics": {name: round(value, 4) for name, value in study.metrics().items()},
            "curves": study.curves(),
            "seconds": round(self.seconds, 2),
        }
        return [Record(**self.fields, **found, **run_facts(self.device))]


def read_or_make(studies: Iterable[FigureStudy], results: str | Path | None) -> list[Record]:
    """The records of studies, which are drawn one after the other: read those that exist."""
    records = []
    for study in studies:
        record = find_record(study.fields, results)
        records += [record] if record else make_records(study, study.records, results)
    return records


def pair_records(
    data: ImageData,
    seeds: Sequence[int],
    *,
    classifier: str = "closest",
    results: str | Path | None = None,
) -> list[Record]:
    """The records of Figure 1, one per seed and pair of digits: read those that exist.

    The others are made, in about a second each, and written to `results` (None: `data/results`).
    Metrics: the four correlations of `PairStudy`, in [-1, 1], and `test_acc` in per cent. Data other
    than MNIST is a stand-in; `classifier` is a key of `CLASSIFIERS`.

    Raises:
        ValueError: there is no such classifier.
        RecordError: the results folder cannot be written to; nothing was run.
        Exception: whatever stopped a study; a record that says so is written first.
    """
    if classifier not in CLASSIFIERS:
        raise ValueError(f"classifier={classifier!r} is none of {', '.join(CLASSIFIERS)}")
    parameters = {"classifier": classifier, **PAIR_SETTINGS}

    def study(classes: tuple[int, int], seed: int) -> FigureStudy:
        pair = ",".join(map(str, classes))
        fields = {
            "paper": "drl",
            "experiment": "figure1",
            "method": "MLP 2x100",
            "variant": "released",
            "dataset": {
                "name": data.name,
                "set": f"{data.name.upper()}-{{{pair}}}",
                "sizes": data.sizes,
                "source": data.source,
                "note": data.note,
                "fingerprint": data.fingerprint,
            },
            # How the classifiers were trained is not stated.
            "protocol": "reduced" if data.name == "mnist" else "stand-in",
            "backbone": "MLP 2x100",
            # The classes are here, too: of a dataset, only name and fingerprint tell runs apart.
            "parameters": {**parameters, "classes": list(classes)},
            "seed": seed,
        }
        make = partial(pair_study, data, classes, seed, **parameters)
        return FigureStudy(fields, make, torch.device("cpu"))

    studies = (study(classes, seed) for seed in seeds for classes in FIGURE1_PAIRS)
    return read_or_make(studies, results)


def disjoint_records(
    data: SessionData,
    seeds: Sequence[int],
    *,
    weights: Sequence[float] = (0.0, 1e-3),
    samples: int = 150,
    results: str | Path | None = None,
    **changes: Any,
) -> list[Record]:
    """The records of Figure 2, one per seed and weight: read those that exist.

    The others are made, in some seconds each, and written to `results` (None: `data/results`).
    Metrics: `test_acc` in per cent; of the cosines of representations and of gradients, of pairs of
    different classes and of one, mean and standard deviation (`representations_different`,
    `representations_different_sd`, ...); `length`, the mean length of the representations. The other
    arguments are those of `disjoint_study`.

    Raises:
        ParameterError: a parameter is unknown or wrong; nothing was run.
        RecordError: the results folder cannot be written to; nothing was run.
        Exception: whatever stopped a run; a record that says so is written first.
    """

    def study(weight: float, seed: int) -> FigureStudy:
        run = disjoint_run(data, seed, weight, **changes)
        fields = {**run.configuration(), "experiment": "figure2"}
        fields["parameters"]["samples"] = samples
        return FigureStudy(fields, partial(disjoint_findings, run, samples), run.device)

    studies = (study(weight, seed) for seed in seeds for weight in weights)
    return read_or_make(studies, results)
