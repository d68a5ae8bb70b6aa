"""What a number is called: `paper` in the settings of the paper's tables alone, on its data and weights."""

from dataclasses import replace
from hashlib import sha256
from typing import get_args

import pytest
import torch
from drl_data import make_run as make_drl
from drl_data import tiny_data as drl_data

from relcl_lib.data.weights import ENCODERS, Published, is_published
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.lab.protocol import ANYWHERE, departures, protocol, settings_in_print
from relcl_lib.lab.records import read_records
from relcl_lib.papers.registry import PAPERS

FIRST = {"hpcr": "cifar10", "fastre": "nyt10", "crecl": "fewrel", "docre_ii": "docred"}
FIRST |= {"drl": "core50"}


def settings(paper):
    """A printed cell of the paper's own method, which reads most settings."""
    own = {"hpcr": "HPCR", "drl": "BER"}.get(paper)
    cells = settings_in_print(PAPERS[paper].tables, FIRST[paper])
    cell = next(c for c in cells if own in (None, c["method"]))
    return PAPERS[paper].parameters(**{**cell, "dataset": FIRST[paper]})


def called(paper, given, data="paper", weights=True):
    return protocol(given, data, PAPERS[paper].tables, weights=weights)


def others(given, name):
    """Values of another kind for a setting, of which some fit."""
    value = getattr(given.resolved(), name)
    annotation = type(given).model_fields[name].annotation
    literals = [v for a in (annotation, *get_args(annotation)) for v in get_args(a)]
    found = [v for v in literals if not isinstance(v, type) and not get_args(v)]
    if isinstance(value, bool):
        found.append(not value)
    elif isinstance(value, int | float):
        found += [value * 2, value + 1, value / 2, value + 0.05, 2 * value + 8, 3]
    elif isinstance(value, list):
        found += [[*value, 1], [v + 0.1 for v in value]]
    elif value is None:
        found += [1, 0.5, 8, [1, 2, 3], "x"]
    else:
        found += ["another"]
    return [other for other in found if other != value and other is not None]


@pytest.mark.parametrize("paper", PAPERS)
def test_each_setting_by_itself_takes_a_run_out_of_the_papers_protocol(paper):
    tables, given = PAPERS[paper].tables, settings(paper)
    assert called(paper, given) == "paper"
    free = {*ANYWHERE, *tables.KEPT, *(n for n, v in tables.FREE.items() if not v)}
    free |= {"dataset", "method", "track", "exact_paper", "exact_release"}
    printed = settings_in_print(tables, FIRST[paper])
    varied = {name: {str(c[name]) for c in printed if name in c} for c in printed for name in c}
    varied |= {name: set(map(str, values)) for name, values in tables.FREE.items() if values}
    untried = []
    for name in set(type(given).model_fields) - free:
        tried = 0
        for other in others(given, name):
            if str(other) in varied.get(name, ()):
                continue  # another cell of the paper's
            try:
                changed = type(given)(**{**given.model_dump(exclude_unset=True), name: other})
                if changed.resolved() == given.resolved():
                    continue  # what the method does not read
            except (ValueError, ParameterError):
                continue
            assert called(paper, changed) == "reduced", (name, other)
            assert name in departures(changed, printed, tables.KEPT, tables.FREE)
            tried += 1
        if not tried:
            untried.append(name)
    read_by_another_method = {"crecl": {"attention_learning_rate", "epochs_joint"}}
    read_by_another_method["hpcr"] = {"options", "hc_form"}
    assert set(untried) <= read_by_another_method.get(paper, set())


@pytest.mark.parametrize("paper", PAPERS)
def test_data_and_weights_decide_as_well(paper):
    given = settings(paper)
    assert called(paper, given, weights=False) == "reduced"
    assert called(paper, given, data="reduced") == "reduced"
    assert called(paper, given, data="stand-in") == "stand-in"
    for change in ({"seeds": [7]}, {"device": "cpu"}, {"data_root": "x"}):
        assert called(paper, given.model_copy(update=change)) == "paper"


def hpcr(**changes):
    return called("hpcr", PAPERS["hpcr"].parameters(**changes))


def test_hpcrs_tables():
    assert hpcr() == hpcr(variant="paper") == hpcr(method="IID", buffer_size=500) == "paper"
    table_4 = {"dataset": "cifar100", "buffer_size": 2000, "width": 64, "memory_batch": 64}
    assert hpcr(**table_4, optimizer="adam", learning_rate=1e-3) == "paper"  # Table IV
    assert hpcr(**table_4) == hpcr(memory_batch=100) == hpcr(learning_rate=1.0) == "reduced"
    assert hpcr(optimizer="adam") == hpcr(alpha=0.0) == hpcr(buffer_size=37) == "reduced"
    ranges = {"dataset": "cifar100", "buffer_size": 1000, "t_min": 0.05, "t_max": 0.2}
    assert hpcr(**ranges) == "paper"
    assert hpcr(**{**ranges, "dataset": "cifar10", "buffer_size": 200}) == "reduced"


def test_drls_networks_have_settings_of_their_own():
    def drl(**changes):
        return called("drl", PAPERS["drl"].parameters(dataset="core50", **changes))

    resnest = {"backbone": "timm/resnest50d.in1k"}
    assert drl(**resnest) == drl(track="NIC", drl_weight=1e-5, **resnest) == "paper"
    assert drl() == "reduced"  # what was submitted had a ResNeSt
    row = {"memory_size": 100, "drl_weight": 2e-4}
    assert drl(**row) == drl(method="ER", **row) == drl(variant="paper", **row) == "paper"
    for change in ({"loss": "later"}, {"taps": "all"}, {"freeze_stages": 0}, {"er": "paper"}):
        assert drl(method="ER", **row, **change) == "reduced"
    assert drl(backbone="microsoft/resnet-18", **row) == "reduced"


def test_docre_iis_tables_try_layers_and_iterations():
    def docre(**changes):
        return called("docre_ii", PAPERS["docre_ii"].parameters(**changes))

    for k in (1, 2, 3, 4):
        assert docre(iterations=k, inference_layers=5 - k) == "paper"
    assert (
        docre(iterations=5) == docre(inference_layers=6) == docre(base="stated_facts") == "reduced"
    )
    assert docre(variant="released") == docre(method="w/o ECA") == "paper"
    assert docre(spurious=True) == docre(noise_draw="not_gold") == "reduced"
    assert docre(noise=0.1) == docre(warmup=0.0) == docre(markers="typed") == "reduced"


def encoder(folder, vocabulary):
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights of our own")
    (folder / "config.json").write_text(
        f'{{"num_hidden_layers": 12, "hidden_size": 768, "vocab_size": {vocabulary}}}'
    )
    return folder


def test_weights_are_known_by_digest_or_are_the_hubs_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    trained = encoder(tmp_path / "bert-base-uncased", 30522)
    assert not is_published(trained, "bert-base-uncased")
    digest = sha256(b"weights of our own").hexdigest()
    published = {**ENCODERS, "bert-base-uncased": Published(12, 768, 30522, digest)}
    monkeypatch.setattr("relcl_lib.data.weights.ENCODERS", published)
    assert is_published(trained, "bert-base-uncased")
    hub = encoder(tmp_path / "hub", 31116)
    monkeypatch.setattr("relcl_lib.data.weights.weights_folder", lambda given: hub)
    for name in ("scibert_scivocab_cased", "allenai/scibert_scivocab_cased"):
        assert is_published(name, "scibert_scivocab_cased")
    assert not is_published("allenai/scibert_scivocab_cased", "scibert_scivocab_uncased")
    assert not is_published("somebody/scibert_scivocab_cased", "scibert_scivocab_cased")
    (hub / "config.json").write_text("{}")
    assert not is_published("allenai/scibert_scivocab_cased", "scibert_scivocab_cased")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    encoder(tmp_path / "allenai" / "scibert_scivocab_cased", 31116)  # a folder of that name
    assert not is_published("allenai/scibert_scivocab_cased", "scibert_scivocab_cased")


def test_noise_under_core50s_name_is_no_core50(tmp_path):
    from transformers import ResNetConfig, ResNetForImageClassification

    ResNetForImageClassification(
        ResNetConfig(embedding_size=4, hidden_sizes=[4, 4, 4, 4])
    ).save_pretrained(tmp_path)
    data = drl_data()
    positions = torch.arange(len(data.labels))
    lists = {"NI": (positions[~data.is_test], positions[data.is_test])}
    data = replace(data, name="core50", experiences=lists)
    assert not data.published
    run = make_drl(data=data, dataset="core50", backbone=str(tmp_path), image_size=32)
    described = run.describe()
    assert (described["parameters"]["network"], described["protocol"]) == ("ResNet50", "reduced")


def test_committed_records_on_images_encoded_with_a_loss_are_reduced():
    for record in read_records(paper="hpcr"):
        lossy = record.dataset["note"].startswith("images encoded as JPEG")
        assert record.protocol == ("reduced" if lossy else "paper"), record
