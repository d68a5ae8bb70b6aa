"""The random view A of online contrastive replay: crop, flip, colour jitter and grey, batched.

Every image of a batch gets its own parameters, drawn from a generator that is passed in (so a run is
reproducible, and the same on any device); the pixels are kornia's work. The crop and the flip are
one resampling: each output pixel's place in the source is computed and read bilinearly, clamped to
the crop, which is what cropping and then resizing does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import kornia.color
import kornia.enhance
import kornia.geometry.transform
import torch
from torch import Tensor

CROP_ATTEMPTS = 10
COLOUR_OPERATIONS = (
    kornia.enhance.adjust_brightness_accumulative,
    kornia.enhance.adjust_contrast_with_mean_subtraction,
    kornia.enhance.adjust_saturation_with_gray_subtraction,
    kornia.enhance.adjust_hue,
)
CONTRAST, SATURATION, HUE = 1, 2, 3  # places in COLOUR_OPERATIONS


@dataclass(frozen=True)
class Augmentation:
    """HPCR's augmentation: the numbers, and how to draw and apply them.

    As released; the paper names no operation.

    Attributes:
        scale: range of the crop's share of the image area.
        ratio: range of its width over its height.
        flip: probability of a horizontal flip (0 where left and right carry meaning, as in digits).
        jitter: probability of the colour jitter.
        strength: brightness, contrast and saturation factors lie in [1 - strength, 1 + strength].
        hue: largest hue shift, in turns.
        grey: probability of going grey.
    """

    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: float = 0.8
    strength: float = 0.4
    hue: float = 0.1
    grey: float = 0.2

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of `n` images of (H, W) = `size`, as CPU tensors.

        box (n, 4): left, top, width, height in pixels; flip, jitter, grey (n,) bool;
        factors (n, 4): brightness, contrast, saturation, hue in radians;
        order (n, 4): the order of those four operations, a permutation of 0..3.
        """

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        # Three multiplicative factors around 1, then the hue shift around 0.
        centre = torch.tensor([1.0, 1.0, 1.0, 0.0])
        reach = torch.tensor([self.strength] * 3 + [2 * math.pi * self.hue])
        return {
            "box": self._draw_boxes(n, size, generator),
            "flip": uniform(n) < self.flip,
            "jitter": uniform(n) < self.jitter,
            "grey": uniform(n) < self.grey,
            "factors": centre + (2 * uniform(n, 4) - 1) * reach,
            "order": uniform(n, 4).argsort(dim=1),
        }

    def _draw_boxes(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        height, width = size
        draws = torch.rand(n, CROP_ATTEMPTS, 4, generator=generator)
        low, high = self.scale
        area = height * width * (low + draws[..., 0] * (high - low))
        log_low, log_high = (math.log(r) for r in self.ratio)
        ratio = (log_low + draws[..., 1] * (log_high - log_low)).exp()
        w, h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
        # The first attempt that fits; the whole image after ten failures.
        first = fits.long().argmax(dim=1, keepdim=True)
        w, h = w.gather(1, first), h.gather(1, first)
        place = draws[..., 2:].gather(1, first.unsqueeze(2).expand(-1, -1, 2)).squeeze(1)
        left = (place[:, :1] * (width - w + 1)).floor()
        top = (place[:, 1:] * (height - h + 1)).floor()
        box = torch.cat([left, top, w, h], dim=1)
        whole = torch.tensor([0.0, 0.0, width, height])
        return torch.where(fits.any(dim=1, keepdim=True), box, whole)

    def apply(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """The augmented copies of images (n, 3, H, W) in [0, 1], under the drawn parameters.

        The same operations on all images, whatever was drawn: their shapes are fixed, and a GPU
        need not be waited for.
        """

        def there(values: Tensor) -> Tensor:
            return values.to(images.device, non_blocking=True)[..., None, None, None]

        before, after = there(blends(drawn))
        jitter, grey = there(drawn["jitter"]), there(drawn["grey"])
        hue = drawn["factors"][:, HUE].to(images.device, non_blocking=True)
        views = blended(crop_and_flip(images, drawn["box"], drawn["flip"]), before)
        turned = kornia.enhance.adjust_hue(views, hue).clamp_(0, 1)
        views = blended(torch.where(jitter, turned, views), after)
        return torch.where(grey, kornia.color.rgb_to_grayscale(views), views)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw and apply: images (n, 3, H, W) in [0, 1] to one random view of each."""
        return self.apply(images, self.draw(len(images), images.shape[-2:], generator))


def blends(drawn: dict[str, Tensor]) -> Tensor:
    """What `blended` does before the hue is shifted, and after: (2, 3, 3, n), three steps each.

    A step per place in an image's order: the weights of the image, its mean grey and its grey. They
    are 1, 0, 0, which changes nothing, where there is no jitter, or the place is on the hue's other side.
    """
    order = drawn["order"]
    factor = drawn["factors"].gather(1, order)  # (n, 4), as every tensor here
    rest = 1 - factor
    weights = torch.stack([factor, rest * (order == CONTRAST), rest * (order == SATURATION)])
    place = torch.arange(4, device=order.device)
    hue_at = (order == HUE).long().argmax(1, keepdim=True)  # (n, 1)
    sides = torch.stack([place < hue_at, place > hue_at]) & drawn["jitter"].unsqueeze(1)
    nothing = torch.eye(3, 1, device=order.device).unsqueeze(2)  # 1, 0, 0
    found = torch.where(sides.unsqueeze(1), weights, nothing)  # (2, 3, n, 4)
    # The hue is never last among those before it, nor first among those after.
    return torch.stack([found[0, ..., :3], found[1, ..., 1:]]).permute(0, 3, 1, 2)


def blended(images: Tensor, steps: Tensor) -> Tensor:
    """Brightness, contrast and saturation: each step a blend of images (n, 3, H, W) with their grey.

    `steps` (k, 3, n, 1, 1, 1): the weights of the image, its mean grey and its grey.
    """
    for own, mean, pixel in steps:
        grey = kornia.color.rgb_to_grayscale(images)  # (n, 1, H, W)
        towards = mean * grey.mean((-2, -1), keepdim=True) + pixel * grey
        images = (images * own).add_(towards).clamp_(0, 1)
    return images


def crop_and_flip(images: Tensor, box: Tensor, flip: Tensor) -> Tensor:
    """Cut a box out of each image, resize it to full size, flip it if told.

    Images (n, C, H, W); `box` (n, 4): left, top, width, height in pixels; `flip` (n,) bool.
    """
    height, width = images.shape[-2:]
    exact = torch.promote_types(images.dtype, torch.float32)  # half precision blurs the places
    left, top, w, h = box.to(images.device, exact, non_blocking=True).unbind(1)

    def places(start: Tensor, length: Tensor, size: int) -> Tensor:
        centres = (torch.arange(size, device=images.device, dtype=exact) + 0.5) / size
        inside = centres * length.unsqueeze(1) - 0.5  # (n, size), in pixels of the crop
        return start.unsqueeze(1) + inside.clamp(min=0).minimum(length.unsqueeze(1) - 1)

    x, y = places(left, w, width), places(top, h, height)
    flip = flip.to(images.device, non_blocking=True).unsqueeze(1)
    x = torch.where(flip, x.flip(1), x)
    map_x = x.unsqueeze(1).expand(-1, height, -1)  # (n, H, W)
    map_y = y.unsqueeze(2).expand(-1, -1, width)  # (n, H, W)
    how = {"mode": "bilinear", "padding_mode": "border", "align_corners": True}
    moved = kornia.geometry.transform.remap(images.to(exact), map_x, map_y, **how)
    return moved.to(images.dtype)


def two_views(
    augmentation: Augmentation,
    groups: Sequence[Tensor],
    generators: Sequence[Sequence[torch.Generator]],
) -> list[Tensor]:
    """The clean images of each group, then one augmented view of each: (S, 2n, 3, H, W).

    All groups (S, n, 3, H, W) in [0, 1], each of its own n, and all seeds are augmented in one call;
    each group has a generator per seed, so a seed gets the same views alone and beside others.
    """
    size = tuple(groups[0].shape[-2:])
    drawn = [
        augmentation.draw(images.shape[1], size, generator)
        for images, of_group in zip(groups, generators, strict=True)
        for generator in of_group
    ]
    joined = {name: torch.cat([draw[name] for draw in drawn]) for name in drawn[0]}
    flat = [images.flatten(0, 1) for images in groups]
    augmented = augmentation.apply(torch.cat(flat), joined).split([len(part) for part in flat])
    return [
        torch.cat([images, part.view_as(images)], dim=1)
        for images, part in zip(groups, augmented, strict=True)
    ]
