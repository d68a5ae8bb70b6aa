"""Compressed files that somebody else made: none may unpack to far more than any data set does."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from relcl_lib.data.download import DataFormatError

#: what unpacks to fewer bytes does no harm, whatever it is
HARMLESS = 64 << 20
#: text and images shrink to a twentieth at the most; a file made to fill the memory, to a thousandth
MOST_TIMES = 100
#: what zipfile raises for archives that are damaged, encrypted or packed in ways it does not know
UNZIPPING = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, RuntimeError, UnicodeDecodeError),
)
FIX = "If you trust it, unpack it yourself and name what was in it; otherwise get the file again"


def check_size(path: str | Path, packed: int, unpacked: int) -> None:
    """DataFormatError where `packed` bytes become more than any data set does."""
    if unpacked > HARMLESS and unpacked > MOST_TIMES * packed:
        raise DataFormatError(
            path, f"{packed} bytes unpack to more than {MOST_TIMES} times as many", FIX
        )


class _Counted(io.RawIOBase):
    """A stream that is cut off by an error where it becomes too long."""

    def __init__(self, stream: IO[bytes], path: str | Path, packed: int) -> None:
        self._stream, self._path, self._packed, self._seen = stream, path, packed, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        piece = self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        self._seen += len(piece)
        check_size(self._path, self._packed, self._seen)
        return len(piece)


@contextmanager
def open_gzip(path: Path) -> Iterator[io.BufferedReader]:
    """The content of a gzip file as bytes."""
    with gzip.open(path, "rb") as stream:
        yield io.BufferedReader(_Counted(stream, path, path.stat().st_size), 1 << 20)


def open_content(path: Path) -> AbstractContextManager[io.BufferedReader]:
    """The content of a file as bytes, of what it unpacks to where its name ends in `.gz`."""
    return open_gzip(path) if path.suffix.lower() == ".gz" else path.open("rb")


@contextmanager
def open_member(archive: zipfile.ZipFile, name: str, path: Path) -> Iterator[io.BufferedReader]:
    """The content of a file in a zip as bytes."""
    with archive.open(name) as stream:
        packed = archive.getinfo(name).compress_size
        yield io.BufferedReader(_Counted(stream, f"{path}/{name}", packed), 1 << 20)
