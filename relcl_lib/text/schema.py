"""Which entity types there are and which relations each may head: FastRE's type-relation map."""

from __future__ import annotations

import difflib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relcl_lib.data.download import DataFormatError
from relcl_lib.data.text_files import read_json_records
from relcl_lib.data.triples import Sentence, TripleData
from relcl_lib.lab.files import packaged_data

TYPES = ("PER", "ORG", "LOC", "OTH")
ANY = "ANY"
SCHEMA_FIX = (
    "A schema is a JSON array of {relation, subject_type, object_type}; add what is missing, or run "
    "with type_map='inferred' or 'any'"
)


@dataclass(frozen=True)
class Schema:
    """Relations in id order, each with the type its subject must have.

    `source` is `paper` (the hand-made map of the paper), the name of a file, `generated`,
    `inferred` or `any`.
    """

    relations: tuple[str, ...]
    types: tuple[str, ...]
    subject_types: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        if len(self.relations) != len(self.subject_types):
            raise ValueError(
                f"{len(self.relations)} relations, but {len(self.subject_types)} subject types"
            )
        if len(set(self.relations)) < len(self.relations):
            raise ValueError("a relation is listed twice")
        if strange := set(self.subject_types) - set(self.types):
            raise ValueError(f"the subject types {sorted(strange)} are not among the types")

    @property
    def relation_ids(self) -> dict[str, int]:
        """Relation -> id."""
        return {relation: index for index, relation in enumerate(self.relations)}

    @property
    def relation_types(self) -> list[int]:
        """Id of the subject type of each relation, (R)."""
        return [self.types.index(name) for name in self.subject_types]

    def mask(self) -> Tensor:
        """(K, R) bool: R'(t), the relations an entity of type t may head."""
        mask = torch.zeros(len(self.types), len(self.relations), dtype=torch.bool)
        mask[self.relation_types, range(len(self.relations))] = True
        return mask


def any_schema(relations: Sequence[str], source: str = "any") -> Schema:
    """The map without types: one type, which may head every relation (no mapping)."""
    return Schema(tuple(relations), (ANY,), (ANY,) * len(relations), source)


def paper_schema(name: str) -> Schema | None:
    """The map that comes with a data set; None where there is none.

    nyt10, nyt11 and nyt24: the paper's hand-made one, in the release's order; synthetic: the
    generated world's own.
    """
    if name == "synthetic":
        path = packaged_data() / "synthetic" / "schema.json"
        return _schema(json.loads(path.read_text("utf-8"))[name], "generated")
    shipped = json.loads((files("relcl_lib.data") / "fastre_schemas.json").read_text("utf-8"))
    return _schema(shipped[name], "paper") if name in shipped else None


def read_schema(path: str | Path) -> Schema:
    """Read a map of one's own: a JSON array of {relation, subject_type, object_type}.

    It may stand alone in an object, under any key, as `worlds.corpus` writes it.
    """
    path = Path(path)
    entries: Any = list(read_json_records(path))
    if len(entries) == 1 and isinstance(entries[0], dict) and "relation" not in entries[0]:
        entries = next(iter(entries[0].values()), None)
    if not isinstance(entries, list) or not entries:
        raise DataFormatError(path, "is no JSON array of relations", SCHEMA_FIX)
    for at, entry in enumerate(entries, start=1):
        for name in ("relation", "subject_type"):
            if not isinstance(entry, dict) or not isinstance(entry.get(name), str):
                raise DataFormatError(path, f"entry {at}: field {name} is no text", SCHEMA_FIX)
    counts = Counter(entry["relation"] for entry in entries)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise DataFormatError(path, f"lists {', '.join(twice)} more than once", SCHEMA_FIX)
    return _schema(entries, path.name)


def _schema(entries: Sequence[dict], source: str) -> Schema:
    subjects = tuple(entry["subject_type"] for entry in entries)
    own = dict.fromkeys(subjects)
    types = [t for t in TYPES if t in own] + [t for t in own if t not in TYPES]
    return Schema(tuple(entry["relation"] for entry in entries), tuple(types), subjects, source)


def infer_schema(sentences: Iterable[Sentence], relations: Sequence[str]) -> Schema:
    """Infer a map from triples: relations that share their subjects get one subject type.

    Two relations belong together if at least half of the rarer one's distinct subjects head the
    other one too; what is linked, directly or through others, is one type, named after its most
    frequent relation. No object enters and no entity is typed by hand. A relation without training
    triples joins the largest type.
    """
    subjects: dict[str, set[str]] = defaultdict(set)
    counts: Counter[str] = Counter()
    for sentence in sentences:
        for triple in sentence.triples:
            subjects[triple.relation].add(triple.subject.lower())
            counts[triple.relation] += 1
    seen = [relation for relation in relations if relation in subjects]
    if not seen:
        return any_schema(relations, "inferred")
    group = {relation: relation for relation in seen}

    def root(relation: str) -> str:
        while group[relation] != relation:
            relation = group[relation]
        return relation

    for i, left in enumerate(seen):
        for right in seen[:i]:
            shared = len(subjects[left] & subjects[right])
            if 2 * shared >= min(len(subjects[left]), len(subjects[right])):
                group[root(left)] = root(right)
    members = defaultdict(list)
    for relation in seen:
        members[root(relation)].append(relation)
    names = {key: max(found, key=lambda r: counts[r]) for key, found in members.items()}
    weight = {key: sum(counts[r] for r in found) for key, found in members.items()}
    largest = max(weight, key=weight.get)
    chosen = [names[root(r) if r in group else largest] for r in relations]
    # No set: its order changes from process to process, and types of equal weight keep theirs.
    types = sorted(dict.fromkeys(chosen), key=lambda name: -weight[root(name)])
    return Schema(tuple(relations), tuple(types), tuple(chosen), "inferred")


def listed_in(data: TripleData, schema: Schema) -> str:
    """The file that lists the map's relations; "" if they are the paper's or of the map's own file."""
    of_data = schema.relations == data.relations and schema.source in ("any", "inferred")
    return data.listed_in if of_data else ""


#: what `choose_schema` takes beside the path of a file
TYPE_MAPS = ("auto", "paper", "inferred", "any")


def choose_schema(data: TripleData, type_map: str = "auto") -> Schema:
    """The map of a data set.

    `type_map` is `auto` (the paper's where there is one, else `any`), `paper`, `inferred` (from the
    training split only), `any` (of the paper's relations, or of the data's where the paper's lack
    some), or the path of a JSON file.
    """
    shipped = paper_schema(data.name)
    if type_map in ("auto", "paper") and shipped is not None:
        return shipped
    if type_map == "paper":
        raise ValueError(
            f"the paper gives no type map for {data.name}; use type_map='inferred', 'any' or a file"
        )
    if type_map in ("auto", "any"):
        used = {triple.relation for sentence in data.train for triple in sentence.triples}
        covered = shipped is not None and used <= set(shipped.relations)
        return any_schema(shipped.relations if covered else data.relations)
    if type_map == "inferred":
        return infer_schema(data.train, data.relations)
    if not Path(type_map).is_file():
        near = difflib.get_close_matches(type_map, TYPE_MAPS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"type_map={type_map!r} is no file and none of {', '.join(TYPE_MAPS)}; {hint}"
            "Give one of these or the path of a JSON file"
        )
    return read_schema(type_map)
