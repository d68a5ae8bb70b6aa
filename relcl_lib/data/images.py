"""Image data sets: `load_images` returns the whole set as uint8 tensors, whatever its layout."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from relcl_lib.data.download import DataFormatError, DataNotFoundError, locate
from relcl_lib.data.image_files import RawSplits, image_formats, read_parquet
from relcl_lib.data.image_sets import SPECS, ImageSet


@dataclass(frozen=True, eq=False)
class ImageData:
    """A whole image data set in memory.

    `load_images` hands the same tensors to every caller of a process: do not edit them in place.
    `published` says that they are the published images, by number, and the training images by
    encoding: a JPEG of a lossless set trains another network. `note` says what else differs.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    source: str
    note: str = ""
    published: bool = False

    @property
    def n_classes(self) -> int:
        """Number of classes; labels are 0..n_classes-1."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return tuple(self.train_images.shape[1:])

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images per split."""
        return {"train": len(self.train_labels), "test": len(self.test_labels)}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, labels and pixels: names the content in result records."""
        digest = hashlib.sha256()
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            array = np.ascontiguousarray(part.numpy())
            # The byte order is part of the hash's definition, not of the machine.
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(memoryview(array).cast("B"))
        return digest.hexdigest()


def as_rgb(images: Tensor) -> Tensor:
    """Give grey images (..., 1, H, W) three equal channels without a copy; leave RGB as it is."""
    if images.ndim < 3 or images.shape[-3] not in (1, 3):
        raise ValueError(f"images must be (..., 1 or 3, H, W), not {tuple(images.shape)}")
    return images.expand(*images.shape[:-3], 3, *images.shape[-2:])


def rgb_of_side(images: Tensor, side: int | None = None) -> Tensor:
    """Images (N, C, H, W) uint8 as (N, 3, side, side); None keeps their size."""
    if side is not None and images.shape[-2:] != (side, side):
        resized = F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
        images = resized.round().clamp(0, 255).byte()
    return as_rgb(images).contiguous()


def as_jpeg(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) uint8 after JPEG as Pillow writes it: quality 75, colour at half resolution."""
    from PIL import Image

    copies = np.empty(images.shape, dtype=np.uint8)
    for copy, image in zip(copies, images.permute(0, 2, 3, 1).numpy(), strict=True):
        encoded = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image)).save(encoded, "JPEG", quality=75)
        with Image.open(encoded) as decoded:
            copy[...] = np.asarray(decoded).transpose(2, 0, 1)
    return torch.from_numpy(copies)


def load_images(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    check_counts: bool = True,
) -> ImageData:
    """Load a whole image data set.

    The set is looked for in `root` (its own folder, or a parent that holds a folder of its
    name), in `$RELCL_DATA/<name>`, in `data/<name>`, and is then downloaded from the hub at a
    pinned commit, its files checked by SHA-256 where that is known. The last two sets loaded
    stay in memory until their files change; nothing else is cached.

    `digits` is scikit-learn's, needs no file and ignores `root`. Its split depends on no seed: of
    each class the first 140 images in file order train and the next 34 test (a class has 174 to
    183 images; those beyond 174 are not used). Its values 0..16 are scaled to 0..255.

    Args:
        name: a key of `SPECS`: digits, cifar10, cifar100, mnist, tiny_imagenet,
            tiny_imagenet_100 (any 100 of its classes, from a folder) or mini_imagenet.
        root: a folder of your own.
        download: False never touches the network.
        check_counts: False admits a part of a set: the official counts are not required, and
            classes that do not occur are dropped, the others moving up in their order.

    Raises:
        ValueError: no such data set.
        DataNotFoundError: the files are nowhere; the message says which go where.
        DataFormatError: a file is damaged or is not what it should be.
    """
    if name not in SPECS:
        raise ValueError(f"unknown image data set {name!r}; the names are {', '.join(SPECS)}")
    spec = SPECS[name]
    if name == "digits":
        return _load(name, None, None, "", True)
    folder, from_hub, files = locate(
        name,
        lambda folder: _parquet_files(spec, folder) or spec.original(folder),
        root=root,
        hub=spec.hub,
        download=download,
        layouts=spec.layouts,
    )
    origin = f"{spec.hub.repo}@{spec.hub.revision[:7]}" if from_hub else ""
    read = (*files.train, *files.test) if isinstance(files, _Shards) else (files,)
    return _load(name, folder, files, origin, check_counts, _state(read))


@dataclass(frozen=True)
class _Shards:
    """The parquet files of each split."""

    train: tuple[Path, ...]
    test: tuple[Path, ...]


def _state(read: Sequence[Path]) -> int:
    """A number that changes with names, sizes and times of the files that are read.

    Of a folder everything in it counts; of a file those beside it, as some sets have several.
    """
    seen, entered = set(), set()
    folders = [place if place.is_dir() else place.parent for place in read]
    deep = any(map(Path.is_dir, read))
    while folders:
        for entry in os.scandir(folders.pop()):
            with contextlib.suppress(OSError):  # a dangling link; what is read is missed there
                stat = entry.stat()
                if not entry.is_dir():
                    seen.add((entry.path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
                elif deep and (stat.st_dev, stat.st_ino) not in entered:  # links may make a circle
                    entered.add((stat.st_dev, stat.st_ino))
                    folders.append(entry.path)
    return hash(frozenset(seen))


def _parquet_files(spec: ImageSet, folder: Path) -> _Shards | None:
    for inner in (folder / sub for sub in spec.subfolders):
        if train := sorted(inner.glob("train*.parquet")):
            return _Shards(tuple(train), tuple(sorted(inner.glob(spec.test_files))))
    return None


@lru_cache(maxsize=2)
def _load(
    name: str,
    folder: Path | None,
    files: _Shards | Path | None,
    origin: str,
    check_counts: bool,
    state: int = 0,  # so that files that have changed since are read again
) -> ImageData:
    spec = SPECS[name]
    if folder is None:
        raw, source = _digits(), "embedded"
    elif isinstance(files, _Shards):
        raw, source = _from_parquet(name, spec, files), "parquet"
    else:
        raw, source = spec.read(files, spec.md5), "original archive"
    where = folder or name
    counts = (len(raw.train_labels), len(raw.test_labels))
    if check_counts and counts != spec.counts:
        raise DataFormatError(
            where,
            f"{counts[0]} training and {counts[1]} test images, where {name} has "
            f"{spec.counts[0]} and {spec.counts[1]}",
            "Complete the files, or pass check_counts=False to use a part of the set",
        )
    present = np.unique(raw.train_labels)
    if absent := sorted(set(raw.test_labels.tolist()) - set(present.tolist())):
        raise DataFormatError(
            where, f"test labels {absent[:5]} have no training image", "Complete the files"
        )
    if check_counts and len(present) != spec.n_classes:
        raise DataFormatError(
            where,
            f"{len(present)} classes have training images, where {name} has {spec.n_classes}",
            "Complete the files, or pass check_counts=False to use a part of the set",
        )
    names = raw.class_names or spec.names or ()
    notes = [origin, spec.note, raw.note, "" if counts == spec.counts else "a part of the set"]
    return ImageData(
        name=name,
        train_images=_tensor(raw.train_images),
        train_labels=torch.from_numpy(np.searchsorted(present, raw.train_labels)),
        test_images=_tensor(raw.test_images),
        test_labels=torch.from_numpy(np.searchsorted(present, raw.test_labels)),
        class_names=tuple(names[i] if i < len(names) else str(i) for i in present.tolist()),
        source=source,
        note="; ".join(filter(None, notes)),
        published=counts == spec.counts and not raw.reencoded,
    )


def _tensor(array: np.ndarray) -> Tensor:
    # An array that lies in the bytes of its file cannot be written to, a tensor must be.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _from_parquet(name: str, spec: ImageSet, shards: _Shards) -> RawSplits:
    first = shards.train[0]
    if not shards.test:
        raise DataNotFoundError(
            f"{first.parent} holds {first.name} but no {spec.test_files}. Put it beside it "
            f"({name}: {spec.layouts[0]})."
        )
    parts, names = [], None
    for title, files in (("train", shards.train), ("test", shards.test)):
        images, labels, found = read_parquet(
            files, spec.shape, spec.label_columns, spec.label_range, f"{name} {title}"
        )
        parts += [images, labels]
        names = names or found
    if not spec.lossless:
        return RawSplits(*parts, class_names=names)
    # A mirror may have re-encoded a lossless set: results on it must say so.
    train, test = (_lossy(image_formats(files)) for files in (shards.train, shards.test))
    note, lossy = _encoding_note(train, test), bool(train)
    return RawSplits(*parts, class_names=names, note=note, reencoded=lossy)


_LOSSLESS = ("PNG", "lossless WEBP")


def _lossy(formats: Sequence[str]) -> str:
    """The formats as a text, if one of them loses something; else ""."""
    return " and ".join(formats) if {*formats} - {*_LOSSLESS} else ""


def _encoding_note(train: str, test: str) -> str:
    """What results on a copy of a lossless set must say: which of its images have lost something."""
    if train == test:
        return f"images encoded as {train} in this copy" if train else ""
    named = zip(("training", "test"), (train, test), strict=True)
    return "; ".join(f"{part} images encoded as {x} in this copy" for part, x in named if x)


def _digits() -> RawSplits:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    members = [np.flatnonzero(labels == digit) for digit in range(10)]
    # File order, not class by class: a stream that takes the first images meets every class.
    train = np.sort(np.concatenate([of_class[:140] for of_class in members]))
    test = np.sort(np.concatenate([of_class[140:174] for of_class in members]))
    labels = labels.astype(np.int64)
    return RawSplits(images[train], labels[train], images[test], labels[test], None)
