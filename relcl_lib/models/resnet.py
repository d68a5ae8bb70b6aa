"""Reduced ResNet-18 and classifier heads, for S seeds side by side as one network.

The S networks are one: S*C channels, convolutions in S groups. Batch norm over S*C channels is
exactly per-seed batch norm, no weight is shared, and the sum of the S losses gives every network its
own gradient, so the numbers are those of S separate runs within rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from relcl_lib.lab.runtime import drawing_from, make_generator
from relcl_lib.losses.basic import cosine_similarity, without_autocast

Built = TypeVar("Built", bound=nn.Module)


class ConvNorm(nn.Module):
    """A bias-free convolution in a group per seed, then batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, seeds: int) -> None:
        super().__init__()
        # A 1x1 convolution with a stride is one without, of every stride-th pixel. oneDNN's own form
        # writes past its memory on CPUs without AVX-512 where channels are few (its issue 6035).
        self.every = stride if kernel == 1 else 1
        self.convolution = nn.Conv2d(
            seeds * inputs,
            seeds * outputs,
            kernel,
            stride // self.every,
            padding=kernel // 2,
            bias=False,
            groups=seeds,
        )
        self.norm: nn.Module = nn.BatchNorm2d(seeds * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, S*inputs, H, W) to (B, S*outputs, H', W')."""
        if self.every > 1:
            # Sliced with channels innermost: so is the gradient, or all that it meets on its way back
            # is in two layouts, for which element-wise kernels take several times as long.
            x = x.permute(0, 2, 3, 1)[:, :: self.every, :: self.every].permute(0, 3, 1, 2)
        return self.norm(self.convolution(x))


class BasicBlock(nn.Module):
    """conv3x3-BN-ReLU-conv3x3-BN plus shortcut (1x1 conv-BN where shapes change), then ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int, seeds: int) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride, seeds)
        self.second = ConvNorm(outputs, outputs, 3, 1, seeds)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else ConvNorm(inputs, outputs, 1, stride, seeds)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, S*inputs, H, W) to (B, S*outputs, H/stride, W/stride)."""
        out = self.second(F.relu(self.first(x), inplace=True))
        return F.relu(out.add_(self.shortcut(x)), inplace=True)


class ReducedResNet18(nn.Module):
    """ResNet-18 with `width` first channels (20) and no max-pool: the online literature's backbone.

    Its four stages have 1, 2, 4 and 8 times `width` channels, in each of S networks (`seeds`).
    """

    def __init__(self, width: int = 20, seeds: int = 1) -> None:
        super().__init__()
        self.width, self.seeds = width, seeds
        self.stem = ConvNorm(3, width, 3, 1, seeds)
        blocks, inputs = [], width
        for multiple, stride in ((1, 1), (2, 2), (4, 2), (8, 2)):
            outputs = multiple * width
            blocks += [BasicBlock(inputs, outputs, stride, seeds)]
            blocks += [BasicBlock(outputs, outputs, 1, seeds)]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (S, B, 3, H, W) to features (S, B, D); D = 160 at 32x32, 640 at 64x64, 84x84."""
        seeds, batch = images.shape[:2]
        # (B, S*3, H, W) with channels innermost in memory: the layout the CPU kernels are fastest in.
        x = images.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        x = self.blocks(F.relu(self.stem(x), inplace=True))  # (B, S*8*width, H/8, W/8)
        # Images under 32 pixels end in maps smaller than the paper's 4x4 window.
        x = F.avg_pool2d(x, min(4, x.shape[-2], x.shape[-1]))  # (B, S*8*width, H'', W'')
        return x.view(batch, seeds, -1, *x.shape[-2:]).flatten(2).transpose(0, 1)

    def feature_size(self, image_size: tuple[int, int]) -> int:
        """D for images of (H, W), without running the network."""
        sides = []
        for side in image_size:
            for _ in range(3):
                side = (side + 1) // 2  # a 3x3 convolution with stride 2 and padding 1
            sides.append(side)
        window = min(4, *sides)
        return 8 * self.width * (sides[0] // window) * (sides[1] // window)


class CosineClassifier(nn.Module):
    """Logits o_c = <z, w_c> / temperature; the rows of the weight are the class proxies."""

    def __init__(
        self, features: int, classes: int, seeds: int = 1, temperature: float = 0.09
    ) -> None:
        super().__init__()
        self.temperature = temperature
        bound = features**-0.5  # nn.Linear's default
        self.weight = nn.Parameter(torch.empty(seeds, classes, features).uniform_(-bound, bound))

    def forward(self, features: Tensor) -> Tensor:
        """Map (S, B, D) to (S, B, C)."""
        return cosine_similarity(features, self.weight) / self.temperature


class LinearClassifier(nn.Module):
    """Logits z W^T + b: the ordinary head of ER and the other baselines."""

    def __init__(self, features: int, classes: int, seeds: int = 1) -> None:
        super().__init__()
        bound = features**-0.5
        self.weight = nn.Parameter(torch.empty(seeds, classes, features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(seeds, 1, classes).uniform_(-bound, bound))

    def forward(self, features: Tensor) -> Tensor:
        """Map (S, B, D) to (S, B, C)."""
        return torch.baddbmm(self.bias, features, self.weight.transpose(1, 2))


class ReplayNetwork(nn.Module):
    """Backbone and head; the backbone computes in `precision`, everything after it in float32.

    A caller's autocast has no say.
    """

    def __init__(
        self, body: ReducedResNet18, head: nn.Module, precision: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.body, self.head, self.precision = body, head, precision

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (S, B, 3, H, W) in [0, 1] to logits (S, B, C) and features (S, B, D)."""
        with self.autocast(images.device):
            features = self.body(images)
        with without_autocast(images.device):
            features = features.float()
            return self.head(features), features

    def autocast(self, device: torch.device) -> AbstractContextManager:
        """What the backbone computes in; forward passes within one such block cast its weights once."""
        if device.type == "meta" or self.precision == torch.float32:
            return without_autocast(device)
        return torch.autocast(device.type, dtype=self.precision)


def build_network(
    seeds: Sequence[int],
    classes: int,
    image_size: tuple[int, int],
    *,
    width: int = 20,
    head: str = "cosine",
    temperature: float = 0.09,
    precision: torch.dtype = torch.float32,
) -> ReplayNetwork:
    """Build S networks as one; network s starts as a run of seed s alone would (torch's defaults).

    The `head`, `cosine` (with `temperature`) or `linear`, has a row for each of the data set's
    classes; `image_size` (H, W) sets the feature size; `precision` is the backbone's.
    """

    def build(count: int) -> ReplayNetwork:
        body = ReducedResNet18(width, count)
        size = body.feature_size(image_size)
        if head == "cosine":
            return ReplayNetwork(
                body, CosineClassifier(size, classes, count, temperature), precision
            )
        if head == "linear":
            return ReplayNetwork(body, LinearClassifier(size, classes, count), precision)
        raise ValueError(f"head={head!r} must be 'cosine' or 'linear'")

    return side_by_side(build, seeds).to(memory_format=torch.channels_last)


def side_by_side(
    build: Callable[[int], Built], seeds: Sequence[int], purpose: str = "init"
) -> Built:
    """S modules as one; module s starts as that of seed s alone would (torch's defaults).

    Seeds lie along the first dimension of every parameter and buffer (channels or head rows) of what
    `build` makes for a number of seeds. Modules of one run differ in `purpose`.
    """
    states = []
    for seed in seeds:
        with drawing_from(make_generator(seed, purpose), torch.device("cpu")):
            states.append(build(1).state_dict())
    # Overwritten below; the caller's generator stays put.
    with drawing_from(make_generator(seeds[0], purpose), torch.device("cpu")):
        module = build(len(seeds))
    joined = {
        name: torch.cat([state[name] for state in states]) if value.dim() else value
        for name, value in states[0].items()
    }
    module.load_state_dict(joined)
    return module


def select_seed(network: ReplayNetwork, index: int) -> ReplayNetwork:
    """The `index`-th of the S networks alone, as a network of one seed (a copy, in evaluation mode)."""
    seeds = network.body.seeds
    return _filled(network, 1, lambda value: value.chunk(seeds)[index])


def repeat_seeds(network: ReplayNetwork, times: int) -> ReplayNetwork:
    """Each of the S networks several times side by side, S * times in all (copies for evaluation).

    One backward pass then gives the gradients of as many groups of images.
    """
    seeds = network.body.seeds
    return _filled(
        network,
        seeds * times,
        lambda v: v.unflatten(0, (seeds, -1)).repeat_interleave(times, dim=0).flatten(0, 1),
    )


def _filled(network: ReplayNetwork, seeds: int, of: Callable[[Tensor], Tensor]) -> ReplayNetwork:
    """A network of `seeds` for evaluation, its values those of another under `of`."""
    classes, features = network.head.weight.shape[1:]
    with torch.device("meta"):  # the values come below
        head: nn.Module = LinearClassifier(features, classes, seeds)
        if isinstance(network.head, CosineClassifier):
            head = CosineClassifier(features, classes, seeds, network.head.temperature)
        other = ReplayNetwork(ReducedResNet18(network.body.width, seeds), head, network.precision)
    state = network.state_dict().items()
    other.load_state_dict(
        {name: (of(value) if value.dim() else value).clone() for name, value in state}, assign=True
    )
    return other.to(memory_format=torch.channels_last).eval()


def fold_batch_norm(network: ReplayNetwork) -> ReplayNetwork:
    """A copy for evaluation with every batch norm folded into its convolution.

    Same function up to rounding; without the batch norm passes evaluation is about twice as fast.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    for module in folded.modules():
        if isinstance(module, ConvNorm):
            module.convolution = fuse_conv_bn_eval(module.convolution, module.norm)
            module.norm = nn.Identity()
    return folded
