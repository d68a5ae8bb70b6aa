"""Rewrite result records of an earlier form in today's: `relcl upgrade [FOLDER]`.

A record of schema 1 knew an encoder, word vectors and a type map by their names alone, and had the
number format that `auto` came to among its parameters. What changes in a record:

- `inputs` gets the digests of the encoders that the names stood for. A name that is not known here
  gets a digest that nothing has, so the record stays in its table and is taken for no other run.
- `number_format` is noted. Among the parameters bfloat16 was never asked for but by `auto`,
  and becomes that again; float32 stays what was asked for.
- `protocol` is judged by today's rule: results on training images that were re-encoded with a loss are
  `reduced`, and so are settings that no cell of the paper's tables has.
- DRL's parameters get the width of the network, which only `backbone` had.
- DocRE-II's say that their noise spared gold (`noise_draw=not_gold`): it did, when no setting said so.
  This goes for records of schema 2 as well.
- CRECL's say that u's LayerNorm learned with the head (`norm_group=head`), and that their memory was
  chosen without dropout; those on the subset of FewRel that lists P364 last say in their note that
  the tasks are not the published ones. This, too, goes for schema 2.
- CDR's fingerprint is today's. Two of its training documents have tabs at their lines' ends, and
  mentions there had no name before. Names enter IgnF1 alone, and no fact of dev or test has these.

Metrics, seeds, dates and everything else stay as they are.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relcl_lib.lab.command_line import parse, place
from relcl_lib.lab.json_text import parse_json
from relcl_lib.lab.protocol import departures, settings_in_print
from relcl_lib.lab.records import (
    Record,
    RecordError,
    read_record,
    record_path,
    results_root,
    write_record,
)
from relcl_lib.papers.registry import PAPERS

#: name in a record of schema 1 -> digest of the encoder that it stood for
ENCODERS = {"all-MiniLM-L6-v2": "5f545cf1a531613c", "tiny": "2750816d9b573327"}
#: how a record of FastRE named vectors that came out of an encoder
_OUT_OF = ("encoder ", "input embeddings of ")


#: setting of an earlier version -> (the setting it stood behind, what it was)
_DOCRE = {"noise_draw": ("spurious", "not_gold")}
_CRECL = {"norm_group": ("head_bias", "head"), "memory_dropout": ("memory_selection", False)}
#: fingerprint of the subset of FewRel in its file's order
SUBSET_IN_FILES_ORDER = "1a05acb1c1659836"
OTHER_TASKS = (
    "labels in the file's order, P364 last: these are not the tasks of the published order"
)

#: fingerprint of CDR as it was read before -> as it is read now, without the MeSH tree and with it
FINGERPRINTS = {"1a660beb001ae3e0": "1f78c9ac18aefa44", "82bcd7c480f942a0": "320ec65231bce1a2"}


def upgraded(old: Mapping[str, Any]) -> dict[str, Any]:
    """A record of an earlier form, as read from its file, in today's; the same if it has that."""
    new = dict(old)
    for name, (before, was) in {"docre_ii": _DOCRE, "crecl": _CRECL}.get(old["paper"], {}).items():
        names, entries = list(new["parameters"]), list(new["parameters"].items())
        if before in names and name not in names:
            place = names.index(before) + 1  # where a run of today has it
            new["parameters"] = dict([*entries[:place], (name, was), *entries[place:]])
    subset = old["dataset"].get("fingerprint") == SUBSET_IN_FILES_ORDER
    if subset and OTHER_TASKS not in old["note"]:
        new["note"] = "; ".join(filter(None, [old["note"], OTHER_TASKS]))
    return _of_schema_2(new) if old["schema"] == 1 else new


def _of_schema_2(old: dict[str, Any]) -> dict[str, Any]:
    new = {**old, "schema": 2, "parameters": dict(old["parameters"]), "inputs": _inputs(old)}
    if known := FINGERPRINTS.get(str(old["dataset"].get("fingerprint"))):
        new["dataset"] = {**old["dataset"], "fingerprint": known}
    new["number_format"] = new["parameters"].get("precision", "float32")
    if new["number_format"] == "bfloat16":
        new["parameters"]["precision"] = "auto"
    if width := re.fullmatch(r"Reduced ResNet-18, width (\d+)", old["backbone"]):
        new["parameters"].setdefault("width", int(width[1]))
    if old["protocol"] == "paper":
        new["protocol"] = _protocol(new)
    return new


def _inputs(old: Mapping[str, Any]) -> dict[str, str]:
    names = {}
    if old["paper"] in ("crecl", "docre_ii"):
        names["encoder"] = old["backbone"]
    elif old["paper"] == "fastre":
        given = old["parameters"]["word_vectors"]
        if old["method"] == "CasRel":
            names["encoder"] = old["backbone"]
        if given != "random":
            names["word_vectors"] = next(
                (given.removeprefix(s) for s in _OUT_OF if given.startswith(s)), given
            )
        if old["parameters"]["type_map"] not in ("any", "paper", "inferred", "generated"):
            names["type_map"] = old["parameters"]["type_map"]
    elif old["paper"] == "drl" and old["backbone"].split(",")[0] not in ("mlp", "MLP 2x100"):
        names |= {} if old["backbone"].startswith("Reduced") else {"backbone": old["backbone"]}
    return {role: ENCODERS.get(name, f"unknown: {name}") for role, name in names.items()}


def _protocol(new: Mapping[str, Any]) -> str:
    note = new["dataset"].get("note", "")
    if re.search(r"(?<!test )images encoded as", note):
        return "reduced"
    paper = PAPERS[new["paper"]]
    named = {"dataset": new["dataset"]["name"], "method": new["method"], "variant": new["variant"]}
    known = paper.parameters.model_fields
    given = {name: v for name, v in new["parameters"].items() if name in known}
    run = paper.parameters(**given, **named)
    tables = paper.tables
    apart = departures(run, settings_in_print(tables, run.dataset), tables.KEPT, tables.FREE)
    return "reduced" if apart else "paper"


def upgrade_file(path: Path, root: Path) -> Path | None:
    """Write a record of an earlier form in today's, and remove the old file; None for any other.

    Raises:
        RecordError: it cannot be read, or a record of the same run is there already.
    """
    try:
        old = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read as a record: {error}") from error
    if not isinstance(old, dict) or old.get("schema") not in (1, 2):
        return None
    if (new := upgraded(old)) == old:
        return None
    record = Record(**new)
    today = record_path(record, root)
    if today == path:  # what stands there is this record itself
        if record.failed:  # which replaces nothing of a schema that cannot be read
            path.unlink()
        return write_record(record, root)
    if today.exists() and not read_record(today).failed:
        raise RecordError(f"{path} and {today} are records of one run; remove one of them")
    write_record(record, root)
    path.unlink()
    return today


def main(arguments: Sequence[str] | None = None) -> int:
    """Upgrade the records below a folder; 1 where one could not be."""
    parser = argparse.ArgumentParser(
        prog="python -m relcl_lib upgrade",
        description="Rewrite result records of an earlier form in today's.",
    )
    parser.add_argument("folder", nargs="?", type=place, help="default: data/results")
    root = parse(parser, arguments).folder or results_root()
    done, wrong = 0, 0
    if not root.is_dir():
        raise RecordError(
            f"there is no folder {root}; name the one that holds <paper>/<experiment>/"
        )
    paths = sorted(p for p in root.glob("*/*/*.json") if not p.name.startswith("."))
    if not paths:
        raise RecordError(f"{root} holds no <paper>/<experiment>/*.json; name a results folder")
    for path in paths:
        try:
            done += upgrade_file(path, root) is not None
        except (RecordError, ValueError, LookupError, AttributeError, TypeError) as error:
            wrong += 1
            lacks = f"it lacks {error}" if isinstance(error, KeyError) else error
            print(f"error: {path}: {lacks}", file=sys.stderr)
    print(f"{done} records upgraded in {root}" + (f", {wrong} not" if wrong else ""))
    return int(wrong > 0)
