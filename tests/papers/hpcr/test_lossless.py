"""Accuracy on lossless test images, estimated from some of them and their copies."""

import dataclasses
import io

import pytest
import torch
from gratings import gratings, make_run
from image_files import write_parquet
from PIL import Image

from relcl_lib.data.download import DataFormatError
from relcl_lib.data.images import as_jpeg, load_images
from relcl_lib.lab.parameters import read_settings
from relcl_lib.lab.records import RecordError, config_hash, read_records, write_record
from relcl_lib.papers.hpcr.lossless import estimates, keep_estimates, main, read_lossless
from relcl_lib.papers.hpcr.parameters import ReplayParameters
from relcl_lib.papers.hpcr.run import ReplayRun


def write(path, images, labels):
    return write_parquet(path, images.permute(0, 2, 3, 1).numpy(), labels.tolist())


@pytest.fixture(scope="module")
def official():
    return gratings(n_train=40, n_test=20)


@pytest.fixture(scope="module")
def trained(official):
    """Its test images are JPEG copies, class by class."""
    order = official.test_labels.argsort(stable=True)
    copies = {
        "test_images": as_jpeg(official.test_images)[order],
        "test_labels": official.test_labels[order],
    }
    data = dataclasses.replace(official, **copies)
    return make_run(data, method="PCR", seeds=[0, 3], learning_rate=0.05).train()


@pytest.fixture
def file(official, tmp_path):
    return write(tmp_path / "first.parquet", official.test_images[:50], official.test_labels[:50])


def test_a_copy_is_what_pillow_writes(official):
    image = official.test_images[0].permute(1, 2, 0).numpy()
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG")
    with Image.open(encoded) as decoded:
        assert decoded.layer[0][1:3] == (2, 2)  # colour at half resolution
        wanted = torch.tensor(list(decoded.getdata())).view(16, 16, 3).permute(2, 0, 1)
    assert torch.equal(as_jpeg(official.test_images[:1])[0], wanted.byte())


def test_each_image_finds_its_copy(official, trained, file):
    images, places = read_lossless(file, trained)
    assert torch.equal(images, official.test_images[:50])
    assert torch.equal(trained.test_images[places], as_jpeg(images))
    assert torch.equal(trained.test_labels[places], official.test_labels[:50])


def test_the_change_is_that_of_a_loop_over_images(trained, file):
    images, places = read_lossless(file, trained)
    for index, (change, error) in enumerate(estimates(trained, images, places)):
        score = trained.strategy.scorer(trained.network.eval())
        changes = []
        for image, place in zip(images, places, strict=True):
            hits = [
                score(each.expand(1, 2, 3, 16, 16).transpose(0, 1).float() / 255)[index].argmax()
                == trained.test_labels[place]
                for each in (image, trained.test_images[place])
            ]
            changes.append(100.0 * (int(hits[0]) - int(hits[1])))
        changes = torch.tensor(changes, dtype=torch.float64)
        assert change == pytest.approx(changes.mean().item())
        assert error == pytest.approx((changes.var(correction=1) / 50).sqrt().item())


def test_with_every_image_the_estimate_is_the_accuracy(official, trained, tmp_path):
    whole = write(tmp_path / "all.parquet", official.test_images, official.test_labels)
    images, places = read_lossless(whole, trained)
    lossless = make_run(
        dataclasses.replace(
            trained.data,
            test_images=official.test_images,
            test_labels=official.test_labels,
        ),
        method="PCR",
        seeds=[0, 3],
        learning_rate=0.05,
    )
    lossless.network.load_state_dict(trained.network.state_dict())
    hits = lossless.hits(trained.total - 1)
    found = 100 * lossless.of_tasks(hits)[0].mean(-1)
    for seed, (change, _) in enumerate(estimates(trained, images, places)):
        final = trained.records()[seed].metrics["A_T"]
        assert final + change == pytest.approx(found[seed].item(), abs=1e-3)


def test_a_record_gets_the_estimate_and_stays_the_same_run(trained, file, tmp_path):
    for record in trained.records():
        write_record(record, tmp_path)
    kept = keep_estimates(trained, file, tmp_path)
    assert keep_estimates(trained, file, tmp_path) == kept  # once more changes nothing
    found = read_records(tmp_path)
    assert found == kept
    for record, made in zip(found, trained.records(), strict=True):
        assert config_hash(record) == config_hash(made)
        metrics = record.metrics
        change = metrics["A_T_lossless"] - metrics["A_T"]
        assert change == pytest.approx(metrics["A_T_lossless_change"], abs=1e-3)
        assert metrics["A_T_lossless_error"] >= 0
        assert "; class order" in record.note and "first 50 test images" in record.note


def test_the_command_reads_the_checkpoint_of_a_sweep(tmp_path, capsys):
    words = ["method=PCR", "dataset=digits", "profile=quick", "seeds=0", "n_tasks=2", "width=4"]
    words += ["stream_batch=100"]
    parameters = ReplayParameters.create(read_settings(words))
    run = ReplayRun(parameters, load_images("digits"), tmp_path / "work").train()
    same = write(tmp_path / "same.parquet", run.test_images[:50], run.test_labels[:50])
    (tmp_path / "results").mkdir()
    given = ["--images", str(same), "--results", str(tmp_path / "results")]
    with pytest.raises(RecordError, match="holds no checkpoint of the finished run"):
        main(["lossless", *given, "--work-dir", str(tmp_path / "elsewhere"), *words])
    for record in run.records():
        write_record(record, tmp_path / "results")
    assert main(["lossless", *given, "--work-dir", str(tmp_path / "work"), *words]) == 0
    (kept,) = read_records(tmp_path / "results")
    # The images are their own copies: nothing changes.
    assert kept.metrics["A_T_lossless"] == pytest.approx(kept.metrics["A_T"], abs=1e-3)
    told = f"seed 0: {kept.metrics['A_T']:.2f}, change +0.00, error 0.00\n"
    assert capsys.readouterr().out == told


def test_records_that_are_not_the_networks_are_left_alone(trained, file, tmp_path):
    with pytest.raises(RecordError, match="is missing: run the sweep"):
        keep_estimates(trained, file, tmp_path)
    other = trained.records()[1].model_copy(update={"accuracy_matrix": [[100.0, 0, 0]] * 3})
    for record in (trained.records()[0], other):
        write_record(record, tmp_path)
    with pytest.raises(RecordError, match="is of another training"):
        keep_estimates(trained, file, tmp_path)
    assert all("A_T_lossless" not in record.metrics for record in read_records(tmp_path))


def test_other_images_are_refused(official, trained, tmp_path):
    images, labels = official.test_images[:20], official.test_labels[:20]
    turned = write(tmp_path / "turned.parquet", 255 - images, labels)
    with pytest.raises(DataFormatError, match=r"turned.*record 0 is no other encoding"):
        read_lossless(turned, trained)
    many = write(
        tmp_path / "many.parquet", images[:1].expand(30, -1, -1, -1), labels[:1].expand(30)
    )
    with pytest.raises(DataFormatError, match=r"30 images of class \d, and the test set has 20"):
        read_lossless(many, trained)
