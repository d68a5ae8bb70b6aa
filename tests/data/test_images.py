import dataclasses
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from image_files import pixels, write_parquet
from PIL import Image

from relcl_lib.data import images
from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.image_sets import SPECS
from relcl_lib.data.images import ImageData, as_rgb, load_images

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def fresh(no_other_data):
    yield
    images._load.cache_clear()


def write_cifar10(folder, n=40, **train):
    write_parquet(folder / "test.parquet", pixels(20, seed=1), [i % 10 for i in range(20)])
    arguments = {"arrays": pixels(n), "labels": [i % 10 for i in range(n)]} | train
    write_parquet(folder / "train.parquet", **arguments)
    return folder


def load(name, root, **options):
    return load_images(name, root, download=False, check_counts=False, **options)


# Digits


def test_digits_are_balanced_scaled_and_fixed():
    data = load_images("digits", download=False)
    assert data.sizes == {"train": 1400, "test": 340}
    assert torch.bincount(data.train_labels).tolist() == [140] * 10
    assert torch.bincount(data.test_labels).tolist() == [34] * 10
    assert (data.image_shape, data.n_classes, data.source) == ((1, 8, 8), 10, "embedded")
    assert data.train_images.dtype == torch.uint8 and data.train_images.max() == 255
    assert data.train_labels[:10].tolist() == list(range(10))  # file order
    torch.manual_seed(1)
    images._load.cache_clear()
    again = load_images("digits")
    assert again is not data and again.fingerprint == data.fingerprint
    from sklearn.datasets import load_digits

    whole = load_digits()
    first = torch.from_numpy(np.rint(whole.images[0] * 255 / 16).astype(np.uint8))
    assert torch.equal(data.train_images[0, 0], first)


def test_as_rgb_repeats_without_a_copy():
    grey = load_images("digits").test_images
    rgb = as_rgb(grey)
    assert rgb.shape == (340, 3, 8, 8) and rgb.data_ptr() == grey.data_ptr()
    assert torch.equal(rgb[:, 2], grey[:, 0])
    assert as_rgb(rgb).shape == rgb.shape
    assert as_rgb(grey[0]).shape == (3, 8, 8)
    with pytest.raises(ValueError, match="images must be"):
        as_rgb(grey[:, :, None].expand(-1, -1, 2, -1, -1))


def test_fingerprint_sees_every_part_and_nothing_else():
    data = load_images("digits")
    same = dataclasses.replace(data, note="another note", source="elsewhere")
    assert same.fingerprint == data.fingerprint and len(data.fingerprint) == 64
    strided = data.train_images.transpose(2, 3).contiguous().transpose(2, 3)
    assert dataclasses.replace(data, train_images=strided).fingerprint == data.fingerprint
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        changed = getattr(data, field).clone()
        changed.view(-1)[7] += 1
        assert dataclasses.replace(data, **{field: changed}).fingerprint != data.fingerprint
    reshaped = dataclasses.replace(data, train_images=data.train_images.view(-1, 1, 4, 16))
    assert reshaped.fingerprint != data.fingerprint


# Parquet


def test_parquet_images_labels_and_names(tmp_path):
    data = load("cifar10", write_cifar10(tmp_path / "cifar10"))
    assert isinstance(data, ImageData)
    assert data.sizes == {"train": 40, "test": 20} and data.source == "parquet"
    expected = torch.from_numpy(pixels(40)).permute(0, 3, 1, 2)
    assert torch.equal(data.train_images, expected)
    assert data.train_labels.dtype == torch.int64
    assert data.class_names[:2] == ("airplane", "automobile")
    assert data.note == "a part of the set"


def encoded(arrays, kind, options=None):
    streams = [io.BytesIO() for _ in arrays]
    for array, stream in zip(arrays, streams, strict=True):
        Image.fromarray(array).save(stream, kind, **options or {})
    return [stream.getvalue() for stream in streams]


def test_a_copy_of_two_encodings_is_found_out_beyond_its_first_image(tmp_path):
    images = pixels(40)
    mixed = encoded(images[:20], "PNG") + encoded(images[20:], "JPEG")
    folder = write_cifar10(tmp_path / "cifar10")
    labels = [i % 10 for i in range(40)]
    write_parquet(folder / "train.parquet", mixed, labels)
    found = load("cifar10", folder)
    assert found.note.startswith("training images encoded as JPEG and PNG in this copy")
    assert not found.published


@pytest.mark.parametrize(
    "train, test, note",
    [
        (("WEBP", {"lossless": True}), ("WEBP", {"lossless": True}), ""),
        (("JPEG", {}), ("JPEG", {}), "images encoded as JPEG in this copy; "),
        (("PNG", {}), ("JPEG", {}), "test images encoded as JPEG in this copy; "),
        (("WEBP", {"quality": 50}), ("PNG", {}), "training images encoded as WEBP in this copy; "),
    ],
)
def test_note_says_which_split_was_encoded_with_a_loss(tmp_path, train, test, note):
    folder = write_cifar10(tmp_path / "cifar10", arrays=encoded(pixels(40), *train))
    write_parquet(folder / "test.parquet", encoded(pixels(20), *test), [i % 10 for i in range(20)])
    assert load("cifar10", folder).note == f"{note}a part of the set"


def test_shards_subfolder_and_hub_metadata(tmp_path):
    inner = tmp_path / "any" / "cifar100"
    names = [f"name{i}" for i in range(100)]
    features = {"fine_label": {"names": names, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for shard in (1, 0):
        write_parquet(
            inner / f"train-0000{shard}-of-00002.parquet",
            pixels(2500, 32, seed=shard),
            [(50 * shard + i) % 100 for i in range(2500)],
            label="fine_label",
            metadata=metadata,
            row_group_size=700,
        )
    write_parquet(
        inner / "test-00000-of-00001.parquet", pixels(100), list(range(100)), label="fine_label"
    )
    data = load("cifar100", tmp_path / "any")
    assert data.sizes["train"] == 5000 and data.class_names == tuple(names)
    assert data.train_labels[2500] == 50 and data.train_labels[2499] == 99
    assert torch.equal(
        data.train_images[2500:], torch.from_numpy(pixels(2500, 32, seed=1)).permute(0, 3, 1, 2)
    )


def test_grey_stays_grey_in_mnist_and_becomes_rgb_elsewhere(tmp_path):
    grey = pixels(10, 28, channels=1)
    for split in ("train", "test"):
        write_parquet(tmp_path / "mnist" / f"{split}.parquet", grey, list(range(10)), "image")
    mnist = load("mnist", tmp_path)
    assert mnist.image_shape == (1, 28, 28)
    assert torch.equal(mnist.train_images[:, 0], torch.from_numpy(grey))
    mixed = [*pixels(9), pixels(1, channels=1)[0]]
    data = load("cifar10", write_cifar10(tmp_path / "c", arrays=mixed, labels=list(range(10))))
    assert torch.equal(data.train_images[9, 0], data.train_images[9, 2])


def test_a_part_of_the_classes_closes_up_in_order(tmp_path):
    folder = tmp_path / "tiny_imagenet_100"
    labels = [7, 3, 199, 3]
    write_parquet(folder / "train.parquet", pixels(4, 64), labels, "image")
    write_parquet(folder / "val.parquet", pixels(3, 64), [199, 7, 3], "image")
    data = load("tiny_imagenet_100", tmp_path)
    assert data.train_labels.tolist() == [1, 0, 2, 0]
    assert data.test_labels.tolist() == [2, 1, 0]
    assert data.class_names == ("3", "7", "199") and data.n_classes == 3
    assert data.note.startswith("100 of the 200 classes")


# Errors


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match="digits, cifar10, cifar100, mnist, tiny_imagenet"):
        load_images("cifar1000")


@pytest.mark.parametrize("name", [name for name in SPECS if name != "digits"])
def test_not_found_tells_where_each_layout_goes(tmp_path, name):
    with pytest.raises(DataNotFoundError) as caught:
        load_images(name, download=False)
    message = str(caught.value)
    assert str(tmp_path / "cwd" / "data" / name) in message
    for layout in SPECS[name].layouts:
        assert layout in message
    hub = SPECS[name].hub
    assert hub is None or (hub.repo in message and hub.revision in message)


def test_revisions_and_hashes_are_whole():
    for spec in SPECS.values():
        if spec.hub is not None:
            assert len(bytes.fromhex(spec.hub.revision)) == 20
            for digest in spec.hub.files.values():
                assert digest is None or len(bytes.fromhex(digest)) == 32
        assert spec.md5 is None or len(bytes.fromhex(spec.md5)) == 16


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"image": "picture"}, r"no column img or image \(its columns: picture, label\).*Rename"),
        ({"label": "y"}, "no column label .*Rename"),
        ({"labels": [*range(39), 3]}, "record 10, field label: label 10 is not in 0..9.*Check"),
        ({"labels": [-1] * 40}, "record 0, field label: label -1"),
        ({"labels": ["a"] * 40}, "field label integers.*Take the file from the hub"),
        ({"labels": [None, *[1] * 39]}, "integers without gaps"),
        ({"arrays": [*pixels(39), None]}, "record 39, field img: .*no image bytes"),
        ({"arrays": [*pixels(39), b"junk"]}, "record 39, field img: .*cannot be decoded"),
        ({"arrays": [*pixels(39), *pixels(1, 28)]}, "record 39, field img: .*28x28, not 32x32"),
        ({"arrays": [], "labels": pa.array([], pa.int64())}, "holds no records"),
    ],
)
def test_bad_parquet_names_file_record_field_and_fix(tmp_path, train, message):
    folder = write_cifar10(tmp_path / "cifar10", **train)
    with pytest.raises(DataFormatError, match=message) as caught:
        load("cifar10", folder)
    text = str(caught.value)
    assert str(folder / "train.parquet") in text
    assert text.rstrip(".").split(". ")[-1].startswith(("Check", "Download", "Rename", "Take"))


def test_image_column_of_another_type(tmp_path):
    folder = write_cifar10(tmp_path / "cifar10")
    pq.write_table(pa.table({"img": [[1, 2]], "label": [0]}), folder / "train.parquet")
    with pytest.raises(DataFormatError, match=r"field img must be struct.*list"):
        load("cifar10", folder)


def test_truncated_and_damaged_parquet(tmp_path):
    folder = write_cifar10(tmp_path / "cifar10", n=200, labels=[i % 10 for i in range(200)])
    file = folder / "train.parquet"
    content = file.read_bytes()
    for damaged in (content[:-100], content[:50], b"", content[:40] + bytes(99) + content[139:]):
        file.write_bytes(damaged)
        with pytest.raises(DataFormatError, match=r"train\.parquet") as caught:
            load("cifar10", folder)
        assert "Download the file again" in str(caught.value)


def test_counts_are_checked_and_the_way_out_named(tmp_path):
    folder = write_cifar10(tmp_path / "cifar10")
    with pytest.raises(DataFormatError, match=r"40 training and 20 test.*50000 and 10000.*check_"):
        load_images("cifar10", folder, download=False)


def test_missing_class_is_an_error_unless_a_part_is_admitted(tmp_path, monkeypatch):
    labels = [i % 9 for i in range(40)]
    folder = write_cifar10(tmp_path / "cifar10", labels=labels)
    with pytest.raises(DataFormatError, match=r"test labels \[9\] have no training image"):
        load("cifar10", folder)
    write_parquet(folder / "test.parquet", pixels(20), [i % 9 for i in range(20)])
    monkeypatch.setitem(SPECS, "cifar10", dataclasses.replace(SPECS["cifar10"], counts=(40, 20)))
    with pytest.raises(DataFormatError, match=r"9 classes have training images.*has 10"):
        load_images("cifar10", folder, download=False)
    assert load("cifar10", folder).n_classes == 9


def test_missing_test_split(tmp_path):
    folder = write_cifar10(tmp_path / "cifar10")
    (folder / "test.parquet").unlink()
    with pytest.raises(
        DataNotFoundError, match=r"holds train\.parquet but no test\*\.parquet. Put"
    ):
        load("cifar10", folder)


# Original archives through the same door


def test_original_archives_are_found(tmp_path, monkeypatch):
    import pickle

    inner = tmp_path / "src" / "cifar-100-python"
    inner.mkdir(parents=True)
    for name, n in (("train", 200), ("test", 100)):
        rows = pixels(n, seed=n).reshape(n, 3072)
        table = {b"data": rows, b"fine_labels": [i % 100 for i in range(n)]}
        (inner / name).write_bytes(pickle.dumps(table, 5))
    (inner / "meta").write_bytes(pickle.dumps({b"fine_label_names": [b"x"] * 100}, 2))
    whole = load("cifar100", tmp_path / "src")
    assert whole.sizes == {"train": 200, "test": 100} and whole.source == "original archive"
    assert load("cifar100", inner).fingerprint == whole.fingerprint
    (tmp_path / "tar").mkdir()
    packed = tmp_path / "tar" / "cifar-100-python.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(inner, "cifar-100-python")
    with pytest.raises(DataFormatError, match=r"cifar-100-python\.tar\.gz: its MD5 is"):
        load("cifar100", tmp_path / "tar")
    digest = hashlib.md5(packed.read_bytes()).hexdigest()
    monkeypatch.setitem(SPECS, "cifar100", dataclasses.replace(SPECS["cifar100"], md5=digest))
    assert load("cifar100", tmp_path / "tar").fingerprint == whole.fingerprint


# Caching, environment, hub


def test_the_last_two_sets_stay_in_memory(tmp_path):
    folder = write_cifar10(tmp_path / "cifar10")
    first = load("cifar10", folder)
    assert load("cifar10", tmp_path) is first  # the same resolved folder
    assert load_images("digits") is load_images("digits")
    assert images._load.cache_info().maxsize == 2


def test_a_hub_download_is_read_and_noted(tmp_path, monkeypatch):
    import huggingface_hub

    source = tmp_path / "hub"
    for split, n in (("train", 20), ("test", 10)):
        write_parquet(
            source / "plain_text" / f"{split}-00000-of-00001.parquet",
            pixels(n),
            [i % 10 for i in range(n)],
        )
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda repo, name, **kw: str(source / name)
    )
    spec = SPECS["cifar10"]
    hub = dataclasses.replace(spec.hub, files=dict.fromkeys(spec.hub.files))
    monkeypatch.setitem(SPECS, "cifar10", dataclasses.replace(spec, hub=hub))
    data = load_images("cifar10", check_counts=False)
    assert data.sizes == {"train": 20, "test": 10}
    assert data.note == "uoft-cs/cifar10@0b27149; a part of the set"


# Real data


def need(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"the real {name} is not on this machine")


@pytest.mark.slow
def test_real_cifar10_fits_in_memory():
    need("cifar10")
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    # Not by getrusage: a child's ru_maxrss starts at what its parent, this process, held.
    code = (
        "from relcl_lib.data.images import load_images\n"
        f"data = load_images('cifar10', {str(SHARED)!r}, download=False)\n"
        "assert data.sizes == {'train': 50000, 'test': 10000} and data.n_classes == 10\n"
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print(next(line.split()[1] for line in lines if line.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no progress bar into a file
    assert int(done.stdout) < 900_000


@pytest.mark.slow
def test_real_half_of_tiny_imagenet():
    need("tiny_imagenet_100")
    data = load_images("tiny_imagenet_100", SHARED, download=False)
    assert data.sizes == {"train": 50_000, "test": 5_000} and data.n_classes == 100
    assert torch.bincount(data.train_labels).tolist() == [500] * 100
    assert torch.bincount(data.test_labels).tolist() == [50] * 100
