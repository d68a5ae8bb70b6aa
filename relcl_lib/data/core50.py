"""CORe50: images by path or from the packed archive, each of one session and one object."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relcl_lib.data.archives import table_of
from relcl_lib.data.download import DataFormatError, is_hidden, locate
from relcl_lib.data.image_files import AGAIN, decode_into, flat_array
from relcl_lib.data.pickles import load_pickle, texts
from relcl_lib.data.text_files import read_lines

#: track -> its name in the pickles, the folder of its text lists, its number of experiences
LISTS = {
    "NI": ("ni", "NI_inc", 8),
    "Multi-Task-NC": ("nc", "NC_inc", 9),
    "NIC": ("nicv2_391", "NIC_v2_391", 391),
}
LIST_FILES = (
    "LUP.pkl with labels.pkl and paths.pkl, or the extracted batches_filelists.zip "
    "(batches_filelists/) and batches_filelists_NICv2.zip (NIC_v2_391/)"
)
#: images of each session of the 128x128 release, s1 to s11: 164,866 together
SESSION_SIZES = (
    14989, 14986, 14992, 14995, 14966, 14989, 14994, 14984, 14994, 14986, 14991
)  # fmt: skip
SIDE = 128
CATEGORIES = (
    "plug adapter", "mobile phone", "scissors", "light bulb", "can", "glasses", "ball", "marker",
    "cup", "remote control",
)  # fmt: skip
CLASS_NAMES = tuple(f"{name} {i}" for name in CATEGORIES for i in range(1, 6))
LAYOUTS = (
    "the folder core50_128x128/ of core50_128x128.zip (or s1/ to s11/ themselves), or "
    "core50_imgs.npz with paths.pkl",
    f"and beside it {LIST_FILES}",
)
TRAIN_SESSIONS = (1, 2, 4, 5, 6, 8, 9, 11)
TEST_SESSIONS = (3, 7, 10)
#: images of one object in one session, about; stand-ins keep at most as many
VIDEO_LENGTH = 300
Pairs = list[tuple[np.ndarray, np.ndarray]]  # positions and labels of each list
_LABEL = re.compile("[0-9]{1,3}")
_PATH = re.compile(r"s([0-9]{1,2})/o([0-9]{1,2})/C_([0-9]{1,2})_([0-9]{1,2})_([0-9]{1,6})\.png")


@dataclass(frozen=True, eq=False)
class SessionData:
    """Images, each with a label and a session: those of `test_sessions` test, the others train.

    Attributes:
        name: `core50`, `CORe50-standin(<base>)`, or the set's own where it has no sessions.
        images: (N, C, H, W) uint8; do not edit it in place.
        labels: (N,) int64.
        sessions: (N,) int64.
        class_names: one per label.
        source: where the files came from.
        video_length: training images of one class in one session, about.
        valid_every: which of the test images validate: every `valid_every`-th.
        test_sessions: numbers of the sessions that test.
        experiences: track -> positions of each experience, then of the test images, where the data
            set brings its own lists (CORe50, one run of them).
    """

    name: str
    images: Tensor
    labels: Tensor
    sessions: Tensor
    class_names: tuple[str, ...]
    source: str
    note: str = ""
    video_length: int = VIDEO_LENGTH
    valid_every: int = 5
    test_sessions: tuple[int, ...] = TEST_SESSIONS
    experiences: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)

    @property
    def n_classes(self) -> int:
        """Number of classes; labels are 0..n_classes-1."""
        return len(self.class_names)

    @property
    def is_test(self) -> Tensor:
        """Which images test, (N,) bool."""
        return torch.isin(self.sessions, torch.tensor(self.test_sessions))

    @property
    def train_sessions(self) -> list[int]:
        """Numbers of the sessions that train, in ascending order."""
        return self.sessions[~self.is_test].unique().tolist()

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images per split."""
        test = int(self.is_test.sum())
        return {"train": len(self.labels) - test, "test": test}

    @property
    def published(self) -> bool:
        """Whether these are CORe50's images at 128x128, by their number in each session."""
        counts = torch.bincount(self.sessions, minlength=12)[1:].tolist()
        return self.images.shape[-1] == SIDE and tuple(counts) == SESSION_SIZES

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, labels, sessions, lists and pixels: names the content in records."""
        digest = hashlib.sha256()
        if self.test_sessions != TEST_SESSIONS:
            digest.update(f"test {sorted(self.test_sessions)}".encode())
        lists = [part for track in sorted(self.experiences) for part in self.experiences[track]]
        for part in (self.labels, self.sessions, *lists, self.images):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            for rows in part.split(4096):  # the images may be far larger than a copy could be
                array = np.ascontiguousarray(rows.numpy())
                digest.update(memoryview(array.astype(array.dtype.newbyteorder("<"), copy=False)))
        return digest.hexdigest()


def load_core50(
    root: str | os.PathLike[str] | None = None, *, order: int = 0, check_counts: bool = True
) -> SessionData:
    """Load CORe50 at 128x128 with the lists of one of its ten official runs.

    The packed archive is read where it is there, else the image files are decoded; either way the
    images fill 7.7 GiB. Labels are object number - 1; tracks that number classes otherwise do so
    themselves.

    Args:
        root: folder that holds `core50/` or is it.
        order: official run, 0 to 9; the challenge used 0.
        check_counts: False admits a part of the sessions.

    Raises:
        DataNotFoundError: CORe50 is nowhere; the message says which files go where.
        DataFormatError: sessions or images are missing, or lists and images do not agree.
    """
    if not 0 <= order <= 9:
        raise ValueError(f"order={order}: CORe50 has the official runs 0 to 9")
    folder = locate("core50", _holds, root=root, layouts=LAYOUTS).folder
    paths = _paths(folder)
    places = np.array([_place(path, folder) for path in paths], np.int64).reshape(-1, 2)
    if check_counts:
        _check_sessions(places[:, 0], folder)
    labels = places[:, 1] - 1
    experiences = read_experiences(folder, paths, labels, order)
    images, source = _images(folder, paths)  # last: what is wrong should be said before 7.7 GiB
    return SessionData(
        name="core50",
        images=images,
        labels=torch.from_numpy(labels),
        sessions=torch.from_numpy(places[:, 0].copy()),
        class_names=CLASS_NAMES,
        source=source,
        note=f"official run {order}",
        valid_every=20,
        experiences=experiences,
    )


def _holds(folder: Path) -> bool:
    return (folder / "core50_imgs.npz").is_file() or _tree(folder) is not None


def _tree(folder: Path) -> Path | None:
    for inner in (folder / "core50_128x128", folder):
        if any((inner / f"s{session}").is_dir() for session in range(1, 12)):
            return inner
    return None


# --- images --------------------------------------------------------------------------------------


def _paths(folder: Path) -> list[str]:
    """The relative paths of all images: as paths.pkl lists them, else as they lie there."""
    listed, packed = folder / "paths.pkl", folder / "core50_imgs.npz"
    paths = texts(unpickled(listed), listed) if listed.is_file() else None
    for path in paths or ():
        _place(path, folder)
    if packed.is_file():
        if paths is None:
            raise DataFormatError(packed, "paths.pkl is not beside it", "Put it there")
        return paths
    tree = _tree(folder)
    found = (path for path in tree.glob("s*/o*/*.png") if not is_hidden(path.name))
    files = sorted((path.relative_to(tree).as_posix() for path in found), key=_numbers)
    if paths is not None and (missing := sorted(set(paths) - set(files), key=_numbers)):
        raise DataFormatError(tree, _missing(missing, paths), "Extract core50_128x128.zip whole")
    paths = paths or files
    if not paths:
        raise DataFormatError(tree, "it holds no image", "Extract core50_128x128.zip whole")
    return paths


def _images(folder: Path, paths: list[str]) -> tuple[Tensor, str]:
    """The images (N, 3, H, W), and where they came from."""
    if (folder / "core50_imgs.npz").is_file():
        return _packed_images(folder / "core50_imgs.npz", len(paths)), "packed archive"
    tree = _tree(folder)
    images = np.empty((len(paths), 3, SIDE, SIDE), np.uint8)
    decode_into(images, ((str(tree / p), (tree / p).read_bytes()) for p in paths), "core50")
    return torch.from_numpy(images), "image files"


def _packed_images(file: Path, count: int) -> Tensor:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            size = archive.zip.getinfo("x.npy").file_size
            if size > count * SIDE * SIDE * 3 + 4096:  # before it fills the memory
                raise ValueError(f"x has {size} bytes, too many for {count} images")
            array = archive["x"]
    # numpy raises what zipfile, zlib and its own parser raise (BadZipFile, KeyError, ValueError...).
    except Exception as error:
        raise DataFormatError(
            file, f"no complete archive with an array x ({type(error).__name__}: {error})", AGAIN
        ) from error
    if array.dtype != np.uint8 or array.shape[1:] != (SIDE, SIDE, 3):
        raise DataFormatError(
            file, f"x is {array.dtype} {array.shape}, not uint8 (N, {SIDE}, {SIDE}, 3)", AGAIN
        )
    if len(array) != count:
        raise DataFormatError(
            file,
            f"it holds {len(array)} images, paths.pkl names {count}",
            "Take both of one release",
        )
    return torch.from_numpy(array).permute(0, 3, 1, 2)  # a view: a copy would be 7.7 GiB more


def _numbers(path: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall("[0-9]{1,9}", path)))


def _missing(missing: list[str], paths: list[str]) -> str:
    """Say which sessions are missing whole, and of which some images are."""
    total, gone = (
        np.bincount([_numbers(p)[0] for p in part], minlength=12) for part in (paths, missing)
    )
    whole = [f"s{s}" for s in range(12) if gone[s] and gone[s] == total[s]]
    part = [f"{gone[s]} of {total[s]} images of s{s}" for s in range(12) if 0 < gone[s] < total[s]]
    words = [f"sessions {', '.join(whole)} are missing"] if whole else []
    words += [f"{', '.join(part)} are missing"] if part else []
    return f"{'; '.join(words)} (the first: {missing[0]})"


def _place(path: str, folder: Path) -> tuple[int, int]:
    """Session and object of a path, which names both twice."""
    found = _PATH.fullmatch(path)
    if found:
        session, thing, again, same, _ = map(int, found.groups())
        if (session, thing) == (again, same) and 1 <= session <= 11 and 1 <= thing <= 50:
            return session, thing
    raise DataFormatError(
        folder / path,
        "its name does not say s<session>/o<object>/C_<session>_<object>_<frame>.png",
        "Keep the names of core50_128x128.zip",
    )


def _check_sessions(sessions: np.ndarray, folder: Path) -> None:
    counts = np.bincount(sessions, minlength=12)[1:]
    wrong = [
        f"s{s}: {found} of {size}" if found else f"s{s} is missing"
        for s, (found, size) in enumerate(zip(counts, SESSION_SIZES, strict=True), start=1)
        if found != size
    ]
    if wrong:
        raise DataFormatError(
            folder,
            f"incomplete: {'; '.join(wrong)}",
            "Extract core50_128x128.zip whole, or pass check_counts=False to use a part",
        )


# --- the lists of an official run: which images make each experience of each track ----------------


def read_experiences(
    folder: Path, paths: list[str], labels: np.ndarray, order: int
) -> dict[str, tuple[Tensor, ...]]:
    """The lists of each track that the folder holds: experiences, then the test images."""
    found, positions = {}, None
    pickled = (folder / "LUP.pkl").is_file()
    files = [folder / name for name in ("LUP.pkl", "labels.pkl")] if pickled else []
    tables = [table_of(unpickled(file), file) for file in files]
    for track, (key, lists, count) in LISTS.items():
        if pickled:
            pairs = _pickled_lists(*tables, key, order, count, folder)
            where = str(folder / "LUP.pkl")
        elif (inner := _list_folder(folder, lists, order)) is not None:
            positions = positions or {path: i for i, path in enumerate(paths)}
            pairs, where = _text_lists(inner, positions, count), str(inner)
        else:
            continue
        _check_lists(pairs, labels, track, where)
        found[track] = tuple(torch.from_numpy(indices) for indices, _ in pairs)
    if not found:
        raise DataFormatError(folder, "it holds no protocol lists", f"Put there {LIST_FILES}")
    return found


def _pickled_lists(
    indices: dict, labels: dict, key: str, order: int, count: int, folder: Path
) -> Pairs:
    parts = []
    for name, table in (("LUP.pkl", indices), ("labels.pkl", labels)):
        try:
            parts.append([flat_array(part).astype(np.int64) for part in table[key][order]])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataFormatError(
                folder / name, f"no lists of integers under {key}, run {order} ({error!r})", AGAIN
            ) from error
        if len(parts[-1]) != count + 1:
            raise DataFormatError(
                folder / name,
                f"{key}, run {order}: {len(parts[-1])} lists, not {count} experiences and the test",
                AGAIN,
            )
    return list(zip(*parts, strict=True))


def _list_folder(folder: Path, lists: str, order: int) -> Path | None:
    for inner in (folder / "batches_filelists" / lists, folder / lists):
        for run in (inner / f"run{order}", inner / f"Run{order}"):
            if run.is_dir():
                return run
    return None


def _text_lists(folder: Path, positions: dict[str, int], count: int) -> Pairs:
    width = max(2, len(str(count - 1)))
    names = [f"train_batch_{i:0{width}d}_filelist.txt" for i in range(count)]
    return [_text_list(folder / name, positions) for name in (*names, "test_filelist.txt")]


def _text_list(file: Path, positions: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    rows = []
    for record, line in enumerate(filter(None, map(str.strip, read_lines(file)))):
        path, _, label = line.rpartition(" ")
        if path not in positions or not _LABEL.fullmatch(label):
            raise DataFormatError(
                file, f"record {record}: {line!r} is no image of the data set and a label", AGAIN
            )
        rows.append((positions[path], int(label)))
    return tuple(np.array(rows, np.int64).reshape(-1, 2).T.copy())


def _check_lists(pairs: Pairs, labels: np.ndarray, track: str, where: str) -> None:
    """Compare lists with images: as many labels as positions, one label an object, each its own."""
    number: dict[int, int] = {}
    for index, (positions, given) in enumerate(pairs):
        part = f"{track}, {'test' if index == len(pairs) - 1 else f'experience {index}'}"
        if len(positions) != len(given):
            raise DataFormatError(
                where,
                f"{part}: {len(positions)} images but {len(given)} labels",
                "Take LUP.pkl and labels.pkl of one release",
            )
        if len(positions) and not 0 <= positions.min() <= positions.max() < len(labels):
            raise DataFormatError(
                where,
                f"{part}: position {positions.max()} where there are {len(labels)} images",
                "Take the lists and the images of one release",
            )
        # Multi-Task-NC numbers classes as they come; elsewhere a label is its object's number - 1.
        for thing, label in np.unique(np.stack([labels[positions], given]), axis=1).T.tolist():
            expected = number.setdefault(thing, label if track == "Multi-Task-NC" else thing)
            if label != expected:
                raise DataFormatError(
                    where,
                    f"{part}: an image of object {thing + 1} has label {label}, not {expected}",
                    "Take the lists and the images of one release",
                )


def unpickled(file: Path) -> Any:
    """Read a pickle of plain containers that must be there."""
    if not file.is_file():
        raise DataFormatError(file, "the file is missing", "Put it there")
    with file.open("rb") as stream:
        return load_pickle(stream, file)
