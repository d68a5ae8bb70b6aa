"""Result records: one validated JSON file per run and seed, the evidence behind every number shown.

A record lies at `data/results/<paper>/<experiment>/<method>-seed<seed>-<hash>.json`. The hash
covers the configuration, not the outcome, so a finished cell of a table is found before it is run
again.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from relcl_lib.lab.files import NOT_READ, atomic_write_text, locked, repository_root
from relcl_lib.lab.format import slug
from relcl_lib.lab.json_text import parse_json
from relcl_lib.lab.parameters import FolderName, explain

SCHEMA_VERSION = 2
FAILED_NOTE = "failed: "
#: what makes two runs the same run; of the dataset, its name and fingerprint count
CONFIGURATION = (
    "paper",
    "experiment",
    "method",
    "variant",
    "dataset",
    "inputs",
    "parameters",
    "seed",
)


class RecordError(RuntimeError):
    """A record cannot be written, read or accepted; the message says where and what to do."""


# --- what a record holds -------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """Turn what JSON cannot hold but means the same (tuples, NumPy numbers, tensors) into it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


Name = Annotated[str, Field(min_length=1)]
Plain = BeforeValidator(_plain)


class Record(BaseModel):
    """One run with one seed. Unknown fields, wrong types, NaN and infinity are errors.

    `metrics`, `accuracy_matrix` (T x T, row i after training on task i) and `curves` (a score after
    each task, experience or epoch, or what a figure plots) are in per cent unless they are named
    after something else (a loss), `seconds` and `peak_memory_bytes` in the units they name, `date` in
    ISO 8601. `dataset` holds a `name` and
    free entries beside it (`stream`, `sizes`, `fingerprint`, `source`). `inputs` holds a digest of
    everything else that was read: an encoder, word vectors, a type map. `parameters` holds
    everything else that shapes the result and nothing that does not (no device, no list of seeds);
    a name that stands in both is only shown. So are `backbone`, `protocol`, and `number_format`,
    which a `precision` of `auto` came to. A failed run has no metrics and a `note` that starts with
    `failed: `. The JSON key of `schema_version` is `schema`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    # The plain name would shadow an attribute of BaseModel.
    schema_version: int = Field(SCHEMA_VERSION, alias="schema")
    paper: FolderName
    experiment: FolderName
    method: Name
    variant: Literal["paper", "released"]
    dataset: Annotated[dict[str, JsonValue], Plain]
    protocol: Literal["paper", "reduced", "stand-in"]
    backbone: Name
    inputs: dict[Name, Name] = {}
    parameters: Annotated[dict[str, JsonValue], Plain]
    number_format: Literal["float32", "bfloat16"] = "float32"
    seed: Annotated[int, Field(ge=0), Plain]
    metrics: Annotated[dict[Name, float], Plain]
    accuracy_matrix: Annotated[list[list[float]] | None, Plain] = None
    curves: Annotated[dict[Name, list[float]] | None, Plain] = None
    seconds: Annotated[float, Field(ge=0), Plain]
    peak_memory_bytes: Annotated[int, Field(ge=0), Plain] | None = None
    device: Name
    versions: dict[str, str] = {}
    commit: str | None = None
    date: str = Field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )
    note: str = ""

    @property
    def starts_elsewhere(self) -> bool:
        """Whether the run began with a network that another run had trained: no table counts it."""
        return "start_from" in self.inputs

    @property
    def failed(self) -> bool:
        """Whether the run failed; its message is then in `note`."""
        return self.note.startswith(FAILED_NOTE)

    @field_validator("schema_version")
    @classmethod
    def _check_schema(cls, found: int) -> int:
        if found != SCHEMA_VERSION:
            raise ValueError(_other_schema(found))
        return found

    @field_validator("dataset")
    @classmethod
    def _check_dataset(cls, dataset: dict[str, JsonValue]) -> dict[str, JsonValue]:
        name = dataset.get("name")
        if not isinstance(name, str) or not name:
            raise ValueError("a dataset needs a 'name' that is a text")
        return dataset

    @field_validator("parameters")
    @classmethod
    def _check_parameters(cls, parameters: dict[str, JsonValue]) -> dict[str, JsonValue]:
        # A list of seeds here would give each seed another hash whenever its neighbours change.
        for name in {"seed", "seeds"} & set(parameters):
            raise ValueError(f"{name!r} is no parameter; the record has its own field 'seed'")
        return parameters

    @field_validator("metrics")
    @classmethod
    def _check_metrics(cls, metrics: dict[str, float]) -> dict[str, float]:
        # In a table of records they stand beside the fields and would hide them.
        for name in {*cls.model_fields, "schema", "failed"} & set(metrics):
            raise ValueError(f"{name!r} is a field of the record; give the metric another name")
        return metrics

    @field_validator("date")
    @classmethod
    def _check_date(cls, date: str) -> str:
        datetime.datetime.fromisoformat(date)
        return date

    @field_validator("accuracy_matrix")
    @classmethod
    def _check_matrix(cls, matrix: list[list[float]] | None) -> list[list[float]] | None:
        if matrix is not None:
            if not matrix or any(len(row) != len(matrix) for row in matrix):
                raise ValueError("an accuracy matrix is square, T x T")
            if not all(0.0 <= entry <= 100.0 for row in matrix for entry in row):
                raise ValueError("accuracies are in per cent, from 0 to 100")
        return matrix

    @model_validator(mode="after")
    def _check_outcome(self) -> Record:
        if self.failed and self.metrics:
            raise ValueError(f"a failed run has no metrics, but note starts with {FAILED_NOTE!r}")
        if not self.failed and not self.metrics:
            raise ValueError(f"no metrics; if the run failed, start the note with {FAILED_NOTE!r}")
        return self


#: fields that a file may lack
_OPTIONAL = ("curves", "inputs")
_KEYS = tuple(f.alias or name for name, f in Record.model_fields.items() if name not in _OPTIONAL)


def _other_schema(found: Any) -> str:
    if isinstance(found, int) and found > SCHEMA_VERSION:
        remedy = "update this checkout to read it"
    elif found == 1:
        remedy = "'python -m relcl_lib upgrade FOLDER' rewrites the records below a folder"
    else:
        remedy = "delete it and run the cell again, or use the checkout that wrote it"
    return f"schema version {found!r} found, {SCHEMA_VERSION} expected: {remedy}"


def as_dict(record: Record) -> dict[str, Any]:
    """A record as plain data with its JSON keys (`schema`, not `schema_version`)."""
    without = {name for name in _OPTIONAL if not getattr(record, name)}
    return record.model_dump(by_alias=True, exclude=without)


# --- what makes two runs the same ----------------------------------------------------------------


def configuration(config: Record | Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run the same run: `CONFIGURATION`, the dataset by its name and fingerprint.

    What was read counts by its content: a parameter that an entry of `inputs` has the name of, such
    as the name of a file of word vectors, is left out. Whole floats become integers, so `lr=1` and
    `lr=1.0` are one configuration.

    Raises:
        RecordError: an entry is missing.
    """
    values = as_dict(config) if isinstance(config, Record) else config
    values = {"inputs": {}, **values}
    missing = [name for name in CONFIGURATION if name not in values]
    if missing:
        raise RecordError(f"the configuration lacks {', '.join(missing)}")
    chosen = {name: _plain(values[name]) for name in CONFIGURATION}
    dataset = chosen["dataset"]
    if not isinstance(dataset, dict) or "name" not in dataset:
        raise RecordError("the configuration's dataset is a mapping with a 'name'")
    chosen["dataset"] = {"name": dataset["name"], "fingerprint": dataset.get("fingerprint")}
    by_name = chosen["parameters"].items()
    chosen["parameters"] = {name: v for name, v in by_name if name not in chosen["inputs"]}
    return _whole(chosen)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_hash(config: Record | Mapping[str, Any]) -> str:
    """12 hex digits that name a configuration, whatever its results, time or device."""
    return hashlib.sha256(canonical_json(configuration(config)).encode()).hexdigest()[:12]


def shape_of(record: Record, *free: str) -> dict[str, Any]:
    """What runs have in common that differ in their seed and the parameters `free` alone.

    The number format is part of it: `auto` comes to another one on another machine.
    """
    shape = {**configuration(record), "seed": None, "number_format": record.number_format}
    shape["parameters"] = {n: v for n, v in shape["parameters"].items() if n not in free}
    return shape


def most_seeds(records: Iterable[Record]) -> list[Record]:
    """Keep one configuration of each method: that with most seeds, of two alike the one on more data."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        key = record.method, canonical_json(shape_of(record))
        groups.setdefault(key, []).append(record)
    largest: dict[str, list[Record]] = {}
    for (method, _), group in sorted(groups.items()):
        size = len(group), trained_on(group[0])
        if method not in largest or size > (len(largest[method]), trained_on(largest[method][0])):
            largest[method] = group
    return [record for group in largest.values() for record in group]


def trained_on(record: Record) -> int:
    """Training samples that a record's run had, as far as it says so."""
    return (record.dataset.get("sizes") or {}).get("train") or 0


def content_in_words(record: Record) -> str:
    """The content of a record's data set, where there are several: its note, size or digest."""
    notes = (record.dataset.get("note") or "").split("; ")
    said = [note for note in notes if note and not note.startswith(NOT_READ)]
    count = f"{trained_on(record):,} training samples" if trained_on(record) else ""
    return " and ".join(said) or count or str(record.dataset.get("fingerprint"))[:12]


def gains(more: Iterable[Record], less: Iterable[Record], metric: str) -> list[float]:
    """What the first records have of a metric more than the second, by the seeds they share."""
    values = [{record.seed: record.metrics[metric] for record in each} for each in (more, less)]
    return [values[0][seed] - values[1][seed] for seed in sorted(values[0].keys() & values[1])]


# --- files ---------------------------------------------------------------------------------------


def results_root() -> Path:
    """The folder of the committed records, `data/results`; it need not exist."""
    return repository_root() / "data" / "results"


def record_path(
    config: Record | Mapping[str, Any], root: str | os.PathLike[str] | None = None
) -> Path:
    """Where the record of a configuration lies below `root` (`data/results` by default)."""
    values = configuration(config)
    method = slug(values["method"])[:60] or "method"
    name = f"{method}-seed{values['seed']}-{config_hash(config)}.json"
    root = results_root() if root is None else Path(root)
    return root / values["paper"] / values["experiment"] / name


def check_writable(root: str | os.PathLike[str] | None = None) -> None:
    """Find out before a long run whether its records can be written below `root`.

    Raises:
        RecordError: they cannot; nothing is left behind.
    """
    folder = Path(results_root() if root is None else root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:  # without a name, so a kill leaves none
            probe.write(b"\n")
    except OSError as error:
        raise RecordError(
            f"the results folder {folder} cannot be written to ({error.strerror or error}); make it "
            "writable or name another one. Nothing was run"
        ) from error


def write_record(record: Record, root: str | os.PathLike[str] | None = None) -> Path:
    """Write a record below `root` (`data/results` by default), whole or not at all.

    A later run of the same configuration replaces it; a failed run never replaces a finished one.

    Raises:
        RecordError: the folder cannot be written or the disk is full; nothing is left behind.
    """
    path = record_path(record, root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent):  # another process may finish the same run between look and write
            if record.failed and path.is_file() and not read_record(path).failed:
                raise RecordError(f"{path} holds a finished run; a failed one does not replace it")
            return atomic_write_text(path, _json(as_dict(record)) + "\n")
    except OSError as error:
        raise RecordError(
            f"cannot write the record {path.name} into the folder {path.parent}: "
            f"{error.strerror or error}. Nothing was left there. Free some space, make the folder "
            "writable or name another one, and run the cell again"
        ) from error


def _json(value: Any, indent: str = "\n") -> str:
    """JSON with a line for each entry, but a row of numbers on one: a diff should read well."""
    inner = indent + " "
    if isinstance(value, dict) and value:
        rows = [f"{json.dumps(k, ensure_ascii=False)}: {_json(v, inner)}" for k, v in value.items()]
        return "{" + inner + f",{inner}".join(rows) + indent + "}"
    if isinstance(value, list) and not all(type(item) in (int, float) for item in value):
        return "[" + inner + f",{inner}".join(_json(item, inner) for item in value) + indent + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_record(path: str | os.PathLike[str]) -> Record:
    """Read and validate one record.

    Raises:
        RecordError: names the file and each field that is wrong or missing.
    """
    path = Path(path)
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read as a record: {error}") from error
    if not isinstance(data, dict):
        raise RecordError(f"{path}: a record is a JSON object, not a {type(data).__name__}")
    # First, because the fields of another version mean something else and would be misreported.
    if "schema" in data and data["schema"] != SCHEMA_VERSION:
        raise RecordError(f"{path}: schema: {_other_schema(data['schema'])}")
    missing = [key for key in _KEYS if key not in data]
    if missing:
        raise RecordError(f"{path}: missing {', '.join(missing)}")
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        raise RecordError(f"{path}: {'; '.join(explain(error))}") from error


def read_records(
    root: str | os.PathLike[str] | None = None,
    *,
    paper: str | None = None,
    experiment: str | None = None,
    include_failed: bool = False,
) -> list[Record]:
    """Read every record below `root` (`data/results` by default), sorted; [] if there is none.

    Args:
        root: the results folder, laid out `<paper>/<experiment>/*.json`.
        paper, experiment: keep the records of this one only.
        include_failed: keep failed runs too.
    """
    root = results_root() if root is None else Path(root)
    paths = root.glob(f"{paper or '*'}/{experiment or '*'}/*.json")
    records = [read_record(path) for path in paths if not path.name.startswith(".")]
    kept = [record for record in records if include_failed or not record.failed]
    return sorted(kept, key=_order)


def _order(record: Record) -> tuple[Any, ...]:
    identity = (record.paper, record.experiment, str(record.dataset["name"]), record.method)
    return *identity, record.variant, canonical_json(record.parameters), record.seed


def find_record(
    config: Record | Mapping[str, Any], root: str | os.PathLike[str] | None = None
) -> Record | None:
    """The finished record of a configuration, or None if it has to be run.

    None also after a failed run, which may be tried again.

    Raises:
        RecordError: the record in its place cannot be read, or is one of another configuration.
    """
    path = record_path(config, root)
    if not path.is_file():
        return None
    record = read_record(path)
    if config_hash(record) != config_hash(config):
        raise RecordError(
            f"{path} holds the record of another configuration than its name says: it was changed or "
            "misplaced. Restore or remove it"
        )
    return None if record.failed else record
