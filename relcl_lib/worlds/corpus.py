"""A small generated corpus that serves the three text papers where there is no download.

One world of people, places, organisations and books (`make_world`) is told in the layouts of the
real data sets: FewRel, NYT24 and WebNLG, DocRED. The loaders of those sets read these files too.
The same seed gives the same bytes on every machine.

    python -m relcl_lib.worlds.corpus --out FOLDER --seed 0
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from relcl_lib.lab.files import atomic_write_text
from relcl_lib.worlds.documents import Document, draw_documents
from relcl_lib.worlds.grammar import RELATIONS
from relcl_lib.worlds.sentences import Example, draw_sentences, draw_triples, overlap_kind
from relcl_lib.worlds.text import Sentence
from relcl_lib.worlds.world import World, make_world

SENTENCE_SIZES = {"train": 120, "test": 20}
TRIPLE_SIZES = {"train": 1200, "valid": 200, "test": 400}
DOCUMENT_SIZES = {"train": 240, "dev": 50, "test": 100}
#: further training documents that are committed, and the worlds that they and more of them are of:
#: others than the corpus's and those that the tiny encoder has read of
FURTHER, FIRST_WORLD, DOCUMENTS_PER_WORLD = 160, 5000, 250
SIZES = {
    "sentences": SENTENCE_SIZES,
    "triples": TRIPLE_SIZES,
    "documents": DOCUMENT_SIZES,
    "further": {"train": FURTHER},
}

Record = dict[str, Any]

_README = """# Generated corpus

Written by `python -m relcl_lib.worlds.corpus --out FOLDER --seed {seed}`; do not edit. Invented
people, places, organisations and books, in the layouts of the real data sets. Results on it are
`stand-in`: they show that the code learns, not how well the methods do on the real sets.

| folder | layout of | files |
|---|---|---|
| `fewrel/` | FewRel: relation id -> records (tokens, h, t) | `train.json`, `test.json`, `pid2name.json` |
| `nyt24/` | NYT24 and WebNLG: text, triple_list | `train_`, `val_`, `test_triples.json`, `rel2id.json` |
| `docred/` | DocRED: title, sents, vertexSet, labels | `train_annotated`, `dev`, `test.json`, `rel_info.json`, `rel2id.json` |
| `docred/` | the same | `further.json`: training documents of another world |
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


def schema() -> list[dict[str, str]]:
    """Every relation (a path as in NYT) with its types (PER, LOC, ORG, OTH), in order of number."""
    return [{"relation": r.path, "subject_type": r.head, "object_type": r.tail} for r in RELATIONS]


def _fewrel(example: Example) -> Record:
    record: Record = {"tokens": list(example.sentence.tokens)}
    for key, entity in (("h", example.head), ("t", example.tail)):
        name = example.sentence.surface(entity).lower()
        record[key] = [name, entity, example.sentence.mentions(entity)]
    return record


def make_sentences(
    world: World, sizes: Mapping[str, int] = SENTENCE_SIZES
) -> dict[str, dict[str, list[Record]]]:
    """Make sentences for relation classification in FewRel's layout, `sizes` of each relation.

    Split -> relation id -> records of `tokens`, `h` and `t` ([lower-cased name, entity id, a list of
    token positions per mention]).
    """
    drawn = draw_sentences(world, sizes["train"], sizes["test"])
    return {
        split: {key: list(map(_fewrel, found)) for key, found in by.items()}
        for split, by in drawn.items()
    }


def _triple_record(sentence: Sentence) -> Record:
    paths = {relation.id: relation.path for relation in RELATIONS}
    triples = [
        [sentence.surface(h), paths[r], sentence.surface(t)] for h, r, t in sentence.triples()
    ]
    return {"text": " ".join(sentence.tokens), "triple_list": triples}


def make_triples(world: World, sizes: Mapping[str, int] = TRIPLE_SIZES) -> dict[str, list[Record]]:
    """Make sentences for triple extraction, in the layout of NYT24 and WebNLG.

    Of each split 50 % are normal, 20 % have an entity pair with two relations (EPO) and 30 %
    share single entities only (SEO). Of `sizes`, the sentences per split, `test` is the one with
    held-out words, facts and names.
    """
    drawn = draw_triples(world, sizes)
    return {split: [_triple_record(s) for s in found] for split, found in drawn.items()}


def _docred(document: Document, world: World) -> Record:
    order = {entity: i for i, entity in enumerate(document.entities())}
    vertices: list[list[Record]] = [[] for _ in order]
    for number, sentence in enumerate(document.sentences):
        for key, start, end in sentence.spans:
            kind = world.entities[key].type
            vertices[order[key]].append(
                {
                    "name": " ".join(sentence.tokens[start:end]),
                    "sent_id": number,
                    "pos": [start, end],
                    "type": "MISC" if kind == "OTH" else kind,
                }
            )
    labels = [
        {
            "h": order[label.head],
            "t": order[label.tail],
            "r": label.relation,
            "evidence": list(label.evidence),
            "stated": label.stated,
            "hops": label.hops,
        }
        for label in document.labels
    ]
    sents = [list(sentence.tokens) for sentence in document.sentences]
    return {"title": document.title, "sents": sents, "vertexSet": vertices, "labels": labels}


def make_documents(
    world: World, sizes: Mapping[str, int] = DOCUMENT_SIZES
) -> dict[str, list[Record]]:
    """Make documents of 4 to 8 sentences in DocRED's layout; `test` has held-out words and entities.

    Pronouns are no mentions. Labels have `stated` and `hops` beside DocRED's keys.
    """
    drawn = draw_documents(world, sizes)
    return {split: [_docred(d, world) for d in found] for split, found in drawn.items()}


def make_further_documents(count: int) -> list[Record]:
    """Make `count` training documents of further worlds; the first ones whatever `count` is."""
    documents: list[Record] = []
    for seed in itertools.count(FIRST_WORLD):
        size = min(DOCUMENTS_PER_WORLD, count - len(documents))
        if size <= 0:
            return documents
        documents += make_documents(make_world(seed), {"train": size})["train"]


# --- files --------------------------------------------------------------------------------------


def _line(record: object) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _lines(records: Iterable[object]) -> str:
    # One record a line: still the layout's JSON array, but a difference can be read.
    return "[\n" + ",\n".join(map(_line, records)) + "\n]"


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
    for split, records in make_triples(world, sizes["triples"]).items():
        files[f"nyt24/{'val' if split == 'valid' else split}_triples.json"] = _lines(records)
        counts[f"nyt24 {split}"] = _triple_counts([record["triple_list"] for record in records])
    documents = make_documents(world, sizes["documents"])
    documents["further"] = make_further_documents(sizes["further"]["train"])
    for split, records in documents.items():
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
    folder: str | os.PathLike[str], seed: int = 0, sizes: Mapping[str, Mapping[str, int]] = SIZES
) -> Record:
    """Write the whole corpus, each file complete or not at all, the manifest last.

    Other files in the folder are left alone. `sizes` are records per split of each layout, of
    `sentences` per relation. The manifest, which is returned, holds `generator`, `seed`, `content`
    (a hash of the whole), `counts` and `files` (path -> bytes and SHA-256).
    """
    files, counts = _corpus(make_world(seed), sizes)
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


def main(arguments: list[str] | None = None) -> None:
    """Write the corpus from the command line and print its counts."""
    parser = argparse.ArgumentParser(prog="python -m relcl_lib.worlds.corpus", description=__doc__)
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
