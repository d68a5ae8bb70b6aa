"""Readers of the original archives: CIFAR pickles, MNIST idx, Tiny- and Mini-ImageNet.

Each returns arrays as they are, labels checked; which counts are official is the caller's matter.
"""

from __future__ import annotations

import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from relcl_lib.data.download import (
    DataFormatError,
    DataNotFoundError,
    check_md5,
    is_hidden,
    natural_key,
)
from relcl_lib.data.image_files import AGAIN, RawSplits, check_labels, decode_into, flat_array
from relcl_lib.data.pickles import load_pickle, texts
from relcl_lib.data.text_files import BOM, not_utf8
from relcl_lib.data.unpacking import UNZIPPING, check_size, open_content, open_gzip


def table_of(value: Any, file: str | Path) -> dict[str, Any]:
    """Check that a pickle is a dict, and let its keys be text whichever Python wrote them."""
    if not isinstance(value, dict):
        raise DataFormatError(file, f"it holds a {type(value).__name__}, not a dict", AGAIN)
    return {k.decode("latin1") if isinstance(k, bytes) else k: v for k, v in value.items()}


def _entry(table: dict[str, Any], key: str, file: str | Path) -> Any:
    if key not in table:
        found = ", ".join(map(str, table))
        raise DataFormatError(file, f"field {key} is missing (fields: {found})", AGAIN)
    return table[key]


# CIFAR-10 and CIFAR-100: label field, its names in the meta file, training files, test file.
_CIFAR = {
    "cifar10": ("labels", "label_names", [f"data_batch_{i}" for i in range(1, 6)], "test_batch"),
    "cifar100": ("fine_labels", "fine_label_names", ["train"], "test"),
}


def read_cifar(path: Path, name: str, n_labels: int, md5: str | None) -> RawSplits:
    """Read CIFAR's python pickles from the tar.gz (its MD5 checked first) or the folder."""
    field, names_field, train, test = _CIFAR[name]
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    class_names = None
    for member, stream in _members(path, {*train, test, "batches.meta", "meta"}, md5):
        file = path / member
        table = table_of(load_pickle(stream, file), file)
        if member.endswith("meta"):
            class_names = tuple(texts(_entry(table, names_field, file), file, names_field))
            continue
        data = _entry(table, "data", file)
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
            raise DataFormatError(file, "field data is not uint8 rows of 3072 (3x32x32)", AGAIN)
        labels = check_labels(_entry(table, field, file), n_labels, file, field)
        if len(labels) != len(data):
            raise DataFormatError(file, f"{len(data)} images but {len(labels)} labels", AGAIN)
        parts[member] = data.reshape(-1, 3, 32, 32), labels
    for member in (*train, test):
        if member not in parts:
            raise DataFormatError(path, f"the file {member} is missing in it", AGAIN)
    pieces = [parts.pop(member) for member in train]
    return RawSplits(
        np.concatenate([images for images, _ in pieces]) if len(pieces) > 1 else pieces[0][0],
        np.concatenate([labels for _, labels in pieces]),
        *parts[test],
        class_names,
    )


def _members(path: Path, wanted: set[str], md5: str | None) -> Iterator[tuple[str, BinaryIO]]:
    """Yield the wanted files of a folder or of a tar.gz (front to back: it cannot seek)."""
    if path.is_dir():
        for name in sorted(wanted):
            if (path / name).is_file():
                with (path / name).open("rb") as stream:
                    yield name, stream
        return
    check_md5(path, md5)
    try:
        with open_gzip(path) as content, tarfile.open(fileobj=content, mode="r|") as archive:
            for info in archive:
                name = info.name.rsplit("/", 1)[-1]
                if info.isfile() and name in wanted:
                    yield name, archive.extractfile(info)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataFormatError(path, f"truncated or damaged archive ({error})", AGAIN) from error


def read_mnist(folder: Path, n_labels: int) -> RawSplits:
    """Read MNIST's four idx files, plain or gzipped."""
    arrays = []
    for split in ("train", "t10k"):
        pixels = _idx(idx_file(folder, f"{split}-images", 3, required=True), 3)
        file = idx_file(folder, f"{split}-labels", 1, required=True)
        labels = check_labels(_idx(file, 1), n_labels, file, "labels")
        if pixels.shape[1:] != (28, 28) or len(labels) != len(pixels):
            raise DataFormatError(
                file,
                f"{len(labels)} labels beside images of shape {pixels.shape}; they must be as "
                "many, of 28x28",
                "Download the images and the labels of one release",
            )
        arrays += [pixels[:, None], labels]
    return RawSplits(*arrays, class_names=None)


def idx_file(folder: Path, stem: str, rank: int, required: bool = False) -> Path | None:
    """Find `<stem>-idx<rank>-ubyte` under the names in which it is distributed."""
    for name in (f"{stem}-idx{rank}-ubyte", f"{stem}.idx{rank}-ubyte"):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    if required:
        raise DataNotFoundError(
            f"{folder} holds a part of MNIST but not {stem}-idx{rank}-ubyte(.gz). Put it there."
        )
    return None


def _idx(file: Path, rank: int) -> np.ndarray:
    """Read one idx file of unsigned bytes."""
    try:
        with open_content(file) as stream:
            content = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataFormatError(file, f"truncated or damaged gzip file ({error})", AGAIN) from error
    head = 4 + 4 * rank
    if len(content) < head or content[:4] != bytes([0, 0, 8, rank]):
        raise DataFormatError(file, f"it is no idx file of {rank}-dimensional bytes", AGAIN)
    shape = struct.unpack(f">{rank}I", content[4:head])
    if len(content) - head != np.prod(shape, dtype=np.int64):
        raise DataFormatError(
            file, f"{len(content) - head} bytes follow a header that says {shape}", AGAIN
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


_IMAGES = (".jpeg", ".jpg", ".png")


WNIDS_FIX = (
    "It names the classes, a line each, as the folders in train/ do: take it from tiny-imagenet-200.zip, "
    "or write those names into it"
)
SORTING_FIX = (
    "Put all of them into val/images/ with val/val_annotations.txt, or each into val/<wnid>/ and take "
    "val/images/ away"
)


class _Tree:
    """The files of a folder or of a zip, listed once and read by path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = None if path.is_dir() else zipfile.ZipFile(path)
        self._members: dict[str, list[str]] = {}
        self._prefix = ""
        if self._zip is not None:
            for name in self._zip.namelist():
                folder, _, file = name.rpartition("/")
                if file == "wnids.txt":
                    self._prefix = f"{folder}/" if folder else ""
                self._members.setdefault(folder, []).append(file)

    def images(self, *folders: str) -> list[str]:
        """The images of the first of the folders that holds any, sorted: one order everywhere."""
        for folder in folders:
            if self._zip is not None:
                names = self._members.get(self._prefix + folder, [])
            else:
                inside = self.path / folder
                names = [p.name for p in inside.iterdir()] if inside.is_dir() else []
            shown = sorted(n for n in names if n.lower().endswith(_IMAGES) and not is_hidden(n))
            if shown:
                return [f"{folder}/{name}" for name in shown]
        return []

    def read(self, name: str) -> bytes:
        if self._zip is None:
            return (self.path / name).read_bytes()
        member = self._zip.getinfo(self._prefix + name)
        check_size(self.path / name, member.compress_size, member.file_size)
        return self._zip.read(member)

    def lines(self, name: str, fix: str) -> list[list[str]]:
        """The rows of a table of text; `fix` says what to do where it is missing."""
        try:
            content = self.read(name)
        except (KeyError, FileNotFoundError):
            raise DataFormatError(self.path, f"the file {name} is missing in it", fix) from None
        try:
            text = content.decode().lstrip(BOM)
        except UnicodeDecodeError as error:
            raise not_utf8(self.path / name, content[:64], error.reason) from error
        if "\0" in text:
            raise not_utf8(self.path / name, content[:64])
        return [line.split("\t") for line in text.splitlines() if line.strip()]

    def close(self) -> None:
        if self._zip is not None:
            self._zip.close()


def read_tiny_imagenet(path: Path, shape: tuple[int, int, int], md5: str | None) -> RawSplits:
    """Read Tiny-ImageNet from the zip (its MD5 checked first) or the folder.

    Labels number the sorted wnids, as the hub's parquet files do. The labelled validation images
    are the test split: the images under `test/` have no labels. They lie in `val/images/`, or
    sorted into a folder per class as much other code wants them, where their numbers tell the
    order. Images of a class may lie in its folder itself.
    """
    if not path.is_dir():
        check_md5(path, md5)
    tree = None
    try:
        tree = _Tree(path)
        wnids = sorted(row[0].strip() for row in tree.lines("wnids.txt", WNIDS_FIX))
        label_of = {wnid: label for label, wnid in enumerate(wnids)}
        train = [
            (name, label_of[wnid])
            for wnid in wnids
            for name in tree.images(f"train/{wnid}/images", f"train/{wnid}")
        ]
        test = _validation_images(tree, label_of)
        splits: list[np.ndarray] = []
        for files, title in ((train, "tiny_imagenet train"), (test, "tiny_imagenet test")):
            if not files:
                raise DataFormatError(
                    path,
                    f"no images for {title}",
                    "They lie in train/<wnid>/images/ and in val/images/ with "
                    "val/val_annotations.txt, or in train/<wnid>/ and val/<wnid>/; extract the whole "
                    "archive",
                )
            images = np.empty((len(files), *shape), np.uint8)
            blobs = ((f"{path}/{name}", tree.read(name)) for name, _ in files)
            decode_into(images, blobs, title)
            splits += [images, np.array([label for _, label in files], np.int64)]
    except DataFormatError:
        raise
    except (*UNZIPPING, KeyError, ValueError) as error:
        raise DataFormatError(
            path, f"truncated or damaged archive, or a file of it is missing ({error})", AGAIN
        ) from error
    finally:
        if tree is not None:
            tree.close()
    return RawSplits(*splits, class_names=tuple(wnids))


def _validation_images(tree: _Tree, label_of: dict[str, int]) -> list[tuple[str, int]]:
    """Path and label of each validation image, in the order of the annotations."""
    if not tree.images("val/images"):
        placed = [
            (name, label)
            for wnid, label in label_of.items()
            for name in tree.images(f"val/{wnid}/images", f"val/{wnid}")
        ]
        return sorted(placed, key=lambda image: natural_key(image[0].rsplit("/", 1)[-1]))
    test, annotations, there = [], "val/val_annotations.txt", set(tree.images("val/images"))
    rows = tree.lines(annotations, SORTING_FIX)
    # wnids.txt may list a part of the classes; the loader checks how many images that leaves.
    part = any(row[1] in label_of for row in rows if len(row) > 1)
    for record, row in enumerate(rows):
        if len(row) > 1 and row[1] in label_of:
            test.append((f"val/images/{row[0]}", label_of[row[1]]))
        elif len(row) < 2 or not part:
            raise DataFormatError(
                tree.path / annotations,
                f"record {record}: {row[1:2] or row} is no wnid of wnids.txt",
                "Keep the annotations and wnids.txt of one release",
            )
    if absent := [name for name, _ in test if name not in there]:
        raise DataFormatError(
            tree.path,
            f"{len(absent)} of {len(test)} images of {annotations} are not in val/images/ (first: "
            f"{absent[0]})",
            SORTING_FIX,
        )
    return test


MINI_FILES = {
    f"mini-imagenet-cache-{s}.pkl": n for s, n in (("train", 64), ("val", 16), ("test", 20))
}


def read_mini_imagenet(folder: Path, shape: tuple[int, int, int]) -> RawSplits:
    """Pool the three Mini-ImageNet pickles, which divide by class, and split each class.

    Labels number the classes in the order train, val, test. A random sixth of each class (100 of
    600) becomes its test images, by a generator of its own: the same split for every run.
    """
    # RandomState's stream is frozen by numpy's compatibility policy; default_rng's is not.
    generator = np.random.RandomState(0)
    channels, height, width = shape
    splits: tuple[list, list, list, list] = ([], [], [], [])
    label = 0
    for name, n_classes in MINI_FILES.items():
        file = folder / name
        if not file.is_file():
            raise DataNotFoundError(
                f"{folder} holds a part of Mini-ImageNet but not {name}. Put it there too."
            )
        with file.open("rb") as stream:
            table = table_of(load_pickle(stream, file), file)
        data = _entry(table, "image_data", file)
        rank_ok = isinstance(data, np.ndarray) and data.dtype == np.uint8
        if not rank_ok or data.shape[1:] != (height, width, channels):
            found = getattr(data, "shape", type(data).__name__)
            raise DataFormatError(
                file, f"field image_data is {found}, not uint8 (n, {height}, {width}, 3)", AGAIN
            )
        for members in _classes(table, len(data), n_classes, file):
            order = generator.permutation(len(members))
            n_test = len(members) // 6
            for at, part in ((0, np.sort(order[n_test:])), (2, np.sort(order[:n_test]))):
                images = data[members[part]].transpose(0, 3, 1, 2)
                splits[at].append(np.ascontiguousarray(images))
                splits[at + 1].append(np.full(len(part), label, np.int64))
            label += 1
    note = "per class a fixed random sixth of the pooled images is the test split"
    del data, table  # a pickle's images beside all the pooled ones would be a fifth more memory
    return RawSplits(*map(_drain, splits), class_names=None, note=note)


def _drain(pieces: list[np.ndarray]) -> np.ndarray:
    """Concatenate, giving each piece back as it is copied: together they are as large as it."""
    whole = np.empty((sum(map(len, pieces)), *pieces[0].shape[1:]), pieces[0].dtype)
    end = len(whole)
    while pieces:
        piece = pieces.pop()
        whole[end - len(piece) : end] = piece
        end -= len(piece)
    return whole


def _classes(table: dict, n_images: int, n_classes: int, file: Path) -> list[np.ndarray]:
    """Indices of each class: by the file's own map, or as equal runs (it is sorted by class)."""
    if table.get("class_dict"):
        try:
            groups = [flat_array(indices) for indices in table["class_dict"].values()]
            groups.sort(key=lambda indices: int(indices.min()))
            whole = np.array_equal(np.sort(np.concatenate(groups)), np.arange(n_images))
        except (AttributeError, TypeError, ValueError) as error:
            raise DataFormatError(file, f"field class_dict: {error}", AGAIN) from error
        if not whole or any(indices.dtype.kind not in "iu" for indices in groups):
            raise DataFormatError(file, "field class_dict does not cover each image once", AGAIN)
        return groups
    if n_images == 0 or n_images % n_classes:
        raise DataFormatError(
            file, f"{n_images} images cannot be {n_classes} classes of one size", AGAIN
        )
    return list(np.arange(n_images).reshape(n_classes, -1))
