"""What every paper's run shares: settings, the loop over its units, checkpoints, and its records."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from relcl_lib.lab import checkpoints
from relcl_lib.lab.parameters import ParameterError, Parameters
from relcl_lib.lab.protocol import HIDDEN
from relcl_lib.lab.records import (
    FAILED_NOTE,
    Record,
    RecordError,
    check_writable,
    find_record,
    write_record,
)
from relcl_lib.lab.runtime import (
    current_commit,
    precision_name,
    resolve_device,
    resolve_precision,
    run_facts,
)

#: tensors of a checkpoint by part (a network, a memory, an optimizer) and name
State = Mapping[str, Mapping[str, Tensor]]


def ignore(*_: Any) -> None:
    """A callback that does nothing."""


class DivergenceError(RuntimeError):
    """A training has diverged; says where and what to change."""


def check_loss(loss: float, where: str, advice: str = "use a lower learning rate") -> None:
    """Raise a DivergenceError if a mean loss is not finite: all that follows would be worthless."""
    if not math.isfinite(loss):
        raise DivergenceError(f"the loss is {loss} in {where}, so training has diverged; {advice}")


class Run:
    """One run of one configuration; seeds that train side by side are one run.

    A unit is what a run counts, and after which it writes a checkpoint: a task, an experience or an
    epoch. A paper's run says how one is trained (`advance`), how many there are (`total`), what a
    checkpoint holds (`state`, `load`, `progress`), and what its records say (`describe`, `outcome`).

    Args:
        parameters: what to run; what is None there takes the value of method, variant or data set.
        data: the data set that the parameters name.
        seeds: of everything that is drawn.
        work_dir: checkpoints go into a folder of this configuration below it; None keeps none, so a
            killed run starts over.
    """

    #: the paper's name in records
    paper: ClassVar[str]
    #: attribute that counts the units done
    counter: ClassVar[str]
    #: further attributes of plain values that a checkpoint keeps
    progress: ClassVar[tuple[str, ...]] = ()
    #: settings that have a field of their own in a record, or belong to the data
    elsewhere: ClassVar[tuple[str, ...]] = ()
    #: whether one run trains all seeds
    side_by_side: ClassVar[bool] = False
    #: of `train`
    on_step: Callable[..., Any] = staticmethod(ignore)

    def __init__(
        self, parameters: Parameters, data: Any, seeds: list[int], work_dir: str | Path | None
    ) -> None:
        self.given, self.data, self.seeds = parameters, data, list(seeds)
        self.seed = self.seeds[0]
        self.device = resolve_device(parameters.device)
        self.settings = parameters.resolved()
        if getattr(self.settings, "cuda_graph", False) and self.device.type != "cuda":
            raise ParameterError(
                f"cuda_graph needs a GPU, this run is on {self.device}: leave it out"
            )
        asked = getattr(self.settings, "precision", "float32")
        self.precision = resolve_precision(asked, self.device)
        self.work_dir = work_dir
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self.commits: list[str] = []  # that trained it, the first in front
        setattr(self, self.counter, 0)

    @classmethod
    def of(
        cls, parameters: Parameters, data: Any, seeds: list[int], work_dir: str | Path | None
    ) -> Self:
        """The run of these seeds, one unless they train side by side."""
        return cls(parameters, data, *seeds, work_dir=work_dir)

    @classmethod
    def load_data(cls, parameters: Parameters) -> Any:
        """Load the data set that parameters name."""
        raise NotImplementedError

    @cached_property
    def folder(self) -> Path | None:
        """Where the run's checkpoint lies, if it keeps one."""
        return checkpoints.run_folder(self.work_dir, self.settings.dataset, self.identity)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Digests of what is read beside the data set, by the setting that names it."""
        return {}

    # -------------------------------------------------------------- training

    @property
    def done(self) -> int:
        """Units that are done."""
        return getattr(self, self.counter)

    @property
    def total(self) -> int:
        """Units of the whole run."""
        raise NotImplementedError

    @property
    def score(self) -> float:
        """How good it is after the units that are done, in per cent: what a line of progress says."""
        raise NotImplementedError

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.done >= self.total

    def train(
        self,
        on_unit: Callable[[Any], Any] | None = None,
        on_step: Callable[..., Any] | None = None,
    ) -> Self:
        """Train the units that are not done, resuming from the last checkpoint.

        Killed at any moment and started again, a run ends with the same numbers; on the CPU bit for
        bit.

        Args:
            on_unit: called as `on_unit(run)` after each unit, when the counter has moved on.
            on_step: called as `on_step(run, step, steps)` after each step within a unit, of `steps`,
                counted from 1; a run whose units have parts names the part behind them.

        Raises:
            DivergenceError: a loss is no longer finite. HPCR's runs go on, as their seeds share one.
        """
        self.on_step = on_step or ignore
        self.resume()
        if not self.finished and current_commit() not in self.commits[-1:]:
            self.commits.append(current_commit())
        if self.device.type == "cuda":  # the peak in the record is to be this run's
            torch.cuda.reset_peak_memory_stats(self.device)
        while not self.finished:
            started = time.perf_counter()
            entry = self.advance()
            setattr(self, self.counter, self.done + 1)
            self.seconds += time.perf_counter() - started
            if entry is not None:
                self.history.append({**entry, "seconds": self.seconds})
            self.save()
            if on_unit is not None:
                on_unit(self)
        self.conclude()
        return self

    def advance(self) -> dict[str, Any] | None:
        """Train and score the next unit; what is returned goes into `history`, with the seconds.

        Where a unit may take long, each of its steps calls `on_step`, see `train`.
        """
        raise NotImplementedError

    def conclude(self) -> None:
        """Do what is left when all units are done."""

    # ----------------------------------------------------------- checkpoints

    def identity(self) -> dict[str, Any]:
        """Everything that shapes the run's numbers, to the last bit."""
        settings = self.settings.model_dump(exclude=HIDDEN)
        settings |= {"precision": precision_name(self.precision), **self.inputs}
        return {"settings": settings, "data": self.data.fingerprint, "seed": self.seed}

    @property
    def digest(self) -> str:
        """12 hex digits for its identity, as in the name of its folder."""
        return checkpoints.run_digest(self.identity())

    def state(self) -> State:
        """Tensors of a checkpoint."""
        raise NotImplementedError

    def load(self, state: State) -> None:
        """Put back what `state` returned; a part that had no tensors is empty."""
        raise NotImplementedError

    def save(self) -> None:
        """Write a checkpoint, if there is a folder for it."""
        if self.folder is not None:
            state = checkpoints.join(**self.state())
            checkpoints.save(self.folder / "checkpoint", state, self.progress_made())

    def progress_made(self) -> dict[str, Any]:
        """Plain values of a checkpoint."""
        names = (self.counter, "seconds", "commits", *self.progress)
        return {name: getattr(self, name) for name in names}

    def resume(self) -> None:
        """Go on from the last checkpoint, if it is further."""
        state = self.go_on_from(self.folder)
        if state is not None:
            self.load(checkpoints.split(state))

    def go_on_from(self, folder: Path | None) -> dict[str, Tensor] | None:
        """Take the plain values of a checkpoint that is further on, and return its tensors."""
        found = checkpoints.load(folder / "checkpoint") if folder else None
        if found is None or found[1][self.counter] <= self.done:
            return None
        state, progress = found
        for name in self.progress_made().keys() & progress.keys():  # an older one may lack some
            setattr(self, name, progress[name])
        return state

    # --------------------------------------------------------------- records

    def describe(self) -> dict[str, Any]:
        """Record fields of the paper's own: `protocol`, `backbone`, and what it adds to others."""
        raise NotImplementedError

    def outcome(self, seed: int) -> dict[str, Any]:
        """Record fields that a finished run knows of a seed: `metrics`, `notes` and others."""
        raise NotImplementedError

    def suffices(self, record: Record) -> bool:
        """Whether a finished record of this configuration holds what is asked for; else it is made anew."""
        return True

    def configuration(self, seed: int | None = None) -> dict[str, Any]:
        """Record fields that make a seed of the run what it is: no results, no path of a machine.

        Args:
            seed: None is the run's only one.
        """
        own = self.describe()
        hidden = {*HIDDEN, "dataset", "method", "variant", *self.elsewhere}
        source = {"source": self.data.source, "fingerprint": self.data.fingerprint}
        return {
            "paper": self.paper,
            "experiment": self.data.name,
            "method": self.settings.method,
            "variant": self.settings.variant,
            **own,
            "dataset": {"name": self.data.name, **own["dataset"], **source},
            "inputs": self.inputs,
            "number_format": precision_name(self.precision),
            "parameters": self.settings.model_dump(exclude=hidden) | own.get("parameters", {}),
            "seed": self.seed if seed is None else seed,
        }

    def record(self, note: str = "", seed: int | None = None) -> Record:
        """The record of a seed of a finished run; seeds side by side share the seconds evenly.

        Its commit is that which began the training; where another went on, the note has both.

        Raises:
            ValueError: units are left.
        """
        if not self.finished:
            unit = self.counter.removesuffix("_done")
            raise ValueError(f"{self.done} of {self.total} {unit} are done: call run.train() first")
        outcome = self.outcome(self.seed if seed is None else seed)
        notes = [note, *outcome.pop("notes", [])]
        if len(self.commits) > 1:
            notes.append(f"trained by commits {', '.join(self.commits)}, one after the other")
        metrics = {name: round(float(v), 4) for name, v in outcome.pop("metrics").items()}
        fields = {
            **self.configuration(seed),
            **run_facts(self.device),
            **({"commit": self.commits[0]} if self.commits else {}),
            "metrics": metrics,
            "seconds": round(self.seconds / len(self.seeds), 2),
            "note": "; ".join(filter(None, notes)),
        }
        return Record(**fields | outcome)

    def records(self, note: str = "") -> list[Record]:
        """All records that a finished run leaves, one per seed and further ones before them."""
        return [self.record(note, seed) for seed in self.seeds]

    @classmethod
    def train_or_read(
        cls,
        parameters: Parameters,
        *,
        data: Any = None,
        results: str | Path | None = None,
        work_dir: str | Path | None = None,
        again: bool = False,
        failure: Exception | None = None,
        **callbacks: Callable[..., Any] | None,
    ) -> list[Record]:
        """The records of a configuration, one per seed: read those that suffice, train the others.

        Args:
            parameters: what to run.
            data: the data set; None loads it.
            results: folder of the records (None: `data/results`); new ones are written there.
            work_dir: folder for checkpoints, so that a killed run goes on where it was.
            again: train also the seeds that have a record, and replace it.
            failure: what ended an earlier try without a record, such as the death of its process: it
                is recorded of the first seeds that have no record, and raised; nothing is trained.
            callbacks: of `train`.

        Raises:
            RecordError: the results folder cannot be written to; nothing was run.
            Exception: whatever stopped the training; a record that says so is written first.
        """
        data = cls.load_data(parameters) if data is None else data
        groups = [parameters.seeds] if cls.side_by_side else [[seed] for seed in parameters.seeds]
        found: dict[int, Record] = {}
        for seeds in groups:
            run = cls.of(parameters, data, seeds, work_dir)
            for seed in seeds:
                record = None if again else find_record(run.configuration(seed), results)
                if record is not None and run.suffices(record):
                    found[seed] = record
            missing = [seed for seed in seeds if seed not in found]
            if not missing:
                continue
            if missing != seeds:
                run = cls.of(parameters, data, missing, work_dir)

            def make(run: Self = run) -> list[Record]:
                if failure is not None:
                    raise failure
                return run.train(**callbacks).records()

            made = make_records(run, make, results)
            found |= {r.seed: r for r in made if r.method == run.settings.method}
        return [found[seed] for seed in parameters.seeds]


class Recordable(Protocol):
    """What can be made and recorded: a run, or a study behind a figure."""

    seeds: list[int]
    device: torch.device
    seconds: float
    configuration: Callable[[int], dict[str, Any]]


def make_records(
    run: Recordable, make: Callable[[], list[Record]], results: str | Path | None
) -> list[Record]:
    """Make and write a run's records; where that fails, write for each seed a record that says why.

    Raises:
        RecordError: the folder `results` cannot be written to; nothing was made.
        Exception: whatever stopped `make`.
    """
    check_writable(results)
    try:
        records = make()
    except Exception as error:
        failure = {"metrics": {}, "note": f"{FAILED_NOTE}{type(error).__name__}: {error}"}
        failure |= {"seconds": round(run.seconds, 2), **run_facts(run.device)}
        # Where even this cannot be written, the error that matters is the first one.
        for seed in run.seeds:
            with contextlib.suppress(RecordError):
                write_record(Record(**run.configuration(seed), **failure), results)
        raise
    for record in records:
        write_record(record, results)
    return records
