"""Every reader of the library with a small valid input, and what its value must be to be harmless."""

import contextlib
import gzip
import io
import json
import os
import pickle
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import image_files
import numpy as np
import torch
from safetensors.torch import save_file

from relcl_lib.data import archives
from relcl_lib.data.candidate_sets import read_gda_folder
from relcl_lib.data.core50 import load_core50
from relcl_lib.data.document_files import read_documents
from relcl_lib.data.documents import load_documents
from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.image_files import read_parquet
from relcl_lib.data.images import load_images
from relcl_lib.data.pubtator import as_related_document, read_mesh_tree, read_pubtator
from relcl_lib.data.sentences import load_sentences, read_tacred
from relcl_lib.data.triples import load_triples, read_sentences
from relcl_lib.lab import checkpoints, rows
from relcl_lib.lab.checkpoints import CheckpointError
from relcl_lib.lab.claim_files import ClaimError, read_claims
from relcl_lib.lab.digests import SUMS, file_digest
from relcl_lib.lab.format import TableError
from relcl_lib.lab.records import RecordError, read_records, write_record

OWN = (DataFormatError, DataNotFoundError, RecordError, ClaimError, CheckpointError, TableError)


@dataclass(frozen=True)
class Reader:
    """A way to read a folder.

    `make` fills it, `check` looks whether a value keeps what the reader promises, `share` is how many of
    the inputs it gets, `errors` are those it may raise, `damages` says which files are damaged.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    check: Callable[[Any], None]
    share: float = 1.0
    errors: tuple[type[BaseException], ...] = OWN
    damages: Callable[[str], bool] = lambda name: True


def text(value):
    """Text that a file can hold."""
    assert isinstance(value, str), value
    value.encode()


def put(folder, name, content):
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        content = content.encode()
    elif not isinstance(content, bytes):
        content = json.dumps(content).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


# --- images --------------------------------------------------------------------------------------


def cifar_files():
    # A class of the test has training images: those of data_batch_1.
    return image_files.cifar10_files(2, test_batch=image_files.cifar_batch(2, 1))


def make_cifar(folder):
    for at, (name, table) in enumerate(cifar_files().items()):
        put(folder, name, pickle.dumps(table, 2 + at % 4))


def make_cifar_tar(folder):
    image_files.write_cifar_tar(Path(folder) / "cifar.tar.gz", cifar_files(), "cifar-10-batches-py")


def make_parquet(folder):
    features = {"info": {"features": {"label": {"names": ["a", "b"]}}}}
    meta = {"huggingface": json.dumps(features)}
    put(folder, "README", "")
    for split, count in (("train", 4), ("test", 2)):
        path, labels = folder / f"{split}-0.parquet", [i % 2 for i in range(count)]
        image_files.write_parquet(path, image_files.pixels(count), labels, metadata=meta)


def make_tiny(folder):
    image_files.write_tiny(Path(folder), ("n1", "n2"))


def make_tiny_zip(folder):
    make_tiny(whole := Path(folder) / "whole")
    image_files.zip_of(whole, Path(folder) / "tiny.zip")
    shutil.rmtree(whole)


def check_raw(raw):
    for images, labels in (
        (raw.train_images, raw.train_labels),
        (raw.test_images, raw.test_labels),
    ):
        assert images.dtype == np.uint8 and images.ndim == 4 and len(images) == len(labels)
        assert labels.dtype == np.int64 and labels.min(initial=0) >= 0
        assert images.nbytes < 1 << 28
    for name in raw.class_names or ():
        assert isinstance(name, str)


def check_images(data):
    for images, labels in (
        (data.train_images, data.train_labels),
        (data.test_images, data.test_labels),
    ):
        assert images.dtype == torch.uint8 and images.ndim == 4 and len(images) == len(labels)
        assert labels.dtype == torch.int64
        assert 0 <= int(labels.min()) <= int(labels.max()) < data.n_classes
    assert all(isinstance(name, str) for name in data.class_names)
    assert len(data.fingerprint) == 64


def images_of(name):
    return lambda folder: load_images(name, folder, download=False, check_counts=False)


def check_parquet(found):
    images, labels, names = found
    assert images.dtype == np.uint8 and len(images) == len(labels)
    assert 0 <= labels.min() <= labels.max() < 10
    assert names is None or all(isinstance(name, str) for name in names)


# --- CORe50 --------------------------------------------------------------------------------------

CORE_PATHS = [f"s{s}/o{o}/C_{s:02d}_{o:02d}_000.png" for s in (1, 3) for o in (1, 2)]
CORE_LABELS = [0, 1, 0, 1]
CORE_KEYS = {"ni": 8, "nc": 9, "nicv2_391": 391}


def core_lists(positions):
    found = {}
    for key, count in CORE_KEYS.items():
        parts = [[0, 1]] + [[at % 2] for at in range(count - 1)] + [[2, 3]]
        found[key] = [[[positions(i) for i in part] for part in parts]]
    return found


def make_core_packed(folder):
    np.savez_compressed(Path(folder) / "core50_imgs.npz", x=np.zeros((4, 128, 128, 3), np.uint8))
    put(folder, "paths.pkl", pickle.dumps(CORE_PATHS, 2))
    put(folder, "LUP.pkl", pickle.dumps(core_lists(lambda i: i), 2))
    put(folder, "labels.pkl", pickle.dumps(core_lists(lambda i: CORE_LABELS[i]), 4))


def make_core_folder(folder):
    image = image_files.png(image_files.pixels(1, 128, channels=1)[0])
    for path in CORE_PATHS:
        put(folder, f"core50_128x128/{path}", image)
    inner = "batches_filelists/NI_inc/run0"
    for at in range(8):
        put(
            folder, f"{inner}/train_batch_{at:02d}_filelist.txt", f"{CORE_PATHS[at % 2]} {at % 2}\n"
        )
    put(folder, f"{inner}/test_filelist.txt", f"{CORE_PATHS[2]} 0\n{CORE_PATHS[3]} 1\n")


def check_core(data):
    assert data.images.dtype == torch.uint8 and len(data.images) == len(data.labels)
    assert 0 <= int(data.labels.min()) <= int(data.labels.max()) < 50
    assert 1 <= int(data.sessions.min()) <= int(data.sessions.max()) <= 11
    for parts in data.experiences.values():
        for part in parts:
            assert part.dtype == torch.int64 and part.ndim == 1
            assert not len(part) or 0 <= int(part.min()) <= int(part.max()) < len(data.labels)
    assert len(data.fingerprint) == 64


# --- sentences, triples, documents ---------------------------------------------------------------


def fewrel(count=2):
    def one(at):
        words = ["A", "met", f"B{at}", "."]
        return {"tokens": words, "h": ["a", "Q1", [[0]]], "t": ["b", "Q2", [[2]]]}

    return {relation: [one(at) for at in range(count)] for relation in ("P1", "P2")}


def make_fewrel(folder):
    put(folder, "train.json", fewrel())
    put(folder, "test.json", fewrel(1))
    put(folder, "pid2name.json", {"P1": ["one", "words"], "P2": ["two", "words"]})


def check_relations(data):
    n = len(data.sentences)
    assert n and len(data.split) == n and len(data.relations) == len(data.relation_names)
    for sentence in data.sentences:
        for token in sentence.tokens:
            text(token)
        for start, end in (sentence.head, sentence.tail):
            assert type(start) is int and 0 <= start < end <= len(sentence.tokens)
        assert 0 <= sentence.label < len(data.relations)
    for name in (*data.relations, *data.relation_names):
        text(name)


TACRED = {
    **{"relation": "per:title", "token": ["He", "is", "king", "."]},
    **{"subj_start": 0, "subj_end": 0, "obj_start": 2, "obj_end": 2},
}


def check_tacred(sentences):
    for s in sentences:
        text(s.relation)
        for token in s.tokens:
            text(token)
        assert all(0 <= a < b <= len(s.tokens) for a, b in (s.head, s.tail))


TRIPLES = {
    "spo.json": [{"text": "A b c", "spo_list": [{"subject": "A", "predicate": "r", "object": "c"}]}]
    * 3,
    "lists.json": [{"text": "A b c", "triple_list": [["A", "r", "c"]]}] * 3,
    "hrl.json": [
        {"sentext": '"A b c"', "relations": [{"em1": "A", "rtext": "r", "em2": "c"}]},
        {"sentext": '"A b"', "relations": []},
    ],
    "tp.json": [
        {
            "text": "A b c",
            "relation_list": [
                {
                    **{"subject": "A", "predicate": "r", "object": "c"},
                    **{"subj_char_span": [0, 1], "obj_char_span": [4, 5]},
                }
            ],
        }
    ],
}


def make_triples(folder):
    for name, content in TRIPLES.items():
        put(folder, name, content)
    lines = [
        {"sentText": "A b c", "relationMentions": [{"em1Text": "A", "label": "r", "em2Text": "c"}]}
    ]
    put(folder, "nyt.jsonl", "\n".join(map(json.dumps, lines * 2)))
    put(folder, "spo.json.gz", json.dumps(TRIPLES["spo.json"]))


def read_triples(folder):
    return [s for path in sorted(folder.iterdir()) for s in read_sentences(path)]


def check_sentences(sentences):
    for s in sentences:
        text(s.text)
        for triple in s.triples:
            for part in triple:
                text(part)
                assert part.strip()
        for spans in s.spans or ():
            for a, b in spans or ():
                assert 0 <= a < b <= len(s.text)


def make_triple_set(folder):
    records = [
        {"text": f"A{i} likes B{i} .", "triple_list": [[f"A{i}", "likes", f"B{i}"]]}
        for i in range(6)
    ]
    put(folder, "train.json", records)
    put(folder, "test.json", records[:2])
    put(folder, "rel2id.json", [{"0": "likes"}, {"likes": 0}])


def check_triple_set(data):
    check_sentences([*data.train, *data.valid, *data.test])
    assert data.train and len(data.fingerprint) == 16
    for relation in data.relations:
        text(relation)


DOCUMENT = {
    "title": "One",
    "sents": [["Ann", "lives", "in", "Rome", "."], ["She", "knows", "Bob", "."]],
    "vertexSet": [
        [{"name": "Ann", "sent_id": 0, "pos": [0, 1], "type": "PER"}],
        [{"name": "Rome", "sent_id": 0, "pos": [3, 4], "type": "LOC"}],
        [{"name": "Bob", "sent_id": 1, "pos": [2, 3], "type": "PER"}],
    ],
    "labels": [
        {"h": 0, "r": "P551", "t": 1, "evidence": [0], "stated": True, "hops": 1},
        {"h": 0, "r": "P26", "t": 2, "evidence": [1], "stated": False, "hops": 2},
    ],
}


def documents(count):
    return [{**DOCUMENT, "title": f"Document {at}"} for at in range(count)]


def make_documents(folder):
    put(folder, "train.json", documents(3))
    put(folder, "dev.json", documents(2))
    put(folder, "test.json", "\n".join(map(json.dumps, documents(2))))
    put(folder, "rel2id.json", {"Na": 0, "P551": 1, "P26": 2})


def check_document(d, facts=True):
    text(d.title)
    for sentence in d.sentences:
        for token in sentence:
            text(token)
    for mentions in d.entities:
        assert mentions
        for m in mentions:
            text(m.name), text(m.type)
            assert 0 <= m.start < m.end <= len(d.sentences[m.sentence]) and m.sentence >= 0
    for fact in d.facts or ():
        text(fact.relation)
        assert 0 <= fact.head < len(d.entities) and 0 <= fact.tail < len(d.entities)
    assert d.hops is None or all(type(h) is int and h >= 0 for h in d.hops)
    for head, tail in d.candidates()[:100]:
        assert 0 <= head < len(d.entities) and 0 <= tail < len(d.entities)


def check_document_set(data):
    for d in (*data.train, *data.dev, *data.test):
        check_document(d)
    assert data.train and data.dev and len(data.fingerprint) == 16
    for relation in data.relations:
        text(relation)


PUBTATOR = """\
1|t|Naloxone reverses clonidine
1|a|It did so in rats. Hypertension followed.
1\t0\t8\tNaloxone\tChemical\tD009270
1\t18\t27\tclonidine\tChemical\tD003000
1\t47\t59\tHypertension\tDisease\tD006973
1\tCID\tD009270\tD006973

2|t|Alpha causes beta
2|a|Beta it was.
2\t0\t5\tAlpha\tChemical\tD1
2\t13\t17\tbeta\tDisease\tD2|D3\tbe|ta
2\tCID\tD1\tD2
"""


def check_abstracts(abstracts):
    for abstract in abstracts:
        text(abstract.text)
        for a in abstract.annotations:
            assert 0 <= a.start < a.end <= len(abstract.text) and len(a.ids) == len(a.names)
        check_document(as_related_document(abstract))


def make_gda(folder):
    put(folder, "abstracts.txt", "11\nGene A and disease B\nThey are linked.\n\n12\nNothing\n")
    put(folder, "anns.txt", "11\t0\t6\tGene A\tGene\t7\n11\t11\t20\tdisease B\tDisease\tD1\n")
    put(folder, "labels.csv", "pmid,geneId,diseaseId,label\n11,7,D1,1\n11,7,D2,0\n")


def check_tree(tree):
    for descriptor, numbers in tree.items():
        text(descriptor)
        for number in numbers:
            text(number)


def make_predictions(folder):
    put(
        folder,
        "rows.json",
        [{"title": "One", "h_idx": 0, "t_idx": 1, "r": "P1", "evidence": []}] * 2,
    )
    fact = {"head": 0, "relation": "P1", "tail": 1, "score": 0.5}
    put(
        folder,
        "lines.json",
        "\n".join([json.dumps({"line": 1, "title": "One", "facts": [fact]})] * 2),
    )


def read_both(folder):
    from relcl_lib.papers.docre_ii.command import read_predictions

    return [read_predictions(folder / name) for name in ("rows.json", "lines.json")]


def check_predictions(found):
    for predictions in found:
        for title, facts in predictions.items():
            text(title)
            for fact in facts:
                assert type(fact.head) is int and type(fact.tail) is int
                text(fact.relation)


# --- words, schemas, weights ---------------------------------------------------------------------

GLOVE = "".join(f"word{at} {at}.5 -0.25 1e-3\n" for at in range(12))


def make_glove(folder):
    put(folder, "plain.txt", f"12 3\n{GLOVE}")
    put(folder, "tabs.txt.gz", GLOVE.replace(" ", "\t"))
    with zipfile.ZipFile(folder / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("glove.txt", GLOVE)


def read_vectors(folder):
    from relcl_lib.text.words import read_glove

    return [read_glove(path, every=True) for path in sorted(folder.iterdir())]


def check_vectors(found):
    for vectors in found:
        assert vectors.matrix.isfinite().all() and vectors.matrix.dtype == torch.float32
        assert len(vectors.words) + 2 == len(vectors.matrix)
        for word in vectors.words:
            text(word)


def make_schema(folder):
    rows = [{"relation": f"r{i}", "subject_type": "PER", "object_type": "LOC"} for i in range(4)]
    put(folder, "a.json", rows)
    put(folder, "b.json", {"mine": rows})


def read_schemas(folder):
    from relcl_lib.text.schema import read_schema

    return [read_schema(folder / name) for name in ("a.json", "b.json")]


def check_schema(schema):
    assert len(schema.relations) == len(schema.subject_types) == len(set(schema.relations))
    for name in (*schema.relations, *schema.types, *schema.subject_types):
        text(name)
    assert schema.mask().sum() == len(schema.relations)


def make_encoder(folder):
    import shutil

    from crecl_data import tiny_encoder

    shutil.copytree(tiny_encoder(hidden=8, layers=1), folder, dirs_exist_ok=True)


def read_encoder(folder):
    from relcl_lib.text.pretrained import load_encoder

    return load_encoder(folder)


def check_encoder(found):
    tokenizer, model = found
    ids = tokenizer("of the")["input_ids"]
    assert all(type(i) is int for i in ids)
    assert all(p.dtype == torch.float32 for p in model.parameters())


@cache
def tagger(casrel=False):
    from crecl_data import tiny_encoder
    from fastre_data import parameters, tiny_data

    from relcl_lib.papers.fastre.run import FastreRun

    small = {"hidden": 8, "type_size": 4, "vector_size": 8, "attention_heads": 2}
    more = {"method": "CasRel", "encoder": tiny_encoder(hidden=8, layers=1)} if casrel else small
    return FastreRun(parameters(allow_lost=True, **more), tiny_data(8), 0).extractor()


def without_sums(save):
    """A folder as an earlier version wrote it, whose damage nothing tells at once."""

    def make(folder):
        save(folder)
        (folder / "model" / SUMS).unlink()

    return make


def save_tagger(folder):
    tagger().save(folder / "model")


def save_casrel(folder):
    tagger(True).save(folder / "model")


def read_tagger(folder):
    from relcl_lib.papers.fastre.extract import Extractor

    return Extractor.load(folder / "model")


def check_tagger(found):
    check_schema(found.schema)
    for text_ in ("Ann lives in Rome .", ""):
        [triples] = found.extract([text_])
        for triple in triples:
            assert text_[slice(*triple.subject_span)] == triple.subject
    assert found.threshold is None or 0 <= found.threshold <= 1


@cache
def predictor():
    from docre_data import parameters, tiny_data

    from relcl_lib.papers.docre_ii.predictor import Predictor
    from relcl_lib.papers.docre_ii.run import DocreRun

    run = DocreRun(parameters(), tiny_data(), 0)
    model = Predictor(run.model, run.tokenizer, run.settings, run.data.relations)
    model.model.eval()
    return model


def save_predictor(folder):
    predictor().save(folder / "model")


def read_predictor(folder):
    from relcl_lib.papers.docre_ii.predictor import Predictor

    return Predictor.load(folder / "model")


def check_predictor(found):
    from docre_data import tiny_data

    for relation in found.relations:
        text(relation)
    assert abs(found.threshold) < float("inf")
    [facts] = found.predict([tiny_data().test[0]])
    for fact in facts:
        assert fact.relation in found.relations and 0 <= fact.score <= 1


@cache
def classifier():
    from crecl_data import tiny_encoder

    from relcl_lib.data.sentences import RawSentence
    from relcl_lib.papers.crecl.classifier import ContinualClassifier

    found = ContinualClassifier.begin(
        "quick",
        encoder=tiny_encoder(hidden=8, layers=1),
        **{"epochs_classification": 1, "epochs_current": 1, "epochs_memory": 1, "device": "cpu"},
    )
    rows = {
        word: [RawSentence((f"a{i}", word, f"b{i}"), (0, 1), (2, 3), word) for i in range(6)]
        for word in ("of", "in")
    }
    found.learn(rows)
    return found


def save_classifier(folder):
    classifier().save(folder / "model")


def read_classifier(folder):
    from relcl_lib.papers.crecl.classifier import ContinualClassifier

    return ContinualClassifier.load(folder / "model", device="cpu")


def check_classifier(found):
    for relation in found.relations:
        text(relation)
    for row in (*found.memory, *found.held_out):
        text(row.relation)
        assert all(0 <= a < b <= len(row.tokens) for a, b in (row.head, row.tail))
        for token in row.tokens:
            text(token)
    for answer in found.predict(classifier().memory[:2]):
        assert answer.nearest in found.relations and abs(answer.score) < 1.01


MARKED = [
    {"text": "Ada was born in London.", "head": [0, 3], "tail": [16, 22], "relation": "born in"},
    {"text": "[E11] Ada [E12] was born in [E21] London [E22].", "relation": "born in"},
]


def read_marked_file(folder):
    from relcl_lib.data.marked_text import read_marked

    return [row for rows in read_marked(folder / "a.jsonl").values() for row in rows]


# --- records and what stands beside them ---------------------------------------------------------


def make_records(folder):
    from example_records import failed, make

    write_record(make(), folder)
    write_record(failed(seed=1), folder)


def check_records(found):
    from relcl_lib.lab.records import as_dict, config_hash

    for record in found:
        json.dumps(as_dict(record), allow_nan=False).encode()
        assert len(config_hash(record)) == 12 and record.failed == (not record.metrics)


def make_checkpoint(folder):
    state = {"a.b": torch.arange(12.0).view(3, 4), "c.d": torch.tensor(5)}
    checkpoints.save(
        folder / "model", state, {"tasks_done": 2, "seconds": 1.5, "history": [{"x": 1}]}
    )


def check_checkpoint(found):
    state, progress = found
    assert isinstance(progress, dict) and all(isinstance(v, torch.Tensor) for v in state.values())


def check_same_checkpoint(found):
    state, progress = found
    check_checkpoint(found)
    assert torch.equal(state["a.b"], torch.arange(12.0).view(3, 4)) and state["c.d"] == 5
    assert progress == {"tasks_done": 2, "seconds": 1.5, "history": [{"x": 1}]}


def packaged(name):
    from relcl_lib.lab.files import packaged_data

    return packaged_data() / name


def make_claims(folder):
    claims = json.loads(packaged("claims/hpcr.json").read_text())
    put(folder, "hpcr.json", claims[:4])


def make_table(folder):
    lines = packaged("paper_tables/fastre.csv").read_text().splitlines()[:40]
    put(folder, "paper_tables/fastre.csv", "\n".join(lines) + "\n")


def read_table(folder):
    kept = rows.packaged_data
    rows.packaged_data = lambda: folder
    try:
        return rows.entries("fastre")
    finally:
        rows.packaged_data = kept


def check_table(found):
    assert all(np.isfinite(entry.value) for entry in found)


FILE = b"a file whose digest is kept"


def make_digests(folder):
    put(folder, "file", FILE)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    file_digest(folder / "file")


def read_digests(folder):
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    return file_digest(folder / "file")


def check_digest(found):
    from hashlib import sha256

    assert found == sha256(FILE).hexdigest()


def make_features(folder):
    from example_records import make

    from relcl_lib.papers.hpcr.features import features_path

    path = features_path(make(), folder)
    path.parent.mkdir(parents=True)
    values = {"features": torch.randn(4, 3).half(), "labels": torch.tensor([0, 1, 0, 1]).byte()}
    save_file({**values, "proxies": torch.randn(2, 3).half()}, path)


def read_kept_features(folder):
    from example_records import make

    from relcl_lib.papers.hpcr.features import read_features

    return read_features(make(), folder)


def check_features(found):
    assert found.features.isfinite().all() and int(found.labels.max()) < len(found.proxies)


def make_old_record(folder):
    from example_records import make

    from relcl_lib.lab.records import as_dict

    old = as_dict(make())
    old["schema"] = 1
    old.pop("number_format")
    put(folder, "hpcr/split_cifar10/old.json", old)


def upgrade(folder):
    from relcl_lib.commands.upgrade import main

    for path in folder.rglob("*.json"):
        if path.name != "old.json":
            path.unlink()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return main([str(folder)])


# --- lines of commands ---------------------------------------------------------------------------


def make_lines(folder):
    lines = ["Ann lives in Rome .", "", '{"text": "A b c"}', "Ünï ."]
    put(folder, "lines", "\n".join(lines))
    put(folder, "documents", "\n".join(map(json.dumps, documents(3))))
    put(folder, "abstracts", PUBTATOR)


def read_command_lines(folder):
    from relcl_lib.data.document_stream import Pairing, stream_documents
    from relcl_lib.lab.command_line import Skipped
    from relcl_lib.papers.fastre.command import read_lines, read_text

    found = []
    for jsonl in (False, True):
        with (folder / "lines").open("rb") as stream:
            for line in read_lines(stream):
                try:
                    found.append(read_text(line, jsonl)["text"])
                except ValueError as error:
                    found.append(str(error))
    pair = Pairing(once=True)
    for name in ("documents", "abstracts"):
        with (folder / name).open("rb") as stream:
            held = stream_documents(stream, Skipped(io.StringIO()), Counter())
            found += [pair(document) for _, document in held]
    return found


def check_command_lines(found):
    for one in found:
        if isinstance(one, str):
            text(one)
        else:
            check_document(one)


def parquet(folder):
    return read_parquet([folder / "train-0.parquet"], (3, 32, 32), ("label",), 10, "x")


READERS = [
    Reader("cifar", make_cifar, images_of("cifar10"), check_images),
    Reader(
        "cifar-tar",
        make_cifar_tar,
        lambda folder: archives.read_cifar(folder / "cifar.tar.gz", "cifar10", 10, None),
        check_raw,
    ),
    Reader("mnist", lambda f: image_files.write_mnist(f, 4), images_of("mnist"), check_images),
    Reader(
        "mnist-gz",
        lambda f: image_files.write_mnist(f, 4, zipped=True),
        images_of("mnist"),
        check_images,
    ),
    Reader("parquet", make_parquet, images_of("cifar10"), check_images),
    Reader("parquet-split", make_parquet, parquet, check_parquet),
    Reader("tiny", make_tiny, images_of("tiny_imagenet"), check_images, 0.5),
    Reader(
        "tiny-zip",
        make_tiny_zip,
        lambda folder: archives.read_tiny_imagenet(folder / "tiny.zip", (3, 64, 64), None),
        check_raw,
        0.5,
    ),
    Reader(
        "mini",
        lambda f: image_files.write_mini(f, 6),
        lambda folder: archives.read_mini_imagenet(folder, (3, 4, 4)),
        check_raw,
    ),
    Reader(
        "core50-packed",
        make_core_packed,
        lambda folder: load_core50(folder, check_counts=False),
        check_core,
        0.5,
    ),
    Reader(
        "core50-folder",
        make_core_folder,
        lambda folder: load_core50(folder, check_counts=False),
        check_core,
        0.3,
    ),
    Reader("fewrel", make_fewrel, lambda f: load_sentences("mine", f), check_relations, 1.5),
    Reader(
        "tacred",
        lambda f: put(f, "a.json", [TACRED] * 3),
        lambda f: list(read_tacred(f / "a.json")),
        check_tacred,
    ),
    Reader("triples", make_triples, read_triples, check_sentences, 1.5),
    Reader("triple-set", make_triple_set, lambda f: load_triples("mine", f), check_triple_set),
    Reader(
        "documents", make_documents, lambda f: load_documents("mine", f), check_document_set, 1.5
    ),
    Reader(
        "docred-file",
        lambda f: put(f, "a.json", documents(2)),
        lambda f: read_documents(f / "a.json"),
        lambda found: [check_document(d) for d in found],
    ),
    Reader(
        "pubtator",
        lambda f: put(f, "a.txt", PUBTATOR),
        lambda f: read_pubtator(f / "a.txt"),
        check_abstracts,
        1.5,
    ),
    Reader("gda", make_gda, lambda f: read_gda_folder(f, Counter()), check_abstracts),
    Reader(
        "mesh",
        lambda f: put(f, "tree.txt", "A01\tD1\tBody\nA01.2\tD2\tHead\n"),
        lambda f: read_mesh_tree(f / "tree.txt"),
        check_tree,
        0.5,
    ),
    Reader("predictions", make_predictions, read_both, check_predictions),
    Reader("vectors", make_glove, read_vectors, check_vectors, 1.5),
    Reader(
        "schema", make_schema, read_schemas, lambda found: [check_schema(s) for s in found], 0.5
    ),
    Reader("encoder", make_encoder, read_encoder, check_encoder, 0.15),
    Reader("tagger", save_tagger, read_tagger, check_tagger),
    Reader("tagger-unsummed", without_sums(save_tagger), read_tagger, check_tagger),
    Reader("casrel", save_casrel, read_tagger, check_tagger, 0.1),
    Reader("casrel-unsummed", without_sums(save_casrel), read_tagger, check_tagger, 0.1),
    Reader("predictor", save_predictor, read_predictor, check_predictor, 0.1),
    Reader(
        "predictor-unsummed", without_sums(save_predictor), read_predictor, check_predictor, 0.1
    ),
    Reader("classifier", save_classifier, read_classifier, check_classifier, 0.1),
    Reader(
        "classifier-unsummed",
        without_sums(save_classifier),
        read_classifier,
        check_classifier,
        0.1,
    ),
    Reader(
        "marked",
        lambda f: put(f, "a.jsonl", "\n".join(map(json.dumps, MARKED * 2))),
        read_marked_file,
        check_tacred,
    ),
    Reader(
        "checkpoint",
        make_checkpoint,
        lambda f: checkpoints.load(f / "model"),
        check_same_checkpoint,
    ),
    Reader(
        "checkpoint-unsummed",
        without_sums(make_checkpoint),
        lambda f: checkpoints.load(f / "model"),
        check_checkpoint,
    ),
    Reader(
        "records", make_records, lambda f: read_records(f, include_failed=True), check_records, 1.5
    ),
    Reader("claims", make_claims, lambda f: read_claims("hpcr", f), len),
    Reader("paper-table", make_table, read_table, check_table, 0.5),
    Reader("digests", make_digests, read_digests, check_digest, 0.5, damages=lambda n: n != "file"),
    Reader("features", make_features, read_kept_features, check_features),
    Reader("upgrade", make_old_record, upgrade, lambda code: None, 0.5),
    Reader("lines", make_lines, read_command_lines, check_command_lines),
]
