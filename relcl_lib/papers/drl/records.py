"""Result records of DRL runs and of its Figures 1 and 2; running only where records are missing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from relcl_lib.continual.sessions import load_sessions
from relcl_lib.data.core50 import SessionData
from relcl_lib.data.images import ImageData
from relcl_lib.lab.recorded import read_or_make
from relcl_lib.lab.records import Record
from relcl_lib.lab.runtime import run_facts
from relcl_lib.papers.drl.parameters import DrlParameters
from relcl_lib.papers.drl.run import DrlRun
from relcl_lib.papers.drl.similarity import (
    CLASSIFIERS,
    FIGURE1_PAIRS,
    DisjointStudy,
    PairStudy,
    disjoint_findings,
    disjoint_run,
    pair_study,
)

#: Settings that have a record field of their own, or do not shape the numbers beyond the data.
_ELSEWHERE = {
    *("profile", "dataset", "data_root", "method", "variant", "seeds", "device", "track"),
    *("backbone", "width"),
}
#: how Figure 1's classifiers are trained and looked at here, by Adam; the paper does not say
PAIR_SETTINGS = {"samples": 100, "batch_size": 100, "epochs": 1, "learning_rate": 1e-3}
_CURVE = re.compile(r"validation by experience: ([\d. ]+)")


def configuration(run: DrlRun) -> dict[str, Any]:
    """Return the record fields that make a run what it is (no results, no path of a machine).

    A stand-in's dataset and experiment carry its name, so its numbers never share a column with
    CORe50's.
    """
    settings, data = run.settings, run.data
    layout = run.network.layout.name
    backbone = settings.backbone
    if layout == "Reduced ResNet-18":
        backbone = f"{layout}, width {settings.width}"
    stand_in = "standin_" if data.name.startswith("CORe50-standin") else ""
    track = settings.track.lower().replace("-", "_")
    return {
        "paper": "drl",
        "experiment": f"{track}_{stand_in}{settings.dataset}",
        "method": settings.method,
        "variant": settings.variant,
        "dataset": {
            "name": data.name,
            "track": settings.track,
            "stream": f"{data.name} {settings.track}",
            "sizes": data.sizes,
            "classes": data.n_classes,
            "experiences": len(run.stream),
            "source": data.source,
            "note": data.note,
            "fingerprint": data.fingerprint,
        },
        "protocol": run.given.protocol(),
        "backbone": Path(backbone).name,
        "parameters": {**settings.model_dump(exclude=_ELSEWHERE), "network": layout},
        "seed": run.seed,
    }


def run_record(run: DrlRun, note: str = "") -> Record:
    """Return the record of a finished run, as the tables report it.

    ``avg_valid_acc`` and ``test_acc`` in per cent; ``ram_mb`` is the peak resident memory in MiB (on a
    GPU, what was allocated there), ``time_min`` the minutes of training and validation without loading
    the data; both belong to a machine. With a head a task, the accuracy matrix holds the validation
    accuracy of each task after each, tasks to come among them, as the paper's averages do.
    """
    if run.experiences_done < len(run.stream):
        raise ValueError(
            f"{run.experiences_done} of {len(run.stream)} experiences are done: call run.train() first"
        )
    curve = 100 * run.valid.double().mean(1)
    facts = run_facts(run.device)
    scores = {
        "avg_valid_acc": float(curve.mean()),
        "test_acc": 100 * run.test_accuracy(),
        "ram_mb": facts["peak_memory_bytes"] / 2**20,
        "time_min": run.seconds / 60,
    }
    multi_head = run.stream.multi_head
    notes = [
        note,
        run.data.note,
        f"validation by experience: {' '.join(f'{value:.2f}' for value in curve.tolist())}",
        f"class order {' '.join(map(str, run.stream.class_order))}" if multi_head else "",
    ]
    return Record(
        **configuration(run),
        metrics={name: round(value, 4) for name, value in scores.items()},
        accuracy_matrix=(100 * run.valid.double()).numpy().round(4).tolist()
        if multi_head
        else None,
        seconds=round(run.seconds, 2),
        note="; ".join(filter(None, notes)),
        **facts,
    )


def validation_curve(record: Record) -> list[float]:
    """Return the validation accuracy after each experience, in per cent, from a run's record."""
    found = _CURVE.search(record.note)
    return [float(value) for value in found[1].split()] if found else []


def train_or_read(
    parameters: DrlParameters,
    *,
    data: SessionData | None = None,
    results: str | Path | None = None,
    work_dir: str | Path | None = None,
    on_experience: Callable[[DrlRun], Any] | None = None,
) -> list[Record]:
    """Return the records of a configuration, one a seed: read those that exist, train the others.

    Args:
        parameters: what to run.
        data: the data set; loaded by name if None.
        results: folder of the records (None: ``data/results``); new ones are written there.
        work_dir: folder for checkpoints, so that a killed run goes on where it was.
        on_experience: called with the run after each experience.

    Raises:
        RecordError: the results folder cannot be written to; nothing was run.
        Exception: whatever stopped the training; a record that says so is written first.
    """
    if data is None:
        data = load_sessions(parameters.dataset, parameters.data_root, order=parameters.order)

    def make(run: DrlRun) -> Record:
        run.train(on_experience)
        return run_record(run)

    runs = (DrlRun(parameters, data, seed, work_dir) for seed in parameters.seeds)
    return read_or_make(runs, configuration, make, results)


# --- Figures 1 and 2 -----------------------------------------------------------------------------


@dataclass
class FigureStudy:
    """A study behind a figure, in the form of a run.

    Attributes:
        configuration: the record fields that make it what it is.
        make: trains and compares; what it returns names the metrics.
        device: where.
        seconds: how long that took; 0 before.
    """

    configuration: dict[str, Any]
    make: Callable[[], PairStudy | DisjointStudy]
    device: torch.device
    seconds: float = 0.0

    def record(self) -> Record:
        """Make the study and return its record."""
        started = time.perf_counter()
        try:
            metrics = self.make().metrics()
        finally:  # a failed study's record has the time, too
            self.seconds = time.perf_counter() - started
        return Record(
            **self.configuration,
            metrics={name: round(value, 4) for name, value in metrics.items()},
            accuracy_matrix=None,
            seconds=round(self.seconds, 2),
            note="",
            **run_facts(self.device),
        )


def pair_records(
    data: ImageData,
    seeds: Sequence[int],
    *,
    classifier: str = "closest",
    results: str | Path | None = None,
) -> list[Record]:
    """Return the records of Figure 1, one a seed and pair of digits: read those that exist.

    The others are made, in about a second each. Metrics: the four correlations of ``PairStudy``, in
    [-1, 1], and ``test_acc`` in per cent.

    Args:
        data: MNIST; another set is a stand-in.
        seeds: a study of each pair for each of them.
        classifier: a key of ``CLASSIFIERS``.
        results: folder of the records (None: ``data/results``); new ones are written there.

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
    return read_or_make(studies, attrgetter("configuration"), FigureStudy.record, results)


def disjoint_records(
    data: SessionData,
    seeds: Sequence[int],
    *,
    weights: Sequence[float] = (0.0, 1e-3),
    samples: int = 150,
    results: str | Path | None = None,
    **changes: Any,
) -> list[Record]:
    """Return the records of Figure 2, one a seed and weight: read those that exist.

    The others are made, in some seconds each. Metrics: ``test_acc`` in per cent; of the cosines of
    representations and of gradients, of pairs of different classes and of one, mean and standard
    deviation (``representations_different``, ``representations_different_sd``, ...); ``length``, the
    mean length of the representations.

    Args:
        data: MNIST; another set is a stand-in and needs its name as ``dataset``.
        seeds: a run of each weight for each of them.
        weights: lambda of each run.
        samples: test samples that are compared.
        results: folder of the records (None: ``data/results``); new ones are written there.
        **changes: parameters of the runs.

    Raises:
        ParameterError: a parameter is unknown or wrong; nothing was run.
        RecordError: the results folder cannot be written to; nothing was run.
        Exception: whatever stopped a run; a record that says so is written first.
    """

    def study(weight: float, seed: int) -> FigureStudy:
        run = disjoint_run(data, seed, weight, **changes)
        fields = {**configuration(run), "experiment": "figure2"}
        fields["parameters"]["samples"] = samples
        return FigureStudy(fields, partial(disjoint_findings, run, samples), run.device)

    studies = (study(weight, seed) for seed in seeds for weight in weights)
    return read_or_make(studies, attrgetter("configuration"), FigureStudy.record, results)
