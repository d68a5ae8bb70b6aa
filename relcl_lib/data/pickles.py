"""Read pickles of arrays and plain containers, and nothing else.

A pickle is a program: the plain unpickler imports and calls whatever it names. `load_pickle`
admits numpy arrays and containers and refuses everything else before it is looked up.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy import dtype, frombuffer, ndarray

from relcl_lib.data.download import DataFormatError
from relcl_lib.data.image_files import AGAIN

# A pickle can set attributes on whatever it is handed. Instances of these have none to set.


class _Encode:
    """`_codecs.encode` for the one use pickle has for it: bytes written by protocol 2."""

    __slots__ = ()

    def __call__(self, text: str, encoding: str) -> bytes:
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"encoding {encoding!r} is not admitted")
        return text.encode("latin1")


class _Dtype:
    """`numpy.dtype` without object, void and time types."""

    __slots__ = ()

    def __call__(self, code: str | bytes, *flags: bool) -> np.dtype:
        return _own(dtype(code.decode("ascii") if isinstance(code, bytes) else code, *flags))


def _own(kind: np.dtype) -> np.dtype:
    """A type of number or text that the pickle does not hold.

    The state that it sets on a dtype may give it another item size or a flag of objects, also when an
    array has it already: the array would then show what lies behind its bytes.
    """
    found = dtype(kind.str)
    if found.kind not in "biufSU":
        raise pickle.UnpicklingError(f"arrays of {found} are not admitted")
    return found


class _Array(ndarray):
    """An array that takes a dtype of its own from the state that fills it."""

    __slots__ = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, kind, fortran, raw = state
        super().__setstate__((version, shape, _own(kind), fortran, raw))


#: stands for `numpy.ndarray`, which called would give memory as it was left
_NDARRAY = object()


class _Reconstruct:
    """`numpy._core.multiarray._reconstruct` as pickles call it: empty, to be filled from their bytes."""

    __slots__ = ()

    def __call__(self, kind: object, shape: tuple, code: bytes) -> np.ndarray:
        if kind is not _NDARRAY or shape != (0,):
            raise pickle.UnpicklingError("an array without its content is not admitted")
        return _Array(0, np.uint8)


class _Scalar:
    """`numpy._core.multiarray.scalar`: a number or a text from its bytes."""

    __slots__ = ()

    def __call__(self, kind: np.dtype, raw: bytes) -> np.generic:
        return _SCALAR(_own(kind), raw)


_SCALAR = np.uint8(0).__reduce__()[0]


class _FromBuffer:
    """`numpy._core.numeric._frombuffer`, by which protocol 5 writes arrays."""

    __slots__ = ()

    def __call__(self, buffer: bytes, kind: np.dtype, shape: tuple, order: str) -> np.ndarray:
        return frombuffer(buffer, dtype=_own(kind)).reshape(shape, order=order)


def _admitted() -> dict[tuple[str, str], object]:
    table: dict[tuple[str, str], object] = {
        ("numpy", "ndarray"): _NDARRAY,
        ("numpy", "dtype"): _Dtype(),
        ("_codecs", "encode"): _Encode(),
        ("collections", "OrderedDict"): OrderedDict,
    }
    for core in ("numpy.core", "numpy._core"):  # the name before and since numpy 2
        table[f"{core}.multiarray", "_reconstruct"] = _Reconstruct()
        table[f"{core}.multiarray", "scalar"] = _Scalar()
        table[f"{core}.numeric", "_frombuffer"] = _FromBuffer()
    for builtins in ("builtins", "__builtin__"):
        table |= {(builtins, kind.__name__): kind for kind in (set, frozenset)}
    return table


def texts(values: Any, file: str | Path, field: str = "") -> list[str]:
    """A list of texts, or of the bytes that Python 2 had for them, out of a pickle."""
    where = f"field {field}" if field else "it"
    if not isinstance(values, list | tuple | ndarray):
        what = type(values).__name__
        raise DataFormatError(file, f"{where} holds a {what}, not a list of texts", AGAIN)
    found = [v.decode("latin1") if isinstance(v, bytes) else v for v in values]
    if not all(isinstance(value, str) for value in found):
        raise DataFormatError(file, f"{where} holds something else than texts", AGAIN)
    return list(map(str, found))


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that knows numpy arrays and containers, and no other name."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, refused") from None


_ADMITTED = _admitted()


def load_pickle(stream: BinaryIO, file: str | Path) -> Any:
    """Read a pickle of arrays and plain containers; `file` names it in errors.

    Text that Python 2 wrote comes back as bytes. Nothing the pickle names is imported or run.
    """
    try:
        return _ArraysOnly(stream, encoding="bytes").load()
    # Damaged pickles raise nearly anything (EOFError, KeyError, TypeError, UnicodeDecodeError).
    except Exception as error:
        raise DataFormatError(
            file,
            f"not a complete pickle of plain arrays ({type(error).__name__}: {error})",
            "Download it again from its official source, and do not open it by other means: "
            "a pickle can run any code",
        ) from error
