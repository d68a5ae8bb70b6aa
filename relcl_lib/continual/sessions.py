"""Images with a session each: CORe50's shape, and the stand-in for it from ordinary image sets.

CORe50 films each object in 11 sessions. The stand-in cuts an image set into 11 disjoint sessions and
gives each a transformation of its own (light, colour, rotation, blur). It is no CORe50: whatever is
shown of it carries its name, `CORe50-standin(<base>)`.
"""

from __future__ import annotations

import math
import os
from functools import lru_cache
from typing import NamedTuple

import kornia.filters
import kornia.geometry.transform
import torch
from torch import Tensor

from relcl_lib.continual.augment import COLOUR_OPERATIONS
from relcl_lib.data.core50 import (
    TEST_SESSIONS,
    TRAIN_SESSIONS,
    VIDEO_LENGTH,
    SessionData,
    load_core50,
)
from relcl_lib.data.images import ImageData, as_rgb, load_images
from relcl_lib.data.session_folders import OWN, load_session_folders

#: classes kept of a base with more, so that the tracks keep their shape
MAX_CLASSES = 50


class Look(NamedTuple):
    """What a session does to its images: factors, degrees, and a blur in pixels at side 64."""

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    rotation: float = 0.0
    blur: float = 0.0


#: The looks of test sessions lie between those of training sessions, never beyond them.
LOOKS: dict[int, Look] = {
    1: Look(),
    2: Look(brightness=0.55),
    3: Look(brightness=1.25, saturation=0.8, rotation=10),
    4: Look(rotation=20),
    5: Look(blur=1.2),
    6: Look(brightness=0.85, contrast=0.55),
    7: Look(brightness=0.75, contrast=0.9, rotation=5, blur=0.7),
    8: Look(rotation=-20),
    9: Look(contrast=1.2, saturation=0.2),
    10: Look(contrast=0.8, saturation=1.2, rotation=-10, blur=0.3),
    11: Look(brightness=1.45, saturation=1.5),
}


def load_sessions(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    order: int = 0,
    side: int | None = None,
) -> SessionData:
    """Load CORe50 or images of one's own, or make the stand-in from a set that `load_images` knows.

    `root` and errors are those of the loaders; `order` is which of CORe50's ten official runs (0 to
    9) its lists come from. `own` reads the layout of `data.session_folders` below `root`, and brings
    the images to `side`. `mnist` has no sessions made: it serves the disjoint stream of DRL's
    Figure 2 as it is.
    """
    if name == "core50":
        return load_core50(root, order=order)
    if name == OWN:
        return load_session_folders(root, side=side)
    data = load_images(name, root)
    return without_sessions(data) if name == "mnist" else stand_in(data)


def without_sessions(data: ImageData) -> SessionData:
    """An image set as it is: its training images session 1, its test images session 3."""
    count = torch.tensor([len(data.train_labels), len(data.test_labels)])
    return SessionData(
        name=data.name,
        images=torch.cat([data.train_images, data.test_images]),
        labels=torch.cat([data.train_labels, data.test_labels]),
        sessions=torch.repeat_interleave(torch.tensor([1, 3]), count),
        class_names=data.class_names,
        source=data.source,
        note=data.note,
    )


@lru_cache(maxsize=1)
def stand_in(data: ImageData) -> SessionData:
    """Make CORe50's stand-in: 11 sessions with a look each, from disjoint parts of an image set.

    Of the first 50 classes (in label order) the training images of each become 8 equal parts in file
    order, one for each training session, and the test images 3, one for each test session; a part
    plays the video of one object in one session and holds at most 300 images.
    """
    classes = min(data.n_classes, MAX_CLASSES)
    pools = [
        (data.train_images, data.train_labels, TRAIN_SESSIONS),
        (data.test_images, data.test_labels, TEST_SESSIONS),
    ]
    images, labels, sessions, lengths = [], [], [], []
    for pool, pool_labels, numbers in pools:
        fewest = int(torch.bincount(pool_labels, minlength=classes)[:classes].min())
        length = min(fewest // len(numbers), VIDEO_LENGTH)
        if not length:
            raise ValueError(
                f"{data.name}: a class has {fewest} images, fewer than the {len(numbers)} sessions "
                "they must be shared by; use a larger part of the data set"
            )
        lengths.append(length)
        members = [(pool_labels == label).nonzero()[:, 0] for label in range(classes)]
        for part, session in enumerate(numbers):
            span = slice(part * length, (part + 1) * length)
            chosen = torch.cat([of_class[span] for of_class in members])
            images.append(session_look(pool[chosen], LOOKS[session]))
            labels.append(pool_labels[chosen])
            sessions.append(torch.full_like(chosen, session))
    return SessionData(
        name=f"CORe50-standin({data.name})",
        images=torch.cat(images),
        labels=torch.cat(labels),
        sessions=torch.cat(sessions),
        class_names=data.class_names[:classes],
        source=data.source,
        note="; ".join(filter(None, [data.note, "sessions made by transformations"])),
        video_length=lengths[0],
    )


@torch.no_grad()
def session_look(images: Tensor, look: Look, chunk: int = 2048) -> Tensor:
    """The images (n, C, H, W) as the session shows them, uint8; `chunk` bounds the memory."""
    return torch.cat([_look(part, look) for part in images.split(chunk)])


def _look(images: Tensor, look: Look) -> Tensor:
    channels, side = images.shape[1], images.shape[-1]
    x = as_rgb(images).float() / 255
    for operation, factor in zip(COLOUR_OPERATIONS[:3], look[:3], strict=True):
        if factor != 1:
            x = operation(x, factor).clamp(0, 1)
    if look.rotation:
        angle = x.new_full((len(x),), look.rotation)
        # Mirrored at the border: black corners would tell the session without a look at the image.
        x = kornia.geometry.transform.rotate(x, angle, padding_mode="reflection")
    if look.blur:
        sigma = look.blur * side / 64
        size = 2 * math.ceil(3 * sigma) + 1
        x = kornia.filters.gaussian_blur2d(x, (size, size), (sigma, sigma))
    # The three channels of a grey image are equal all the way.
    return (255 * x[:, :channels]).round().clamp(0, 255).byte()
