"""What a result record holds: its fields, their types and the rules between them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
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

SCHEMA_VERSION = 1
FAILED = "failed: "


class RecordError(RuntimeError):
    """A record cannot be written, read or accepted; the message says where and what to do."""


def plain(value: Any) -> Any:
    """Turn what JSON cannot hold but means the same (tuples, NumPy numbers, tensors) into it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


Name = Annotated[str, Field(min_length=1)]
FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=100)]
Plain = BeforeValidator(plain)


class Record(BaseModel):
    """One run with one seed. Unknown fields, wrong types, NaN and infinity are errors.

    ``metrics`` and ``accuracy_matrix`` (T x T, row i after training on task i) are in per cent,
    ``seconds`` and ``peak_memory_bytes`` in the units they name, ``date`` in ISO 8601. ``dataset``
    holds a ``name`` and free entries beside it (``stream``, ``sizes``, ``fingerprint``,
    ``source``). ``parameters`` holds everything else that shapes the result and nothing that does
    not (no device, no list of seeds). A failed run has no metrics and a ``note`` that starts with
    ``failed: ``. The JSON key of ``schema_version`` is ``schema``.
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
    parameters: Annotated[dict[str, JsonValue], Plain]
    seed: Annotated[int, Field(ge=0), Plain]
    metrics: Annotated[dict[Name, float], Plain]
    accuracy_matrix: Annotated[list[list[float]] | None, Plain] = None
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
    def failed(self) -> bool:
        """Whether the run failed; its message is then in ``note``."""
        return self.note.startswith(FAILED)

    @field_validator("schema_version")
    @classmethod
    def _check_schema(cls, found: int) -> int:
        if found != SCHEMA_VERSION:
            raise ValueError(other_schema(found))
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
            raise ValueError(f"a failed run has no metrics, but note starts with {FAILED!r}")
        if not self.failed and not self.metrics:
            raise ValueError(f"no metrics; if the run failed, start the note with {FAILED!r}")
        return self


KEYS = tuple(field.alias or name for name, field in Record.model_fields.items())


def other_schema(found: Any) -> str:
    """Return the message for a record of another schema version: found, expected, what to do."""
    if isinstance(found, int) and found > SCHEMA_VERSION:
        remedy = "update this checkout to read it"
    else:
        remedy = "delete it and run the cell again, or use the checkout that wrote it"
    return f"schema version {found!r} found, {SCHEMA_VERSION} expected: {remedy}"


def explain(error: ValidationError) -> str:
    """Return a validation error as one line that names each field."""
    parts = []
    for found in error.errors():
        field = ".".join(map(str, found["loc"])) or "record"
        parts.append(f"{field}: {found['msg'].removeprefix('Value error, ')}")
    return "; ".join(parts)
