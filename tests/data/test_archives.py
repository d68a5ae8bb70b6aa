import io
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import (
    cifar10_files,
    cifar_batch,
    idx,
    jpeg,
    write_cifar,
    write_cifar_tar,
    write_mini,
    write_mnist,
    write_tiny,
    zip_of,
)

from relcl_lib.data.archives import (
    read_cifar,
    read_mini_imagenet,
    read_mnist,
    read_tiny_imagenet,
)
from relcl_lib.data.download import DataFormatError, DataNotFoundError
from relcl_lib.data.pickles import load_pickle


def dumps(value):
    return pickle.dumps(value, 2)


def load(value, protocol):
    return load_pickle(io.BytesIO(pickle.dumps(value, protocol)), "some.pkl")


# Pickles


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_containers_pass_in_every_protocol(protocol):
    value = OrderedDict(
        image_data=np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        labels=[np.int64(3), 4],
        other={"names": ("a", b"b"), "set": {1}, "f": np.asfortranarray(np.eye(3))},
    )
    loaded = load(value, protocol)
    assert np.array_equal(loaded["image_data"], value["image_data"])
    assert loaded["labels"] == [3, 4]
    assert np.array_equal(loaded["other"]["f"], np.eye(3))
    assert loaded["other"]["names"] == ("a", b"b")


def test_text_of_python_2_comes_as_bytes():
    # What Python 2's pickle writes for {'data': 'ab\xff'}: SHORT_BINSTRING, not unicode.
    assert load_pickle(io.BytesIO(b"\x80\x02}U\x04dataU\x03ab\xffs."), "f") == {b"data": b"ab\xff"}


class Command:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, protocol):
    mark = tmp_path / "mark"
    stream = io.BytesIO(pickle.dumps({"data": Command(mark)}, protocol))
    with pytest.raises(DataFormatError, match=r"bad\.pkl: .*posix\.system, refused.*Download it"):
        load_pickle(stream, "bad.pkl")
    assert not mark.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"c_codecs\nencode\n(Vx\nVrot13\ntR.",  # an encoding is a module to import
        b"cnumpy\ndtype\n(VO\nI00\nI01\ntR.",  # object arrays
        b"cbuiltins\neval\n(V1\ntR.",
        b"cbuiltins\ngetattr\n.",
        b"cnumpy\nload\n.",
        # Setting an attribute on what it is handed, by a dict and by a slot state.
        *(
            b"c" + name + state
            for name in (
                b"_codecs\nencode\n",
                b"numpy\ndtype\n",
                b"numpy\nndarray\n",
                b"numpy.core.multiarray\nscalar\n",
                b"numpy._core.numeric\n_frombuffer\n",
                b"collections\nOrderedDict\n",
                b"builtins\nset\n",
            )
            for state in (b"}Vmark\nI1\nsb.", b"(N}Vmark\nI1\nstb.")
        ),
        b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.sum\x93.",
        b"Pid\n.",
    ],
)
def test_other_doors_are_closed(code):
    with pytest.raises(DataFormatError, match=r"p\.pkl"):
        load_pickle(io.BytesIO(code), "p.pkl")


MADE = b"cnumpy\ndtype\n(VS1\nI00\nI01\ntRp0\n0"  # |S1, and mutable
#: of the dtype: another item size; none; objects
STATES = [b"(I3\nV|\nNNN" + b"I%d\nI1\nI%d\nt" % state for state in ((1000, 0), (-5, 0), (1, 63))]
FILLED = {
    "frombuffer": b"cnumpy._core.numeric\n_frombuffer\n(C\x04abcdg0\n(I4\ntVC\ntRp1\n0",
    "state": b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntC\x01btR"
    b"(I1\n(I4\ntg0\nI00\nC\x04abcdtbp1\n0",
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("filled", FILLED)
def test_an_array_does_not_follow_its_dtype_in_the_pickle(filled, state):
    found = load_pickle(io.BytesIO(MADE + FILLED[filled] + b"g0\n" + state + b"b0g1\n."), "p.pkl")
    assert found.dtype == "S1" and found.tolist() == [b"a", b"b", b"c", b"d"]
    try:  # changed before an array has it
        code = MADE + b"g0\n" + state + b"b0" + FILLED[filled] + b"g1\n."
        found = load_pickle(io.BytesIO(code), "p.pkl")
    except DataFormatError:
        return
    assert found.nbytes == 4 and not found.dtype.hasobject


def test_an_array_is_not_made_of_memory_as_it_was_left():
    for code in (b"cnumpy\nndarray\n((I9\nttR.", b"cnumpy\nndarray\n((I9\ntVO\ntR."):
        with pytest.raises(DataFormatError):
            load_pickle(io.BytesIO(code), "p.pkl")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_is_a_format_error_or_harmless(data):
    good = dumps({"data": np.arange(12, dtype=np.uint8), "labels": [1, 2]})
    end = data.draw(st.integers(0, len(good) - 1))
    with pytest.raises(DataFormatError):
        load_pickle(io.BytesIO(good[:end]), "cut.pkl")


# CIFAR


def test_cifar10_folder_and_tar_agree(tmp_path):
    files = cifar10_files()
    folder = read_cifar(write_cifar(tmp_path / "f", files), "cifar10", 10, None)
    packed = read_cifar(write_cifar_tar(tmp_path / "c.tar.gz", files, "x"), "cifar10", 10, None)
    assert folder.train_images.shape == (50, 3, 32, 32)
    assert folder.test_images.shape == (10, 3, 32, 32)
    assert folder.class_names[3] == "class3"
    for a, b in zip(folder[:4], packed[:4], strict=True):
        assert np.array_equal(a, b)
    row = files["data_batch_2"][b"data"][4]
    assert np.array_equal(folder.train_images[14].ravel(), row)  # red, green, blue planes
    assert folder.train_labels[10:12].tolist() == [2, 3]


def test_cifar100_uses_fine_labels(tmp_path):
    files = {
        "train": cifar_batch(20, 90),
        "test": cifar_batch(5, 3),
        "meta": {b"fine_label_names": [b"n%d" % i for i in range(100)]},
    }
    splits = read_cifar(write_cifar(tmp_path / "f", files), "cifar100", 100, None)
    assert splits.train_labels[:3].tolist() == [90, 91, 92]
    assert splits.class_names[99] == "n99"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_batch_3": {b"labels": [0]}}, "data_batch_3: field data is missing"),
        ({"data_batch_3": cifar_batch(2) | {b"labels": [0, 12]}}, "record 1, field"),
        ({"data_batch_3": {b"data": np.zeros((2, 30), np.uint8), b"labels": [0, 1]}}, "3072"),
        ({"data_batch_3": cifar_batch(2) | {b"labels": [1]}}, "2 images but 1 labels"),
        ({"data_batch_3": cifar_batch(2) | {b"labels": ["a", "b"]}}, "not integers"),
        ({"data_batch_3": cifar_batch(2) | {b"labels": [[1], [1, 2]]}}, "no flat list"),
        ({"data_batch_3": [1, 2]}, "holds a list, not a dict"),
    ],
)
def test_cifar_bad_batches_name_file_and_fix(tmp_path, changes, message):
    folder = write_cifar(tmp_path / "f", cifar10_files(2, **changes))
    with pytest.raises(DataFormatError, match=message) as caught:
        read_cifar(folder, "cifar10", 10, None)
    assert str(folder / "data_batch_3") in str(caught.value)
    assert "ownload" in str(caught.value)


def test_cifar_missing_batch_truncated_tar_and_md5(tmp_path):
    files = cifar10_files(2)
    del files["data_batch_5"]
    with pytest.raises(DataFormatError, match="data_batch_5 is missing"):
        read_cifar(write_cifar(tmp_path / "f", files), "cifar10", 10, None)
    tar = write_cifar_tar(tmp_path / "c.tar.gz", cifar10_files(2), "x")
    with pytest.raises(DataFormatError, match=r"c\.tar\.gz: its MD5 is .*Download it again"):
        read_cifar(tar, "cifar10", 10, "0" * 32)
    content = tar.read_bytes()
    for end in (0, 5, len(content) // 2, len(content) - 2000):
        tar.write_bytes(content[:end])
        with pytest.raises(DataFormatError, match=r"c\.tar\.gz.*ownload"):
            read_cifar(tar, "cifar10", 10, None)


# MNIST


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dot", [False, True])
def test_mnist_idx(tmp_path, zipped, dot):
    splits = read_mnist(write_mnist(tmp_path, zipped=zipped, dot=dot), 10)
    assert splits.train_images.shape == (12, 1, 28, 28)
    assert splits.test_images.shape == (6, 1, 28, 28)
    assert splits.train_labels.tolist() == [*range(10), 0, 1]
    assert splits.train_labels.dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "file", "message"),
    [
        ({"train_images": b"\0\0\x08"}, "train-images-idx3-ubyte", "no idx file"),
        ({"train_images": idx(np.zeros(4, np.uint8))}, "train-images", "no idx file of 3"),
        ({"train_images": idx(np.zeros((12, 28, 28), np.uint8))[:-1]}, "train-images", "follow"),
        ({"t10k_labels": idx(np.full(6, 10, np.uint8))}, "t10k-labels", "record 0, field labels"),
        ({"t10k_labels": idx(np.zeros(5, np.uint8))}, "t10k-labels", "5 labels beside"),
        ({"train_images": idx(np.zeros((12, 8, 8), np.uint8))}, "train-labels", "28x28"),
    ],
)
def test_mnist_bad_files_name_file_and_fix(tmp_path, changes, file, message):
    with pytest.raises(DataFormatError, match=message) as caught:
        read_mnist(write_mnist(tmp_path, **changes), 10)
    assert file in str(caught.value) and "ownload" in str(caught.value)


def test_mnist_truncated_gzip_and_missing_part(tmp_path):
    folder = write_mnist(tmp_path, zipped=True)
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataFormatError, match=r"train-images-idx3-ubyte\.gz: truncated.*Download"):
        read_mnist(folder, 10)
    file.unlink()
    with pytest.raises(DataNotFoundError, match=r"train-images-idx3-ubyte\(\.gz\)\. Put it"):
        read_mnist(folder, 10)


# Tiny-ImageNet

SHAPE = (3, 64, 64)


@pytest.mark.parametrize("inner", ["tiny-imagenet-200/", ""])
def test_tiny_folder_and_zip_agree_and_labels_follow_sorted_wnids(tmp_path, inner):
    folder = write_tiny(tmp_path / "tiny")
    plain = read_tiny_imagenet(folder, SHAPE, None)
    packed = read_tiny_imagenet(zip_of(folder, tmp_path / "t.zip", inner), SHAPE, None)
    for a, b in zip(plain[:4], packed[:4], strict=True):
        assert np.array_equal(a, b)
    assert plain.class_names == ("n01", "n02")
    assert plain.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert plain.test_labels.tolist() == [1, 0]  # val_0 is n02's
    grey = plain.train_images[2]  # a grey JPEG among colour ones
    assert np.array_equal(grey[0], grey[2]) and grey.mean() == 100
    assert plain.test_images[0, 2].mean() > 190 > plain.test_images[0, 0].mean()


def sort_into_classes(folder, inner, annotations=True):
    for k, wnid in enumerate(("n02", "n01")):
        (folder / "val" / wnid / inner).mkdir(parents=True)
        image = folder / "val" / "images" / f"val_{k}.JPEG"
        image.rename(folder / "val" / wnid / inner / image.name)
    if not annotations:
        (folder / "val" / "val_annotations.txt").unlink()


@pytest.mark.parametrize("inner", ["images", ""])
def test_tiny_sorted_into_class_folders_is_the_same(tmp_path, inner):
    plain = read_tiny_imagenet(write_tiny(tmp_path / "plain"), SHAPE, None)
    folder = write_tiny(tmp_path / "sorted")
    sort_into_classes(folder, inner, annotations=bool(inner))
    if not inner:  # the training images too
        for wnid in ("n01", "n02"):
            for image in (folder / "train" / wnid / "images").iterdir():
                image.rename(folder / "train" / wnid / image.name)
            for name in (f"{wnid}_boxes.txt", "._n01_0.JPEG", "Thumbs.db"):
                (folder / "train" / wnid / name).write_text("")
    else:
        (folder / "train" / "n01" / "images" / ".DS_Store").write_text("")
        (folder / "train" / "n02" / "images" / ".ipynb_checkpoints").mkdir()
    for path in (folder, zip_of(folder, tmp_path / "t.zip")):
        found = read_tiny_imagenet(path, SHAPE, None)
        for a, b in zip(plain[:4], found[:4], strict=True):
            assert np.array_equal(a, b)


def test_tiny_of_the_classes_that_wnids_lists(tmp_path):
    whole = read_tiny_imagenet(write_tiny(tmp_path / "whole", ("n02", "n01", "n03")), SHAPE, None)
    folder = write_tiny(tmp_path / "part", ("n02", "n01", "n03"))
    (folder / "wnids.txt").write_text("n03\nn01\n")
    (folder / "val" / "images" / "val_0.JPEG").unlink()  # one of n02's, which is not asked for
    for path in (folder, zip_of(folder, tmp_path / "t.zip")):
        found = read_tiny_imagenet(path, SHAPE, None)
        assert found.class_names == ("n01", "n03")
        assert found.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert found.test_labels.tolist() == [0, 1]
        assert np.array_equal(found.train_images, whole.train_images[whole.train_labels != 1])
        assert np.array_equal(found.test_images, whole.test_images[whole.test_labels != 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n01_1": b"no jpeg"}, "n01_1.JPEG: the image cannot be decoded"),
        ({"n01_1": jpeg(0, "L")[:300]}, "n01_1.JPEG: the image cannot be decoded"),
        ({"n01_1": jpeg(0, "L", (32, 64))}, "n01_1.JPEG: the image is 32x64, not 64x64"),
        ({"annotations": ["val_0.JPEG\tn77\t0"]}, "record 0: .*n77.*wnids"),
        ({"annotations": ["val_0.JPEG\tn01\t0", "val_1.JPEG"]}, "record 1: .*val_1.*wnids"),
        ({"annotations": ["val_9.JPEG\tn01\t0"]}, "val_9.JPEG"),
    ],
)
def test_tiny_bad_files_name_file(tmp_path, changes, message):
    folder = write_tiny(tmp_path / "tiny", **changes)
    for path in (folder, zip_of(folder, tmp_path / "t.zip")):
        with pytest.raises(DataFormatError, match=message) as caught:
            read_tiny_imagenet(path, SHAPE, None)
        assert str(path) in str(caught.value)


def test_tiny_truncated_zip_md5_and_missing_parts(tmp_path):
    folder = write_tiny(tmp_path / "tiny")
    packed = zip_of(folder, tmp_path / "t.zip")
    with pytest.raises(DataFormatError, match=r"t\.zip: its MD5 is .*Download it again"):
        read_tiny_imagenet(packed, SHAPE, "0" * 32)
    packed.write_bytes(packed.read_bytes()[:-500])
    with pytest.raises(DataFormatError, match=r"t\.zip: truncated.*Download"):
        read_tiny_imagenet(packed, SHAPE, None)
    (folder / "val" / "val_annotations.txt").unlink()
    with pytest.raises(DataFormatError, match=r"val_annotations\.txt is missing"):
        read_tiny_imagenet(folder, SHAPE, None)


# Mini-ImageNet

SMALL = (3, 4, 4)


@pytest.mark.parametrize("class_dict", [True, False])
def test_mini_pools_classes_and_splits_each(tmp_path, class_dict):
    splits = read_mini_imagenet(write_mini(tmp_path, class_dict=class_dict), SMALL)
    assert splits.train_images.shape == (1000, *SMALL)
    assert splits.test_images.shape == (200, *SMALL)
    for images, labels, count in ((splits[0], splits[1], 10), (splits[2], splits[3], 2)):
        assert np.array_equal(images[:, 0, 0, 0], labels)
        assert (np.bincount(labels) == count).all() and len(np.bincount(labels)) == 100
    for label in range(100):  # no image in both parts
        parts = [splits[i][splits[i + 1] == label][:, 1, 0, 0].tolist() for i in (0, 2)]
        assert sorted(parts[0] + parts[1]) == list(range(12))
    again = read_mini_imagenet(tmp_path, SMALL)
    assert np.array_equal(splits.test_images, again.test_images)
    assert "fixed random sixth" in splits.note


def test_mini_bad_files_name_file_and_fix(tmp_path):
    name = "mini-imagenet-cache-val.pkl"
    data = np.zeros((16, 4, 4, 3), np.uint8)
    for content, message in (
        (dumps({"image_data": data[:15]}), "15 images cannot be 16 classes"),
        (dumps({"image_data": data.astype(np.float32)}), "field image_data"),
        (dumps({"image_data": data, "class_dict": {"a": [0, 1]}}), "class_dict"),
        (dumps({"images": data}), "field image_data is missing"),
        (b"", "not a complete pickle"),
    ):
        write_mini(tmp_path, **{name: content})
        with pytest.raises(DataFormatError, match=message) as caught:
            read_mini_imagenet(tmp_path, SMALL)
        assert name in str(caught.value) and "ownload" in str(caught.value)
    (tmp_path / name).unlink()
    with pytest.raises(DataNotFoundError, match=f"no.* {name}. Put it there"):
        read_mini_imagenet(tmp_path, SMALL)


def test_readers_leave_nothing_behind(tmp_path):
    folder = write_tiny(tmp_path / "tiny")
    zip_of(folder, tmp_path / "t.zip")
    before = sorted(tmp_path.rglob("*"))
    read_tiny_imagenet(tmp_path / "t.zip", SHAPE, None)
    assert sorted(tmp_path.rglob("*")) == before
