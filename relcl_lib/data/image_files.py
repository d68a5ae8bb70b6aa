"""Image bytes to arrays: the threaded decoder and the reader of the hub's parquet layout."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from relcl_lib.data.download import DataFormatError
from relcl_lib.data.unpacking import check_size
from relcl_lib.lab.json_text import parse_json

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

AGAIN = "Download the file again"
_STEP = 1024  # records held encoded at a time: memory stays near the decoded size
_QUIET_BELOW = 5000  # images; a progress bar over less only flickers


class RawSplits(NamedTuple):
    """What a reader returns: uint8 images (N, C, H, W), int64 labels, names where the files tell.

    `note` says what the reader decided itself (a split the files do not hold), `reencoded` that
    the training images are no longer those that were published.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...] | None
    note: str = ""
    reencoded: bool = False


def flat_array(values: Any) -> np.ndarray:
    """A list of numbers as an array; ValueError for a list of lists, which may be built to explode."""
    if isinstance(values, np.ndarray):
        return values
    if not isinstance(values, list | tuple):
        raise ValueError(f"is a {type(values).__name__}, no list")
    if any(isinstance(value, list | tuple | dict | set | frozenset) for value in values):
        raise ValueError("is no flat list")
    return np.asarray(values)


def check_labels(labels: np.ndarray, n_labels: int, file: str | Path, field: str) -> np.ndarray:
    """The labels as int64; DataFormatError names the first one outside 0..n_labels-1."""
    try:
        labels = flat_array(labels)
    except ValueError as error:
        raise DataFormatError(file, f"field {field} {error}", AGAIN) from error
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataFormatError(
            file, f"field {field} holds {labels.dtype} of shape {labels.shape}, not integers", AGAIN
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= n_labels))
    if len(wrong):
        first = int(wrong[0])
        raise DataFormatError(
            file,
            f"record {first}, field {field}: label {labels[first]} is not in 0..{n_labels - 1}",
            "Check that the file belongs to this data set, or download it again",
        )
    return labels.astype(np.int64)


def decode_into(out: np.ndarray, blobs: Iterable[tuple[str, bytes]], title: str) -> None:
    """Decode encoded images into `out` (N, C, H, W), in order, a bounded number at a time.

    Each blob comes with the words that name it in an error. Grey images are repeated to three
    channels where `out` has three, colour images become grey where it has one.
    """
    from tqdm import tqdm

    workers = min(8, os.cpu_count() or 1)
    quiet = len(out) <= _QUIET_BELOW or not sys.stderr.isatty()
    blobs, start = iter(blobs), 0
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(out), desc=title, unit="img", disable=quiet) as bar,
    ):
        while chunk := list(islice(blobs, _STEP)):
            rows = out[start : start + len(chunk)]
            if len(rows) < len(chunk):
                raise DataFormatError(title, f"more than the announced {len(out)} images", AGAIN)
            # One task per worker: one per image would cost more in hand-over than in decoding.
            list(
                pool.map(
                    _decode_some,
                    [chunk[i::workers] for i in range(workers)],
                    [rows[i::workers] for i in range(workers)],
                )
            )
            start += len(chunk)
            bar.update(len(chunk))
    if start != len(out):
        raise DataFormatError(title, f"{start} images where {len(out)} were announced", AGAIN)


def _decode_some(blobs: Sequence[tuple[str, bytes]], rows: np.ndarray) -> None:
    """Decode a worker's share."""
    from PIL import Image

    channels, height, width = rows.shape[1:]
    for (where, blob), row in zip(blobs, rows, strict=True):
        try:
            with Image.open(io.BytesIO(blob)) as image:
                size = image.size
                if size == (width, height):  # looked at first: a huge image is never decoded
                    pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
        # Pillow raises whatever its many parsers raise (OSError, SyntaxError, struct.error, ...).
        except Exception as error:
            raise DataFormatError(
                where,
                f"the image cannot be decoded ({type(error).__name__}: {error})",
                f"{AGAIN}, or remove it if it is no image of the set",
            ) from error
        if size != (width, height):
            raise DataFormatError(
                where,
                f"the image is {size[0]}x{size[1]}, not {width}x{height}",
                "Check that the file belongs to this data set",
            )
        row[...] = pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]


def read_parquet(
    files: Sequence[Path],
    shape: tuple[int, int, int],
    label_columns: Sequence[str],
    n_labels: int,
    title: str,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...] | None]:
    """Read one split from its shards: images, labels, and class names where the schema has them.

    Record batches are streamed, so that memory stays near the size of the decoded images.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sources, names = [], None
    labels: list[np.ndarray] = []
    with contextlib.ExitStack() as opened:
        for file in files:
            try:
                source = opened.enter_context(pq.ParquetFile(file))
            except (pa.ArrowException, OSError) as error:
                raise _broken(file, error) from error
            image = _column(source, file, ("img", "image"))
            label = _column(source, file, label_columns)
            sources.append((file, source, image, label))
            names = names or _class_names(source.schema_arrow.metadata or {}, label)
        total = sum(source.metadata.num_rows for _, source, _, _ in sources)
        if total == 0:
            raise DataFormatError(files[0], "it holds no records", AGAIN)
        # A table may say in a few bytes that it has a billion rows.
        packed = sum(file.stat().st_size for file in files)
        check_size(files[0], packed, total * math.prod(shape))
        images = np.empty((total, *shape), dtype=np.uint8)
        decode_into(images, _records(sources, labels, n_labels), title)
    return images, np.concatenate(labels), names


def image_formats(files: Sequence[Path]) -> tuple[str, ...]:
    """How readable shards encode their images, all of them looked at, sorted: `PNG`, `JPEG`, ..."""
    import pyarrow.parquet as pq

    found = set()
    for file in files:
        with pq.ParquetFile(file) as source:
            column = _column(source, file, ("img", "image"))
            for batch in source.iter_batches(_STEP, columns=[column]):
                found.update(map(_image_format, _image_bytes(batch.column(0))))
    return tuple(sorted(found))


def _image_format(blob: bytes) -> str:
    if blob.startswith(b"\x89PNG"):
        return "PNG"
    if blob.startswith(b"\xff\xd8"):
        return "JPEG"
    if blob.startswith(b"RIFF") and blob[8:12] == b"WEBP":
        # WebP names the kind of its pixels in the first chunk: VP8L is the lossless one.
        return "lossless WEBP" if blob[12:16] == b"VP8L" else "WEBP"
    from PIL import Image

    with Image.open(io.BytesIO(blob)) as image:
        return image.format


def _records(
    sources: Sequence[tuple[Path, pq.ParquetFile, str, str]], labels: list, n_labels: int
) -> Iterator[tuple[str, bytes]]:
    """Stream (name of the record, encoded image) over the shards, and collect their labels."""
    import pyarrow as pa

    for file, source, image, label in sources:
        start, shard = 0, []
        batches = source.iter_batches(_STEP, columns=[image, label])
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    break
                blobs = _image_bytes(batch.column(batch.schema.get_field_index(image)))
                column = batch.column(batch.schema.get_field_index(label))
            except (pa.ArrowException, OSError, EOFError) as error:
                raise _broken(file, error) from error
            if blobs is None or not pa.types.is_integer(column.type) or column.null_count:
                raise DataFormatError(
                    file,
                    f"from record {start}: field {image} must be struct{{bytes, path}} or binary "
                    f"and field {label} integers without gaps; they are "
                    f"{batch.schema.field(image).type} and {column.type}",
                    "Take the file from the hub's parquet layout",
                )
            shard.append(column.to_numpy())
            for offset, blob in enumerate(blobs):
                where = f"{file}: record {start + offset}, field {image}"
                if blob is None:
                    raise DataFormatError(where, "the record has no image bytes", AGAIN)
                yield where, blob
            start += len(batch)
        if shard:
            labels.append(check_labels(np.concatenate(shard), n_labels, file, label))


def _image_bytes(column: pa.Array) -> list[bytes | None] | None:
    """Take the encoded bytes out of an image column; None for a type that holds none."""
    import pyarrow as pa

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = column.field("bytes")
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return column.to_pylist()
    return None


def _column(source: pq.ParquetFile, file: Path, wanted: Sequence[str]) -> str:
    """Pick the first of the wanted columns that the file has."""
    present = source.schema_arrow.names
    for name in wanted:
        if name in present:
            return name
    raise DataFormatError(
        file,
        f"it has no column {' or '.join(wanted)} (its columns: {', '.join(present) or 'none'})",
        "Rename the column, or take the file from the hub",
    )


def _class_names(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...] | None:
    """Read class names from the schema: the hub's own key, or a plain list under class_names."""
    try:
        if b"class_names" in metadata:
            return tuple(map(str, parse_json(metadata[b"class_names"].decode())))
        features = parse_json(metadata[b"huggingface"].decode())["info"]["features"]
        return tuple(map(str, features[label]["names"]))
    except (KeyError, TypeError, ValueError):
        return None  # names only decorate plots: a file without them is a good file


def _broken(file: Path, error: Exception) -> DataFormatError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DataFormatError(file, f"truncated or damaged parquet file ({first})", AGAIN)
