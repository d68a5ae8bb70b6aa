"""Result records: one validated JSON file a run and seed, the evidence behind every number shown.

A record lies at ``data/results/<paper>/<experiment>/<method>-seed<seed>-<hash>.json``. The hash
covers the configuration, not the outcome, so a cell of a table that is finished can be found
before it is run again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from relcl_lib.lab.files import atomic_write_text, repository_root
from relcl_lib.lab.schema import (
    KEYS,
    SCHEMA_VERSION,
    Record,
    RecordError,
    explain,
    other_schema,
    plain,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CONFIGURATION",
    "SCHEMA_VERSION",
    "Record",
    "RecordError",
    "as_dict",
    "canonical_json",
    "check_writable",
    "config_hash",
    "configuration",
    "find_record",
    "read_record",
    "read_records",
    "record_path",
    "results_root",
    "to_frame",
    "write_record",
]

_IDENTITY = ("paper", "experiment", "method", "variant", "dataset", "protocol", "backbone", "seed")
_FACTS = ("seconds", "peak_memory_bytes", "device", "failed")
#: what makes two runs the same run; of the dataset, its name and fingerprint count
CONFIGURATION = (*_IDENTITY, "parameters")


def results_root() -> Path:
    """Return the folder of the committed records, ``data/results``; it need not exist."""
    return repository_root() / "data" / "results"


def as_dict(record: Record) -> dict[str, Any]:
    """Return a record as plain data with its JSON keys (``schema``, not ``schema_version``)."""
    return record.model_dump(by_alias=True)


def configuration(config: Record | Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes a run the same run: ``CONFIGURATION``, the dataset by name and fingerprint.

    Whole floats become integers, so ``lr=1`` and ``lr=1.0`` are one configuration.
    """
    values = as_dict(config) if isinstance(config, Record) else config
    missing = [name for name in CONFIGURATION if name not in values]
    if missing:
        raise RecordError(f"the configuration lacks {', '.join(missing)}")
    chosen = {name: plain(values[name]) for name in CONFIGURATION}
    dataset = chosen["dataset"]
    if not isinstance(dataset, dict) or "name" not in dataset:
        raise RecordError("the configuration's dataset is a mapping with a 'name'")
    chosen["dataset"] = {"name": dataset["name"], "fingerprint": dataset.get("fingerprint")}
    return _whole(chosen)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_hash(config: Record | Mapping[str, Any]) -> str:
    """Return 12 hex digits that name a configuration, whatever its results, time or device.

    Args:
        config: a record, or a mapping with at least the keys in ``CONFIGURATION``.
    """
    return hashlib.sha256(canonical_json(configuration(config)).encode()).hexdigest()[:12]


def record_path(config: Record | Mapping[str, Any], root: str | os.PathLike[str]) -> Path:
    """Return where the record of a configuration lies below ``root``."""
    values = configuration(config)
    slug = re.sub(r"[^a-z0-9+]+", "-", values["method"].lower()).strip("-")[:60] or "method"
    name = f"{slug}-seed{values['seed']}-{config_hash(config)}.json"
    return Path(root) / values["paper"] / values["experiment"] / name


def check_writable(root: str | os.PathLike[str] | None = None) -> None:
    """Find out before a long run whether its records can be written below ``root``.

    Raises:
        RecordError: they cannot; nothing is left behind.
    """
    folder = Path(results_root() if root is None else root)
    probe = folder / f".probe-{os.getpid()}"
    try:
        atomic_write_text(probe, "")
        probe.unlink()
    except OSError as error:
        raise RecordError(
            f"the results folder {folder} cannot be written to ({error.strerror or error}); make it "
            "writable or name another one. Nothing was run"
        ) from error


def write_record(record: Record, root: str | os.PathLike[str] | None = None) -> Path:
    """Write a record below ``root`` (``data/results`` by default), whole or not at all.

    A later run of the same configuration replaces it; a failed run never replaces a finished one.

    Raises:
        RecordError: the folder cannot be written or the disk is full; nothing is left behind.
    """
    path = record_path(record, results_root() if root is None else root)
    if record.failed and path.is_file() and not read_record(path).failed:
        raise RecordError(f"{path} holds a finished run; a failed one does not replace it")
    text = json.dumps(as_dict(record), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    # A matrix row on one line: committed records should read well in a diff.
    text = re.sub(r"\[\n([-+\d.eE,\s]+)\]", lambda row: f"[{' '.join(row[1].split())}]", text)
    try:
        return atomic_write_text(path, text)
    except OSError as error:
        raise RecordError(
            f"cannot write the record {path.name} into the folder {path.parent}: "
            f"{error.strerror or error}. Nothing was left there. Free some space, make the folder "
            "writable or name another one, and run the cell again"
        ) from error


def read_record(path: str | os.PathLike[str]) -> Record:
    """Read and validate one record.

    Raises:
        RecordError: names the file and each field that is wrong or missing.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read as a record: {error}") from error
    if not isinstance(data, dict):
        raise RecordError(f"{path}: a record is a JSON object, not a {type(data).__name__}")
    # First, because the fields of another version mean something else and would be misreported.
    if "schema" in data and data["schema"] != SCHEMA_VERSION:
        raise RecordError(f"{path}: schema: {other_schema(data['schema'])}")
    missing = [key for key in KEYS if key not in data]
    if missing:
        raise RecordError(f"{path}: missing {', '.join(missing)}")
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        raise RecordError(f"{path}: {explain(error)}") from error


def read_records(
    root: str | os.PathLike[str] | None = None,
    *,
    paper: str | None = None,
    experiment: str | None = None,
    include_failed: bool = False,
) -> list[Record]:
    """Read every record below ``root`` (``data/results`` by default), sorted; [] if there is none.

    Args:
        root: the results folder, laid out ``<paper>/<experiment>/*.json``.
        paper: keep this paper's records only.
        experiment: keep this experiment's records only.
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
    """Return the finished record of a configuration, or None if it has to be run.

    None also after a failed run, which may be tried again.
    """
    path = record_path(config, results_root() if root is None else root)
    if not path.is_file():
        return None
    record = read_record(path)
    return None if record.failed else record


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row a record: what identifies it, the parameters that differ, then the metrics.

    Columns: paper, experiment, method, variant, dataset (its name), protocol, backbone, seed;
    ``param.<name>`` for parameters that differ between the records; each metric (per cent) by its
    name; seconds, peak_memory_bytes, device, failed.
    """
    import pandas as pd  # late, so that writing a record costs no pandas

    records = list(records)
    names = sorted({name for record in records for name in record.parameters})
    varied = [
        name for name in names if len({canonical_json(r.parameters.get(name)) for r in records}) > 1
    ]
    rows = []
    for record in records:
        row = {name: getattr(record, name) for name in _IDENTITY}
        row["dataset"] = record.dataset["name"]
        row |= {f"param.{name}": record.parameters.get(name) for name in varied}
        row |= record.metrics
        row |= {name: getattr(record, name) for name in _FACTS}
        rows.append(row)
    return pd.DataFrame(rows)


def most_seeds(records: Iterable[Record]) -> list[Record]:
    """Keep one configuration a method, the one with most seeds (of several number formats, say)."""
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        key = (record.method, canonical_json({**configuration(record), "seed": None}))
        groups.setdefault(key, []).append(record)
    largest: dict[str, list[Record]] = {}
    for (method, _), group in sorted(groups.items()):
        if len(group) > len(largest.get(method, [])):
            largest[method] = group
    return [record for group in largest.values() for record in group]
