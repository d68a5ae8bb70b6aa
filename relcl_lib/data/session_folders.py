"""Images of one's own with sessions: a folder per session, in it one per class, in it the images.

    kitchen/morning/mug/0001.jpg
    kitchen/evening/mug/0001.jpg
    kitchen/test_garden/mug/0001.jpg

Sessions whose names begin with `test` test, the others train, in the order of their names.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import torch

from relcl_lib.data.core50 import SessionData
from relcl_lib.data.download import DataFormatError, is_hidden, locate, natural_key

#: the name under which they are loaded, and of their folder where no other is given
OWN = "own"
LAYOUTS = (
    "a folder per session, in it a folder per class, in it the images (png, jpg, bmp, webp): "
    "SESSION/CLASS/IMAGE; sessions named test... test, the others train",
)
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
#: what Pillow raises for pixels, or for notes on a camera, that it cannot read
DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error)
_MOVE = "Put images into SESSION/CLASS/, and all else elsewhere"


def load_session_folders(
    root: str | os.PathLike[str] | None = None, *, side: int | None = None
) -> SessionData:
    """Read images of one's own; a class may be absent from a session.

    Args:
        root: the folder of the sessions, or one that holds it as `own/`; None looks in
            `$RELCL_DATA/own` and `data/own`.
        side: bring the images to this side; None needs them to be of one size.

    Raises:
        DataNotFoundError: there is no such folder.
        DataFormatError: no session tests or trains, a class does one of them only, a file is no
            image, or sizes differ; says which and what to do.
    """
    folder = _folder(root)
    rows = _rows(folder)  # session, class, file
    sessions = sorted({session for session, _, _ in rows}, key=natural_key)
    classes = sorted({name for _, name, _ in rows}, key=natural_key)
    tests = [session for session in sessions if _tests(session)]
    _check(folder, rows, classes, tests, len(sessions))
    # Training sessions are numbered first, so that those of the test come after them.
    sessions = [*(s for s in sessions if s not in tests), *tests]
    number = {session: place for place, session in enumerate(sessions, start=1)}
    labels = torch.tensor([classes.index(name) for _, name, _ in rows])
    of_session = torch.tensor([number[session] for session, _, _ in rows])
    videos = {(session, name) for session, name, _ in rows if session not in tests}
    trained = sum(session not in tests for session, _, _ in rows)
    named = ", ".join(f"{place} {session}" for session, place in number.items())
    return SessionData(
        name=folder.resolve().name,
        images=torch.from_numpy(_images([file for _, _, file in rows], side)),
        labels=labels,
        sessions=of_session,
        class_names=tuple(classes),
        source="image files",
        note="; ".join([f"sessions {named}", *_left_out(folder, rows)]),
        video_length=max(1, round(trained / len(videos))),
        test_sessions=tuple(number[session] for session in tests),
    )


def _folder(root: str | os.PathLike[str] | None) -> Path:
    if root and Path(root).expanduser().is_dir():
        given = Path(root).expanduser()
        return given / OWN if (given / OWN).is_dir() else given
    return locate(OWN, _visible, root=root, layouts=LAYOUTS).folder


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))


def _rows(folder: Path) -> list[tuple[str, str, Path]]:
    """Session, class and file of each image, in the order of the names."""
    found = []
    for session in _visible(folder):
        if session.is_file():
            if session.suffix.lower() in IMAGES:
                raise DataFormatError(session, "an image outside a session", _MOVE)
            continue  # a licence or a list may lie beside the sessions
        for name in _visible(session):
            if name.is_file():
                raise DataFormatError(name, "a file beside the folders of the classes", _MOVE)
            for file in sorted(_visible(name), key=lambda path: natural_key(path.name)):
                if file.is_dir():
                    raise DataFormatError(file, "a folder where images belong", _MOVE)
                if file.suffix.lower() not in IMAGES:
                    problem = f"no image ({', '.join(IMAGES)})"
                    raise DataFormatError(file, problem, _MOVE)
                found.append((session.name, name.name, file))
    if not found:
        raise DataFormatError(folder, "no image in SESSION/CLASS/", _MOVE)
    return found


def _left_out(folder: Path, rows: list[tuple[str, str, Path]]) -> list[str]:
    """What lies there and gives no image: files beside the sessions, folders without an image."""
    filled = {(session, name) for session, name, _ in rows}
    files, empty = [], []
    for session in _visible(folder):
        if session.is_file():
            files.append(session.name)
            continue
        names = [each.name for each in _visible(session)]
        empty += [f"{session.name}/{n}" for n in names if (session.name, n) not in filled]
        empty += [session.name] * (not names)
    shown = {"without an image": empty, "not read": files}
    return [f"{what}: {', '.join(names)}" for what, names in shown.items() if names]


def _tests(session: str) -> bool:
    return session.lower().startswith("test")


def _check(
    folder: Path,
    rows: list[tuple[str, str, Path]],
    classes: list[str],
    tests: list[str],
    sessions: int,
) -> None:
    if not tests:
        problem = "no session tests"
        raise DataFormatError(folder, problem, "Begin the name of one or more with 'test'")
    if len(tests) == sessions:
        problem = "all sessions test, none trains"
        raise DataFormatError(folder, problem, "Rename those to train on: not 'test...'")
    if len(classes) < 2:
        raise DataFormatError(folder, f"one class alone ({classes[0]})", "Add another")
    for does, part in (("trains", False), ("tests", True)):
        there = {name for session, name, _ in rows if (session in tests) == part}
        if missing := [name for name in classes if name not in there]:
            where = ", ".join(dict.fromkeys(r[0] for r in rows if r[1] == missing[0]))
            raise DataFormatError(
                folder,
                f"class {missing[0]!r} is in no session that {does}, only in {where}",
                "Check how its folders are written (capitals count), or add images of it",
            )


def _images(files: list[Path], side: int | None) -> np.ndarray:
    """The images (N, 3, H, W), uint8."""
    from PIL import Image, ImageOps

    images: np.ndarray | None = None
    for place, file in enumerate(files):
        try:
            with Image.open(file) as image:
                if image.mode.startswith(("I", "F")):  # whose values beyond 255 would all be white
                    problem = f"its pixels have more than 8 bits (Pillow's mode {image.mode})"
                    raise DataFormatError(file, problem, "Save it with 8 bits a channel")
                pixels = ImageOps.exif_transpose(image).convert("RGB")  # as viewers show it
                if side is not None and pixels.size != (side, side):
                    pixels = pixels.resize((side, side), Image.Resampling.BILINEAR)
                array = np.asarray(pixels).transpose(2, 0, 1)
        except DataFormatError:
            raise
        except (*DAMAGED, Image.DecompressionBombError) as error:
            raise DataFormatError(
                file, f"it cannot be decoded as an image ({type(error).__name__})", "Replace it"
            ) from error
        if images is None:
            images = np.empty((len(files), *array.shape), np.uint8)
        if array.shape != images.shape[1:]:
            sizes = [f"{shape[2]}x{shape[1]}" for shape in (array.shape, images.shape[1:])]
            raise DataFormatError(
                file,
                f"it has {sizes[0]} pixels, {files[0].name} {sizes[1]}",
                "Bring all images to one size, or give one: image_size=64 (of a sweep: --set image_size=64)",
            )
        images[place] = array
    return images
