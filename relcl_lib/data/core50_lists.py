"""CORe50's protocol lists: which images make each experience of each track, in one official run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relcl_lib.data.archives import _table
from relcl_lib.data.download import DataFormatError
from relcl_lib.data.image_files import AGAIN
from relcl_lib.data.pickles import load_pickle

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


def read_experiences(
    folder: Path, paths: list[str], labels: np.ndarray, order: int
) -> dict[str, tuple[Tensor, ...]]:
    """Return the lists of each track that the folder holds: experiences, then the test images."""
    found, positions = {}, None
    pickled = (folder / "LUP.pkl").is_file()
    files = [folder / name for name in ("LUP.pkl", "labels.pkl")] if pickled else []
    tables = [_table(unpickled(file), file) for file in files]
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


Pairs = list[tuple[np.ndarray, np.ndarray]]


def _pickled_lists(
    indices: dict, labels: dict, key: str, order: int, count: int, folder: Path
) -> Pairs:
    parts = []
    for name, table in (("LUP.pkl", indices), ("labels.pkl", labels)):
        try:
            parts.append([np.asarray(part, np.int64) for part in table[key][order]])
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
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise DataFormatError(file, f"cannot be read ({error.strerror})", AGAIN) from error
    rows = []
    for record, line in enumerate(filter(None, map(str.strip, lines))):
        path, _, label = line.rpartition(" ")
        if path not in positions or not label.isdigit():
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
