"""A number of ours is never another run's: what was read counts by content, and the machine does not."""

import shutil
from unittest.mock import patch

import pytest
import torch
from crecl_data import SMALL as CRECL
from crecl_data import tiny_data as sentences
from docre_data import SMALL as DOCRE
from docre_data import tiny_data as documents
from drl_data import make_run as make_drl
from fastre_data import SMALL as FASTRE
from fastre_data import tiny_data as triples
from gratings import gratings
from safetensors.torch import load_file, save_file

from relcl_lib.data.weights import weights_folder
from relcl_lib.lab.records import Record, config_hash
from relcl_lib.papers.crecl.parameters import CreclParameters
from relcl_lib.papers.crecl.run import CreclRun
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.papers.docre_ii.run import DocreRun
from relcl_lib.papers.fastre.parameters import FastreParameters
from relcl_lib.papers.fastre.run import FastreRun
from relcl_lib.papers.fastre.tables import USUAL, printed_rows
from relcl_lib.papers.fastre.vectors import Vectors, on_usual_vectors
from relcl_lib.papers.hpcr.parameters import ReplayParameters
from relcl_lib.papers.hpcr.run import ReplayRun


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Two encoders whose folders have one name, and a copy of the first under another."""
    root = tmp_path_factory.mktemp("encoders")
    for place in ("A/best", "B/best", "copy"):
        shutil.copytree(weights_folder("tiny"), root / place)
    weights = root / "B" / "best" / "model.safetensors"
    nothing = {name: torch.zeros_like(value) for name, value in load_file(weights).items()}
    save_file(nothing, weights, {"format": "pt"})
    return root


def crecl(encoder, work_dir=None, **changes):
    given = CreclParameters.create({**CRECL, "encoder": str(encoder), "seeds": [2021], **changes})
    return CreclRun(given, sentences(), 2021, work_dir)


def docre(encoder, work_dir=None, **changes):
    given = DocreParameters.create({**DOCRE, "encoder": str(encoder), **changes})
    return DocreRun(given, documents(), 0, work_dir)


def fastre(work_dir=None, **changes):
    return FastreRun(FastreParameters.create({**FASTRE, **changes}), triples(), 0, work_dir)


def casrel(encoder, work_dir=None):
    return fastre(work_dir, method="CasRel", encoder=str(encoder))


def hashes(*runs):
    return [config_hash(run.configuration()) for run in runs]


@pytest.mark.parametrize("make", [crecl, docre, casrel])
def test_encoders_of_one_name_share_neither_record_nor_checkpoint(make, encoders, tmp_path):
    places = (encoders / "A" / "best", encoders / "B" / "best", encoders / "copy")
    first, other, copy = runs = [make(place, tmp_path) for place in places]
    assert first.configuration()["backbone"] == other.configuration()["backbone"] == "best"
    of_first, of_other, of_copy = hashes(*runs)
    assert of_first == of_copy != of_other
    assert first.folder == copy.folder != other.folder


def test_casrels_record_has_an_encoder_in_place_of_word_vectors(encoders):
    given = {"method": "CasRel", "encoder": str(encoders / "copy")}
    given |= {name: USUAL[name] for name in ("dilations", "hidden", "dropout")}
    outcome = {"metrics": {"F1": 1.0}, "seconds": 1.0, "device": "cpu"}
    record = Record(**fastre(**given).configuration(), **outcome)
    assert Vectors.of(record) is None
    rows = [row for row in printed_rows("Table 2") if row.method == "CasRel"]
    known = record.model_copy(update={"dataset": {**record.dataset, "set": "NYT10"}})
    assert on_usual_vectors([known], rows)[0] == [known]
    assert any(row.matches(known) for row in rows if row.our_metric == "F1")
    assert hashes(fastre(**given, min_count=2)) == [config_hash(record)]


def test_the_second_encoder_trains_and_the_first_ones_record_stays(encoders, tmp_path):
    def train(name, results):
        given = {"n_tasks": 2, "encoder": str(encoders / name), "seeds": [2021]}
        given |= {"epochs_classification": 1, "train_limit": 4}
        given = CreclParameters.create({**CRECL, **given})
        return CreclRun.train_or_read(given, data=sentences(), results=results)[0]

    a, b = (train(name, tmp_path / "shared") for name in ("A/best", "B/best"))
    alone = train("B/best", tmp_path / "alone")
    assert b.metrics == alone.metrics != a.metrics
    assert train("copy", tmp_path / "shared").date == a.date


def test_docre_iis_trained_base_is_of_its_encoder(encoders, tmp_path):
    first, other = (docre(encoders / name / "best", tmp_path) for name in ("A", "B"))
    assert first.base_folder != other.base_folder


def test_word_vectors_and_type_maps_of_one_name(tmp_path):
    def write(folder, name, text):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(text)
        return str(tmp_path / folder / name)

    vectors = [
        write(f, "vectors.txt", f"was {x} 1\nis 2 3\n") for f, x in zip("abc", "545", strict=True)
    ]
    runs = [fastre(tmp_path, word_vectors=path) for path in vectors]
    assert {run.vector_source for run in runs} == {"GloVe vectors.txt"}
    one, other, same = hashes(*runs)
    assert one == same != other
    assert runs[0].folder == runs[2].folder != runs[1].folder
    # A whole file and an extract give one run, whatever a profile says of random vectors.
    more = write("d", "whole.txt", "zebra 7 7\nis 2 3\nwas 5 1\n")
    whole = fastre(tmp_path, word_vectors=more, min_count=2, vector_size=300)
    assert hashes(whole) == [one]
    assert whole.configuration()["parameters"]["vector_size"] == 2
    relations = triples().relations

    def schema(kind):
        rows = (
            f'{{"relation": "{name}", "subject_type": "{kind}", "object_type": "T"}}'
            for name in relations
        )
        return f"[{', '.join(rows)}]"

    maps = [write(f, "schema.json", schema(kind)) for f, kind in zip("ab", ("S", "T"), strict=True)]
    one, other = hashes(*(fastre(type_map=path) for path in maps))
    assert one != other


def test_a_pretrained_network_counts_without_its_head(tmp_path):
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8, 8, 8], depths=[1, 1, 1, 1])
    network = ResNetForImageClassification(config)
    for name in ("a", "b", "c"):
        network.save_pretrained(tmp_path / name / "resnet")
        if name == "a":
            torch.nn.init.normal_(network.classifier[1].weight)
        else:
            torch.nn.init.normal_(network.resnet.embedder.embedder.convolution.weight)
    runs = [make_drl(backbone=str(tmp_path / n / "resnet"), image_size=32) for n in "abc"]
    same, head, trunk = hashes(*runs)
    assert same == head != trunk
    trained = runs[0].inputs
    with torch.no_grad():
        next(runs[0].network.parameters()).add_(1.0)
    assert runs[0].inputs == trained


@pytest.mark.parametrize("made", ["float32", "bfloat16"])
def test_the_number_format_that_a_machine_has_is_noted_and_not_identity(made, tmp_path):
    data = gratings(n_train=40, n_test=10, classes=4, side=8)
    given = ReplayParameters(dataset="digits", width=4, seeds=[0], n_tasks=2, buffer_size=8)
    usual = config_hash(ReplayRun(given, data).configuration())
    with patch("relcl_lib.lab.run.resolve_precision", lambda asked, device: getattr(torch, made)):
        run = ReplayRun(given, data, tmp_path)
    assert run.configuration()["number_format"] == made
    assert config_hash(run.configuration()) == usual
    asked = ReplayRun(given.model_copy(update={"precision": made}), data, tmp_path)
    assert config_hash(asked.configuration()) != usual
    assert asked.folder != ReplayRun(given, data, tmp_path / "other").folder


def test_an_unlabelled_test_file_makes_no_other_model(encoders):
    from relcl_lib.data.document_sets import assemble_documents

    data = documents()
    hidden = [d.__class__(d.title, d.sentences, d.entities, None) for d in data.test]
    shared = {"train": data.train, "dev": data.dev}
    without, unlabelled, labelled = (
        assemble_documents("mine", {**shared, "test": test}, relations=data.relations)
        for test in ((), hidden, data.test)
    )
    assert without.fingerprint == unlabelled.fingerprint != labelled.fingerprint
