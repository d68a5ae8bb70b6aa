"""A small generated corpus that serves the three text papers where there is no download.

One world of people, places, organisations and books (`make_world`) is told in the layouts of the
real data sets: FewRel, NYT and WebNLG, DocRED. The loaders of those sets read these files too.
The same seed gives the same bytes on every machine.

    python -m relcl_lib.data.synthetic --out FOLDER --seed 0
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from relcl_lib.data.download import DataFormatError
from relcl_lib.lab.files import atomic_write_text
from relcl_lib.worlds.grammar import RELATIONS
from relcl_lib.worlds.layouts import (
    DOCUMENT_SIZES,
    SENTENCE_SIZES,
    SPO_SIZES,
    TRIPLE_SIZES,
    Record,
    make_documents,
    make_sentences,
    make_triples,
    schema,
)
from relcl_lib.worlds.sentences import overlap_kind
from relcl_lib.worlds.world import World, make_world

__all__ = [
    "check_corpus",
    "make_documents",
    "make_sentences",
    "make_triples",
    "make_world",
    "overlap_kind",
    "schema",
    "write_corpus",
]

_README = """# Generated corpus

Written by `python -m relcl_lib.data.synthetic --out FOLDER --seed {seed}`; do not edit. Invented
people, places, organisations and books, in the layouts of the real data sets. Results on it are
`stand-in`: they show that the code learns, not how well the methods do on the real sets.

| folder | layout of | files |
|---|---|---|
| `fewrel/` | FewRel: relation id -> records (tokens, h, t) | `train.json`, `test.json`, `pid2name.json` |
| `nyt24/` | NYT24 and WebNLG: text, triple_list | `train_`, `val_`, `test_triples.json`, `rel2id.json` |
| `nyt10/` | NYT10: text, spo_list, lower-cased (fewer sentences) | `new_train`, `new_valid`, `new_test.json` |
| `docred/` | DocRED: title, sents, vertexSet, labels | `train_annotated`, `dev`, `test.json`, `rel_info.json`, `rel2id.json` |
| `schema.json` | relation -> type of subject and of object | |
| `manifest.json` | seed, counts and the SHA-256 of every file | |

- The relation ids are Wikidata's. A label of a document has two keys more than DocRED's: `stated`
  (a sentence says it; otherwise it follows by rules) and `hops` (stated facts it rests on). The
  evidence of an inferred label is the sentences of all the facts it rests on.
- Sentences are labelled with what they state, in both directions where a relation has an inverse;
  documents with all that follows from what they state.
- Only the test files have held-out paraphrases (about half), entities and facts.
- About 3 % of the clauses are worded so that more than one relation fits, so no model reaches
  100 %. Names, and aliases more so, are not unique.

{counts}
"""


def _line(record: object) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _lines(records: Iterable[object]) -> str:
    # One record a line: still the layout's JSON array, but a difference can be read.
    return "[\n" + ",\n".join(map(_line, records)) + "\n]"


def _spo_triples(record: Record) -> list[list[str]]:
    return [[spo["subject"], spo["predicate"], spo["object"]] for spo in record["spo_list"]]


def _triple_counts(sentences: list[list[list[str]]]) -> Record:
    kinds = Counter(map(overlap_kind, sentences))
    counts = {"sentences": len(sentences), "triples": sum(map(len, sentences))}
    return {**counts, **{kind: kinds[kind] for kind in ("normal", "epo", "seo")}}


def _corpus(world: World, sizes: Mapping[str, Mapping[str, int]]) -> tuple[dict[str, str], Record]:
    """Make the text of every file, by its path, and the counts."""
    numbers = {str(i): r.path for i, r in enumerate(RELATIONS)}
    files = {
        "schema.json": '{"synthetic":' + _lines(schema()) + "}",
        "fewrel/pid2name.json": _line({r.id: [r.name, r.path] for r in RELATIONS}),
        "nyt24/rel2id.json": _line([numbers, {path: int(i) for i, path in numbers.items()}]),
        "docred/rel_info.json": _line({r.id: r.name for r in RELATIONS}),
        "docred/rel2id.json": _line({"Na": 0, **{r.id: i + 1 for i, r in enumerate(RELATIONS)}}),
    }
    counts: Record = {}
    for split, by in make_sentences(world, sizes["sentences"]).items():
        rows = ",\n".join(f'"{key}":{_lines(found)}' for key, found in by.items())
        files[f"fewrel/{split}.json"] = "{" + rows + "}"
        counts[f"fewrel {split}"] = {"sentences": sum(map(len, by.values())), "relations": len(by)}
    names = {"train": "new_train", "valid": "new_valid", "test": "new_test"}
    for split, records in make_triples(world, sizes["triples"]).items():
        files[f"nyt24/{'val' if split == 'valid' else split}_triples.json"] = _lines(records)
        counts[f"nyt24 {split}"] = _triple_counts([record["triple_list"] for record in records])
    for split, records in make_triples(world, sizes["spo"], "spo_list").items():
        files[f"nyt10/{names[split]}.json"] = _lines(records)
        counts[f"nyt10 {split}"] = _triple_counts([_spo_triples(record) for record in records])
    for split, records in make_documents(world, sizes["documents"]).items():
        files[f"docred/{'train_annotated' if split == 'train' else split}.json"] = _lines(records)
        labels = [label for record in records for label in record["labels"]]
        counts[f"docred {split}"] = {
            "documents": len(records),
            "entities": sum(len(record["vertexSet"]) for record in records),
            "labels": len(labels),
            "inferred": sum(not label["stated"] for label in labels),
            "three or more hops": sum(label["hops"] > 2 for label in labels),
        }
    return {path: text + "\n" for path, text in files.items()}, counts


def write_corpus(
    folder: str | os.PathLike[str],
    seed: int = 0,
    *,
    sentence_sizes: Mapping[str, int] = SENTENCE_SIZES,
    triple_sizes: Mapping[str, int] = TRIPLE_SIZES,
    spo_sizes: Mapping[str, int] = SPO_SIZES,
    document_sizes: Mapping[str, int] = DOCUMENT_SIZES,
) -> Record:
    """Write the whole corpus, each file complete or not at all, the manifest last.

    Args:
        folder: where to; other files in it are left alone.
        seed: the world's and the texts' seed.
        sentence_sizes: as for `make_sentences`.
        triple_sizes: as for `make_triples`; its splits are `train`, `valid` and `test`.
        spo_sizes: the same for the lower-cased layout of NYT10.
        document_sizes: as for `make_documents`.

    Returns:
        The manifest: `generator`, `seed`, `content` (a hash of the whole), `counts` and `files`
        (path -> bytes and SHA-256).
    """
    world = make_world(seed)
    sizes = {
        "sentences": sentence_sizes,
        "triples": triple_sizes,
        "spo": spo_sizes,
        "documents": document_sizes,
    }
    files, counts = _corpus(world, sizes)
    table = ["| set | counts |", "|---|---|"]
    table += [
        f"| {name} | {', '.join(f'{n} {what}' for what, n in row.items())} |"
        for name, row in counts.items()
    ]
    files["README.md"] = _README.format(seed=seed, counts="\n".join(table))
    listing = {}
    for path, text in sorted(files.items()):
        data = text.encode()
        listing[path] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        atomic_write_text(Path(folder) / path, text)
    content = hashlib.sha256(_line(listing).encode()).hexdigest()
    manifest: Record = {"generator": "relcl_lib.worlds.corpus", "seed": seed, "content": content}
    manifest |= {"counts": counts, "files": listing}
    atomic_write_text(Path(folder) / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return manifest


def check_corpus(folder: str | os.PathLike[str]) -> Record:
    """Compare a written corpus with its manifest, and return the manifest.

    Raises:
        DataFormatError: a file is missing or is not the one that was written.
    """
    place = Path(folder) / "manifest.json"
    fix = "Write the corpus again: python -m relcl_lib.data.synthetic --out FOLDER"
    try:
        manifest = json.loads(place.read_text(encoding="utf-8"))
        expected = {path: entry["sha256"] for path, entry in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataFormatError(
            place, f"no readable manifest ({type(error).__name__})", fix
        ) from error
    for path, digest in expected.items():
        file = Path(folder) / path
        if not file.is_file():
            raise DataFormatError(file, "the file is missing", fix)
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise DataFormatError(file, "it differs from the manifest's SHA-256", fix)
    return manifest


def main(arguments: list[str] | None = None) -> None:
    """Write the corpus from the command line and print its counts."""
    parser = argparse.ArgumentParser(prog="python -m relcl_lib.data.synthetic", description=__doc__)
    parser.add_argument("--out", required=True, help="the folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="the seed (default 0)")
    options = parser.parse_args(arguments)
    manifest = write_corpus(options.out, options.seed)
    for name, row in manifest["counts"].items():
        print(f"{name}: {', '.join(f'{number} {what}' for what, number in row.items())}")
    total = sum(entry["bytes"] for entry in manifest["files"].values())
    print(f"{len(manifest['files'])} files, {total / 1e6:.2f} MB in {options.out}")


if __name__ == "__main__":
    main()
